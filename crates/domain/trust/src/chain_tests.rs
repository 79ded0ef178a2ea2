//! Certificates and the paths above them.

use rcgen::{CustomExtension, ExtendedKeyUsagePurpose as Eku, KeyUsagePurpose};
use truc_keys::KeyKind;
use truc_model::Timestamp;

use crate::crl::{self, CrlError};
use crate::testing::{Party, authority, noon, replaced, seal, with_extended};
use crate::{Certificate, CertificateError, PathError, Purpose, SubjectAttribute, Verdict, check_path};

#[test]
fn a_certificate_says_what_it_says() {
    let root = Party::root("CA thử");
    let leaf = root.issue(KeyKind::EcP384, seal("G01"), 77).certificate;
    assert_eq!(leaf.key_kind(), KeyKind::EcP384);
    assert_eq!(leaf.public_key().len(), 97);
    assert_eq!(leaf.serial(), [77]);
    assert_eq!(leaf.issuer_raw(), root.certificate.subject_raw());
    assert_eq!(leaf.subject(), "CN=G01,O=UBND tỉnh\\, \\\"thử\\\",C=VN");
    assert_eq!(leaf.subject_attribute(SubjectAttribute::Country), Some("VN"));
    assert_eq!(leaf.subject_attribute(SubjectAttribute::SerialNumber), None);
    assert!(leaf.may_sign() && !leaf.is_ca() && root.certificate.is_ca());
    assert!(leaf.valid_at("2027-01-01T00:00:00.999Z".parse().unwrap()));
    assert!(!leaf.valid_at("2027-01-01T00:00:01.000Z".parse().unwrap()));
    assert!(!leaf.valid_at("2025-12-31T23:59:59.999Z".parse().unwrap()));
    assert_eq!(Certificate::from_der(leaf.der()).unwrap(), leaf);
    assert!(!format!("{leaf:?}").contains("G01"), "subjects stay out of logs");
}

#[test]
fn odd_certificates_are_refused() {
    let root = Party::root("CA");
    let leaf = root.issue(KeyKind::EcP256, seal("G01"), 1).certificate;
    let mut longer = leaf.der().to_vec();
    longer.push(0);
    assert_eq!(Certificate::from_der(&longer), Err(CertificateError::Malformed("certificate")));
    let old = replaced(leaf.der(), &[0xa0, 3, 2, 1, 2], &[0xa0, 3, 2, 1, 1]);
    assert_eq!(Certificate::from_der(&old), Err(CertificateError::OldVersion));
    let mut doubled = seal("G01");
    doubled.custom_extensions.push(CustomExtension::from_oid_content(&[2, 5, 29, 15], vec![3, 2, 7, 0x80]));
    let key = rcgen::KeyPair::generate().unwrap();
    let der = doubled.signed_by(&key, &root.issuer).unwrap().der().to_vec();
    assert_eq!(Certificate::from_der(&der), Err(CertificateError::DuplicateExtension("2.5.29.15".into())));
    let mut bad_name = seal("G01");
    bad_name
        .custom_extensions
        .push(CustomExtension::from_oid_content(&[2, 5, 29, 17], vec![0x30, 3, 0x82, 1, 0xff]));
    let der = bad_name.signed_by(&key, &root.issuer).unwrap().der().to_vec();
    assert_eq!(Certificate::from_der(&der), Err(CertificateError::Malformed("subject alternative names")));
    let ed25519 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let der = seal("G01").signed_by(&ed25519, &root.issuer).unwrap().der().to_vec();
    assert_eq!(Certificate::from_der(&der), Err(CertificateError::Key));
}

#[test]
fn pem_holds_one_or_several() {
    let key = rcgen::KeyPair::generate().unwrap();
    let pem = authority("CA").self_signed(&key).unwrap().pem();
    let one = Certificate::from_pem(pem.as_bytes()).unwrap();
    let two = format!("{pem}\n{pem}");
    assert_eq!(Certificate::all_from_pem(two.as_bytes()).unwrap(), [one.clone(), one]);
    assert!(matches!(Certificate::from_pem(two.as_bytes()), Err(CertificateError::Pem(_))));
    assert!(matches!(Certificate::from_pem(b""), Err(CertificateError::Pem(_))));
}

#[test]
fn a_path_ends_at_an_approved_ca_through_its_intermediates() {
    let root = Party::root("CA gốc");
    let middle = root.issue(KeyKind::EcP256, authority("CA cấp 2"), 2);
    let leaf = middle.issue(KeyKind::EcP256, seal("G01"), 3).certificate;
    let (roots, middles) = ([root.certificate.clone()], [middle.certificate.clone()]);
    let path = check_path(&leaf, &middles, &roots, Purpose::Sign, noon()).unwrap();
    assert_eq!((&path.issuer, &path.anchor), (&middle.certificate, &root.certificate));
    // The issuing CA itself may be the one approved.
    let path = check_path(&leaf, &[], &middles, Purpose::Sign, noon()).unwrap();
    assert_eq!(path.issuer, middle.certificate);
    assert_eq!(path.anchor, middle.certificate);

    assert_eq!(check_path(&leaf, &[], &roots, Purpose::Sign, noon()), Err(PathError::UnknownIssuer));
    let stranger = Party::root("CA gốc").certificate;
    let strange = check_path(&leaf, &middles, &[stranger], Purpose::Sign, noon());
    assert!(matches!(strange, Err(PathError::UnknownIssuer | PathError::Refused(_))), "{strange:?}");
    assert_eq!(
        check_path(&leaf, &vec![middle.certificate; 9], &roots, Purpose::Sign, noon()),
        Err(PathError::TooMany(9))
    );
}

