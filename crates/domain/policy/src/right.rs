//! One right: who may call what, how and where.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use truc_model::{Digest, ServiceId};

use crate::glob::PathGlob;
use crate::subject::Subject;

/// Which HTTP methods: `*`, or one.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum MethodPattern {
    /// `*`, any method.
    Any,
    /// Exactly this one, in upper case.
    One(String),
}

/// A text that is neither `*` nor a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a method is '*' or 1 to 32 upper-case letters such as GET")]
pub struct InvalidMethod;

impl MethodPattern {
    /// Whether `method` is meant; case counts, as in HTTP (RFC 9110 §9.1).
    pub fn matches(&self, method: &str) -> bool {
        match self {
            Self::Any => true,
            Self::One(one) => one == method,
        }
    }
    /// The text, `*` or the method.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Any => "*",
            Self::One(method) => method,
        }
    }
    /// Whether every method that `narrower` means is meant here too.
    pub(crate) fn covers(&self, narrower: &Self) -> bool {
        *self == Self::Any || self == narrower
    }
}

impl FromStr for MethodPattern {
    type Err = InvalidMethod;
    fn from_str(text: &str) -> Result<Self, InvalidMethod> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let good =
            (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'-');
        if good { Ok(Self::One(text.to_owned())) } else { Err(InvalidMethod) }
    }
}

impl TryFrom<String> for MethodPattern {
    type Error = InvalidMethod;
    fn try_from(text: String) -> Result<Self, InvalidMethod> {
        text.parse()
    }
}

impl From<MethodPattern> for String {
    fn from(method: MethodPattern) -> Self {
        method.as_str().to_owned()
    }
}

impl fmt::Display for MethodPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for MethodPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The id of a right: the first 16 bytes of SHA-256 over what it says, in hexadecimal. The same right has the same id
/// on every node and after every revocation, so that a list or a script can name it without asking first.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RightId([u8; 16]);

/// A text that is no right's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the id of a right is 32 lower-case hexadecimal digits")]
pub struct InvalidRightId;

impl RightId {
    fn of(subject: &Subject, service: &ServiceId, method: &MethodPattern, path: &PathGlob) -> Self {
        // None of the first three can hold a line break and the path comes last: the text reads in one way.
        let text = format!("truc-right-1\n{subject}\n{}\n{method}\n{path}", service.tagged());
        let mut id = [0; 16];
        id.copy_from_slice(&Digest::of(text.as_bytes()).as_bytes()[..16]);
        Self(id)
    }
}

impl FromStr for RightId {
    type Err = InvalidRightId;
    fn from_str(text: &str) -> Result<Self, InvalidRightId> {
        let mut id = [0; 16];
        hex::decode_to_slice(text, &mut id).map_err(|_| InvalidRightId)?;
        if text.bytes().any(|b| b.is_ascii_uppercase()) { Err(InvalidRightId) } else { Ok(Self(id)) }
    }
}

impl TryFrom<String> for RightId {
    type Error = InvalidRightId;
    fn try_from(text: String) -> Result<Self, InvalidRightId> {
        text.parse()
    }
}

impl From<RightId> for String {
    fn from(id: RightId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for RightId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for RightId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Permission for a subject to call one service with a method on the paths of a pattern. Rights add up: a call is
/// permitted when any right matches, and there is no right that forbids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", rename_all = "camelCase")]
pub struct Right {
    id: RightId,
    subject: Subject,
    service: ServiceId,
    method: MethodPattern,
    path: PathGlob,
}

impl Right {
    /// The right that says this.
    pub fn new(subject: Subject, service: ServiceId, method: MethodPattern, path: PathGlob) -> Self {
        Self { id: RightId::of(&subject, &service, &method, &path), subject, service, method, path }
    }
    /// Its id.
    pub const fn id(&self) -> RightId {
        self.id
    }
    /// To whom it is given.
    pub const fn subject(&self) -> &Subject {
        &self.subject
    }
    /// Which service may be called.
    pub const fn service(&self) -> &ServiceId {
        &self.service
    }
    /// With which methods.
    pub const fn method(&self) -> &MethodPattern {
        &self.method
    }
    /// On which paths.
    pub const fn path(&self) -> &PathGlob {
        &self.path
    }
}

/// A right as stored; its id must be the one its content gives.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    id: RightId,
    subject: Subject,
    service: ServiceId,
    method: MethodPattern,
    path: PathGlob,
}

impl TryFrom<Written> for Right {
    type Error = &'static str;
    fn try_from(w: Written) -> Result<Self, &'static str> {
        let right = Self::new(w.subject, w.service, w.method, w.path);
        if right.id == w.id { Ok(right) } else { Err("the right's id does not belong to its content") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_fixed_by_the_content() {
        let right = Right::new(
            "SUBSYSTEM:VN/GOV/H26/mot-cua-so-1".parse().unwrap(),
            "VN/GOV/G01/csdl-dancu/tra-cuu".parse().unwrap(),
            "GET".parse().unwrap(),
            "/cong-dan/*".parse().unwrap(),
        );
        let json = serde_json::to_string(&right).unwrap();
        // Golden: ids are in journals and in people's notes.
        assert_eq!(
            json,
            r#"{"id":"38d9c4f4d492ca53c3bce6610f46094f","subject":"SUBSYSTEM:VN/GOV/H26/mot-cua-so-1","service":"SERVICE:VN/GOV/G01/csdl-dancu/tra-cuu","method":"GET","path":"/cong-dan/*"}"#
        );
        assert_eq!(serde_json::from_str::<Right>(&json).unwrap(), right);
        assert!(serde_json::from_str::<Right>(&json.replace("GET", "PUT")).is_err());
    }

    #[test]
    fn methods_are_exact() {
        let get: MethodPattern = "GET".parse().unwrap();
        assert!(get.matches("GET") && !get.matches("get") && !get.matches("HEAD"));
        assert!(MethodPattern::Any.matches("POST"));
        assert!("get".parse::<MethodPattern>().is_err() && "".parse::<MethodPattern>().is_err());
    }
}
