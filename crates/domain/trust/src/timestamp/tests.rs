use proptest::prelude::*;
use rcgen::{CertificateParams, CustomExtension, ExtendedKeyUsagePurpose};
use std::sync::LazyLock;
use truc_keys::{KeyKind, SignatureAlgorithm};
use truc_model::{Digest, Timestamp};

use super::*;
use crate::algorithm::Hash;
use crate::asn1::{self, BOOLEAN, INTEGER, OCTET_STRING, context, oid, sequence, tlv};
use crate::cms;
use crate::mutations::{Draw, mutated};
use crate::testing::{Party, noon, replaced, seal};

const POLICY: der::asn1::ObjectIdentifier = der::asn1::ObjectIdentifier::new_unwrap("1.3.6.1.4.1.32473.1.1");
const NONCE: u64 = 0xfedc_ba98_7654_3210;

/// A certificate for time-stamping; rcgen writes the usage as not critical, RFC 3161 wants it critical.
fn stamping(name: &str) -> CertificateParams {
    let mut params = seal(name);
    params.custom_extensions.push(usage(true, &["1.3.6.1.5.5.7.3.8"]));
    params
}

fn usage(critical: bool, ids: &[&str]) -> CustomExtension {
    let ids: Vec<Vec<u8>> = ids.iter().map(|id| oid(id.parse().unwrap())).collect();
    let parts: Vec<&[u8]> = ids.iter().map(Vec::as_slice).collect();
    let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, 37], sequence(&parts));
    extension.set_criticality(critical);
    extension
}

/// What one token says; the default is a good one for [`asked`].
struct Said {
    imprint: Digest,
    hash: Hash,
    nonce: Option<Vec<u8>>,
    at: &'static str,
    version: u8,
    extensions: Vec<u8>,
    content_type: der::asn1::ObjectIdentifier,
    intermediates: Vec<Certificate>,
    embedded: bool,
}

fn good() -> Said {
    Said {
        imprint: imprint(),
        hash: Hash::Sha256,
        nonce: Some(asked().nonce().to_vec()),
        at: "20261121120000Z",
        version: 1,
        extensions: vec![],
        content_type: cms::TIME_STAMP_INFO,
        intermediates: vec![],
        embedded: true,
    }
}

fn imprint() -> Digest {
    Digest::of(b"the root of a batch")
}

fn asked() -> TimeStampRequest {
    TimeStampRequest::new(imprint(), NONCE)
}

impl Said {
    fn info(&self) -> Vec<u8> {
        let imprint =
            sequence(&[&self.hash.identifier_with_null(), &tlv(OCTET_STRING, &[self.imprint.as_bytes()])]);
        let nonce = self.nonce.as_ref().map(|nonce| tlv(INTEGER, &[nonce])).unwrap_or_default();
        sequence(&[
            &tlv(INTEGER, &[&[self.version]]),
            &oid(POLICY),
            &imprint,
            &tlv(INTEGER, &[&[0x12, 0x34]]),
            &tlv(asn1::GENERALIZED_TIME, &[self.at.as_bytes()]),
            &sequence(&[&tlv(INTEGER, &[&[1]])]),
            &nonce,
            &self.extensions,
        ])
    }

    fn token(&self, signer: &Party) -> Vec<u8> {
        let algorithm = match signer.certificate.key_kind() {
            KeyKind::EcP384 => SignatureAlgorithm::EcdsaP384Sha384,
            _ => SignatureAlgorithm::EcdsaP256Sha256,
        };
        let (certificate, info) = (&signer.certificate, self.info());
        let made =
            cms::prepare_encapsulated(self.content_type, &info, certificate, algorithm, noon()).unwrap();
        let made = made.with_intermediates(&self.intermediates).unwrap();
        let made = if self.embedded { made } else { made.without_certificates() };
        let value = signer.sign(made.bytes());
        made.assemble(&value).unwrap()
    }
}

