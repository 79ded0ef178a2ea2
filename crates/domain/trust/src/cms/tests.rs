//! What is made is read, and nothing else is.

use truc_keys::{KeyKind, SignatureAlgorithm};

use super::make::{attribute, signing_certificate};
use super::*;
use crate::Certificate;
use crate::algorithm::Hash;
use crate::asn1::{self, OCTET_STRING, SET};
use crate::testing::{Party, noon, replaced, seal};

const MANIFEST: &[u8] = b"<asic:ASiCManifest/>";

fn signer() -> Party {
    Party::root("CA").issue(KeyKind::EcP256, seal("G01"), 5)
}

fn to_sign(party: &Party) -> ToSign {
    prepare(MANIFEST, &party.certificate, SignatureAlgorithm::EcdsaP256Sha256, noon()).unwrap()
}

/// Signs and reads back; what fails says why.
fn outcome(party: &Party, to_sign: ToSign) -> Result<(), CmsError> {
    let value = party.sign(to_sign.bytes());
    let message = read(&to_sign.assemble(&value).unwrap())?;
    message.verify(MANIFEST)
}

#[test]
fn what_is_made_holds() {
    let root = Party::root("CA");
    for (kind, algorithm) in [
        (KeyKind::EcP256, SignatureAlgorithm::EcdsaP256Sha256),
        (KeyKind::EcP384, SignatureAlgorithm::EcdsaP384Sha384),
    ] {
        let party = root.issue(kind, seal("G01"), 300);
        let to_sign = prepare(MANIFEST, &party.certificate, algorithm, noon())
            .unwrap()
            .with_intermediates(std::slice::from_ref(&root.certificate))
            .unwrap();
        let value = party.sign(to_sign.bytes());
        let message = read(&to_sign.assemble(&value).unwrap()).unwrap();
        assert_eq!(message.certificate(), &party.certificate);
        assert_eq!(message.intermediates(), std::slice::from_ref(&root.certificate));
        assert_eq!((message.signing_time(), message.algorithm()), (noon(), algorithm));
        assert_eq!(message.verify(MANIFEST), Ok(()));
        assert_eq!(message.verify(b"<asic:ASiCManifest />"), Err(CmsError::OtherContent));
    }
}

#[test]
fn the_key_decides_the_algorithm() {
    let root = Party::root("CA");
    let p384 = root.issue(KeyKind::EcP384, seal("G01"), 1).certificate;
    for wrong in [
        SignatureAlgorithm::EcdsaP256Sha256,
        SignatureAlgorithm::EcdsaP384Sha256,
        SignatureAlgorithm::RsaPssSha256,
        SignatureAlgorithm::Ed25519,
    ] {
        assert_eq!(prepare(MANIFEST, &p384, wrong, noon()).unwrap_err(), CmsError::WrongKey);
    }
}

#[test]
fn every_attribute_counts() {
    let party = signer();
    let other = signer();
    let sealed = &party.certificate;
    let content_type = attribute(CONTENT_TYPE, &asn1::oid(DATA));
    let digest = attribute(MESSAGE_DIGEST, &asn1::tlv(OCTET_STRING, &[&Hash::Sha256.digest(MANIFEST)]));
    let time = attribute(SIGNING_TIME, &asn1::time(noon()));
    let certificate = attribute(SIGNING_CERTIFICATE_V2, &signing_certificate(sealed));
    let all = [&content_type, &digest, &time, &certificate].map(Clone::clone).to_vec();
    let forged = |attributes: Vec<Vec<u8>>| {
        let mut forged = to_sign(&party);
        forged.attributes = asn1::set_of(attributes);
        outcome(&party, forged)
    };
    assert_eq!(forged(all.clone()), Ok(()));
    for missing in 0..all.len() {
        let mut fewer = all.clone();
        fewer.remove(missing);
        assert!(matches!(forged(fewer), Err(CmsError::Attributes(_))), "without attribute {missing}");
    }
    let replace = |position: usize, with: Vec<u8>| {
        let mut changed = all.clone();
        changed[position] = with;
        forged(changed)
    };
    let add = |extra: Vec<u8>| forged([all.clone(), vec![extra]].concat());
    assert!(matches!(
        replace(0, attribute(CONTENT_TYPE, &asn1::oid(TIME_STAMP_INFO))),
        Err(CmsError::Attributes(_))
    ));
    assert_eq!(
        replace(1, attribute(MESSAGE_DIGEST, &asn1::tlv(OCTET_STRING, &[&[0; 32]]))),
        Err(CmsError::OtherContent)
    );
    assert!(matches!(
        replace(2, attribute(SIGNING_TIME, &asn1::generalized_time(noon()))),
        Err(CmsError::Attributes(_))
    ));
    let foreign = attribute(SIGNING_CERTIFICATE_V2, &signing_certificate(&other.certificate));
    assert_eq!(replace(3, foreign.clone()), Err(CmsError::OtherCertificate));
    assert_eq!(add(foreign), Err(CmsError::Attributes("one is there twice")));
    assert!(matches!(add(attribute(SIGNED_DATA, &asn1::oid(DATA))), Err(CmsError::Attributes(_))));
    let twofold = asn1::sequence(&[
        &asn1::oid(SIGNING_TIME),
        &asn1::tlv(SET, &[&asn1::time(noon()), &asn1::time(noon())]),
    ]);
    assert!(matches!(replace(2, twofold), Err(CmsError::Malformed(_))));
    // Out of DER order: the same attributes, but one signature must have one spelling.
    let mut unsorted = to_sign(&party);
    unsorted.attributes = asn1::tlv(SET, &[&certificate, &digest, &time, &content_type]);
    assert!(matches!(outcome(&party, unsorted), Err(CmsError::Malformed(_))));
}

