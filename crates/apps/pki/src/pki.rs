//! The authority itself: issuing and revoking.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use der::{Decode as _, Encode as _, EncodePem as _};
use spki::SubjectPublicKeyInfoOwned;
use truc_keys::KeyInfo;
use truc_keystores::FileKeyStore;
use truc_model::{Clock, Fingerprint, MemberId, NodeId, Timestamp};
use truc_trust::Certificate;
use x509_cert::name::Name;

use crate::certificates::{self, Issuer, StatusUrls, Subject, Usage, auth_name, sign_name};
use crate::config::PkiConfig;
use crate::csr;
use crate::encoding::subject_key_kind;
use crate::error::{PkiError, blocking};
use crate::ledger::{Event, IssuedCertificate, Ledger, RevocationReason, Serial};

/// Certificates start a little earlier than now, for machines whose clock is a little behind.
pub(crate) const BACKDATED: Duration = Duration::from_secs(60);
/// One of the PKI's own keys with its certificate.
pub(crate) struct Service {
    pub(crate) key: KeyInfo,
    pub(crate) certificate: x509_cert::Certificate,
    pub(crate) trusted: Certificate,
}

/// An open pilot PKI.
pub struct Pki {
    pub(crate) config: PkiConfig,
    pub(crate) keys: FileKeyStore,
    pub(crate) ca: Service,
    pub(crate) ocsp: Service,
    pub(crate) tsa: Service,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Pki {
    /// The CA's certificate, which a directory lists as approved.
    pub fn ca(&self) -> &Certificate {
        &self.ca.trusted
    }

    /// The time-stamping authority's certificate.
    pub fn tsa(&self) -> &Certificate {
        &self.tsa.trusted
    }

    /// The CA's certificate as PEM.
    ///
    /// # Errors
    /// Encoding failed; not seen in practice.
    pub fn ca_pem(&self) -> Result<String, PkiError> {
        Ok(self.ca.certificate.to_pem(der::pem::LineEnding::LF)?)
    }

    /// Issues a member's sign certificate (profile truc-1) for a public key, given as SubjectPublicKeyInfo DER
    /// ([`crate::subject_public_key_info`]). The caller vouches that the member holds the key.
    ///
    /// # Errors
    /// The key is of no allowed kind, or signing or recording failed; then nothing was issued.
    pub async fn issue_sign_certificate(
        &self,
        public_key: &[u8],
        member: &MemberId,
        organization: &str,
        validity: Duration,
    ) -> Result<Certificate, PkiError> {
        let key = read_key(public_key)?;
        self.issue(Usage::Sign, sign_name(member, organization)?, member.as_str(), key, validity).await
    }

    /// Issues a node's auth certificate (profile truc-1) for a public key, given as SubjectPublicKeyInfo DER.
    ///
    /// # Errors
    /// As [`Pki::issue_sign_certificate`].
    pub async fn issue_auth_certificate(
        &self,
        public_key: &[u8],
        node: &NodeId,
        organization: &str,
        validity: Duration,
    ) -> Result<Certificate, PkiError> {
        let key = read_key(public_key)?;
        self.issue(Usage::Auth, auth_name(node, organization)?, node.as_str(), key, validity).await
    }

    /// As [`Pki::issue_sign_certificate`], for the key that a PEM request (PKCS#10) proves to hold. The name in the request does not count.
    ///
    /// # Errors
    /// Also [`PkiError::BadRequest`].
    pub async fn sign_certificate_from_csr(
        &self,
        pem: &str,
        member: &MemberId,
        organization: &str,
        validity: Duration,
    ) -> Result<Certificate, PkiError> {
        let key = csr::public_key(pem)?;
        self.issue(Usage::Sign, sign_name(member, organization)?, member.as_str(), key, validity).await
    }

    /// As [`Pki::issue_auth_certificate`], for the key that a PEM request (PKCS#10) proves to hold.
    ///
    /// # Errors
    /// Also [`PkiError::BadRequest`].
    pub async fn auth_certificate_from_csr(
        &self,
        pem: &str,
        node: &NodeId,
        organization: &str,
        validity: Duration,
    ) -> Result<Certificate, PkiError> {
        let key = csr::public_key(pem)?;
        self.issue(Usage::Auth, auth_name(node, organization)?, node.as_str(), key, validity).await
    }

    /// Revokes a certificate from now on; OCSP answers and the revocation list say so at once. A second time changes nothing.
    ///
    /// # Errors
    /// [`PkiError::UnknownSerial`], or the disk refuses.
    pub async fn revoke(&self, serial: &Serial, reason: RevocationReason) -> Result<(), PkiError> {
        let (ledger, serial, at) = (Arc::clone(&self.ledger), serial.clone(), self.clock.now());
        blocking(move || {
            ledger.append(|known| {
                let entry = known.get(&serial).ok_or_else(|| PkiError::UnknownSerial(serial.clone()))?;
                Ok(entry.revoked.is_none().then(|| Event::Revoked { at, serial: serial.clone(), reason }))
            })
        })
        .await
    }

    /// Everything issued here, with what was revoked.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn issued(&self) -> Result<Vec<IssuedCertificate>, PkiError> {
        let ledger = Arc::clone(&self.ledger);
        blocking(move || ledger.revision().map(|_| ledger.all())).await
    }

