//! The authority itself: issuing and revoking.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use der::{Decode as _, Encode as _, EncodePem as _};
use spki::SubjectPublicKeyInfoOwned;
use truc_directory::Usage as Purpose;
use truc_keys::KeyInfo;
use truc_keystores::FileKeyStore;
use truc_model::{Clock, Digest, Fingerprint, MemberId, NodeId, Timestamp};
use truc_trust::{Certificate, CertificateRequest};
use x509_cert::name::Name;

use crate::certificates::{self, Issuer, StatusUrls, Subject, Usage, auth_name, sign_name};
use crate::config::PkiConfig;
use crate::encoding::subject_key_kind;
use crate::error::{PkiError, blocking};
use crate::ledger::{Event, IssuedCertificate, Ledger, Origin, Revocation, RevocationReason, Serial};

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
        let key = read_key(CertificateRequest::from_pem(pem.as_bytes())?.spki_der())?;
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
        let key = read_key(CertificateRequest::from_pem(pem.as_bytes())?.spki_der())?;
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

    /// As [`Pki::revoke`], by the certificate's fingerprint; answers when and why it was revoked first.
    pub(crate) async fn revoke_fingerprint(
        &self,
        fingerprint: &Fingerprint,
        reason: RevocationReason,
    ) -> Result<Revocation, PkiError> {
        let all = self.issued().await?;
        let found = all.into_iter().find(|c| c.fingerprint == *fingerprint);
        let serial = found.ok_or(PkiError::UnknownFingerprint(*fingerprint))?.serial;
        self.revoke(&serial, reason).await?;
        let revoked = self.ledger.find(&serial).and_then(|c| c.revoked);
        revoked.ok_or(PkiError::UnknownSerial(serial))
    }

    /// Issues the certificate that a request over HTTP asks for, or answers the one it was given before. The request names the holder by
    /// profile truc-1, and its key is nobody else's. Recorded durably when this returns.
    pub(crate) async fn certificate_for_request(&self, wish: &Wish<'_>) -> Result<Certificate, PkiError> {
        let (usage, name) = wish.check()?;
        self.issued().await?;
        let asked = Asked {
            usage: usage.as_str(),
            holder: wish.holder.to_owned(),
            key: Digest::of(wish.request.public_key()),
            request: wish.request.digest(),
            now: self.clock.now(),
        };
        // Asked before, no key is needed; asked at the same time, the ledger's lock decides below.
        if let Some(certificate) = asked.answered(self.ledger.all().iter())? {
            return Ok(certificate);
        }
        let made = self.make(usage, name, read_key(wish.request.spki_der())?, wish.validity).await?;
        let mut event = made.event(usage, wish.holder)?;
        if let Event::Issued { origin, .. } = &mut event {
            origin.request = Some(asked.request);
            origin.certificate = Some(STANDARD.encode(made.certificate.to_der()?));
        }
        let ledger = Arc::clone(&self.ledger);
        let earlier = blocking(move || {
            let mut earlier = None;
            ledger.append(|known| {
                earlier = asked.answered(known.values())?;
                Ok(earlier.is_none().then_some(event))
            })?;
            Ok(earlier)
        });
        if let Some(certificate) = earlier.await? {
            return Ok(certificate);
        }
        tracing::info!(serial = %made.serial, subject = wish.holder, "certificate issued for a request");
        read_back(&made.certificate, &self.config.dir)
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
        let made = self.make(usage, name, key, validity).await?;
        let (ledger, event) = (Arc::clone(&self.ledger), made.event(usage, subject)?);
        blocking(move || ledger.append(|_| Ok(Some(event)))).await?;
        tracing::info!(serial = %made.serial, subject, "certificate issued");
        read_back(&made.certificate, &self.config.dir)
    }

    /// Signs a certificate; it counts only once it is in the ledger.
    async fn make(
        &self,
        usage: Usage,
        name: Name,
        key: SubjectPublicKeyInfoOwned,
        validity: Duration,
    ) -> Result<Made, PkiError> {
        let issuer = Issuer { signer: &self.keys, key: &self.ca.key, name: self.ca_name() };
        let now = self.clock.now();
        let from = now.minus(BACKDATED).whole_second();
        // A certificate never outlives the one that it is believed for.
        let to = now.plus(validity).whole_second().min(self.ca.trusted.not_after());
        let serial = fresh_serial()?;
        let urls = status_urls(&self.config);
        let subject = Subject { usage, name, key };
        let certificate = certificates::issue(&issuer, subject, &serial, (from, to), Some(&urls)).await?;
        Ok(Made { serial, validity: (from, to), certificate })
    }
}

