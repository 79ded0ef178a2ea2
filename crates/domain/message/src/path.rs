//! One canonical path and query: the bytes authorised are the bytes forwarded (protocol P1.5, RFC 3986).

/// Longest path or query, in bytes; X-Road permits servers a cap of 2000 characters on the URI.
const LIMIT: usize = 8_000;

/// Why a path or query is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPath {
    /// It does not start with `/`.
    #[error("a path starts with '/'")]
    Relative,
    /// Longer than 8000 bytes.
    #[error("a path or query has at most 8000 bytes")]
    TooLong,
    /// A byte that RFC 3986 does not allow there.
    #[error("the character at byte {0} must be percent-encoded")]
    Character(usize),
    /// `%` not followed by two hexadecimal digits.
    #[error("the percent-encoding at byte {0} is not %XY with two hexadecimal digits")]
    Percent(usize),
    /// An encoded control character.
    #[error("control characters are not allowed in a path (byte {0})")]
    Control(usize),
    /// A `.` or `..` segment, plain, encoded, or as a lenient backend may see one: before `;`, `%2F` or `%5C`.
    #[error("'.' and '..' segments are not allowed: write the path that is meant")]
    Dots,
    /// A segment that decodes to bytes that are not UTF-8.
    #[error("a path segment does not decode to UTF-8")]
    Utf8,
}

const fn unreserved(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~')
}

const fn path_char(b: u8) -> bool {
    unreserved(b)
        || matches!(
            b,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@'
        )
}

fn hex_pair(bytes: &[u8], at: usize) -> Option<u8> {
    let digit = |i: usize| bytes.get(i).and_then(|b| char::from(*b).to_digit(16));
    u8::try_from(digit(at + 1)? * 16 + digit(at + 2)?).ok()
}

fn push_encoded(out: &mut String, b: u8) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(char::from(HEX[usize::from(b >> 4)]));
    out.push(char::from(HEX[usize::from(b & 15)]));
}

/// A path after `/r1/<service>`: empty, or `/`-started segments, each decoded once, checked, and written in one way.
///
/// Characters allowed in a segment by RFC 3986 stand as they are; every other byte is `%XY` in upper case. `%2F` stays
/// `%2F`, so that it never becomes a separator.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CanonicalPath {
    text: String,
}

impl CanonicalPath {
    /// Decodes, checks and canonicalises a raw path as it stood in the request line.
    ///
    /// # Errors
    /// [`InvalidPath`] says what is wrong and where.
    pub fn parse(raw: &str) -> Result<Self, InvalidPath> {
        if raw.is_empty() {
            return Ok(Self { text: String::new() });
        }
        if raw.len() > LIMIT {
            return Err(InvalidPath::TooLong);
        }
        let rest = raw.strip_prefix('/').ok_or(InvalidPath::Relative)?;
        let mut text = String::with_capacity(raw.len());
        let mut offset = 1;
        for segment in rest.split('/') {
            text.push('/');
            canonical_segment(segment, offset, &mut text)?;
            offset += segment.len() + 1;
        }
        Ok(Self { text })
    }

    /// Takes a text only if it already is canonical, as a received header must be.
    ///
    /// # Errors
    /// [`InvalidPath`], also when the canonical form is another text.
    pub fn from_canonical(text: &str) -> Result<Self, InvalidPath> {
        let path = Self::parse(text)?;
        if path.text == text { Ok(path) } else { Err(InvalidPath::Character(0)) }
    }

    /// The canonical text: empty, or starting with `/`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The decoded segments, as rights are matched; none for the empty path.
    pub fn segments(&self) -> Vec<String> {
        let Some(rest) = self.text.strip_prefix('/') else { return Vec::new() };
        rest.split('/').map(decode_canonical).collect()
    }
}