fn granting(token: &[u8]) -> Vec<u8> {
    sequence(&[&sequence(&[&tlv(INTEGER, &[&[0]])]), token])
}

fn authority(of: &Party) -> TimeStampAuthority {
    TimeStampAuthority {
        name: "TSA".into(),
        certificate: of.certificate.clone(),
        url: "http://tsa.test".into(),
    }
}

struct Bench {
    ca: Party,
    tsa: Party,
    authority: TimeStampAuthority,
}

static BENCH: LazyLock<Bench> = LazyLock::new(|| {
    let ca = Party::root("CA");
    let tsa = ca.issue(KeyKind::EcP256, stamping("TSA"), 7);
    let authority = authority(&tsa);
    Bench { ca, tsa, authority }
});

/// What is made of a fresh answer, and of the token kept.
fn both(said: &Said, signer: &Party, authority: &TimeStampAuthority) -> Result<TimeStamp, TimeStampError> {
    let token = said.token(signer);
    let fresh = judge_response(&granting(&token), &asked(), authority, noon());
    let kept = judge_token(&token, imprint(), authority);
    let fresh = fresh.map(|(stamp, kept)| {
        assert_eq!(kept.der(), token);
        stamp
    });
    assert_eq!(fresh.as_ref().ok(), kept.as_ref().ok());
    fresh
}

fn refused(said: &Said) -> TimeStampError {
    both(said, &BENCH.tsa, &BENCH.authority).unwrap_err()
}

#[test]
fn a_good_token_is_believed_fresh_and_later() {
    for kind in [KeyKind::EcP256, KeyKind::EcP384] {
        let tsa = BENCH.ca.issue(kind, stamping("TSA"), 8);
        let stamp = both(&good(), &tsa, &authority(&tsa)).unwrap();
        assert_eq!(
            (stamp.imprint, stamp.gen_time, stamp.signer),
            (imprint(), noon(), tsa.certificate.clone())
        );
        assert_eq!((stamp.policy.as_str(), stamp.serial.as_str()), ("1.3.6.1.4.1.32473.1.1", "1234"));
        // Without its certificate the directory's serves.
        assert!(both(&Said { embedded: false, ..good() }, &tsa, &authority(&tsa)).is_ok());
    }
}

#[test]
fn the_answer_must_be_to_this_question() {
    assert_eq!(refused(&Said { imprint: Digest::of(b"another"), ..good() }), TimeStampError::OtherImprint);
    assert_eq!(refused(&Said { content_type: cms::DATA, ..good() }), TimeStampError::OtherContentType);
    // By another algorithm, of the same length or not, it is another imprint.
    for hash in [Hash::Sha1, Hash::Sha384] {
        assert_eq!(refused(&Said { hash, ..good() }), TimeStampError::OtherImprint);
    }
    for nonce in [None, Some(vec![1]), Some(vec![0, 0xfe])] {
        let token = Said { nonce, ..good() }.token(&BENCH.tsa);
        let fresh = judge_response(&granting(&token), &asked(), &BENCH.authority, noon());
        assert_eq!(fresh.unwrap_err(), TimeStampError::OtherNonce);
        assert!(judge_token(&token, imprint(), &BENCH.authority).is_ok(), "later there is no request");
    }
    let token = granting(&good().token(&BENCH.tsa));
    assert!(judge_response(&token, &asked().under(POLICY), &BENCH.authority, noon()).is_ok());
    let other = asked().under("1.2.3.4".parse().unwrap());
    let outcome = judge_response(&token, &other, &BENCH.authority, noon()).unwrap_err();
    assert_eq!(outcome, TimeStampError::OtherPolicy(POLICY.to_string()));
}

