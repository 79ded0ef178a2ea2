//! Where a request names whom it is about, and finding it there.
//!
//! Pure: what is found depends on the request's bytes alone. It is read as strictly as it can be: a request that can be
//! read in two ways names nobody, since the service behind the node may read it in the other.

use std::fmt;
use std::str::FromStr;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use truc_message::{CanonicalPath, Header};

/// Most bytes of a body that is looked into.
pub const SUBJECT_BODY_LIMIT: usize = 1024 * 1024;
/// Most bytes of a subject.
const SUBJECT_LIMIT: usize = 200;
const POINTER_LIMIT: usize = 200;
const SEGMENT_LIMIT: u8 = 64;
const NAME_LIMIT: usize = 100;

/// Where a request names whom it is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SubjectPlace {
    /// At this place of the JSON in the request's body, of at most [`SUBJECT_BODY_LIMIT`] bytes: a text or an integer.
    JsonPointer(JsonPointer),
    /// This segment of the canonical path after the service's code, decoded.
    PathSegment(PathSegment),
    /// The query parameter with this name, decoded.
    Query(QueryName),
}

/// A pointer into JSON (RFC 6901), of at most 200 bytes. The empty one is the whole of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JsonPointer(String);

/// The number of a path segment, from 1 to 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct PathSegment(u8);

/// The name of a query parameter, decoded, of 1 to 100 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct QueryName(String);

/// Why a text is no place of a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPlace {
    /// Not a pointer of RFC 6901.
    #[error(
        "a JSON pointer begins with / before every name, has at most 200 bytes, and ~ stands only in ~0 and ~1, like /congDan/soDinhDanh"
    )]
    Pointer,
    /// Not the number of a segment.
    #[error("a path segment is a number from 1 to 64, counted after the service's code")]
    Segment,
    /// Not a parameter's name.
    #[error("a query parameter's name has 1 to 100 bytes and no control characters, like soDinhDanh")]
    Query,
}

/// Why a request names nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NoSubject {
    /// Nothing is there, or something that is neither a text nor an integer.
    Missing,
    /// It is there more than once.
    Several,
    /// The body is longer than what is looked into.
    TooLong,
    /// The body is no JSON, or the parameter does not decode to a text.
    Unreadable,
}

impl NoSubject {
    /// Every reason.
    pub const ALL: [Self; 4] = [Self::Missing, Self::Several, Self::TooLong, Self::Unreadable];

    /// A stable word for metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Several => "several",
            Self::TooLong => "too-long",
            Self::Unreadable => "unreadable",
        }
    }
}

impl SubjectPlace {
    /// Finds whom a request is about; `body` is `None` when it is not at hand whole. The text is as it is written there, an
    /// integer in decimal; never empty.
    ///
    /// # Errors
    /// [`NoSubject`] says why there is nobody; it holds nothing of the request.
    pub fn find(&self, header: &Header, body: Option<&[u8]>) -> Result<String, NoSubject> {
        let found = match self {
            Self::JsonPointer(pointer) => pointer.find(body.ok_or(NoSubject::TooLong)?),
            Self::PathSegment(segment) => segment.find(header.path.as_deref().unwrap_or_default()),
            Self::Query(name) => name.find(header.query.as_deref().unwrap_or_default()),
        }?;
        if found.is_empty() || found.len() > SUBJECT_LIMIT {
            return Err(NoSubject::Missing);
        }
        Ok(found)
    }
}

impl FromStr for JsonPointer {
    type Err = InvalidPlace;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let begins = text.is_empty() || text.starts_with('/');
        let escaped = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
        let good = begins && escaped && text.len() <= POINTER_LIMIT;
        if good { Ok(Self(text.to_owned())) } else { Err(InvalidPlace::Pointer) }
    }
}

impl JsonPointer {
    fn find(&self, json: &[u8]) -> Result<String, NoSubject> {
        if json.len() > SUBJECT_BODY_LIMIT {
            return Err(NoSubject::TooLong);
        }
        let names: Vec<String> =
            self.0.split('/').skip(1).map(|name| name.replace("~1", "/").replace("~0", "~")).collect();
        let mut reader = serde_json::Deserializer::from_slice(json);
        let found = Step(&names).deserialize(&mut reader).map_err(|_| NoSubject::Unreadable)?;
        reader.end().map_err(|_| NoSubject::Unreadable)?;
        match found {
            Found::Nothing => Err(NoSubject::Missing),
            Found::One(text) => Ok(text),
            Found::Several => Err(NoSubject::Several),
        }
    }
}

/// What a walk along a pointer came to.
enum Found {
    Nothing,
    One(String),
    Several,
}