/// webpki forgets what an anchor says of itself; we do not.
#[test]
fn an_approved_ca_may_forbid_cas_below_itself() {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = authority("CA");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    let der = params.self_signed(&key).unwrap().der().to_vec();
    let root =
        Party { certificate: Certificate::from_der(&der).unwrap(), issuer: rcgen::Issuer::new(params, key) };
    let middle = root.issue(KeyKind::EcP256, authority("CA cấp 2"), 2);
    let leaf = middle.issue(KeyKind::EcP256, seal("G01"), 3).certificate;
    let roots = [root.certificate.clone()];
    let deep = check_path(&leaf, std::slice::from_ref(&middle.certificate), &roots, Purpose::Sign, noon());
    assert_eq!(deep, Err(PathError::TooLong));
    let direct = root.issue(KeyKind::EcP256, seal("G01"), 4).certificate;
    assert!(check_path(&direct, &[], &roots, Purpose::Sign, noon()).is_ok());
}

/// A renewed CA has its name and key in two approved certificates; each says for itself what it allows.
#[test]
fn of_two_certificates_of_one_ca_the_one_that_allows_the_path_counts() {
    let key = rcgen::KeyPair::generate().unwrap();
    let made = |constraint, serial: u64| {
        let mut params = authority("CA");
        params.is_ca = rcgen::IsCa::Ca(constraint);
        params.serial_number = Some(serial.into());
        Certificate::from_der(params.self_signed(&key).unwrap().der()).unwrap()
    };
    let strict = made(rcgen::BasicConstraints::Constrained(0), 1);
    let free = made(rcgen::BasicConstraints::Unconstrained, 2);
    let root = Party {
        certificate: free.clone(),
        issuer: rcgen::Issuer::new(authority("CA"), rcgen::KeyPair::try_from(key.serialize_der()).unwrap()),
    };
    let middle = root.issue(KeyKind::EcP256, authority("CA cấp 2"), 2);
    let leaf = middle.issue(KeyKind::EcP256, seal("G01"), 3).certificate;
    let middles = [middle.certificate];
    for anchors in [[strict.clone(), free.clone()], [free.clone(), strict.clone()]] {
        let path = check_path(&leaf, &middles, &anchors, Purpose::Sign, noon()).unwrap();
        assert_eq!(path.anchor, free);
    }
    assert_eq!(check_path(&leaf, &middles, &[strict], Purpose::Sign, noon()), Err(PathError::TooLong));
}

/// RFC 5280 lets anyExtendedKeyUsage stand for every purpose; webpki and we want the purpose by name.
#[test]
fn an_issuing_ca_for_anything_is_not_one_for_nodes() {
    let root = Party::root("CA");
    let mut any = authority("CA cấp 2");
    any.extended_key_usages = vec![Eku::Any];
    let middle = root.issue(KeyKind::EcP256, any, 2);
    let leaf = middle.issue(KeyKind::EcP256, with_extended("ss1", &[Eku::ClientAuth, Eku::ServerAuth]), 3);
    let roots = [root.certificate];
    let path = check_path(&leaf.certificate, &[middle.certificate], &roots, Purpose::Auth, noon());
    assert!(matches!(path, Err(PathError::Refused(_))), "{path:?}");
}

/// Their keys lie open in the repository, so nothing of ours even reads them.
#[test]
fn a_certificate_with_the_policy_of_the_examples_is_refused() {
    let root = Party::root("CA");
    let mut example = seal("G01");
    let policy = [0x30, 14, 0x30, 12, 6, 10, 0x2b, 6, 1, 4, 1, 0x81, 0xfd, 0x59, 2, 1].to_vec();
    example.custom_extensions.push(CustomExtension::from_oid_content(&[2, 5, 29, 32], policy));
    let key = rcgen::KeyPair::generate().unwrap();
    let der = example.signed_by(&key, &root.issuer).unwrap().der().to_vec();
    let error = Certificate::from_der(&der).unwrap_err();
    assert_eq!(error, CertificateError::Example);
    assert!(Certificate::is_example(&der) && !Certificate::is_example(root.certificate.der()));
    assert!(error.to_string().contains("certs-example"), "{error}");
}

#[test]
fn a_path_holds_for_its_time_only() {
    let root = Party::root("CA");
    let leaf = root.issue(KeyKind::EcP256, seal("G01"), 3).certificate;
    let roots = [root.certificate];
    let at = |text: &str| -> Timestamp { text.parse().unwrap() };
    let check = |at| check_path(&leaf, &[], &roots, Purpose::Sign, at).map(|_| ());
    assert_eq!(check(at("2026-01-01T00:00:00.000Z")), Ok(()));
    assert_eq!(check(at("2028-01-01T00:00:00.000Z")), Err(PathError::Expired));
    assert_eq!(check(at("2025-01-01T00:00:00.000Z")), Err(PathError::NotYetValid));
}

