//! Small pieces of X.509: names, times, algorithms, extensions.

use std::time::Duration;

use der::asn1::{Any, BitString, GeneralizedTime, ObjectIdentifier, OctetString, SetOfVec, UintRef, UtcTime};
use der::{Decode as _, Encode, Tag};
use ring::digest;
use spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use truc_keys::{KeyInfo, KeyKind, SignatureAlgorithm, Signer};
use truc_model::Timestamp;
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::ext::Extension;
use x509_cert::name::{Name, RdnSequence, RelativeDistinguishedName};
use x509_cert::time::Time;

use crate::error::PkiError;

pub(crate) const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
pub(crate) const ORGANIZATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.10");
/// organizationIdentifier (X.520; ETSI EN 319 412-1 puts the registered code here).
pub(crate) const ORGANIZATION_IDENTIFIER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.97");

const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const ECDSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const RSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const RSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");
const RSA_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13");

/// A name of one attribute per step, all UTF-8.
pub(crate) fn name(parts: &[(ObjectIdentifier, &str)]) -> Result<Name, der::Error> {
    let step = |(oid, text): &(ObjectIdentifier, &str)| {
        let value = Any::new(Tag::Utf8String, text.as_bytes())?;
        let mut set = SetOfVec::new();
        set.insert(AttributeTypeAndValue { oid: *oid, value })?;
        Ok(RelativeDistinguishedName(set))
    };
    Ok(RdnSequence(parts.iter().map(step).collect::<Result<_, der::Error>>()?))
}

/// An organisation's name may have 64 characters in a certificate (X.520 ub-organization-name); the rest is cut, the identifier beside it
/// is what counts.
pub(crate) fn organization_text(full: &str) -> String {
    full.chars().filter(|c| !c.is_control()).take(64).collect()
}

/// A time as certificates write it: UTCTime until 2049, GeneralizedTime after (RFC 5280 §4.1.2.5).
pub(crate) fn time(at: Timestamp) -> Result<Time, der::Error> {
    let since = since_epoch(at);
    UtcTime::from_unix_duration(since)
        .map(Time::UtcTime)
        .or_else(|_| generalized_time(at).map(Time::GeneralTime))
}

pub(crate) fn generalized_time(at: Timestamp) -> Result<GeneralizedTime, der::Error> {
    GeneralizedTime::from_unix_duration(since_epoch(at))
}

fn since_epoch(at: Timestamp) -> Duration {
    Duration::from_secs(u64::try_from(at.seconds()).unwrap_or(0))
}

pub(crate) fn extension(oid: &str, critical: bool, value: &impl Encode) -> Result<Extension, der::Error> {
    Ok(Extension {
        extn_id: ObjectIdentifier::new(oid)?,
        critical,
        extn_value: OctetString::new(value.to_der()?)?,
    })
}

/// SHA-1, which OCSP names keys by whatever else has become of it (RFC 6960 §4.2.1); no security rests on it.
pub(crate) fn sha1(bytes: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref().to_vec()
}

/// The key identifier: the first 160 bits of the key's SHA-256 (RFC 7093 §2, method 1).
pub(crate) fn key_identifier(public_key: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA256, public_key).as_ref().iter().copied().take(20).collect()
}

/// The algorithm identifier as signatures carry it.
pub(crate) fn algorithm_identifier(algorithm: SignatureAlgorithm) -> Option<AlgorithmIdentifierOwned> {
    let (oid, parameters) = match algorithm {
        SignatureAlgorithm::EcdsaP256Sha256 | SignatureAlgorithm::EcdsaP384Sha256 => (ECDSA_SHA256, None),
        SignatureAlgorithm::EcdsaP384Sha384 => (ECDSA_SHA384, None),
        SignatureAlgorithm::RsaPkcs1Sha256 => (RSA_SHA256, Some(Any::null())),
        SignatureAlgorithm::RsaPkcs1Sha384 => (RSA_SHA384, Some(Any::null())),
        SignatureAlgorithm::RsaPkcs1Sha512 => (RSA_SHA512, Some(Any::null())),
        SignatureAlgorithm::Ed25519 => (ED25519, None),
        SignatureAlgorithm::RsaPssSha256 => return None,
    };
    Some(AlgorithmIdentifierOwned { oid, parameters })
}

/// Signs the DER of a to-be-signed structure with the algorithm its key is used with.
pub(crate) async fn sign(signer: &dyn Signer, key: &KeyInfo, tbs: Vec<u8>) -> Result<BitString, PkiError> {
    let value = signer.sign(&key.label, key.kind.default_algorithm(), tbs.into()).await?;
    Ok(BitString::from_bytes(&value)?)
}

/// The SubjectPublicKeyInfo (DER) of a key, as certificates and requests carry it.
///
/// # Errors
/// The key's bytes cannot be encoded; not seen with keys from a key store.
pub fn subject_public_key_info(key: &KeyInfo) -> Result<Vec<u8>, PkiError> {
    Ok(public_key_info(key)?.to_der()?)
}

pub(crate) fn public_key_info(key: &KeyInfo) -> Result<SubjectPublicKeyInfoOwned, der::Error> {
    let (oid, parameters) = match key.kind {
        KeyKind::EcP256 => (EC_PUBLIC_KEY, Some(Any::encode_from(&P256)?)),
        KeyKind::EcP384 => (EC_PUBLIC_KEY, Some(Any::encode_from(&P384)?)),
        KeyKind::Rsa => (RSA_ENCRYPTION, Some(Any::null())),
        KeyKind::Ed25519 => (ED25519, None),
    };
    let subject_public_key = BitString::from_bytes(&key.public_key)?;
    Ok(SubjectPublicKeyInfoOwned {
        algorithm: AlgorithmIdentifierOwned { oid, parameters },
        subject_public_key,
    })
}

/// The kind of a subject's key: only kinds that messages and TLS are signed with (protocol P2.2).
pub(crate) fn subject_key_kind(info: &SubjectPublicKeyInfoOwned) -> Option<KeyKind> {
    let key = info.subject_public_key.as_bytes()?;
    match info.algorithm.oid {
        EC_PUBLIC_KEY => {
            let curve: ObjectIdentifier = info.algorithm.parameters.as_ref()?.decode_as().ok()?;
            match (curve, key.len(), key.first()) {
                (P256, 65, Some(4)) => Some(KeyKind::EcP256),
                (P384, 97, Some(4)) => Some(KeyKind::EcP384),
                _ => None,
            }
        }
        RSA_ENCRYPTION => {
            let modulus = RsaPublicKey::from_der(key).ok()?.modulus.as_bytes().len();
            (256..=512).contains(&modulus).then_some(KeyKind::Rsa)
        }
        _ => None,
    }
}

/// RFC 8017 appendix A.1.1.
#[derive(der::Sequence)]
struct RsaPublicKey<'a> {
    modulus: UintRef<'a>,
    public_exponent: UintRef<'a>,
}
