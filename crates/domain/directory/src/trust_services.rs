//! The trust-service part: which certificate authorities and time-stamp authorities count (protocol P3.1, P6.1).

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::format::{Der, FormatError, V1, encode, parse};

/// The trust-service part's payload; it is published inside an [`crate::Endorsed`] with the root threshold's signatures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TrustServices {
    /// Format version.
    pub v: V1,
    /// The instance code.
    pub instance: String,
    /// Rises with every change, so that an old list cannot come back.
    pub version: u64,
    /// Approved certificate authorities.
    pub authorities: Vec<ApprovedAuthority>,
    /// Approved time-stamp authorities.
    pub timestamp_authorities: Vec<TimestampAuthority>,
}

/// An approved certificate authority.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ApprovedAuthority {
    /// What people call it; unique.
    pub name: String,
    /// The CA certificate at which a chain may end.
    pub certificate: Der,
    /// Intermediate CA certificates that chains may pass through.
    #[serde(default)]
    pub intermediates: Vec<Der>,
    /// What its certificates may be used for on this bus.
    pub usages: Vec<Usage>,
    /// How its certificates name members and nodes.
    pub profile: Profile,
    /// OCSP responders (RFC 6960), tried in order.
    #[serde(default)]
    pub ocsp: Vec<String>,
    /// Where its revocation list (RFC 5280) lies, as the fallback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crl: Option<String>,
}

impl ApprovedAuthority {
    /// Whether certificates of this authority may be used for `usage`.
    pub fn allows(&self, usage: Usage) -> bool {
        self.usages.contains(&usage)
    }
}

/// What a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Usage {
    /// Signing messages: a member's seal.
    Sign,
    /// Authenticating a node in TLS.
    Auth,
}

/// How a certificate's subject names a member or a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Profile {
    /// `organizationIdentifier` (2.5.4.97) is the member's plain form, e.g. `VN/GOV/H26`; in an auth certificate
    /// `commonName` is the node's plain form, e.g. `VN/GOV/H26/ss1`.
    #[serde(rename = "truc-1")]
    Truc1,
    /// A CA for state agencies: the agency's code is `UID` or `serialNumber` `MDD:<code>` (`H49`, `000.00.00.H49`), which is member
    /// `VN/GOV/<code>`. It names no nodes: an auth certificate speaks for the member, and its registered fingerprint alone binds it to the node.
    #[serde(rename = "vn-state")]
    VnState,
    /// A public CA: the enterprise's tax number is `UID` `MST:<10 digits>`, check digit verified, which is member `VN/COM/<10 digits>`.
    /// It names no nodes, as [`Self::VnState`].
    #[serde(rename = "vn-enterprise")]
    VnEnterprise,
}

impl Profile {
    /// Every profile.
    pub const ALL: [Self; 3] = [Self::Truc1, Self::VnState, Self::VnEnterprise];

    /// The word used in the trust part, on the command line and in documentation.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Truc1 => "truc-1",
            Self::VnState => "vn-state",
            Self::VnEnterprise => "vn-enterprise",
        }
    }
}

/// An approved time-stamp authority (RFC 3161).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TimestampAuthority {
    /// What people call it; unique.
    pub name: String,
    /// The certificate its tokens must be signed with.
    pub certificate: Der,
    /// Where it answers.
    pub url: String,
}

impl TrustServices {
    /// An empty list of version 0, from which the first one is drafted.
    pub fn empty(instance: &str) -> Self {
        Self {
            v: V1,
            instance: instance.to_owned(),
            version: 0,
            authorities: vec![],
            timestamp_authorities: vec![],
        }
    }

    /// Reads the payload.
    ///
    /// # Errors
    /// [`FormatError`], also when a name is used twice or an authority has no usage.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        const WHAT: &str = "the trust-service part";
        let part: Self = parse(WHAT, bytes)?;
        let mut names: Vec<&str> = part.authorities.iter().map(|a| a.name.as_str()).collect();
        names.extend(part.timestamp_authorities.iter().map(|t| t.name.as_str()));
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|w| w[0] == w[1]) {
            return Err(FormatError::shape(WHAT, format!("the name {:?} is used twice", pair[0])));
        }
        if let Some(idle) = part.authorities.iter().find(|a| a.usages.is_empty()) {
            return Err(FormatError::shape(WHAT, format!("authority {:?} has no usage", idle.name)));
        }
        Ok(part)
    }

    /// The payload to sign.
    pub fn to_bytes(&self) -> Bytes {
        encode(self)
    }
}