#[test]
fn usages_are_kept_apart() {
    let root = Party::root("CA");
    let roots = [root.certificate.clone()];
    let check =
        |party: &Party, purpose| check_path(&party.certificate, &[], &roots, purpose, noon()).map(|_| ());
    let auth = root.issue(KeyKind::EcP256, with_extended("ss1", &[Eku::ClientAuth, Eku::ServerAuth]), 1);
    assert_eq!(check(&auth, Purpose::Auth), Ok(()));
    assert_eq!(check(&auth, Purpose::TimeStamping), Err(PathError::WrongUsage(Purpose::TimeStamping)));
    let half = root.issue(KeyKind::EcP256, with_extended("ss1", &[Eku::ClientAuth]), 2);
    assert_eq!(check(&half, Purpose::Auth), Err(PathError::WrongUsage(Purpose::Auth)));
    let sealed = root.issue(KeyKind::EcP256, seal("G01"), 3);
    assert_eq!(check(&sealed, Purpose::Auth), Err(PathError::WrongUsage(Purpose::Auth)));
    let mut agreement = seal("G01");
    agreement.key_usages = vec![KeyUsagePurpose::KeyAgreement];
    let agreement = root.issue(KeyKind::EcP256, agreement, 4);
    assert_eq!(check(&agreement, Purpose::Sign), Err(PathError::WrongUsage(Purpose::Sign)));
    let mut tsa = seal("TSA");
    let mut critical =
        CustomExtension::from_oid_content(&[2, 5, 29, 37], vec![0x30, 10, 6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 8]);
    critical.set_criticality(true);
    tsa.custom_extensions.push(critical);
    let tsa = root.issue(KeyKind::EcP256, tsa, 5);
    assert_eq!(check(&tsa, Purpose::TimeStamping), Ok(()));
    let loose = root.issue(KeyKind::EcP256, with_extended("TSA", &[Eku::TimeStamping]), 6);
    assert_eq!(check(&loose, Purpose::TimeStamping), Err(PathError::WrongUsage(Purpose::TimeStamping)));
    // A member's certificate is no CA, even for its own name.
    let child = sealed.issue(KeyKind::EcP256, seal("H26"), 7);
    assert!(
        check_path(
            &child.certificate,
            std::slice::from_ref(&sealed.certificate),
            &roots,
            Purpose::Sign,
            noon()
        )
        .is_err()
    );
}

/// A revocation list of `ca`, valid for a day from noon.
pub(crate) fn list(ca: &Party, revoked: &[(u64, Timestamp)]) -> Vec<u8> {
    let date = |at: Timestamp| {
        rcgen::date_time_ymd(2026, 11, 21)
            + std::time::Duration::from_secs(u64::try_from(at.seconds() - 1_795_219_200).unwrap())
    };
    let params = rcgen::CertificateRevocationListParams {
        this_update: date(noon()),
        next_update: date(noon()) + std::time::Duration::from_secs(86_400),
        crl_number: rcgen::SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: revoked
            .iter()
            .map(|(serial, at)| rcgen::RevokedCertParams {
                serial_number: rcgen::SerialNumber::from(*serial),
                revocation_time: date(*at),
                reason_code: Some(rcgen::RevocationReason::KeyCompromise),
                invalidity_date: None,
            })
            .collect(),
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    params.signed_by(&ca.issuer).unwrap().der().to_vec()
}

#[test]
fn a_revocation_list_tells_the_revoked() {
    let ca = Party::root("CA");
    let bad = ca.issue(KeyKind::EcP256, seal("G01"), 4711).certificate;
    let good = ca.issue(KeyKind::EcP256, seal("H26"), 4712).certificate;
    let der = list(&ca, &[(4711, noon())]);
    let read = crl::read(&der, &ca.certificate).unwrap();
    assert_eq!(read.judge(&bad, noon()).unwrap().verdict, Verdict::Revoked { at: noon() });
    assert_eq!(read.judge(&good, noon()).unwrap().verdict, Verdict::Good);
    let minute = std::time::Duration::from_secs(60);
    assert!(read.judge(&good, noon().minus(minute)).is_ok());
    assert_eq!(read.judge(&good, noon().minus(minute * 2)), Err(CrlError::NotYetValid));
    assert_eq!(read.judge(&good, read.next_update().plus(minute)), Err(CrlError::Expired));
    assert_eq!(read.judge(&Party::root("khác").certificate, noon()), Err(CrlError::OtherCertificate));
    assert_eq!(crl::read(&der, &Party::root("CA").certificate).unwrap_err(), CrlError::BadSignature);
    assert_eq!(crl::read(&der, &Party::root("khác").certificate).unwrap_err(), CrlError::OtherIssuer);
    assert!(crl::read(&list(&ca, &[]), &ca.certificate).is_ok());
}
