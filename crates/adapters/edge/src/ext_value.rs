//! Header texts that are ASCII or RFC 8187 ext-values, `UTF-8''%C4%91` (protocol P10.1).

/// Why a text is neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidExtValue {
    /// Bytes outside ASCII.
    #[error("holds bytes outside ASCII: write it as RFC 8187 has it, UTF-8''...")]
    NotAscii,
    /// An ext-value with a broken or missing percent-encoding.
    #[error(
        "begins like an RFC 8187 value but is not one: after UTF-8'' only letters, digits, !#$&+-.^_`|~ and %XY"
    )]
    Coding,
    /// An ext-value that decodes to something other than UTF-8.
    #[error("is an RFC 8187 value that does not decode to UTF-8")]
    Utf8,
}

/// The coded part after `UTF-8'language'`; `None` when the text is no ext-value.
fn coded(text: &str) -> Option<&str> {
    let charset = text.get(..6)?;
    if !charset.eq_ignore_ascii_case("utf-8'") {
        return None;
    }
    text.get(6..)?.split_once('\'').map(|(_language, rest)| rest)
}

const fn attr_char(b: u8) -> bool {
    b.is_ascii_alphanumeric()
        || matches!(b, b'!' | b'#' | b'$' | b'&' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~')
}

/// Reads the text.
///
/// # Errors
/// [`InvalidExtValue`]; the text itself is not in it, it may be personal.
pub(crate) fn decode(raw: &[u8]) -> Result<String, InvalidExtValue> {
    let text = std::str::from_utf8(raw).ok().filter(|t| t.is_ascii()).ok_or(InvalidExtValue::NotAscii)?;
    let Some(coded) = coded(text) else { return Ok(text.to_owned()) };
    let mut out = Vec::with_capacity(coded.len());
    let mut bytes = coded.bytes();
    while let Some(b) = bytes.next() {
        if b == b'%' {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            let value = digit().zip(digit()).and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
            out.push(value.ok_or(InvalidExtValue::Coding)?);
        } else if attr_char(b) {
            out.push(b);
        } else {
            return Err(InvalidExtValue::Coding);
        }
    }
    String::from_utf8(out).map_err(|_| InvalidExtValue::Utf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ascii_stays_and_ext_values_are_decoded() {
        for (raw, text) in [
            ("1.004194", "1.004194"),
            ("it's fine", "it's fine"),
            ("UTF-8''%C4%90%C4%83ng%20k%C3%BD", "Đăng ký"),
            ("utf-8'vi'a%2Fb", "a/b"),
            ("UTF-8 is a code", "UTF-8 is a code"),
        ] {
            assert_eq!(decode(raw.as_bytes()).as_deref(), Ok(text), "{raw}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        assert_eq!(decode("Đăng ký".as_bytes()), Err(InvalidExtValue::NotAscii));
        assert_eq!(decode(b"\xff"), Err(InvalidExtValue::NotAscii));
        for raw in ["UTF-8''a b", "UTF-8''%C4%9", "UTF-8''%zz", "UTF-8''a'b"] {
            assert_eq!(decode(raw.as_bytes()), Err(InvalidExtValue::Coding), "{raw}");
        }
        assert_eq!(decode(b"UTF-8''%FF"), Err(InvalidExtValue::Utf8));
    }
}
