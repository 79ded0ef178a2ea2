//! Path patterns of rights and endpoints (X-Road ug-ss 6.7), matched on decoded segments.

use std::fmt;
use std::str::FromStr;

/// Longest pattern, in bytes.
const LIMIT: usize = 1000;

/// A path pattern: `/`-separated segments in which `*` stands for any run of characters within one segment, a segment
/// `**` for any number of segments (also none), and `\` makes the next character stand for itself.
///
/// A pattern is written decoded (`/họ tên`, not `/h%E1%BB%8D%20t%C3%AAn`) and compared with
/// [`CanonicalPath::segments`](truc_message::CanonicalPath::segments): what was `%2F` in a path is a character of its
/// segment, never a separator. Only `\/` and `**` match it, `*` does not: a system behind the node may still read it as
/// a separator, and a right to `/ho-so/*` must not reach `/ho-so/1/xoa` in that disguise. `**` alone covers every path.
/// Matching takes time proportional to pattern × path at worst.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PathGlob {
    text: String,
    segments: Vec<Segment>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Segment {
    /// `**`
    AnyDepth,
    One(Vec<Piece>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Piece {
    /// `*`
    AnyRun,
    Char(char),
}

/// Why a text is not a path pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidGlob {
    /// It starts with something else.
    #[error("a path pattern starts with '/', or is '**' for every path")]
    Start,
    /// Longer than 1000 bytes.
    #[error("a path pattern has at most {LIMIT} bytes")]
    TooLong,
    /// `**` beside other characters of a segment.
    #[error("'**' stands alone between '/' signs: write /a/**, not /a**")]
    Mixed,
    /// A `\` with nothing after it.
    #[error("a path pattern must not end in '\\': write '\\\\' for the character itself")]
    Escape,
    /// A control character.
    #[error("a path pattern holds no control characters")]
    Control,
    /// A `.` or `..` segment; no path has one.
    #[error("'.' and '..' segments match no path: write the path that is meant")]
    Dots,
}

impl PathGlob {
    /// `**`, every path.
    pub fn every() -> Self {
        Self { text: "**".to_owned(), segments: vec![Segment::AnyDepth] }
    }
    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
    /// True for a pattern that covers every path, `**` and `/**`.
    pub fn is_every(&self) -> bool {
        self.segments == [Segment::AnyDepth]
    }

    /// Whether a path with these decoded segments matches.
    pub fn matches<S: AsRef<str>>(&self, segments: &[S]) -> bool {
        run(&self.segments, segments, false_for_any_depth, |pieces, text| one(pieces, text.as_ref()))
    }

    /// Whether every path that `narrower` matches is plainly matched by this pattern too. Used for showing endpoints
    /// only: it may say no where a closer look would say yes.
    pub fn covers(&self, narrower: &Self) -> bool {
        let deep = |s: &Segment| *s == Segment::AnyDepth;
        run(&self.segments, &narrower.segments, deep, |pieces, segment| match segment {
            Segment::AnyDepth => false,
            Segment::One(other) => pieces == other.as_slice() || covers_one(pieces, other),
        })
    }
}

const fn false_for_any_depth<T>(_: &T) -> bool {
    false
}

/// One row of a table: `reached[i]` says whether the pattern so far can have eaten the first `i` targets. `deep` says
/// that a target stands for any number of segments itself, which only `**` can eat.
fn run<T>(
    pattern: &[Segment],
    targets: &[T],
    deep: impl Fn(&T) -> bool,
    fits: impl Fn(&[Piece], &T) -> bool,
) -> bool {
    let mut reached = vec![false; targets.len() + 1];
    reached[0] = true;
    for segment in pattern {
        match segment {
            Segment::AnyDepth => {
                for i in 1..reached.len() {
                    reached[i] = reached[i] || reached[i - 1];
                }
            }
            Segment::One(pieces) => {
                for i in (1..reached.len()).rev() {
                    reached[i] = reached[i - 1] && !deep(&targets[i - 1]) && fits(pieces, &targets[i - 1]);
                }
                reached[0] = false;
            }
        }
    }
    reached.last().copied().unwrap_or(false)
}

/// Wildcard match within one segment: on a mismatch only the last `*` takes one character more, which is enough (also
/// though it never takes a `/`: the n-th `/` of the text can only be the n-th of the pattern).
fn one(pieces: &[Piece], text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let (mut p, mut t) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while t < text.len() {
        match pieces.get(p) {
            Some(Piece::AnyRun) => {
                back = Some((p, t));
                p += 1;
            }
            Some(Piece::Char(c)) if *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((star, from)) = back.filter(|(_, from)| text[*from] != '/') else { return false };
                back = Some((star, from + 1));
                p = star + 1;
                t = from + 1;
            }
        }
    }
    pieces[p..].iter().all(|piece| *piece == Piece::AnyRun)
}