fn decode_canonical(segment: &str) -> String {
    let bytes = segment.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(b) = bytes.get(at) {
        if *b == b'%'
            && let Some(value) = hex_pair(bytes, at)
        {
            out.push(value);
            at += 3;
        } else {
            out.push(*b);
            at += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Whether a backend may read the decoded segment as a step to another place: some take an encoded `/` or `\` for a
/// separator, and some cut path parameters (`..;x`) before they look at the dots.
fn steps_aside(decoded: &[u8]) -> bool {
    decoded.split(|b| matches!(b, b'/' | b'\\')).any(|piece| {
        let name = piece.split(|b| *b == b';').next().unwrap_or_default();
        matches!(name, b"." | b"..")
    })
}

fn canonical_segment(segment: &str, offset: usize, text: &mut String) -> Result<(), InvalidPath> {
    let bytes = segment.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&b) = bytes.get(at) {
        let value = if b == b'%' {
            let value = hex_pair(bytes, at).ok_or(InvalidPath::Percent(offset + at))?;
            at += 2;
            value
        } else if path_char(b) {
            b
        } else {
            return Err(InvalidPath::Character(offset + at));
        };
        if value < 0x20 || value == 0x7f {
            return Err(InvalidPath::Control(offset + at));
        }
        decoded.push(value);
        at += 1;
    }
    if steps_aside(&decoded) {
        return Err(InvalidPath::Dots);
    }
    if std::str::from_utf8(&decoded).is_err() {
        return Err(InvalidPath::Utf8);
    }
    for b in decoded {
        if path_char(b) { text.push(char::from(b)) } else { push_encoded(text, b) }
    }
    Ok(())
}

/// A query without its `?`, checked and passed on unchanged (X-Road pr-rest: the query passes unmodified).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CanonicalQuery {
    text: String,
}

impl CanonicalQuery {
    /// Checks that only RFC 3986 query characters and whole `%XY` occur.
    ///
    /// # Errors
    /// [`InvalidPath`] says what is wrong and where.
    pub fn parse(raw: &str) -> Result<Self, InvalidPath> {
        if raw.len() > LIMIT {
            return Err(InvalidPath::TooLong);
        }
        let bytes = raw.as_bytes();
        let mut at = 0;
        while let Some(&b) = bytes.get(at) {
            match b {
                b'%' => {
                    hex_pair(bytes, at).ok_or(InvalidPath::Percent(at))?;
                    at += 3;
                }
                b'/' | b'?' | b'[' | b']' | b'|' | b'"' | b'{' | b'}' | b'^' | b'`' => at += 1,
                b if path_char(b) => at += 1,
                _ => return Err(InvalidPath::Character(at)),
            }
        }
        Ok(Self { text: raw.to_owned() })
    }

    /// The text after `?`.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_path_has_one_spelling() {
        for (raw, canonical) in [
            ("", ""),
            ("/", "/"),
            ("/cong-dan/tra-cuu", "/cong-dan/tra-cuu"),
            ("/%63ong%2ddan", "/cong-dan"),
            ("/a%2fb", "/a%2Fb"),
            ("/%E1%BB%A5", "/%E1%BB%A5"),
            ("//a/", "//a/"),
            ("/a:b@c", "/a:b@c"),
        ] {
            let path = CanonicalPath::parse(raw).unwrap();
            assert_eq!(path.as_str(), canonical);
            assert_eq!(CanonicalPath::from_canonical(canonical).unwrap(), path);
        }
        assert_eq!(CanonicalPath::parse("/a%2Fb/c").unwrap().segments(), ["a/b", "c"]);
        for kept in ["/...", "/a..", "/..a", "/a;..", "/a;v=../b", "/.a%2Fb", "/%5Ca", "/;"] {
            assert!(CanonicalPath::parse(kept).is_ok(), "{kept}");
        }
    }

    /// A backend at its most lenient: decodes first, takes `\` for `/`, cuts parameters, then walks.
    fn walks_by_dots(path: &str) -> bool {
        let decoded = decode_canonical(path).replace('\\', "/");
        decoded.split('/').any(|piece| matches!(piece.split(';').next(), Some("." | "..")))
    }

    proptest::proptest! {
        #[test]
        fn no_accepted_path_is_a_walk_to_a_lenient_backend(
            pieces in proptest::collection::vec(
                proptest::sample::select(vec![
                    "/", ".", "..", "%2e", "%2E", ";", "%3B", "%2F", "%2f", "%5c", "%5C", "a", "=", "%C4%91", "%25",
                ]),
                0..12,
            ),
        ) {
            let raw = format!("/{}", pieces.concat());
            match CanonicalPath::parse(&raw) {
                Ok(path) => {
                    proptest::prop_assert!(!walks_by_dots(path.as_str()), "{}", path.as_str());
                    proptest::prop_assert_eq!(&CanonicalPath::from_canonical(path.as_str()).unwrap(), &path);
                }
                Err(why) => {
                    proptest::prop_assert_eq!(why, InvalidPath::Dots);
                    proptest::prop_assert!(walks_by_dots(&raw), "{}", raw);
                }
            }
        }
    }

    #[test]
    fn what_could_be_read_twice_is_refused() {
        for bad in [
            "a",
            "/..",
            "/a/../b",
            "/%2e%2E/x",
            "/.",
            "/a%",
            "/a%4",
            "/a%zz",
            "/a b",
            "/a\\b",
            "/a%00",
            "/%ff",
            "/a?b",
            "/a#b",
            "/a/..;/b",
            "/..;jsessionid=1",
            "/.;x",
            "/%2e%2e;a",
            "/..%2Fx",
            "/x%2f..",
            "/x%2F.%2Fy",
            "/..%5Cx",
            "/x%5c..%3bv",
        ] {
            assert!(CanonicalPath::parse(bad).is_err(), "{bad}");
        }
        assert!(CanonicalPath::from_canonical("/%63").is_err());
    }

    #[test]
    fn queries_pass_unchanged_or_not_at_all() {
        assert_eq!(CanonicalQuery::parse("a=1&b=%2F&a=2").unwrap().as_str(), "a=1&b=%2F&a=2");
        for bad in ["a b", "a=%", "a#b", "a=\u{e9}", "a\r\n"] {
            assert!(CanonicalQuery::parse(bad).is_err(), "{bad:?}");
        }
    }
}
