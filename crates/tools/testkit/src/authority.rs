//! The certificate authority of a test bus, and what its OCSP responder says.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SerialNumber, SigningKey as _,
};
use truc_directory::{ApprovedAuthority, Der, Profile, Usage};
use truc_keys::{KeyKind, SignatureAlgorithm};
use truc_model::{Clock, Fingerprint, MemberId, NodeId, Timestamp};
use truc_trust::ocsp::{CertId, Entry, Verdict, prepare_response};
use truc_trust::{Certificate, StatusSource, StatusSourceError};

use crate::memory_signer::TestKey;

/// organizationIdentifier (X.520), where profile `truc-1` has the member's id.
pub(crate) const ORGANIZATION_IDENTIFIER: &[u64] = &[2, 5, 4, 97];

/// A certificate authority that answers OCSP itself.
pub struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
    serial: AtomicU64,
}

pub(crate) fn params(names: &[(DnType, &str)]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.remove(DnType::CommonName);
    for (kind, text) in names {
        params.distinguished_name.push(kind.clone(), *text);
    }
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2049, 1, 1);
    params
}

impl Authority {
    /// A new CA with a P-256 key.
    pub fn new(name: &str) -> Self {
        let mut params = params(&[(DnType::CommonName, name)]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let pair = TestKey::generate(KeyKind::EcP256).into_pair();
        let der = params.self_signed(&pair).unwrap().der().to_vec();
        let certificate = Certificate::from_der(&der).unwrap();
        Self { certificate, issuer: Issuer::new(params, pair), serial: AtomicU64::new(1000) }
    }

    /// The CA's own certificate.
    pub const fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    pub(crate) fn issue(&self, mut params: CertificateParams, key: &TestKey) -> Certificate {
        params.serial_number = Some(SerialNumber::from(self.serial.fetch_add(1, Ordering::SeqCst)));
        let der = params.signed_by(key.pair(), &self.issuer).unwrap().der().to_vec();
        Certificate::from_der(&der).unwrap()
    }

    /// A member's sign certificate.
    pub fn seal(&self, member: &MemberId, key: &TestKey) -> Certificate {
        let id = DnType::CustomDnType(ORGANIZATION_IDENTIFIER.to_vec());
        let mut params = params(&[(id, member.as_str()), (DnType::CommonName, "Con dấu thử")]);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::ContentCommitment];
        self.issue(params, key)
    }

    /// A node's auth certificate.
    pub fn auth(&self, node: &NodeId, key: &TestKey) -> Certificate {
        let id = DnType::CustomDnType(ORGANIZATION_IDENTIFIER.to_vec());
        let owner = node.owner();
        let mut params = params(&[(id, owner.as_str()), (DnType::CommonName, node.as_str())]);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params, key)
    }

    /// An OCSP response about one of this CA's certificates.
    pub fn status(&self, certificate: &Certificate, verdict: Verdict, this_update: Timestamp) -> Bytes {
        let entry = Entry {
            id: CertId::of(certificate, &self.certificate),
            verdict,
            this_update,
            next_update: Some(this_update.plus(Duration::from_secs(3600))),
        };
        let algorithm = SignatureAlgorithm::EcdsaP256Sha256;
        let to_sign = prepare_response(&[entry], &self.certificate, this_update, algorithm).unwrap();
        let value = self.issuer.key().sign(to_sign.bytes()).unwrap();
        Bytes::from(to_sign.assemble(&value).unwrap())
    }

    /// A revocation list of this CA, in force for a day.
    pub fn list(&self, revoked: &[Certificate], this_update: Timestamp) -> Bytes {
        let date = |at: Timestamp| {
            // rcgen dates begin with 1970 and go on by durations.
            rcgen::date_time_ymd(1970, 1, 1)
                + Duration::from_secs(u64::try_from(at.whole_second().millis() / 1000).unwrap())
        };
        let entry = |certificate: &Certificate| rcgen::RevokedCertParams {
            serial_number: SerialNumber::from_slice(certificate.serial()),
            revocation_time: date(this_update),
            reason_code: Some(rcgen::RevocationReason::KeyCompromise),
            invalidity_date: None,
        };
        let params = rcgen::CertificateRevocationListParams {
            this_update: date(this_update),
            next_update: date(this_update.plus(Duration::from_secs(24 * 3600))),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(entry).collect(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        Bytes::copy_from_slice(params.signed_by(&self.issuer).unwrap().der())
    }

    /// As the directory lists it.
    pub fn approved(&self, name: &str) -> ApprovedAuthority {
        ApprovedAuthority {
            name: name.into(),
            certificate: Der(Bytes::copy_from_slice(self.certificate.der())),
            intermediates: vec![],
            usages: vec![Usage::Sign, Usage::Auth],
            profile: Profile::Truc1,
            ocsp: vec!["http://ocsp.invalid/".into()],
            crl: Some("http://crl.invalid/".into()),
        }
    }
}

#[derive(Default)]
struct Moods {
    down: bool,
    verdicts: HashMap<Fingerprint, Verdict>,
    this_update: Option<Timestamp>,
    queries: usize,
    list: Option<Bytes>,
}

/// The OCSP responder as nodes reach it: good unless told otherwise.
pub struct Responder {
    authority: Arc<Authority>,
    clock: Arc<dyn Clock>,
    moods: Mutex<Moods>,
}

impl Responder {
    /// The responder of `authority`.
    pub fn new(authority: Arc<Authority>, clock: Arc<dyn Clock>) -> Self {
        Self { authority, clock, moods: Mutex::default() }
    }

    fn moods(&self) -> MutexGuard<'_, Moods> {
        self.moods.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it says of `certificate` from now on.
    pub fn set(&self, certificate: &Certificate, verdict: Verdict) {
        self.moods().verdicts.insert(certificate.fingerprint(), verdict);
    }

    /// Revokes `certificate` as of now.
    pub fn revoke(&self, certificate: &Certificate) {
        self.set(certificate, Verdict::Revoked { at: self.clock.now() });
    }

    /// From now on (or no longer) nobody answers.
    pub fn set_down(&self, down: bool) {
        self.moods().down = down;
    }

    /// The `thisUpdate` of answers from now on; `None` is the time of the clock.
    pub fn set_this_update(&self, at: Option<Timestamp>) {
        self.moods().this_update = at;
    }

    /// The revocation list to be had from now on, responder or not; at first there is none.
    pub fn set_list(&self, list: Option<Bytes>) {
        self.moods().list = list;
    }

    /// How often it was asked over the network.
    pub fn queries(&self) -> usize {
        self.moods().queries
    }

    /// What it would answer now, network or not.
    pub fn answer(&self, certificate: &Certificate) -> Bytes {
        let moods = self.moods();
        let verdict = moods.verdicts.get(&certificate.fingerprint()).copied().unwrap_or(Verdict::Good);
        let at = moods.this_update.unwrap_or_else(|| self.clock.now());
        self.authority.status(certificate, verdict, at)
    }
}

#[async_trait]
impl StatusSource for Responder {
    async fn ocsp(
        &self,
        _url: &str,
        certificate: &Certificate,
        _issuer: &Certificate,
    ) -> Result<Bytes, StatusSourceError> {
        let down = {
            let mut moods = self.moods();
            moods.queries += 1;
            moods.down
        };
        if down {
            Err(StatusSourceError("switched off by the test".into()))
        } else {
            Ok(self.answer(certificate))
        }
    }

    async fn revocation_list(&self, _url: &str) -> Result<Bytes, StatusSourceError> {
        self.moods().list.clone().ok_or_else(|| StatusSourceError("there is no list in this test".into()))
    }
}
