//! Answers are believed from the CA and from whom it authorised, about the right certificate, for the right time.

use std::time::Duration;

use rcgen::ExtendedKeyUsagePurpose as Eku;
use truc_keys::{KeyKind, SignatureAlgorithm};
use truc_model::Timestamp;

use super::*;
use crate::testing::{Party, authority, noon, replaced, seal, with_extended};

struct Scene {
    ca: Party,
    leaf: Party,
    responder: Party,
}

impl Scene {
    fn new() -> Self {
        let ca = Party::root("CA");
        let leaf = ca.issue(KeyKind::EcP256, seal("G01"), 4711);
        let responder = ca.issue(KeyKind::EcP256, with_extended("OCSP", &[Eku::OcspSigning]), 2);
        Self { ca, leaf, responder }
    }

    fn entry(&self, verdict: Verdict, this_update: Timestamp) -> Entry {
        let id = read_request(&request(&self.leaf.certificate, &self.ca.certificate)).unwrap().remove(0);
        Entry { id, verdict, this_update, next_update: Some(this_update.plus(Duration::from_secs(3600))) }
    }

    fn answer(&self, entries: &[Entry], by: &Party) -> Vec<u8> {
        let to_sign =
            prepare_response(entries, &by.certificate, noon(), SignatureAlgorithm::EcdsaP256Sha256).unwrap();
        let value = by.sign(to_sign.bytes());
        to_sign.assemble(&value).unwrap()
    }

    fn judge(&self, answer: &[u8]) -> Result<CertificateStatus, OcspError> {
        read(answer)?.judge(&self.leaf.certificate, &self.ca.certificate, noon())
    }
}

#[test]
fn a_request_names_the_certificate() {
    let scene = Scene::new();
    let ids = read_request(&request(&scene.leaf.certificate, &scene.ca.certificate)).unwrap();
    assert_eq!(ids, [CertId::of(&scene.leaf.certificate, &scene.ca.certificate)]);
    assert!(
        ids[0].is_of(&scene.ca.certificate) && ids[0].names(&scene.leaf.certificate, &scene.ca.certificate)
    );
    assert!(!ids[0].is_of(&Party::root("CA").certificate));
    assert_eq!(ids[0].serial(), scene.leaf.certificate.serial());
}

#[test]
fn the_ca_and_its_responder_are_believed() {
    let scene = Scene::new();
    for verdict in [Verdict::Good, Verdict::Unknown, Verdict::Revoked { at: noon() }] {
        for by in [&scene.ca, &scene.responder] {
            let status = scene.judge(&scene.answer(&[scene.entry(verdict, noon())], by)).unwrap();
            assert_eq!((status.verdict, status.this_update, status.produced_at), (verdict, noon(), noon()));
            assert_eq!(status.next_update, Some(noon().plus(Duration::from_secs(3600))));
        }
    }
}

#[test]
fn others_are_not_believed() {
    let scene = Scene::new();
    let entry = scene.entry(Verdict::Good, noon());
    let strangers = Party::root("CA khác");
    for (who, by) in [
        ("another member of the CA", scene.ca.issue(KeyKind::EcP256, seal("H26"), 5)),
        ("a server of the CA", scene.ca.issue(KeyKind::EcP256, with_extended("ss1", &[Eku::ServerAuth]), 6)),
        (
            "another CA's responder",
            strangers.issue(KeyKind::EcP256, with_extended("OCSP", &[Eku::OcspSigning]), 2),
        ),
        ("another CA", strangers),
        ("a CA under this CA", scene.ca.issue(KeyKind::EcP256, authority("CA cấp 2"), 7)),
    ] {
        assert_eq!(
            scene.judge(&scene.answer(std::slice::from_ref(&entry), &by)),
            Err(OcspError::UnauthorisedResponder),
            "{who}"
        );
    }
    let namesake = Party::root("CA");
    assert_eq!(
        scene.judge(&scene.answer(std::slice::from_ref(&entry), &namesake)),
        Err(OcspError::BadSignature)
    );
    // Good → unknown changes one octet of what was signed.
    let good = scene.answer(&[entry], &scene.responder);
    assert_eq!(
        scene.judge(&replaced(&good, &[0x80, 0, 0x18, 15], &[0x82, 0, 0x18, 15])),
        Err(OcspError::BadSignature)
    );
}

#[test]
fn a_responder_is_authorised_while_its_certificate_is_valid() {
    let scene = Scene::new();
    let mut old = with_extended("OCSP cũ", &[Eku::OcspSigning]);
    old.not_after = rcgen::date_time_ymd(2026, 6, 1);
    let old = scene.ca.issue(KeyKind::EcP256, old, 8);
    let answer = scene.answer(&[scene.entry(Verdict::Good, noon())], &old);
    assert_eq!(scene.judge(&answer), Err(OcspError::UnauthorisedResponder));
}

#[test]
fn an_answer_is_about_its_certificate_and_time() {
    let scene = Scene::new();
    let entry = scene.entry(Verdict::Good, noon());
    let other = scene.ca.issue(KeyKind::EcP256, seal("H26"), 4712).certificate;
    let answer = read(&scene.answer(std::slice::from_ref(&entry), &scene.ca)).unwrap();
    assert_eq!(answer.judge(&other, &scene.ca.certificate, noon()), Err(OcspError::OtherCertificate));
    let twice = scene.answer(&[entry.clone(), Entry { verdict: Verdict::Unknown, ..entry }], &scene.ca);
    assert_eq!(scene.judge(&twice), Err(OcspError::OtherCertificate));
    let late = |seconds| noon().plus(Duration::from_secs(seconds));
    assert!(scene.judge(&scene.answer(&[scene.entry(Verdict::Good, late(60))], &scene.ca)).is_ok());
    assert_eq!(
        scene.judge(&scene.answer(&[scene.entry(Verdict::Good, late(61))], &scene.ca)),
        Err(OcspError::Times)
    );
    let reversed = Entry {
        next_update: Some(noon().minus(Duration::from_secs(1))),
        ..scene.entry(Verdict::Good, noon())
    };
    assert_eq!(scene.judge(&scene.answer(&[reversed], &scene.ca)), Err(OcspError::Times));
}

#[test]
fn a_refusal_is_told_as_one() {
    assert_eq!(read(&failure(Failure::TryLater)).unwrap_err(), OcspError::NotSuccessful(3));
    let scene = Scene::new();
    let wrong = prepare_response(&[], &scene.ca.certificate, noon(), SignatureAlgorithm::EcdsaP256Sha256);
    assert_eq!(wrong.unwrap_err(), OcspError::EntryCount(0));
}
