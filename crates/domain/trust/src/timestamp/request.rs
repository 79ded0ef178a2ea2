//! What is asked of an authority.

use der::asn1::ObjectIdentifier;
use truc_model::Digest;

use crate::algorithm::Hash;
use crate::asn1::{self, BOOLEAN, INTEGER, OCTET_STRING};

/// A request for a token over one SHA-256 digest (RFC 3161 §2.4.1), with a nonce, and for the signer's certificate with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeStampRequest {
    imprint: Digest,
    nonce: Vec<u8>,
    policy: Option<ObjectIdentifier>,
}

impl TimeStampRequest {
    /// Asks for a token over `imprint`. `nonce` must be random: it is what ties the answer to this request.
    pub fn new(imprint: Digest, nonce: u64) -> Self {
        Self { imprint, nonce: unsigned(nonce), policy: None }
    }

    /// Also demands that the token is made under this policy.
    #[must_use]
    pub const fn under(mut self, policy: ObjectIdentifier) -> Self {
        self.policy = Some(policy);
        self
    }

    /// The digest that the token must be over.
    pub const fn imprint(&self) -> Digest {
        self.imprint
    }

    /// The content octets of the nonce's INTEGER.
    pub(super) fn nonce(&self) -> &[u8] {
        &self.nonce
    }

    pub(super) const fn policy(&self) -> Option<ObjectIdentifier> {
        self.policy
    }

    /// The bytes to send: a TimeStampReq, DER.
    pub fn to_der(&self) -> Vec<u8> {
        let imprint = asn1::sequence(&[
            &Hash::Sha256.identifier_with_null(),
            &asn1::tlv(OCTET_STRING, &[self.imprint.as_bytes()]),
        ]);
        let policy = self.policy.map(asn1::oid).unwrap_or_default();
        asn1::sequence(&[
            &asn1::tlv(INTEGER, &[&[1]]),
            &imprint,
            &policy,
            &asn1::tlv(INTEGER, &[&self.nonce]),
            &asn1::tlv(BOOLEAN, &[&[0xff]]),
        ])
    }
}

/// Content octets of an INTEGER that is not negative, in the shortest form.
fn unsigned(value: u64) -> Vec<u8> {
    let octets = value.to_be_bytes();
    let first = octets.iter().position(|octet| *octet != 0).unwrap_or(octets.len() - 1);
    let mut out = Vec::with_capacity(9);
    if octets[first] >= 0x80 {
        out.push(0);
    }
    out.extend_from_slice(&octets[first..]);
    out
}