#[test]
fn only_what_is_granted_counts() {
    let token = good().token(&BENCH.tsa);
    let answer = |status: u8, rest: &[&[u8]], token: &[u8]| {
        let status = tlv(INTEGER, &[&[status]]);
        let info = sequence(&[&status, &rest.concat()]);
        judge_response(&sequence(&[&info, token]), &asked(), &BENCH.authority, noon()).map(drop)
    };
    assert_eq!(answer(0, &[], &token), Ok(()));
    assert_eq!(answer(0, &[], &[]), Err(TimeStampError::NoToken));
    for status in [1, 2, 3, 4, 5, 99] {
        let outcome = answer(status, &[], &token);
        assert!(matches!(outcome, Err(TimeStampError::Refused { status: said, .. }) if said == status));
    }
    let text = sequence(&[&tlv(0x0c, &["hết hạn\u{7}".as_bytes()])]);
    let failure = tlv(asn1::BIT_STRING, &[&[6, 0, 0, 0, 0x40]]);
    let outcome = answer(2, &[&text, &failure], &[]).unwrap_err();
    assert_eq!(outcome.to_string(), "the time-stamp authority refused (status 2): hết hạn (systemFailure)");
    let long = sequence(&[&tlv(0x0c, &["x".repeat(5000).as_bytes()])]);
    assert!(answer(2, &[&long], &[]).unwrap_err().to_string().len() < 300);
    assert!(matches!(answer(0, &[&[0x05, 0x00]], &token), Err(TimeStampError::Malformed(_))));
}

#[test]
fn only_the_authority_asked_counts() {
    let (ca, listed) = (&BENCH.ca, &BENCH.authority);
    let stranger = ca.issue(KeyKind::EcP256, stamping("TSA"), 9);
    assert_eq!(both(&good(), &stranger, listed), Err(TimeStampError::OtherSigner("TSA".into())));
    // Where a CA is listed, whoever it certified for time-stamping.
    assert!(both(&good(), &stranger, &authority(ca)).is_ok());
    let elsewhere = Party::root("CA").issue(KeyKind::EcP256, stamping("TSA"), 7);
    assert!(matches!(both(&good(), &elsewhere, &authority(ca)), Err(TimeStampError::Path(_))));
    let between = ca.issue(KeyKind::EcP256, crate::testing::authority("TSA CA"), 10);
    let below = between.issue(KeyKind::EcP256, stamping("TSA"), 11);
    assert!(matches!(both(&good(), &below, &authority(ca)), Err(TimeStampError::Path(_))));
    let carried = Said { intermediates: vec![between.certificate.clone()], ..good() };
    assert!(both(&carried, &below, &authority(ca)).is_ok());
    assert!(both(&carried, &below, &authority(&between)).is_ok());
}

#[test]
fn the_certificate_must_be_for_time_stamping_alone() {
    const STAMPING: &str = "1.3.6.1.5.5.7.3.8";
    let flawed = [
        usage(false, &[STAMPING]),
        usage(true, &[STAMPING, "1.3.6.1.5.5.7.3.2"]),
        usage(true, &["2.5.29.37.0"]),
    ];
    for extension in flawed {
        let mut params = seal("TSA");
        params.custom_extensions.push(extension);
        let tsa = BENCH.ca.issue(KeyKind::EcP256, params, 12);
        assert_eq!(both(&good(), &tsa, &authority(&tsa)), Err(TimeStampError::WrongUsage));
        assert_eq!(both(&good(), &tsa, &authority(&BENCH.ca)), Err(TimeStampError::WrongUsage));
    }
    let mut params = seal("TSA");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::TimeStamping];
    let tsa = BENCH.ca.issue(KeyKind::EcP256, params, 13);
    assert_eq!(both(&good(), &tsa, &authority(&tsa)), Err(TimeStampError::WrongUsage), "not critical");
    let none = BENCH.ca.issue(KeyKind::EcP256, seal("TSA"), 14);
    assert_eq!(both(&good(), &none, &authority(&none)), Err(TimeStampError::WrongUsage));
    let mut params = stamping("TSA");
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyAgreement];
    let tsa = BENCH.ca.issue(KeyKind::EcP256, params, 15);
    assert_eq!(both(&good(), &tsa, &authority(&tsa)), Err(TimeStampError::WrongUsage));
}

