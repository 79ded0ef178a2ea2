//! Algorithm identifiers (RFC 4055, RFC 5754, RFC 5758), mapped to the closed list of protocol P2.2.

use der::asn1::ObjectIdentifier;
use truc_keys::{KeyKind, SignatureAlgorithm};

use crate::asn1::{self, INTEGER, Malformed, NULL, Read, Reader, SEQUENCE, Tlv};

const SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.14.3.2.26");
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
const SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3");
const ECDSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
/// As a key's algorithm, and in CMS as a signature algorithm whose digest is named apart.
pub(crate) const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const MGF1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.8");
const RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const RSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const RSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");
const RSA_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13");

/// The salt of the one PSS form allowed, in octets.
const PSS_SALT: u8 = 32;

/// A digest algorithm. SHA-1 only ever names a certificate in OCSP (RFC 6960 §4.3), it secures nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Hash {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    /// The digest that a signature algorithm applies.
    pub(crate) const fn of_signature(algorithm: SignatureAlgorithm) -> Self {
        use SignatureAlgorithm as A;
        match algorithm {
            A::EcdsaP256Sha256 | A::EcdsaP384Sha256 | A::RsaPkcs1Sha256 | A::RsaPssSha256 => Self::Sha256,
            A::EcdsaP384Sha384 | A::RsaPkcs1Sha384 => Self::Sha384,
            A::RsaPkcs1Sha512 | A::Ed25519 => Self::Sha512,
        }
    }

    pub(crate) fn digest(self, bytes: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            Self::Sha1 => &ring::digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &ring::digest::SHA256,
            Self::Sha384 => &ring::digest::SHA384,
            Self::Sha512 => &ring::digest::SHA512,
        };
        ring::digest::digest(algorithm, bytes).as_ref().to_vec()
    }

    const fn oid(self) -> ObjectIdentifier {
        match self {
            Self::Sha1 => SHA1,
            Self::Sha256 => SHA256,
            Self::Sha384 => SHA384,
            Self::Sha512 => SHA512,
        }
    }

    /// AlgorithmIdentifier without parameters, as RFC 5754 §2 asks for.
    pub(crate) fn identifier(self) -> Vec<u8> {
        asn1::sequence(&[&asn1::oid(self.oid())])
    }

    /// AlgorithmIdentifier with NULL parameters, as older formats write it.
    pub(crate) fn identifier_with_null(self) -> Vec<u8> {
        asn1::sequence(&[&asn1::oid(self.oid()), &asn1::tlv(NULL, &[])])
    }

    /// Reads an AlgorithmIdentifier of a digest; parameters absent or NULL.
    pub(crate) fn read(identifier: Tlv<'_>) -> Read<Self> {
        let (id, parameters) = parts(identifier, "digest algorithm")?;
        if !absent_or_null(parameters) {
            return Err(Malformed("digest algorithm parameters"));
        }
        [Self::Sha1, Self::Sha256, Self::Sha384, Self::Sha512]
            .into_iter()
            .find(|hash| hash.oid() == id)
            .ok_or(Malformed("digest algorithm"))
    }
}

/// Splits an AlgorithmIdentifier into its OID and its parameters.
pub(crate) fn parts<'a>(
    identifier: Tlv<'a>,
    what: &'static str,
) -> Read<(ObjectIdentifier, Option<Tlv<'a>>)> {
    if identifier.tag != SEQUENCE {
        return Err(Malformed(what));
    }
    let mut inside = identifier.open();
    let id = inside.oid(what)?;
    let parameters = if inside.is_empty() { None } else { Some(inside.any(what)?) };
    inside.end(what)?;
    Ok((id, parameters))
}

/// Whether parameters are left out or NULL, which RFC 5754 §2 has to treat alike.
pub(crate) fn absent_or_null(parameters: Option<Tlv<'_>>) -> bool {
    parameters.is_none_or(|p| p.tag == NULL && p.value.is_empty())
}

/// The algorithm an AlgorithmIdentifier names for a key of this kind, if the pair is allowed (protocol P2.2).
pub(crate) fn read_signature(identifier: Tlv<'_>, key: KeyKind) -> Option<SignatureAlgorithm> {
    use SignatureAlgorithm as A;
    let (id, parameters) = parts(identifier, "signature algorithm").ok()?;
    let algorithm = match (id, key) {
        (ECDSA_SHA256, KeyKind::EcP256) => A::EcdsaP256Sha256,
        (ECDSA_SHA256, KeyKind::EcP384) => A::EcdsaP384Sha256,
        (ECDSA_SHA384, KeyKind::EcP384) => A::EcdsaP384Sha384,
        (RSA_SHA256, KeyKind::Rsa) => A::RsaPkcs1Sha256,
        (RSA_SHA384, KeyKind::Rsa) => A::RsaPkcs1Sha384,
        (RSA_SHA512, KeyKind::Rsa) => A::RsaPkcs1Sha512,
        (RSA_PSS, KeyKind::Rsa) => return read_pss(parameters?).ok(),
        _ => return None,
    };
    let parameters_allowed = match key {
        KeyKind::Rsa => absent_or_null(parameters),
        _ => parameters.is_none(),
    };
    parameters_allowed.then_some(algorithm)
}

