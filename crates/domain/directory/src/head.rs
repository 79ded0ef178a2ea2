//! The signed head, and the rule by which one head may replace another (protocol P6.2, P6.3).

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use truc_model::{Digest, Timestamp};

use crate::DirectoryError;
use crate::format::{FormatError, PublicKey, V1, base64_text, encode, parse};

/// How long a head lives after it was issued (protocol P6.2).
pub const HEAD_LIFETIME: Duration = Duration::from_secs(72 * 3600);
/// How long after its issue a directory counts as fresh (protocol P6.2).
const FRESH: Duration = Duration::from_secs(10 * 60);
/// Longest part a head may list, in bytes.
pub const PART_LIMIT_BYTES: u64 = 4 * 1024 * 1024;
/// Most parts a head may list.
const PARTS_LIMIT: usize = 100_000;

/// A head: which parts make up one version of the directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Head {
    /// Format version.
    pub v: V1,
    /// The instance code.
    pub instance: String,
    /// The epoch; equals the root's.
    pub epoch: u64,
    /// Rises with every decision of the registry; the same while a head is only signed again.
    pub version: u64,
    /// [`Head::content_digest`] of the version before; none for the first.
    pub previous: Option<Digest>,
    /// The parts, sorted by name.
    pub parts: Vec<PartRef>,
    /// The registry's decision journal as of this version.
    pub audit_log: AuditLogHead,
    /// When this head was signed.
    pub issued: Timestamp,
    /// When it stops counting.
    pub expires: Timestamp,
}

/// One part of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PartRef {
    /// Its name, see [`crate::part`].
    pub name: String,
    /// SHA-256 over its bytes.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// Where the registry's hash-chained journal of decisions stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct AuditLogHead {
    /// Sequence number of the last decision.
    pub sequence: u64,
    /// Chain hash after it.
    pub chain: Digest,
}

impl Head {
    /// Reads a head's bytes; signature unchecked.
    ///
    /// # Errors
    /// [`FormatError`], also when parts are not sorted by name, one is too long, or the head lives too long.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let head: Self = parse("the directory head", bytes)?;
        head.check().map_err(|why| FormatError::shape("the directory head", why))?;
        Ok(head)
    }

    /// The bytes to sign.
    pub fn to_bytes(&self) -> Bytes {
        encode(self)
    }

    /// The part named `name`.
    pub fn part(&self, name: &str) -> Option<&PartRef> {
        self.parts.binary_search_by(|p| p.name.as_str().cmp(name)).ok().and_then(|i| self.parts.get(i))
    }

    /// The names of the root versions this head stands on, in order.
    pub fn root_parts(&self) -> impl Iterator<Item = &PartRef> {
        (1u64..).map(|n| self.part(&crate::part::root(n))).take_while(Option::is_some).flatten()
    }

    /// SHA-256 over the head without `issued` and `expires`: the digest of a *version*. A head that is signed again
    /// every minute keeps it; two different contents under one version number differ in it.
    pub fn content_digest(&self) -> Digest {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Content<'a> {
            v: V1,
            instance: &'a str,
            epoch: u64,
            version: u64,
            previous: Option<Digest>,
            parts: &'a [PartRef],
            audit_log: AuditLogHead,
        }
        let content = Content {
            v: self.v,
            instance: &self.instance,
            epoch: self.epoch,
            version: self.version,
            previous: self.previous,
            parts: &self.parts,
            audit_log: self.audit_log,
        };
        let mut bytes = Vec::with_capacity(512 + 144 * self.parts.len());
        // As in `encode`: neither of the two ways in which this could fail is there.
        let _ = serde_json::to_writer(&mut bytes, &content);
        Digest::of(&bytes)
    }

    fn check(&self) -> Result<(), String> {
        if self.parts.len() > PARTS_LIMIT {
            return Err(format!("it lists more than {PARTS_LIMIT} parts"));
        }
        if !self.parts.is_sorted_by(|a, b| a.name < b.name) {
            return Err("its parts are not listed once each in the order of their names".into());
        }
        if let Some(long) = self.parts.iter().find(|p| p.size > PART_LIMIT_BYTES) {
            return Err(format!("part {} is longer than {PART_LIMIT_BYTES} bytes", long.name));
        }
        if self.expires <= self.issued || self.expires.since(self.issued) > HEAD_LIFETIME {
            return Err("it must expire after it was issued and within 72 h".into());
        }
        Ok(())
    }
}

