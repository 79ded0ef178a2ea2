//! The id of a message: a UUIDv7 made by the sending node (protocol P1.2, RFC 9562).

use std::fmt;
use std::str::FromStr;

use crate::Timestamp;

/// A UUIDv7 in its lower-case hyphenated form; also the exchange's `X-Road-Request-Id`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(uuid::Uuid);

/// A text that is not a lower-case hyphenated UUIDv7.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message id is a UUID version 7 in lower case with hyphens")]
pub struct InvalidMessageId;

impl MessageId {
    /// A new id for a message sent at `at`; `random` must be fresh random bytes.
    pub fn new(at: Timestamp, random: [u8; 10]) -> Self {
        let millis = u64::try_from(at.millis()).unwrap_or(0);
        Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
    }
    /// When the id was made: the time that every UUIDv7 begins with.
    pub fn made_at(&self) -> Timestamp {
        let [a, b, c, d, e, f, ..] = *self.0.as_bytes();
        Timestamp::from_millis(i64::from_be_bytes([0, 0, a, b, c, d, e, f]))
    }
    /// From its 16 bytes; `None` unless they say UUID version 7.
    pub fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
        let id = uuid::Uuid::from_bytes(bytes);
        (id.get_version_num() == 7).then_some(Self(id))
    }
    /// The 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl FromStr for MessageId {
    type Err = InvalidMessageId;
    fn from_str(text: &str) -> Result<Self, InvalidMessageId> {
        let id = uuid::Uuid::try_parse(text).map_err(|_| InvalidMessageId)?;
        let canonical = id.get_version_num() == 7 && id.hyphenated().to_string() == text;
        if canonical { Ok(Self(id)) } else { Err(InvalidMessageId) }
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.hyphenated(), f)
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for MessageId {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for MessageId {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_version_seven_in_lower_case() {
        let id = MessageId::new(Timestamp::from_millis(1_700_000_000_000), [7; 10]);
        assert_eq!(id.to_string().parse::<MessageId>(), Ok(id));
        assert_eq!(id.made_at(), Timestamp::from_millis(1_700_000_000_000));
        assert!(id.to_string().to_uppercase().parse::<MessageId>().is_err());
        assert!("6f2f0f63-8f4b-4d22-9f8e-0a8f0d0d0d0d".parse::<MessageId>().is_err());
    }
}