/// PKCS#1 v1.5 with a digest named elsewhere, as CMS allows (RFC 3370 §3.2).
pub(crate) fn pkcs1_with(hash: Hash) -> Option<SignatureAlgorithm> {
    match hash {
        Hash::Sha1 => None,
        Hash::Sha256 => Some(SignatureAlgorithm::RsaPkcs1Sha256),
        Hash::Sha384 => Some(SignatureAlgorithm::RsaPkcs1Sha384),
        Hash::Sha512 => Some(SignatureAlgorithm::RsaPkcs1Sha512),
    }
}

/// RSASSA-PSS-params (RFC 4055 §3.1) with SHA-256, MGF1-SHA-256, a salt of 32 octets and the default trailer.
fn read_pss(parameters: Tlv<'_>) -> Read<SignatureAlgorithm> {
    const WHAT: &str = "RSA-PSS parameters";
    let mut inside = Reader::new(parameters.raw).sequence(WHAT)?;
    let digest = inside.explicit(0, SEQUENCE, WHAT)?.ok_or(Malformed(WHAT))?;
    let mask = inside.explicit(1, SEQUENCE, WHAT)?.ok_or(Malformed(WHAT))?;
    let salt = inside.explicit(2, INTEGER, WHAT)?.ok_or(Malformed(WHAT))?;
    inside.end(WHAT)?;
    let (mask_id, mask_digest) = parts(mask, WHAT)?;
    let mask_digest = mask_digest.ok_or(Malformed(WHAT))?;
    let allowed = Hash::read(digest)? == Hash::Sha256
        && mask_id == MGF1
        && Hash::read(mask_digest)? == Hash::Sha256
        && salt.value == [PSS_SALT];
    if allowed { Ok(SignatureAlgorithm::RsaPssSha256) } else { Err(Malformed(WHAT)) }
}

/// The AlgorithmIdentifier of a message signature; `None` for what never signs one.
pub(crate) fn signature_identifier(algorithm: SignatureAlgorithm) -> Option<Vec<u8>> {
    use SignatureAlgorithm as A;
    let rsa = |id| asn1::sequence(&[&asn1::oid(id), &asn1::tlv(NULL, &[])]);
    Some(match algorithm {
        A::EcdsaP256Sha256 | A::EcdsaP384Sha256 => asn1::sequence(&[&asn1::oid(ECDSA_SHA256)]),
        A::EcdsaP384Sha384 => asn1::sequence(&[&asn1::oid(ECDSA_SHA384)]),
        A::RsaPkcs1Sha256 => rsa(RSA_SHA256),
        A::RsaPkcs1Sha384 => rsa(RSA_SHA384),
        A::RsaPkcs1Sha512 => rsa(RSA_SHA512),
        A::RsaPssSha256 => asn1::sequence(&[&asn1::oid(RSA_PSS), &pss_parameters()]),
        A::Ed25519 => return None,
    })
}

fn pss_parameters() -> Vec<u8> {
    let digest = Hash::Sha256.identifier_with_null();
    let mask = asn1::sequence(&[&asn1::oid(MGF1), &digest]);
    asn1::sequence(&[
        &asn1::tlv(asn1::context(0), &[&digest]),
        &asn1::tlv(asn1::context(1), &[&mask]),
        &asn1::tlv(asn1::context(2), &[&asn1::tlv(INTEGER, &[&[PSS_SALT]])]),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_for_its_key_only() {
        use SignatureAlgorithm as A;
        for algorithm in [
            A::EcdsaP256Sha256,
            A::EcdsaP384Sha384,
            A::EcdsaP384Sha256,
            A::RsaPkcs1Sha256,
            A::RsaPkcs1Sha384,
            A::RsaPkcs1Sha512,
            A::RsaPssSha256,
        ] {
            let written = signature_identifier(algorithm).unwrap();
            let read = Tlv::only(&written, SEQUENCE, "test").unwrap();
            assert_eq!(read_signature(read, algorithm.key_kind()), Some(algorithm));
            assert_eq!(read_signature(read, KeyKind::Ed25519), None);
        }
        let p256_sha384 = signature_identifier(A::EcdsaP384Sha384).unwrap();
        let read = Tlv::only(&p256_sha384, SEQUENCE, "test").unwrap();
        assert_eq!(read_signature(read, KeyKind::EcP256), None);
    }
}