/// A head with the publishing key's signature. The signature is over `head` exactly as it stands here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SignedHead {
    /// Format version.
    pub v: V1,
    /// The signed bytes.
    #[serde(with = "base64_text")]
    pub head: Bytes,
    /// [`PublicKey::id`] of the publishing key.
    pub key: Digest,
    /// The Ed25519 signature.
    #[serde(with = "base64_text")]
    pub signature: Bytes,
}

impl SignedHead {
    /// Reads the envelope; its signature is not checked yet.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        parse("the signed directory head", bytes)
    }

    /// The envelope's bytes.
    pub fn to_bytes(&self) -> Bytes {
        encode(self)
    }

    /// Whether `bytes`, which this was read from, are [`SignedHead::to_bytes`] already: what stands before and behind the
    /// head is, and then its base64 has no room for another spelling.
    fn is_written(&self, bytes: &[u8]) -> bool {
        let short = Self { head: Bytes::new(), ..self.clone() }.to_bytes();
        let start = br#"{"v":1,"head":""#;
        let end = short.strip_prefix(start.as_slice()).unwrap_or_default();
        let head = self.head.len().div_ceil(3) * 4;
        !end.is_empty()
            && bytes.len() == start.len() + head + end.len()
            && bytes.starts_with(start)
            && bytes.ends_with(end)
    }

    /// The head inside, **not yet believed**: for finding out which parts to fetch.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn unverified(&self) -> Result<Head, FormatError> {
        Head::parse(&self.head)
    }

    /// The head, once its signature is checked against the publishing keys.
    ///
    /// # Errors
    /// [`DirectoryError::HeadSignature`] or [`DirectoryError::Format`].
    pub fn verify(&self, publishing_keys: &[PublicKey]) -> Result<Head, DirectoryError> {
        self.signing_key(publishing_keys)?;
        Ok(Head::parse(&self.head)?)
    }

    /// The one of the publishing keys that signed it.
    fn signing_key<'a>(&self, publishing_keys: &'a [PublicKey]) -> Result<&'a PublicKey, DirectoryError> {
        let key = publishing_keys.iter().find(|k| k.id() == self.key);
        key.filter(|key| key.verify(&self.head, &self.signature)).ok_or(DirectoryError::HeadSignature)
    }
}

/// A head read once, **not yet believed**: for finding out which roots it stands on.
#[derive(Debug, Clone)]
pub struct ParsedHead {
    signed: SignedHead,
    head: Head,
    envelope: Bytes,
}

impl ParsedHead {
    /// Reads the envelope and the head in it.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let signed = SignedHead::parse(bytes)?;
        let head = signed.unverified()?;
        let envelope =
            if signed.is_written(bytes) { Bytes::copy_from_slice(bytes) } else { signed.to_bytes() };
        Ok(Self { signed, head, envelope })
    }

    /// What it says.
    pub const fn head(&self) -> &Head {
        &self.head
    }

    /// The head, once its signature is checked against the publishing keys.
    ///
    /// # Errors
    /// [`DirectoryError::HeadSignature`].
    pub fn check(self, publishing_keys: &[PublicKey]) -> Result<CheckedHead, DirectoryError> {
        let key = *self.signed.signing_key(publishing_keys)?;
        Ok(CheckedHead { signed: self.signed, head: self.head, envelope: self.envelope, key })
    }
}

/// A head with a good signature of `key`; whether a root names that key is the assembly's to judge.
#[derive(Debug, Clone)]
pub struct CheckedHead {
    signed: SignedHead,
    head: Head,
    envelope: Bytes,
    key: PublicKey,
}

impl CheckedHead {
    /// What it says.
    pub const fn head(&self) -> &Head {
        &self.head
    }

    /// The envelope.
    pub const fn signed(&self) -> &SignedHead {
        &self.signed
    }

    /// [`SignedHead::to_bytes`] of it.
    pub(crate) fn envelope(&self) -> Bytes {
        self.envelope.clone()
    }