#[test]
fn the_certificate_must_have_been_valid_then() {
    for at in ["20251231235959Z", "20270101000001Z"] {
        let token = Said { at, ..good() }.token(&BENCH.tsa);
        assert_eq!(judge_token(&token, imprint(), &BENCH.authority), Err(TimeStampError::NotValidThen));
        let of_ca = judge_token(&token, imprint(), &authority(&BENCH.ca));
        assert_eq!(of_ca, Err(TimeStampError::NotValidThen));
    }
    for at in ["20260101000000Z", "20270101000000Z"] {
        let token = Said { at, ..good() }.token(&BENCH.tsa);
        assert!(judge_token(&token, imprint(), &BENCH.authority).is_ok());
    }
}

#[test]
fn a_fresh_token_is_near_our_clock() {
    let answer = granting(&good().token(&BENCH.tsa));
    let at = |now: Timestamp| judge_response(&answer, &asked(), &BENCH.authority, now).map(drop);
    assert_eq!(at(noon().plus(CLOCK_LIMIT)), Ok(()));
    assert_eq!(at(noon().minus(CLOCK_LIMIT)), Ok(()));
    let (far, millisecond) = (Duration::from_secs(61), Duration::from_millis(1));
    assert_eq!(at(noon().plus(far)), Err(TimeStampError::Clock { seconds: 61 }));
    assert_eq!(at(noon().minus(far)), Err(TimeStampError::Clock { seconds: 61 }));
    assert_eq!(at(noon().plus(CLOCK_LIMIT).plus(millisecond)), Err(TimeStampError::Clock { seconds: 60 }));
}

#[test]
fn times_may_have_fractions() {
    for (at, read) in [
        ("20261121120000.5Z", "2026-11-21T12:00:00.500Z"),
        ("20261121120000.000001Z", "2026-11-21T12:00:00.000Z"),
        ("20261121120000.98765Z", "2026-11-21T12:00:00.987Z"),
    ] {
        let stamp = both(&Said { at, ..good() }, &BENCH.tsa, &BENCH.authority).unwrap();
        assert_eq!(stamp.gen_time.to_string(), read);
    }
    let bad = [
        "20261121120000.Z",
        "20261121120000.50Z",
        "20261121120000.5",
        "20261121120000+0700",
        "20261321120000Z",
        "202611211200Z",
        "20261121120000,5Z",
        "20261121120000.1234567891Z",
        "Z",
        "",
    ];
    for at in bad {
        assert!(matches!(refused(&Said { at, ..good() }), TimeStampError::Malformed(_)), "{at}");
    }
}

#[test]
fn nothing_unknown_may_be_demanded() {
    assert!(matches!(refused(&Said { version: 2, ..good() }), TimeStampError::Malformed(_)));
    let extension = |critical: bool| {
        let flag = if critical { tlv(BOOLEAN, &[&[0xff]]) } else { vec![] };
        let one = sequence(&[&oid(POLICY), &flag, &tlv(OCTET_STRING, &[b"x"])]);
        tlv(context(1), &[&one])
    };
    assert!(both(&Said { extensions: extension(false), ..good() }, &BENCH.tsa, &BENCH.authority).is_ok());
    let outcome = refused(&Said { extensions: extension(true), ..good() });
    assert!(matches!(outcome, TimeStampError::Malformed(_)));
}

/// The name of a certificate id changed to another certificate's: the signature would catch it too, so the attributes are
/// signed anew around it.
#[test]
fn the_certificate_id_must_name_the_signer() {
    let tsa = &BENCH.tsa;
    let other = BENCH.ca.issue(KeyKind::EcP256, stamping("TSA"), 16);
    let (info, algorithm) = (good().info(), SignatureAlgorithm::EcdsaP256Sha256);
    let made = cms::prepare_encapsulated(cms::TIME_STAMP_INFO, &info, &tsa.certificate, algorithm, noon());
    let made = made.unwrap();
    let honest = made.bytes().to_vec();
    let lying = replaced(
        &honest,
        tsa.certificate.fingerprint().as_bytes(),
        other.certificate.fingerprint().as_bytes(),
    );
    let assembled = made.assemble(&tsa.sign(&lying)).unwrap();
    let token = replaced(&assembled, &honest[4..], &lying[4..]);
    let outcome = judge_token(&token, imprint(), &BENCH.authority);
    assert_eq!(outcome, Err(TimeStampError::OtherCertificate));
}