    pub(crate) fn ca_name(&self) -> &Name {
        &self.ca.certificate.tbs_certificate.subject
    }

    async fn issue(
        &self,
        usage: Usage,
        name: Name,
        subject: &str,
        key: SubjectPublicKeyInfoOwned,
        validity: Duration,
    ) -> Result<Certificate, PkiError> {
        let issuer = Issuer { signer: &self.keys, key: &self.ca.key, name: self.ca_name() };
        let now = self.clock.now();
        let from = now.minus(BACKDATED).whole_second();
        // A certificate never outlives the one that it is believed for.
        let to = now.plus(validity).whole_second().min(self.ca.trusted.not_after());
        let serial = fresh_serial()?;
        let subject_parts = Subject { usage, name, key };
        let urls = status_urls(&self.config);
        let certificate =
            certificates::issue(&issuer, subject_parts, &serial, (from, to), Some(&urls)).await?;
        record(&self.ledger, usage, subject, &serial, (from, to), &certificate).await?;
        tracing::info!(%serial, subject, "certificate issued");
        read_back(&certificate, &self.config.dir)
    }
}

pub(crate) fn status_urls(config: &PkiConfig) -> StatusUrls {
    let base = config.public_url.trim_end_matches('/');
    StatusUrls { ocsp: format!("{base}/ocsp"), crl: format!("{base}/crl") }
}

fn read_key(der: &[u8]) -> Result<SubjectPublicKeyInfoOwned, PkiError> {
    let info = SubjectPublicKeyInfoOwned::from_der(der).map_err(|_| PkiError::UnusableKey)?;
    if subject_key_kind(&info).is_some() { Ok(info) } else { Err(PkiError::UnusableKey) }
}

pub(crate) fn fresh_serial() -> Result<Serial, PkiError> {
    use ring::rand::SecureRandom as _;
    let mut bytes = [0; 16];
    let random = ring::rand::SystemRandom::new();
    random.fill(&mut bytes).map_err(|_| truc_keystores::KeyStoreError::Crypto("random numbers"))?;
    Ok(Serial::random(bytes))
}

/// What is issued is read as every node will read it.
pub(crate) fn read_back(certificate: &x509_cert::Certificate, path: &Path) -> Result<Certificate, PkiError> {
    Certificate::from_der(&certificate.to_der()?).map_err(|e| PkiError::damaged(path, e.to_string()))
}

pub(crate) async fn record(
    ledger: &Arc<Ledger>,
    usage: Usage,
    subject: &str,
    serial: &Serial,
    (from, to): (Timestamp, Timestamp),
    certificate: &x509_cert::Certificate,
) -> Result<(), PkiError> {
    let event = Event::Issued {
        at: from,
        serial: serial.clone(),
        usage,
        subject: subject.to_owned(),
        not_after: to,
        fingerprint: Fingerprint::of(&certificate.to_der()?),
    };
    let ledger = Arc::clone(ledger);
    blocking(move || ledger.append(|_| Ok(Some(event)))).await
}