    /// The head, if its key is one of these.
    pub(crate) fn under(self, publishing_keys: &[PublicKey]) -> Result<Head, DirectoryError> {
        if publishing_keys.contains(&self.key) { Ok(self.head) } else { Err(DirectoryError::HeadSignature) }
    }
}

/// How far one can rely on a directory of a given age (protocol P6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Freshness {
    /// Issued at most 10 minutes ago.
    Fresh,
    /// Older, not yet expired: the bus goes on and says so.
    Degraded,
    /// Past its expiry, or older than 72 h: nothing is accepted under it.
    Expired,
}

impl Freshness {
    /// Judges a head at `now`. A head issued in the future (a clock that runs behind) counts as fresh.
    pub fn of(issued: Timestamp, expires: Timestamp, now: Timestamp) -> Self {
        let age = now.since(issued);
        if now >= expires || age > HEAD_LIFETIME {
            Self::Expired
        } else if age > FRESH {
            Self::Degraded
        } else {
            Self::Fresh
        }
    }
}

/// What a node remembers, in its journal, of the highest head it has seen (protocol P6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HeadRef {
    /// The head's epoch.
    pub epoch: u64,
    /// The head's version.
    pub version: u64,
    /// [`Head::content_digest`].
    pub digest: Digest,
    /// The root version it stands on.
    pub root: u64,
    /// The version of its trust-service part.
    pub trust: u64,
}

/// Why a head may not replace the one in force.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rollback {
    /// It is older.
    #[error(
        "directory {candidate_epoch}.{candidate} is offered, which is older than {epoch}.{current} already seen; it is refused"
    )]
    Lower {
        /// Epoch in force.
        epoch: u64,
        /// Version in force.
        current: u64,
        /// Epoch offered.
        candidate_epoch: u64,
        /// Version offered.
        candidate: u64,
    },
    /// An older root or trust-service list hides under a newer number.
    #[error(
        "directory {epoch}.{version} brings back an older {what}; it is refused, tell the registry's operator"
    )]
    OlderPart {
        /// Epoch offered.
        epoch: u64,
        /// Version offered.
        version: u64,
        /// `root` or `trust-service list`.
        what: &'static str,
    },
    /// Its roots are not those in force and further ones: somebody signed another root in the place of one already seen. An alarm.
    #[error(
        "ALARM: directory {epoch}.{version} stands on other root versions than the ones already seen; tell the registry's operator"
    )]
    OtherRoots {
        /// Epoch offered.
        epoch: u64,
        /// Version offered.
        version: u64,
    },
    /// Two different directories carry one number: someone signs two truths. An alarm, not a mishap.
    #[error(
        "ALARM: two different directories carry the number {epoch}.{version}: {ours} and {theirs}; tell the registry's operator"
    )]
    TwoTruths {
        /// Epoch of both.
        epoch: u64,
        /// Version of both.
        version: u64,
        /// Content digest in force.
        ours: Digest,
        /// Content digest offered.
        theirs: Digest,
    },
}

/// The rule of protocol P6.3. `(epoch, version)` never goes down, nor does the root or the trust-service list under
/// it; one number with two contents is an alarm. A head of the same number and content, signed again, may replace:
/// only `issued` and `expires` differ then, so the digests compared are those of the content
/// ([`Head::content_digest`]), never of the signed bytes.
///
/// # Errors
/// [`Rollback`].
pub fn may_replace(current: &HeadRef, candidate: &HeadRef) -> Result<(), Rollback> {
    let (ours, theirs) = ((current.epoch, current.version), (candidate.epoch, candidate.version));
    if theirs < ours {
        return Err(Rollback::Lower {
            epoch: current.epoch,
            current: current.version,
            candidate_epoch: candidate.epoch,
            candidate: candidate.version,
        });
    }
    if theirs == ours && current.digest != candidate.digest {
        return Err(Rollback::TwoTruths {
            epoch: current.epoch,
            version: current.version,
            ours: current.digest,
            theirs: candidate.digest,
        });
    }
    for (what, before, after) in
        [("root", current.root, candidate.root), ("trust-service list", current.trust, candidate.trust)]
    {
        if after < before {
            return Err(Rollback::OlderPart { epoch: candidate.epoch, version: candidate.version, what });
        }
    }
    Ok(())
}