/// What is left of the way; everything beside it is skipped and kept nowhere.
struct Step<'a>(&'a [String]);

impl<'de> DeserializeSeed<'de> for Step<'_> {
    type Value = Found;
    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Found, D::Error> {
        reader.deserialize_any(self)
    }
}

impl Step<'_> {
    /// What stands at the end of the way.
    fn end(&self, text: impl FnOnce() -> String) -> Found {
        if self.0.is_empty() { Found::One(text()) } else { Found::Nothing }
    }
}

impl<'de> Visitor<'de> for Step<'_> {
    type Value = Found;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_str<E>(self, text: &str) -> Result<Found, E> {
        Ok(self.end(|| text.to_owned()))
    }
    fn visit_u64<E>(self, number: u64) -> Result<Found, E> {
        Ok(self.end(|| number.to_string()))
    }
    fn visit_i64<E>(self, number: i64) -> Result<Found, E> {
        Ok(self.end(|| number.to_string()))
    }
    fn visit_f64<E>(self, _: f64) -> Result<Found, E> {
        Ok(Found::Nothing)
    }
    fn visit_bool<E>(self, _: bool) -> Result<Found, E> {
        Ok(Found::Nothing)
    }
    fn visit_unit<E>(self) -> Result<Found, E> {
        Ok(Found::Nothing)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found, A::Error> {
        let mut met = None;
        while let Some(name) = map.next_key::<String>()? {
            match self.0.split_first() {
                Some((wanted, rest)) if *wanted == name => {
                    let found = map.next_value_seed(Step(rest))?;
                    // A name that is there twice is read in one way by one reader, and otherwise by the next.
                    met = Some(if met.is_some() { Found::Several } else { found });
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(met.unwrap_or(Found::Nothing))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Found, A::Error> {
        let way = self.0.split_first().and_then(|(place, rest)| Some((index(place)?, rest)));
        let mut found = Found::Nothing;
        for at in 0_usize.. {
            match way {
                Some((place, rest)) if place == at => match list.next_element_seed(Step(rest))? {
                    Some(there) => found = there,
                    None => break,
                },
                _ if list.next_element::<IgnoredAny>()?.is_none() => break,
                _ => {}
            }
        }
        Ok(found)
    }
}

/// An index of RFC 6901 §4: decimal, without leading zeros.
fn index(text: &str) -> Option<usize> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

impl PathSegment {
    fn find(self, path: &str) -> Result<String, NoSubject> {
        let path = CanonicalPath::from_canonical(path).map_err(|_| NoSubject::Unreadable)?;
        let at = usize::from(self.0).saturating_sub(1);
        path.segments().into_iter().nth(at).ok_or(NoSubject::Missing)
    }
}

impl TryFrom<u64> for PathSegment {
    type Error = InvalidPlace;
    fn try_from(number: u64) -> Result<Self, Self::Error> {
        let number = u8::try_from(number).ok().filter(|n| (1..=SEGMENT_LIMIT).contains(n));
        number.map(Self).ok_or(InvalidPlace::Segment)
    }
}

impl FromStr for PathSegment {
    type Err = InvalidPlace;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<u64>().map_err(|_| InvalidPlace::Segment)?.try_into()
    }
}

impl FromStr for QueryName {
    type Err = InvalidPlace;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let good = (1..=NAME_LIMIT).contains(&text.len()) && !text.chars().any(char::is_control);
        if good { Ok(Self(text.to_owned())) } else { Err(InvalidPlace::Query) }
    }
}

impl QueryName {
    fn find(&self, query: &str) -> Result<String, NoSubject> {
        let mut found = None;
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if form_decoded(name).is_some_and(|name| name == self.0) && found.replace(value).is_some() {
                return Err(NoSubject::Several);
            }
        }
        form_decoded(found.ok_or(NoSubject::Missing)?).ok_or(NoSubject::Unreadable)
    }
}

/// Decodes a name or value of a query as HTML forms write it; `None` when it is not so written, or no text.
fn form_decoded(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        at += 1;
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |i: usize| bytes.get(i).and_then(|b| char::from(*b).to_digit(16));
                let value = digit(at)? * 16 + digit(at + 1)?;
                at += 2;
                u8::try_from(value).ok()?
            }
            plain => *plain,
        });
    }
    String::from_utf8(out).ok()
}

macro_rules! texts {
    ($($name:ident)+) => { $(
        impl TryFrom<String> for $name {
            type Error = InvalidPlace;
            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(named: $name) -> Self {
                named.0
            }
        }
    )+ };
}
texts!(JsonPointer QueryName);

impl From<PathSegment> for u64 {
    fn from(segment: PathSegment) -> Self {
        Self::from(segment.0)
    }
}