#[test]
fn two_signers_or_data_behind_are_refused() {
    let token = good().token(&BENCH.tsa);
    for length in 0..token.len() {
        assert!(TimeStampToken::read(&token[..length]).is_err());
    }
    let longer = [&token[..], &[0]].concat();
    assert!(TimeStampToken::read(&longer).is_err());
    let answer = granting(&token);
    let longer = [&answer[..], &[0]].concat();
    assert!(judge_response(&longer, &asked(), &BENCH.authority, noon()).is_err());
    let huge = vec![0x30; SIZE_LIMIT + 1];
    assert_eq!(TimeStampToken::read(&huge).unwrap_err(), TimeStampError::TooLong(SIZE_LIMIT + 1));
    let outcome = judge_response(&huge, &asked(), &BENCH.authority, noon()).unwrap_err();
    assert_eq!(outcome, TimeStampError::TooLong(SIZE_LIMIT + 1));
}

#[test]
fn requests_have_one_form() {
    for (nonce, octets) in [
        (0u64, &[0u8][..]),
        (0x7f, &[0x7f]),
        (0x80, &[0, 0x80]),
        (u64::MAX, &[0, 255, 255, 255, 255, 255, 255, 255, 255]),
    ] {
        assert_eq!(TimeStampRequest::new(imprint(), nonce).nonce(), octets);
    }
    let written = hex::encode(TimeStampRequest::new(Digest([0xaa; 32]), 1).under(POLICY).to_der());
    let imprint = format!("3031300d060960864801650304020105000420{}", "aa".repeat(32));
    assert_eq!(written, format!("3048020101{imprint}060a2b0601040181fd590101{}", "0201010101ff"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        let _ = judge_token(&bytes, imprint(), &BENCH.authority);
        let _ = judge_response(&bytes, &asked(), &BENCH.authority, noon());
    }
}

/// Whatever one octet is changed to anywhere: what is still believed says the same.
#[test]
fn no_changed_octet_makes_another_time() {
    let token = good().token(&BENCH.tsa);
    let answer = granting(&token);
    let stamp = judge_token(&token, imprint(), &BENCH.authority).unwrap();
    for at in 0..answer.len() {
        for change in [0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xff] {
            let mut changed = answer.clone();
            changed[at] ^= change;
            if let Ok((said, _)) = judge_response(&changed, &asked(), &BENCH.authority, noon()) {
                assert_eq!(said, stamp, "octet {at} changed by {change}");
            }
        }
    }
}

#[test]
fn a_changed_answer_is_never_believed() {
    let answer = granting(&good().token(&BENCH.tsa));
    let other = granting(&Said { imprint: Digest::of(b"another"), ..good() }.token(&BENCH.tsa));
    let stamp = judge_response(&answer, &asked(), &BENCH.authority, noon()).unwrap().0;
    let mut draw = Draw(3);
    for round in 0..10_000 {
        let changed = mutated(&answer, &other, &mut draw);
        if let Ok((said, _)) = judge_response(&changed, &asked(), &BENCH.authority, noon()) {
            assert_eq!(said, stamp, "{round}: {}", hex::encode(&changed));
        }
        // And nobody makes an answer to this question of the other.
        let changed = mutated(&other, &answer, &mut draw);
        if let Ok((said, _)) = judge_response(&changed, &asked(), &BENCH.authority, noon()) {
            assert_eq!(said, stamp, "{round}: {}", hex::encode(&changed));
        }
    }
}
