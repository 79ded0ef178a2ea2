//! Time-stamps (RFC 3161, with the signing-certificate-v2 of RFC 5816): asking for one, and what one is worth
//! (`docs/evidence.md` §3.3).
//!
//! [`TimeStampRequest`] → the authority, through a [`TimeStampSource`] → [`judge_response`]. What was kept is judged again
//! years later by [`judge_token`], at the token's own time. Only strict DER is read, one signer and one of the algorithms of
//! protocol P2.2; an authority that writes BER is not understood.

mod judge;
mod read;
mod request;
#[cfg(test)]
mod tests;
mod token;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use truc_directory::TimestampAuthority;

use crate::asn1::Malformed;
use crate::cms::CmsError;
use crate::{Certificate, CertificateError, PathError};

pub use judge::{TimeStamp, judge_response, judge_token};
pub use request::TimeStampRequest;
pub use token::TimeStampToken;

/// A token with its certificates has 1 to 8 KiB; longer responses and tokens are not looked at.
pub const SIZE_LIMIT: usize = 32 * 1024;
/// How far a fresh token's time may lie from our clock, either way.
pub const CLOCK_LIMIT: Duration = Duration::from_secs(60);
/// Certificates in one token that are looked at.
const CERTIFICATES_LIMIT: usize = 8;

/// Whose tokens are believed: a time-stamp authority of the directory, its certificate read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeStampAuthority {
    /// What the directory calls it.
    pub name: String,
    /// The certificate its tokens must be signed with, or of the CA that its signers' certificates must lead to.
    pub certificate: Certificate,
    /// Where it answers.
    pub url: String,
}

impl TimeStampAuthority {
    /// Reads the directory's entry.
    ///
    /// # Errors
    /// [`CertificateError`] when its certificate is none that this bus works with.
    pub fn read(entry: &TimestampAuthority) -> Result<Self, CertificateError> {
        Ok(Self {
            name: entry.name.clone(),
            certificate: Certificate::from_der(entry.certificate.as_bytes())?,
            url: entry.url.clone(),
        })
    }
}

/// Why an authority gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the time-stamp authority gave no answer: {0}")]
pub struct TimeStampSourceError(pub String);

/// Carries one request to one authority. What the answer is worth, whom to ask and how often is decided elsewhere.
#[async_trait]
pub trait TimeStampSource: Send + Sync {
    /// What the authority at `url` answers to `request` (RFC 3161 TimeStampReq, DER), unread; at most [`SIZE_LIMIT`] bytes,
    /// and within `deadline`.
    ///
    /// # Errors
    /// [`TimeStampSourceError`] when it did not answer so.
    async fn fetch(
        &self,
        url: &str,
        request: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, TimeStampSourceError>;
}

/// Why a response or a token is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimeStampError {
    /// Longer than [`SIZE_LIMIT`].
    #[error("the time-stamp has {0} bytes, more than the 32768 allowed")]
    TooLong(usize),
    /// Not strict DER, or something is missing, doubled or left over.
    #[error("not an RFC 3161 time-stamp in strict DER: {0}")]
    Malformed(&'static str),
    /// The authority refused; what it gave as the reason.
    #[error("the time-stamp authority refused (status {status}): {reason}")]
    Refused {
        /// PKIStatus; only 0 grants.
        status: u8,
        /// PKIFailureInfo and its text.
        reason: String,
    },
    /// Granted, and no token is there.
    #[error("the time-stamp authority granted the request without sending a token")]
    NoToken,
    /// The signed content is no TSTInfo.
    #[error("the token does not hold a time-stamp (TSTInfo)")]
    OtherContentType,
    /// Over other data, or by another digest algorithm.
    #[error("the token is over another digest than the one asked about")]
    OtherImprint,
    /// Not made for this request.
    #[error("the token answers another request: its nonce is not the one sent")]
    OtherNonce,
    /// Made under another policy.
    #[error("the token was made under policy {0}, which was not asked for")]
    OtherPolicy(String),
    /// Too far from our clock.
    #[error("the token's time is {seconds} s away from this node's clock, more than 60 s; check both clocks")]
    Clock {
        /// How far, in whole seconds.
        seconds: u64,
    },
    /// Neither the directory's certificate nor under it.
    #[error(
        "the token's signer is not the certificate that the directory lists for {0}, nor one issued under it"
    )]
    OtherSigner(String),
    /// The extended key usage is not timeStamping alone, or not critical.
    #[error("the signer's certificate is not for time-stamping alone, marked critical (RFC 3161 §2.3)")]
    WrongUsage,
    /// The signer's certificate was not valid at the token's time.
    #[error("the signer's certificate was not valid at the token's time")]
    NotValidThen,
    /// The path to the directory's CA does not hold.
    #[error("the signer's certificate: {0}")]
    Path(#[from] PathError),
    /// Neither ESSCertID nor ESSCertIDv2 names the signer's certificate.
    #[error("signing-certificate is missing or names another certificate than the one that signs")]
    OtherCertificate,
    /// The CMS around it does not hold.
    #[error("the token's signature: {0}")]
    Signature(#[from] CmsError),
}

impl From<Malformed> for TimeStampError {
    fn from(Malformed(what): Malformed) -> Self {
        Self::Malformed(what)
    }
}
