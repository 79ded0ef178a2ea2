//! One right: who may call what, how and where.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use truc_model::{Digest, MemberId, ServiceId};

use crate::conditions::Conditions;
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
    fn of(
        subject: &Subject,
        service: &ServiceId,
        method: &MethodPattern,
        path: &PathGlob,
        conditions: &Conditions,
    ) -> Self {
        // Only the path, which comes last, could hold a line break: the text reads in one way.
        let text = if conditions.is_none() {
            format!("truc-right-1\n{subject}\n{}\n{method}\n{path}", service.tagged())
        } else {
            format!("truc-right-2\n{subject}\n{}\n{method}\n{conditions}\n{path}", service.tagged())
        };
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

/// Permission for a subject to call one service with a method on the paths of a pattern, under conditions. Rights add
/// up: a call is permitted when any right matches and its conditions hold, and there is no right that forbids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", rename_all = "camelCase")]
pub struct Right {
    id: RightId,
    subject: Subject,
    service: ServiceId,
    method: MethodPattern,
    path: PathGlob,
    #[serde(skip_serializing_if = "Conditions::is_none")]
    conditions: Conditions,
    #[serde(skip_serializing_if = "Option::is_none")]
    by_succession_of: Option<MemberId>,
}

impl Right {
    /// The right that says this, without conditions.
    pub fn new(subject: Subject, service: ServiceId, method: MethodPattern, path: PathGlob) -> Self {
        let conditions = Conditions::default();
        let id = RightId::of(&subject, &service, &method, &path, &conditions);
        Self { id, subject, service, method, path, conditions, by_succession_of: None }
    }
    /// The same right under these conditions; it has an id of its own.
    #[must_use]
    pub fn under(self, conditions: Conditions) -> Self {
        let id = RightId::of(&self.subject, &self.service, &self.method, &self.path, &conditions);
        Self { id, conditions, ..self }
    }
    /// The same right, marked as added because its subject took over from this closed member (protocol P6.4). The mark is
    /// no part of the id.
    #[must_use]
    pub fn by_succession(self, of: MemberId) -> Self {
        Self { by_succession_of: Some(of), ..self }
    }
    /// The same right for another subject.
    #[must_use]
    pub(crate) fn given_to(&self, subject: Subject) -> Self {
        let (service, method, path) = (self.service.clone(), self.method.clone(), self.path.clone());
        Self::new(subject, service, method, path).under(self.conditions)
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
    /// Under which conditions.
    pub const fn conditions(&self) -> &Conditions {
        &self.conditions
    }
    /// From which closed member it was carried over, if it was.
    pub const fn by_succession_of(&self) -> Option<&MemberId> {
        self.by_succession_of.as_ref()
    }
    /// Whether both say the same but for their conditions.
    pub fn says_the_same(&self, other: &Self) -> bool {
        (&self.subject, &self.service, &self.method, &self.path)
            == (&other.subject, &other.service, &other.method, &other.path)
    }
}

impl fmt::Display for Right {
    /// One line for people: subject, method, path and conditions, not the service.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.subject, self.method, self.path)?;
        if !self.conditions.is_none() {
            write!(f, " ({})", self.conditions)?;
        }
        match &self.by_succession_of {
            Some(member) => write!(f, " by succession of {member}"),
            None => Ok(()),
        }
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
    #[serde(default)]
    conditions: Conditions,
    #[serde(default)]
    by_succession_of: Option<MemberId>,
}

impl TryFrom<Written> for Right {
    type Error = &'static str;
    fn try_from(w: Written) -> Result<Self, &'static str> {
        let right = Self::new(w.subject, w.service, w.method, w.path).under(w.conditions);
        if right.id != w.id {
            return Err("the right's id does not belong to its content");
        }
        Ok(Self { by_succession_of: w.by_succession_of, ..right })
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
        let hours = Some("mon-fri 07:30-17:00".parse().unwrap());
        let office = right.clone().under(Conditions { hours, ..Conditions::default() });
        assert_ne!(office.id(), right.id());
        assert!(office.says_the_same(&right));
        let carried = office.clone().by_succession("VN/GOV/H02".parse().unwrap());
        assert_eq!(carried.id(), office.id());
        let json = serde_json::to_string(&carried).unwrap();
        assert_eq!(
            json,
            r#"{"id":"32ed46f296ab873fd99d228fa142fcf6","subject":"SUBSYSTEM:VN/GOV/H26/mot-cua-so-1","service":"SERVICE:VN/GOV/G01/csdl-dancu/tra-cuu","method":"GET","path":"/cong-dan/*","conditions":{"hours":"mon-fri 07:30-17:00"},"bySuccessionOf":"MEMBER:VN/GOV/H02"}"#
        );
        assert_eq!(serde_json::from_str::<Right>(&json).unwrap(), carried);
        assert!(serde_json::from_str::<Right>(&json.replace("17:00", "18:00")).is_err());
    }

    #[test]
    fn methods_are_exact() {
        let get: MethodPattern = "GET".parse().unwrap();
        assert!(get.matches("GET") && !get.matches("get") && !get.matches("HEAD"));
        assert!(MethodPattern::Any.matches("POST"));
        assert!("get".parse::<MethodPattern>().is_err() && "".parse::<MethodPattern>().is_err());
    }
}
