//! Why a directory is not believed.

use truc_model::Digest;

use crate::FormatError;

/// Why a directory is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DirectoryError {
    /// A document cannot be read.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// No root document came with the head.
    #[error("the directory came without its root document; fetch it again from the registry")]
    NoRoot,
    /// A root document lacks signatures.
    #[error(
        "root {version} is not signed by the threshold of root keys before it and its own; the anchor may be another registry's"
    )]
    RootSignature {
        /// Which version.
        version: u64,
    },
    /// The chain of roots has a gap or steps back.
    #[error(
        "root {expected} was due, root {found} of epoch {epoch} came; the chain must rise by one and its epoch never fall"
    )]
    RootOrder {
        /// The version due.
        expected: u64,
        /// The version found.
        found: u64,
        /// Its epoch.
        epoch: u64,
    },
    /// The head stands on other roots than the ones given.
    #[error("the head does not name the root documents that came with it; fetch the directory again")]
    RootMismatch,
    /// The head is not signed by a publishing key of the root.
    #[error("the directory head is not signed by a publishing key that the root names; it is refused")]
    HeadSignature,
    /// The epoch is another one.
    #[error(
        "epoch {expected} is in force, the directory says {found}; fetch the anchor or the directory again"
    )]
    Epoch {
        /// In force.
        expected: u64,
        /// Found.
        found: u64,
    },
    /// A document of another instance.
    #[error(
        "{what} belongs to instance {found:?}, the anchor to {expected:?}; use the anchor of the right instance"
    )]
    Instance {
        /// The anchor's instance.
        expected: String,
        /// The document's.
        found: String,
        /// Which document.
        what: String,
    },
    /// A part the head lists was not given.
    #[error("part {name} ({digest}) is missing; fetch it from the registry")]
    MissingPart {
        /// Its name.
        name: String,
        /// Its digest.
        digest: Digest,
    },
    /// The head does not list a part that every directory has.
    #[error("the head lists no part {name}; the registry published an incomplete directory")]
    UnlistedPart {
        /// Its name.
        name: String,
    },
    /// A part's bytes do not fit its digest or size.
    #[error("part {name} does not have the digest or size that the head states; it is refused")]
    PartDigest {
        /// Its name.
        name: String,
    },
    /// The trust-service part lacks signatures.
    #[error("the trust-service part is not signed by the threshold of root keys; it is refused")]
    TrustSignature,
    /// A part with a name that this version does not know.
    #[error("the head lists part {name:?}, which this version of truc does not know; upgrade it")]
    UnknownPart {
        /// Its name.
        name: String,
    },
    /// A member's part lies under another member's name.
    #[error("part {name} is about {found}; it is refused")]
    WrongName {
        /// The part's name.
        name: String,
        /// Whom it is about.
        found: String,
    },
    /// One certificate or node is listed for two members.
    #[error("{what} is listed twice in the directory; it is refused")]
    Duplicate {
        /// What is listed twice.
        what: String,
    },
}

impl DirectoryError {
    pub(crate) fn instance(expected: &str, found: &str, what: &str) -> Self {
        Self::Instance { expected: expected.to_owned(), found: found.to_owned(), what: what.to_owned() }
    }
}