/// A lone `*` covers whatever stands for one segment without `/`; a pattern covers a text without wildcards that it matches.
fn covers_one(pieces: &[Piece], other: &[Piece]) -> bool {
    let plain: Option<String> =
        other.iter().map(|p| if let Piece::Char(c) = p { Some(*c) } else { None }).collect();
    pieces == [Piece::AnyRun] && !other.contains(&Piece::Char('/'))
        || plain.is_some_and(|text| one(pieces, &text))
}

impl FromStr for PathGlob {
    type Err = InvalidGlob;
    fn from_str(text: &str) -> Result<Self, InvalidGlob> {
        if text == "**" {
            return Ok(Self::every());
        }
        if text.len() > LIMIT {
            return Err(InvalidGlob::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(InvalidGlob::Control);
        }
        let rest = text.strip_prefix('/').ok_or(InvalidGlob::Start)?;
        let mut segments = Vec::new();
        let mut pieces = Vec::new();
        let mut chars = rest.chars();
        while let Some(c) = chars.next() {
            match c {
                '\\' => pieces.push(Piece::Char(chars.next().ok_or(InvalidGlob::Escape)?)),
                '*' => pieces.push(Piece::AnyRun),
                '/' => push_segment(&mut segments, std::mem::take(&mut pieces))?,
                c => pieces.push(Piece::Char(c)),
            }
        }
        push_segment(&mut segments, pieces)?;
        Ok(Self { text: text.to_owned(), segments })
    }
}

fn push_segment(segments: &mut Vec<Segment>, pieces: Vec<Piece>) -> Result<(), InvalidGlob> {
    if pieces == [Piece::Char('.')] || pieces == [Piece::Char('.'), Piece::Char('.')] {
        return Err(InvalidGlob::Dots);
    }
    let segment = if pieces == [Piece::AnyRun, Piece::AnyRun] {
        Segment::AnyDepth
    } else if pieces.windows(2).any(|pair| pair == [Piece::AnyRun, Piece::AnyRun]) {
        return Err(InvalidGlob::Mixed);
    } else {
        Segment::One(pieces)
    };
    // "/**/**" says no more than "/**".
    if segment != Segment::AnyDepth || segments.last() != Some(&Segment::AnyDepth) {
        segments.push(segment);
    }
    Ok(())
}

impl fmt::Display for PathGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for PathGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl serde::Serialize for PathGlob {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.text)
    }
}

impl<'de> serde::Deserialize<'de> for PathGlob {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use truc_message::CanonicalPath;

    use super::*;

    fn glob(text: &str) -> PathGlob {
        text.parse().unwrap()
    }
    fn hit(pattern: &str, path: &str) -> bool {
        glob(pattern).matches(&CanonicalPath::parse(path).unwrap().segments())
    }

