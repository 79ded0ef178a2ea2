//! Identifiers of members, subsystems, services and nodes (protocol P10.2, X-Road pr-rest 4.8).
//!
//! An identifier has a plain form, `VN/GOV/H26/mot-cua-so-1`, for people and URLs, and a tagged form,
//! `SUBSYSTEM:VN/GOV/H26/mot-cua-so-1`, wherever it is stored or signed: a node and a subsystem have the
//! same shape, and a tag keeps one from being read as the other. `Display` and `FromStr` are the plain form,
//! serde is the tagged form.

use std::fmt;
use std::str::FromStr;

/// Longest permitted part of an identifier, in characters (protocol P10.2).
pub const PART_LIMIT: usize = 64;

/// Why a text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// The number of `/`-separated parts is wrong.
    #[error("{what} has {want} parts separated by '/', this has {got}")]
    Parts {
        /// Which identifier was expected, e.g. `a subsystem id`.
        what: &'static str,
        /// Parts expected.
        want: usize,
        /// Parts found.
        got: usize,
    },
    /// A part is empty, longer than [`PART_LIMIT`] or holds a character outside X-Road's allowed set.
    #[error("identifier part {0:?}: 1 to 64 characters of A-Z a-z 0-9 ' ( ) + , - . = ? are allowed")]
    Part(String),
    /// The type tag of a stored identifier is missing or another one.
    #[error("expected an identifier tagged {0}:")]
    Tag(&'static str),
}

/// Checks one part against X-Road's allowed characters; `.` and `..` alone are refused because a path would eat them.
fn check_part(part: &str) -> Result<(), InvalidId> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "'()+,-.=?".contains(c);
    let good = !part.is_empty()
        && part.len() <= PART_LIMIT
        && part.chars().all(allowed)
        && part != "."
        && part != "..";
    if good { Ok(()) } else { Err(InvalidId::Part(part.chars().take(80).collect())) }
}

fn split<const N: usize>(text: &str, what: &'static str) -> Result<[String; N], InvalidId> {
    let parts: Vec<&str> = text.split('/').collect();
    let got = parts.len();
    let parts: [&str; N] = parts.try_into().map_err(|_| InvalidId::Parts { what, want: N, got })?;
    for part in parts {
        check_part(part)?;
    }
    Ok(parts.map(str::to_owned))
}