/// What a request over HTTP asks for.
pub(crate) struct Wish<'a> {
    pub(crate) request: &'a CertificateRequest,
    pub(crate) usage: Purpose,
    pub(crate) holder: &'a str,
    pub(crate) organisation: &'a str,
    pub(crate) validity: Duration,
}

impl Wish<'_> {
    /// The usage, and the certificate's subject, once the request names the holder.
    fn check(&self) -> Result<(Usage, Name), PkiError> {
        let nobody = || PkiError::NoHolder(self.holder.chars().take(200).collect());
        if self.organisation.trim().is_empty() {
            return Err(PkiError::BadBody("organisation is empty".into()));
        }
        let named = self.request.named(self.usage)?;
        let (usage, name, named) = match self.usage {
            Purpose::Sign => {
                let member: MemberId = self.holder.parse().map_err(|_| nobody())?;
                (Usage::Sign, sign_name(&member, self.organisation)?, named.member.to_string())
            }
            Purpose::Auth => {
                let node: NodeId = self.holder.parse().map_err(|_| nobody())?;
                let named = named.node.map(|n| n.to_string()).unwrap_or_default();
                (Usage::Auth, auth_name(&node, self.organisation)?, named)
            }
        };
        if named == self.holder {
            return Ok((usage, name));
        }
        Err(PkiError::WrongSubject { expected: self.holder.to_owned(), named })
    }
}

/// A request, as the ledger knows it.
struct Asked {
    usage: &'static str,
    holder: String,
    key: Digest,
    request: Digest,
    now: Timestamp,
}

impl Asked {
    /// The certificate that this request was given; an error when it is over, or there is none and the key is another holder's.
    fn answered<'a>(
        &self,
        known: impl Iterator<Item = &'a IssuedCertificate> + Clone,
    ) -> Result<Option<Certificate>, PkiError> {
        let mine = |one: &IssuedCertificate| one.subject == self.holder && one.usage == self.usage;
        let of_key = known.filter(|one| one.origin.key == Some(self.key));
        let found = of_key.clone().find(|one| mine(one) && one.origin.request == Some(self.request));
        let Some(found) = found else {
            return if of_key.clone().all(mine) { Ok(None) } else { Err(PkiError::KeyOfAnother) };
        };
        if found.revoked.is_some() || found.not_after < self.now {
            return Err(PkiError::Over);
        }
        let der = found.origin.certificate.as_deref().and_then(|text| STANDARD.decode(text).ok());
        let certificate = Certificate::from_der(&der.unwrap_or_default());
        certificate.map(Some).map_err(|e| PkiError::damaged(Path::new("ledger.jsonl"), e.to_string()))
    }
}

/// A signed certificate that is not in the ledger yet.
struct Made {
    serial: Serial,
    validity: (Timestamp, Timestamp),
    certificate: x509_cert::Certificate,
}

impl Made {
    fn event(&self, usage: Usage, subject: &str) -> Result<Event, PkiError> {
        issued_event(usage, subject, &self.serial, self.validity, &self.certificate)
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
    validity: (Timestamp, Timestamp),
    certificate: &x509_cert::Certificate,
) -> Result<(), PkiError> {
    let event = issued_event(usage, subject, serial, validity, certificate)?;
    let ledger = Arc::clone(ledger);
    blocking(move || ledger.append(|_| Ok(Some(event)))).await
}

fn issued_event(
    usage: Usage,
    subject: &str,
    serial: &Serial,
    (from, to): (Timestamp, Timestamp),
    certificate: &x509_cert::Certificate,
) -> Result<Event, PkiError> {
    let key = Some(Digest::of(certificates::public_key(certificate)));
    Ok(Event::Issued {
        at: from,
        serial: serial.clone(),
        usage,
        subject: subject.to_owned(),
        not_after: to,
        fingerprint: Fingerprint::of(&certificate.to_der()?),
        origin: Origin { key, ..Origin::default() },
    })
}
