//! What a service says about its evidence: whom its calls are about, what is kept of their bodies and how long, and how
//! soon their time is proved (evidence.md §3.5, §5, §6.1).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::subject_place::SubjectPlace;

/// Most characters of a retention class's name.
const CLASS_LIMIT: usize = 32;

/// What a service says about its evidence. JSON: camelCase, unknown keys are refused, and what is as by default is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EvidenceSettings {
    /// Where a request names whom it is about; it is indexed hashed. While there is none, nothing is indexed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<SubjectPlace>,
    /// What the provider's node keeps of bodies.
    #[serde(default, skip_serializing_if = "is_default")]
    pub bodies: Bodies,
    /// How long it keeps them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub retention: BodyClass,
    /// How soon records are time-stamped.
    #[serde(default, skip_serializing_if = "is_default")]
    pub time_stamp: TimeStamp,
}

pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A word that is not one of those there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write {0} or {1}")]
pub struct OtherWord(&'static str, &'static str);

/// What is kept of bodies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bodies {
    /// The bodies themselves, up to 10 MiB each.
    #[default]
    Full,
    /// Their signed digests alone. Whoever has a body can still prove that it is the one.
    Digest,
}

impl Bodies {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Digest => "digest",
        }
    }
}

impl FromStr for Bodies {
    type Err = OtherWord;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "full" => Ok(Self::Full),
            "digest" => Ok(Self::Digest),
            _ => Err(OtherWord("full", "digest")),
        }
    }
}

impl fmt::Display for Bodies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How soon records are time-stamped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimeStamp {
    /// With the other records of their minute.
    #[default]
    Batch,
    /// The request's before the service is called, the answer's before the provider's node says that it is recorded.
    Immediate,
}

impl TimeStamp {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::Immediate => "immediate",
        }
    }
}

impl FromStr for TimeStamp {
    type Err = OtherWord;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "batch" => Ok(Self::Batch),
            "immediate" => Ok(Self::Immediate),
            _ => Err(OtherWord("batch", "immediate")),
        }
    }
}

impl fmt::Display for TimeStamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The name of a retention class: bodies of one class and month are kept and forgotten together. 1 to 32 of `a-z`, `0-9` and
/// `-`; what a class means is the node's configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BodyClass(String);

/// A text that names no retention class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a retention class is 1 to {CLASS_LIMIT} small letters a-z, digits and hyphens, like default or ho-tich-50y"
)]
pub struct InvalidBodyClass;

impl BodyClass {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The class of what names none: `default`.
impl Default for BodyClass {
    fn default() -> Self {
        Self("default".to_owned())
    }
}

impl TryFrom<String> for BodyClass {
    type Error = InvalidBodyClass;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let good = (1..=CLASS_LIMIT).contains(&text.len()) && text.bytes().all(allowed);
        if good { Ok(Self(text)) } else { Err(InvalidBodyClass) }
    }
}

impl FromStr for BodyClass {
    type Err = InvalidBodyClass;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::try_from(text.to_owned())
    }
}

impl From<BodyClass> for String {
    fn from(class: BodyClass) -> Self {
        class.0
    }
}

impl fmt::Display for BodyClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_that_of_the_manual() {
        let text = r#"{"subject":{"jsonPointer":"/soDinhDanh"},"bodies":"digest","retention":"ho-tich-50y","timeStamp":"immediate"}"#;
        let read: EvidenceSettings = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), text);
        assert_eq!(
            serde_json::from_str::<EvidenceSettings>("{}").unwrap(),
            EvidenceSettings::default(),
            "nothing said is the default"
        );
        assert_eq!(serde_json::to_string(&EvidenceSettings::default()).unwrap(), "{}");
        for place in [r#"{"pathSegment":2}"#, r#"{"query":"soDinhDanh"}"#] {
            let text = format!(r#"{{"subject":{place}}}"#);
            let read: EvidenceSettings = serde_json::from_str(&text).unwrap();
            assert_eq!(serde_json::to_string(&read).unwrap(), text);
        }
    }

    #[test]
    fn what_is_off_is_refused_and_says_what_to_write() {
        for (text, told) in [
            (r#"{"subject":{"jsonPointer":"soDinhDanh"}}"#, "begins with /"),
            (r#"{"subject":{"jsonPointer":"/a~2"}}"#, "~0"),
            (r#"{"subject":{"pathSegment":0}}"#, "1 to 64"),
            (r#"{"subject":{"pathSegment":65}}"#, "1 to 64"),
            (r#"{"subject":{"query":""}}"#, "1 to 100"),
            (r#"{"subject":{"jsonPointer":"/a","query":"a"}}"#, ""),
            (r#"{"subject":{"header":"a"}}"#, "jsonPointer"),
            (r#"{"bodies":"none"}"#, "full"),
            (r#"{"retention":"10 Y"}"#, "retention class"),
            (r#"{"retention":""}"#, "retention class"),
            (r#"{"timeStamp":"now"}"#, "immediate"),
            (r#"{"x":1}"#, "unknown field"),
        ] {
            let error = serde_json::from_str::<EvidenceSettings>(text).unwrap_err().to_string();
            assert!(error.contains(told), "{text}: {error}");
        }
        assert!("a".repeat(33).parse::<BodyClass>().is_err());
        assert_eq!("ho-tich-50y".parse::<BodyClass>().unwrap().as_str(), "ho-tich-50y");
        for word in [Bodies::Full, Bodies::Digest] {
            assert_eq!(word.as_str().parse(), Ok(word));
        }
        for word in [TimeStamp::Batch, TimeStamp::Immediate] {
            assert_eq!(word.as_str().parse(), Ok(word));
        }
    }
}