macro_rules! identifier {
    ($name:ident, $tag:literal, $what:literal, $doc:literal, [$($field:ident),+], $count:literal) => {
        #[doc = $doc]
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name { text: String }

        impl $name {
            /// The tag of the stored form.
            pub const TAG: &'static str = $tag;

            /// Builds the identifier from its parts.
            ///
            /// # Errors
            /// [`InvalidId::Part`] when a part breaks the rules of protocol P10.2.
            pub fn new($($field: &str),+) -> Result<Self, InvalidId> {
                let parts = [$($field),+];
                for part in parts { check_part(part)?; }
                Ok(Self { text: parts.join("/") })
            }

            /// The plain form, e.g. for a URL path.
            pub fn as_str(&self) -> &str { &self.text }

            /// The parts in order; their number is fixed for the type.
            pub fn parts(&self) -> Vec<&str> { self.text.split('/').collect() }

            /// The instance code, the first part.
            pub fn instance(&self) -> &str { self.text.split('/').next().unwrap_or_default() }

            /// The stored form, `TAG:plain`.
            pub fn tagged(&self) -> String { format!("{}:{}", Self::TAG, self.text) }

            /// Reads the stored form.
            ///
            /// # Errors
            /// [`InvalidId`] when the tag is another one or the rest is not this kind of identifier.
            pub fn from_tagged(text: &str) -> Result<Self, InvalidId> {
                text.strip_prefix(concat!($tag, ":")).ok_or(InvalidId::Tag($tag))?.parse()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(&self.text) }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, "{}:{}", Self::TAG, self.text) }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Ok(Self { text: split::<$count>(text, $what)?.join("/") })
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> { s.collect_str(&self.tagged()) }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(d)?;
                Self::from_tagged(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

identifier!(MemberId, "MEMBER", "a member id", "An organisation, `VN/GOV/G01`.", [instance, class, code], 3);
identifier!(
    SubsystemId,
    "SUBSYSTEM",
    "a subsystem id",
    "One information system of a member, `VN/GOV/H26/mot-cua-so-1`.",
    [instance, class, member, subsystem],
    4
);
identifier!(
    ServiceId,
    "SERVICE",
    "a service id",
    "What a subsystem offers, `VN/GOV/G01/csdl-dancu/tra-cuu-cong-dan`.",
    [instance, class, member, subsystem, service],
    5
);
identifier!(
    NodeId,
    "NODE",
    "a node id",
    "The gateway a member runs, `VN/GOV/H26/ss1` (X-Road: security server).",
    [instance, class, member, node],
    4
);

/// The text before the last `/`, and the text after it.
fn cut(text: &str) -> (&str, &str) {
    text.rsplit_once('/').unwrap_or((text, ""))
}

impl SubsystemId {
    /// The member this subsystem belongs to.
    pub fn member(&self) -> MemberId {
        MemberId { text: cut(&self.text).0.to_owned() }
    }
    /// The subsystem code, the last part.
    pub fn code(&self) -> &str {
        cut(&self.text).1
    }
    /// The service `code` of this subsystem.
    ///
    /// # Errors
    /// [`InvalidId::Part`] when the code breaks the rules of protocol P10.2.
    pub fn service(&self, code: &str) -> Result<ServiceId, InvalidId> {
        format!("{}/{code}", self.text).parse()
    }
}

impl ServiceId {
    /// The subsystem that offers this service.
    pub fn subsystem(&self) -> SubsystemId {
        SubsystemId { text: cut(&self.text).0.to_owned() }
    }
    /// The service code, the last part.
    pub fn code(&self) -> &str {
        cut(&self.text).1
    }
    /// The member that offers this service.
    pub fn member(&self) -> MemberId {
        self.subsystem().member()
    }
}

impl NodeId {
    /// The member that runs this node.
    pub fn owner(&self) -> MemberId {
        MemberId { text: cut(&self.text).0.to_owned() }
    }
    /// The node code, the last part.
    pub fn code(&self) -> &str {
        cut(&self.text).1
    }
}

impl MemberId {
    /// The subsystem `code` of this member.
    ///
    /// # Errors
    /// [`InvalidId::Part`] when the code breaks the rules of protocol P10.2.
    pub fn subsystem(&self, code: &str) -> Result<SubsystemId, InvalidId> {
        format!("{}/{code}", self.text).parse()
    }
    /// The node `code` of this member.
    ///
    /// # Errors
    /// [`InvalidId::Part`] when the code breaks the rules of protocol P10.2.
    pub fn node(&self, code: &str) -> Result<NodeId, InvalidId> {
        format!("{}/{code}", self.text).parse()
    }
    /// The member class, e.g. `GOV`.
    pub fn class(&self) -> &str {
        self.text.split('/').nth(1).unwrap_or_default()
    }
    /// The member code, e.g. `G01`.
    pub fn code(&self) -> &str {
        cut(&self.text).1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_and_tagged_forms_round_trip() {
        let id: SubsystemId = "VN/GOV/H26/mot-cua-so-1".parse().unwrap();
        assert_eq!(id.member().to_string(), "VN/GOV/H26");
        assert_eq!(id.code(), "mot-cua-so-1");
        let stored = serde_json::to_string(&id).unwrap();
        assert_eq!(stored, "\"SUBSYSTEM:VN/GOV/H26/mot-cua-so-1\"");
        assert_eq!(serde_json::from_str::<SubsystemId>(&stored).unwrap(), id);
    }

    #[test]
    fn a_node_is_never_read_as_a_subsystem() {
        let node: NodeId = "VN/GOV/H26/ss1".parse().unwrap();
        assert_eq!(SubsystemId::from_tagged(&node.tagged()), Err(InvalidId::Tag("SUBSYSTEM")));
    }

    #[test]
    fn parts_outside_the_rules_are_refused() {
        for bad in [
            "",
            "VN",
            "VN/GOV/H26",
            "VN/GOV//x",
            "VN/GOV/H26/a b",
            "VN/GOV/H26/..",
            "VN/GOV/H26/a%2Fb",
            "VN/GOV/H26/é",
        ] {
            assert!(bad.parse::<SubsystemId>().is_err(), "{bad:?}");
        }
        assert!(format!("VN/GOV/H26/{}", "a".repeat(64)).parse::<SubsystemId>().is_ok());
        assert!(format!("VN/GOV/H26/{}", "a".repeat(65)).parse::<SubsystemId>().is_err());
    }
}