    #[test]
    fn patterns_match_as_x_road_users_expect() {
        for (pattern, path) in [
            ("**", ""),
            ("**", "/a/b"),
            ("/**", ""),
            ("/pet/*", "/pet/1"),
            ("/pet/*", "/pet/"),
            ("/pet/**", "/pet"),
            ("/pet/**", "/pet/1/2"),
            ("/**/ket-qua", "/ket-qua"),
            ("/**/ket-qua", "/a/b/ket-qua"),
            ("/a/**/b/*", "/a/x/y/b/1"),
            ("/v*/x", "/v12/x"),
            ("/a*b*c", "/aXbbYc"),
            ("/\\*", "/*"),
            ("/a\\/b", "/a%2Fb"),
            ("/**", "/a%2Fb"),
            ("/*\\/*", "/a%2Fb"),
            ("/họ tên", "/h%E1%BB%8D%20t%C3%AAn"),
            ("/", "/"),
            ("/a.b", "/a.b"),
        ] {
            assert!(hit(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("/pet/*", "/pet"),
            ("/pet/*", "/pet/1/2"),
            ("/pet/*", "/pet/1/"),
            ("/pet", "/pet/"),
            ("/pet", "/Pet"),
            ("/\\*", "/a"),
            ("/a/b", "/a%2Fb"),
            ("/*", "/a/b"),
            ("/*", "/a%2Fb"),
            ("/a\\/*", "/a%2Fb%2Fc"),
            ("/", ""),
            ("/a.b", "/aXb"),
        ] {
            assert!(!hit(pattern, path), "{pattern} {path}");
        }
    }

    #[test]
    fn malformed_patterns_say_why() {
        assert_eq!("a".parse::<PathGlob>(), Err(InvalidGlob::Start));
        assert_eq!("".parse::<PathGlob>(), Err(InvalidGlob::Start));
        assert_eq!("/a**".parse::<PathGlob>(), Err(InvalidGlob::Mixed));
        assert_eq!("/***".parse::<PathGlob>(), Err(InvalidGlob::Mixed));
        assert_eq!("/a\\".parse::<PathGlob>(), Err(InvalidGlob::Escape));
        assert_eq!("/a/../b".parse::<PathGlob>(), Err(InvalidGlob::Dots));
        assert_eq!("/a\n".parse::<PathGlob>(), Err(InvalidGlob::Control));
        assert_eq!(format!("/{}", "a".repeat(LIMIT)).parse::<PathGlob>(), Err(InvalidGlob::TooLong));
    }

    #[test]
    fn covering_is_for_endpoints() {
        for (wide, narrow) in [
            ("**", "/a/**"),
            ("/pet/*", "/pet/*"),
            ("/pet/*", "/pet/x"),
            ("/**", "/pet/*"),
            ("/a/**", "/a/**"),
        ] {
            assert!(glob(wide).covers(&glob(narrow)), "{wide} {narrow}");
        }
        for (narrow, wide) in [("/pet/*", "/pet/**"), ("/pet/x", "/pet/*"), ("/*", "/**"), ("/a*", "/*")] {
            assert!(!glob(narrow).covers(&glob(wide)), "{narrow} {wide}");
        }
    }

    #[test]
    fn the_worst_pattern_is_still_quick() {
        let pattern = format!("/{}b/**", "*a".repeat(300));
        let stars = "/**/a".repeat(100);
        assert!(!hit(&pattern, &format!("/{}", "a".repeat(7_000))));
        assert!(!hit(&format!("{stars}/b"), &"/a".repeat(3_500)));
    }

    fn slow(pattern: &[Segment], path: &[String]) -> bool {
        match pattern.split_first() {
            None => path.is_empty(),
            Some((Segment::AnyDepth, rest)) => (0..=path.len()).any(|n| slow(rest, &path[n..])),
            Some((Segment::One(pieces), rest)) => {
                path.split_first().is_some_and(|(s, path)| slow_one(pieces, s) && slow(rest, path))
            }
        }
    }
    fn slow_one(pieces: &[Piece], text: &str) -> bool {
        match pieces.split_first() {
            None => text.is_empty(),
            Some((Piece::AnyRun, rest)) => text
                .char_indices()
                .map(|(i, _)| i)
                .chain([text.len()])
                .filter(|i| !text[..*i].contains('/'))
                .any(|i| slow_one(rest, &text[i..])),
            Some((Piece::Char(c), rest)) => text.strip_prefix(*c).is_some_and(|text| slow_one(rest, text)),
        }
    }

    proptest! {
        #[test]
        fn same_answer_as_the_plain_definition(pattern in "(/(\\*\\*|([ab*]|\\\\/){0,4})){1,5}", path in "(/([ab]|%2F){0,4}){0,5}") {
            if let Ok(glob) = pattern.parse::<PathGlob>() {
                let segments = CanonicalPath::parse(&path).unwrap().segments();
                prop_assert_eq!(glob.matches(&segments), slow(&glob.segments, &segments));
            }
        }

        #[test]
        fn an_escaped_path_matches_itself_and_nothing_else(raw in "(/[a-c*%\\\\ ệ/.]{1,6}){1,3}", other in "(/[a-c*ệ]{1,6}){1,3}") {
            let escaped: String = raw.split('/').skip(1).map(|s| {
                format!("/{}", s.chars().flat_map(|c| ['\\', c]).collect::<String>())
            }).collect();
            let Ok(glob) = escaped.parse::<PathGlob>() else { return Ok(()) };
            let of = |text: &str| text.split('/').skip(1).map(str::to_owned).collect::<Vec<_>>();
            prop_assert!(glob.matches(&of(&raw)));
            prop_assert_eq!(glob.matches(&of(&other)), raw == other);
        }

        #[test]
        fn a_covering_pattern_matches_at_least_as_much(wide in "(/(\\*\\*|([ab*]|\\\\/){0,2})){1,3}", narrow in "(/(\\*\\*|([ab*]|\\\\/){0,2})){1,3}", path in "(/([ab]|%2F){0,2}){0,4}") {
            if let (Ok(wide), Ok(narrow)) = (wide.parse::<PathGlob>(), narrow.parse::<PathGlob>()) {
                let segments = CanonicalPath::parse(&path).unwrap().segments();
                if wide.covers(&narrow) && narrow.matches(&segments) {
                    prop_assert!(wide.matches(&segments));
                }
            }
        }

        #[test]
        fn texts_round_trip_and_nothing_panics(text in "\\PC{0,40}") {
            if let Ok(glob) = text.parse::<PathGlob>() {
                prop_assert_eq!(glob.as_str(), text);
                let _ = glob.matches(&["a", ""]);
            }
        }
    }
}