macro_rules! shown {
    ($($name:ident)+) => { $(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )+ };
}
shown!(JsonPointer PathSegment QueryName);

/// As people read it.
impl fmt::Display for SubjectPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::JsonPointer(pointer) => write!(f, "body at {pointer}"),
            Self::PathSegment(segment) => write!(f, "path segment {segment}"),
            Self::Query(name) => write!(f, "query parameter {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(pointer: &str, json: &str) -> Result<String, NoSubject> {
        pointer.parse::<JsonPointer>().unwrap().find(json.as_bytes())
    }
    fn named(name: &str, query: &str) -> Result<String, NoSubject> {
        name.parse::<QueryName>().unwrap().find(query)
    }
    fn found(text: &str) -> Result<String, NoSubject> {
        Ok(text.to_owned())
    }

    #[test]
    fn a_pointer_finds_a_text_or_an_integer() {
        assert_eq!(at("/a", r#"{"a":"001"}"#), found("001"));
        assert_eq!(at("/a", r#"{"a":1099511627776}"#), found("1099511627776"));
        assert_eq!(at("/a/b/1", r#"{"x":[{}],"a":{"b":[0,{"c":1},2],"b2":3}}"#), Err(NoSubject::Missing));
        assert_eq!(at("/a/b/1/c", r#"{"x":[{}],"a":{"b":[0,{"c":-1},2],"b2":3}}"#), found("-1"));
        assert_eq!(at("", "\"x\""), found("x"));
        assert_eq!(at("/", r#"{"":"x"}"#), found("x"));
        assert_eq!(at("/a~1b/m~0n", r#"{"a/b":{"m~n":"x"}}"#), found("x"));
        assert_eq!(at("/~01", r#"{"~1":"x","/":"y"}"#), found("x"));
        assert_eq!(at("/a", r#"{"\u0061":"\u0111"}"#), found("đ"));
        for none in [
            r#"{}"#,
            r#"{"a":null}"#,
            r#"{"a":1.5}"#,
            r#"{"a":true}"#,
            r#"{"a":{}}"#,
            r#"{"a":["x"]}"#,
            "[1]",
            "1",
        ] {
            assert_eq!(at("/a", none), Err(NoSubject::Missing), "{none}");
        }
        for index in ["/01", "/-", "/3", "/+1", "/99999999999999999999999"] {
            assert_eq!(at(index, r#"["a","b","c"]"#), Err(NoSubject::Missing), "{index}");
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_names_nobody() {
        assert_eq!(at("/a", r#"{"a":"1","a":"1"}"#), Err(NoSubject::Several));
        assert_eq!(at("/a", r#"{"a":"1","\u0061":2}"#), Err(NoSubject::Several));
        assert_eq!(at("/a/b", r#"{"a":{"b":"1"},"a":{}}"#), Err(NoSubject::Several));
        assert_eq!(at("/a", r#"{"b":1,"b":2,"a":"1"}"#), found("1"), "beside the way it does not matter");
        for broken in ["", "{", r#"{"a":"1"}x"#, r#"{"a":"1",}"#, "\u{feff}{}"] {
            assert_eq!(at("/a", broken), Err(NoSubject::Unreadable), "{broken}");
        }
        assert_eq!(named("a", "a=1&b=2&a=1"), Err(NoSubject::Several));
        assert_eq!(named("a", "a=1&%61"), Err(NoSubject::Several));
        let long = format!("\"{}\"", "x".repeat(SUBJECT_BODY_LIMIT));
        assert_eq!(at("", &long), Err(NoSubject::TooLong));
    }

    #[test]
    fn a_parameter_is_decoded() {
        assert_eq!(named("số", "b=2&s%E1%BB%91=A+%2B%c4%91"), found("A +đ"));
        assert_eq!(named("a", "a=1=2"), found("1=2"));
        for none in ["", "b=1", "A=1"] {
            assert_eq!(named("a", none), Err(NoSubject::Missing), "{none}");
        }
        for broken in ["a=%f", "a=%ff", "a=%zz"] {
            assert_eq!(named("a", broken), Err(NoSubject::Unreadable), "{broken}");
        }
    }

    #[test]
    fn a_segment_is_decoded_and_counted_from_one() {
        let of = |n: u64, path| PathSegment::try_from(n).unwrap().find(path);
        assert_eq!(of(1, "/cong-dan/001"), found("cong-dan"));
        assert_eq!(of(2, "/cong-dan/0%2F1%C4%91"), found("0/1đ"));
        for (n, path) in [(3, "/cong-dan/001"), (1, "")] {
            assert_eq!(of(n, path), Err(NoSubject::Missing));
        }
    }
}