#[test]
fn another_key_another_certificate_or_a_changed_time_does_not_hold() {
    let (party, other) = (signer(), signer());
    let one = to_sign(&party);
    let value = other.sign(one.bytes());
    assert_eq!(
        read(&one.clone().assemble(&value).unwrap()).unwrap().verify(MANIFEST),
        Err(CmsError::BadSignature)
    );

    let mut swapped = to_sign(&party);
    swapped.embedded = vec![other.certificate];
    assert_eq!(
        outcome(&party, swapped),
        Err(CmsError::OtherCertificate),
        "same issuer name and serial number"
    );
    let mut swapped = to_sign(&party);
    swapped.embedded = vec![Party::root("CA khác").certificate];
    assert_eq!(outcome(&party, swapped), Err(CmsError::NoSignerCertificate));
    let mut without = to_sign(&party);
    without.embedded.clear();
    assert_eq!(outcome(&party, without), Err(CmsError::CertificateCount(0)));

    let value = party.sign(one.bytes());
    let good = one.assemble(&value).unwrap();
    let later = replaced(&good, b"261121120000Z", b"261121120001Z");
    assert_eq!(read(&later).unwrap().verify(MANIFEST), Err(CmsError::BadSignature));
    let mut longer = good;
    longer.push(0);
    assert!(read(&longer).is_err());
    assert_eq!(read(&vec![0x30; SIZE_LIMIT + 1]).unwrap_err(), CmsError::TooLong(SIZE_LIMIT + 1));
}

#[test]
fn digest_and_signature_algorithm_must_agree() {
    let party = signer();
    let mut disagreeing = to_sign(&party);
    disagreeing.hash = Hash::Sha384;
    assert_eq!(outcome(&party, disagreeing), Err(CmsError::AlgorithmNotAllowed));
    let mut foreign = to_sign(&party);
    foreign.hash = Hash::Sha384;
    foreign.signature_identifier =
        crate::algorithm::signature_identifier(SignatureAlgorithm::EcdsaP384Sha384).unwrap();
    assert_eq!(outcome(&party, foreign), Err(CmsError::AlgorithmNotAllowed));
    let mut rsa = to_sign(&party);
    rsa.signature_identifier =
        crate::algorithm::signature_identifier(SignatureAlgorithm::RsaPkcs1Sha256).unwrap();
    assert_eq!(outcome(&party, rsa), Err(CmsError::AlgorithmNotAllowed));
}

#[test]
fn content_inside_is_for_time_stamps_only() {
    let party = signer();
    let inside =
        prepare_encapsulated(DATA, MANIFEST, &party.certificate, SignatureAlgorithm::EcdsaP256Sha256, noon())
            .unwrap();
    assert_eq!(outcome(&party, inside), Err(CmsError::NotAllowed("encapsulated content")));
    let stamp = prepare_encapsulated(
        TIME_STAMP_INFO,
        b"info",
        &party.certificate,
        SignatureAlgorithm::EcdsaP256Sha256,
        noon(),
    )
    .unwrap();
    assert_eq!(outcome(&party, stamp), Err(CmsError::Malformed("content type")));
}

#[test]
fn certificates_are_few() {
    let party = signer();
    let others: Vec<Certificate> = (0..4).map(|_| Party::root("CA").certificate).collect();
    assert_eq!(to_sign(&party).with_intermediates(&others).unwrap_err(), CmsError::CertificateCount(5));
    let mut many = to_sign(&party);
    many.embedded.extend(others);
    assert_eq!(outcome(&party, many), Err(CmsError::CertificateCount(5)));
}

/// A signature of the first format, which every later version must still verify (protocol P10.4).
#[test]
fn golden_signature_still_holds() {
    let manifest = include_bytes!("../../tests/golden/manifest.xml");
    let signer = Certificate::from_pem(include_bytes!("../../tests/golden/signer.pem")).unwrap();
    for signature in [
        &include_bytes!("../../tests/golden/cades-b.p7s")[..],
        include_bytes!("../../tests/golden/cades-b-openssl.p7s"),
    ] {
        let message = read(signature).unwrap();
        assert_eq!(message.certificate(), &signer);
        assert_eq!(message.verify(manifest), Ok(()));
    }
}
