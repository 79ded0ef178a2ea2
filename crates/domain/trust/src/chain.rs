//! Paths from a certificate to an approved CA (protocol P3.1, RFC 5280 §6), built by webpki.

use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use truc_model::Timestamp;
use webpki::ring as algorithms;
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeId, KeyPurposeIdIter};

use crate::Certificate;

/// More than this many certificates beside the end certificate are not looked at. webpki itself bounds depth to six
/// and the number of signatures it checks.
const INTERMEDIATES_LIMIT: usize = 8;

/// The signature algorithms of certificates: those of protocol P2.2, and P-256 with SHA-384, which some CAs use.
static CERTIFICATE_ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = &[
    algorithms::ECDSA_P256_SHA256,
    algorithms::ECDSA_P256_SHA384,
    algorithms::ECDSA_P384_SHA256,
    algorithms::ECDSA_P384_SHA384,
    algorithms::RSA_PKCS1_2048_8192_SHA256,
    algorithms::RSA_PKCS1_2048_8192_SHA384,
    algorithms::RSA_PKCS1_2048_8192_SHA512,
    algorithms::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
];

/// What a certificate is to be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// A node's TLS identity: extended key usage names client and server authentication.
    Auth,
    /// A member's seal: key usage allows digitalSignature or nonRepudiation.
    Sign,
    /// A time-stamping authority: the critical extended key usage is timeStamping alone (RFC 3161 §2.3).
    TimeStamping,
}

impl Purpose {
    fn allows(self, end: &Certificate) -> bool {
        let extended = match self {
            Self::Auth => end.for_client_auth() && end.for_server_auth(),
            Self::Sign => true,
            Self::TimeStamping => end.for_time_stamping(),
        };
        extended && end.may_sign()
    }
}

/// A path that held at the moment it was checked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedPath {
    /// The certificate of the CA that issued the end certificate: an intermediate, or the anchor itself.
    pub issuer: Certificate,
    /// The approved CA's certificate at the top.
    pub anchor: Certificate,
}

/// Why a certificate leads to no approved CA, or may not be used so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Its own usage forbids the purpose.
    #[error("the certificate's key usage does not allow {0:?}; ask the CA for one with the right profile")]
    WrongUsage(Purpose),
    /// Some certificate of the path is past its end.
    #[error("a certificate of the path has expired; renew it")]
    Expired,
    /// Some certificate of the path is not valid yet.
    #[error("a certificate of the path is not valid yet; check the clock")]
    NotYetValid,
    /// No approved CA issued it.
    #[error("no approved CA stands behind the certificate; check which CAs the directory approves")]
    UnknownIssuer,
    /// More intermediates than anyone needs.
    #[error("{0} intermediate certificates are more than the 8 allowed")]
    TooMany(usize),
    /// An approved CA allows fewer CAs below itself than the path has.
    #[error("the path has more intermediate CAs than the approved CA's certificate allows")]
    TooLong,
    /// A CA on the path may not issue certificates.
    #[error("a certificate on the path is not a CA that may sign certificates")]
    NotCa,
    /// Anything else webpki refuses.
    #[error("the certificate path does not hold: {0}")]
    Refused(String),
}

/// Finds a path from `end` over `intermediates` to one of `anchors` that holds at `at`, for `purpose`.
///
/// Revocation is not looked at: see [`crate::ocsp`] and [`crate::crl`].
///
/// # Errors
/// [`PathError`]; where several paths were tried, the reason for the most promising one.
pub fn check_path(
    end: &Certificate,
    intermediates: &[Certificate],
    anchors: &[Certificate],
    purpose: Purpose,
    at: Timestamp,
) -> Result<VerifiedPath, PathError> {
    if intermediates.len() > INTERMEDIATES_LIMIT {
        return Err(PathError::TooMany(intermediates.len()));
    }
    if !purpose.allows(end) {
        return Err(PathError::WrongUsage(purpose));
    }
    let end_der = CertificateDer::from(end.der());
    let end_entity = EndEntityCert::try_from(&end_der).map_err(refused)?;
    let intermediate_ders: Vec<_> = intermediates.iter().map(|c| CertificateDer::from(c.der())).collect();
    // An anchor is trusted as a name and a key; that it is a CA within its validity is checked here.
    let usable: Vec<&Certificate> =
        anchors.iter().filter(|anchor| anchor.is_ca() && anchor.valid_at(at)).collect();
    if usable.is_empty() {
        return Err(no_anchor(end, anchors, at));
    }
    let anchor_ders: Vec<_> = usable.iter().map(|anchor| CertificateDer::from(anchor.der())).collect();
    let trusted = anchor_ders
        .iter()
        .map(webpki::anchor_from_trusted_cert)
        .collect::<Result<Vec<TrustAnchor<'_>>, _>>()
        .map_err(refused)?;
    let time = UnixTime::since_unix_epoch(at.whole_second().since(Timestamp::from_millis(0)));
    let path = end_entity
        .verify_for_usage(
            CERTIFICATE_ALGORITHMS,
            &trusted,
            &intermediate_ders,
            time,
            Usage(purpose),
            None,
            None,
        )
        .map_err(refused)?;

    let mut steps = Vec::new();
    for step in path.intermediate_certificates() {
        let der = step.der();
        let certificate =
            intermediates.iter().find(|c| c.der() == der.as_ref()).ok_or(PathError::UnknownIssuer)?;
        if !certificate.is_ca() {
            return Err(PathError::NotCa);
        }
        steps.push(certificate);
    }
    // webpki takes name and key of an anchor and forgets its basic constraints. A renewed CA has both in several certificates,
    // each approved for itself: one that allows the path is enough.
    let mut approved = trusted
        .iter()
        .zip(&usable)
        .filter(|(known, _)| *known == path.anchor())
        .map(|(_, anchor)| *anchor)
        .peekable();
    if approved.peek().is_none() {
        return Err(PathError::UnknownIssuer);
    }
    let allows =
        |anchor: &&Certificate| anchor.path_length().is_none_or(|most| steps.len() <= usize::from(most));
    let anchor = approved.find(allows).ok_or(PathError::TooLong)?;
    let issuer = steps.first().copied().unwrap_or(anchor);
    Ok(VerifiedPath { issuer: issuer.clone(), anchor: anchor.clone() })
}

/// Says of an approved CA's own expiry what is the matter, instead of calling it unknown.
fn no_anchor(end: &Certificate, anchors: &[Certificate], at: Timestamp) -> PathError {
    match anchors.iter().find(|anchor| anchor.subject_raw() == end.issuer_raw()) {
        Some(anchor) if at > anchor.not_after() => PathError::Expired,
        Some(anchor) if at < anchor.not_before() => PathError::NotYetValid,
        Some(_) => PathError::NotCa,
        None => PathError::UnknownIssuer,
    }
}

fn refused(error: webpki::Error) -> PathError {
    match error {
        webpki::Error::CertExpired { .. } => PathError::Expired,
        webpki::Error::CertNotValidYet { .. } => PathError::NotYetValid,
        webpki::Error::UnknownIssuer => PathError::UnknownIssuer,
        webpki::Error::EndEntityUsedAsCa => PathError::NotCa,
        other => PathError::Refused(format!("{other:?}")),
    }
}

/// Extended key usages along the path: one that states any must state what the purpose needs, by name: anyExtendedKeyUsage
/// names nothing (the end certificate's own is checked in full by [`Purpose::allows`]).
struct Usage(Purpose);

impl ExtendedKeyUsageValidator for Usage {
    fn validate(&self, stated: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        const SERVER: KeyPurposeId<'static> = KeyPurposeId::new(&[0x2b, 6, 1, 5, 5, 7, 3, 1]);
        const CLIENT: KeyPurposeId<'static> = KeyPurposeId::new(&[0x2b, 6, 1, 5, 5, 7, 3, 2]);
        const STAMPING: KeyPurposeId<'static> = KeyPurposeId::new(&[0x2b, 6, 1, 5, 5, 7, 3, 8]);
        let needed: &[KeyPurposeId<'static>] = match self.0 {
            Purpose::Auth => &[SERVER, CLIENT],
            Purpose::Sign => &[],
            Purpose::TimeStamping => &[STAMPING],
        };
        let stated = stated.collect::<Result<Vec<_>, _>>()?;
        let holds = stated.is_empty() || needed.iter().all(|id| stated.contains(id));
        if holds { Ok(()) } else { Err(webpki::Error::ExtensionValueInvalid) }
    }
}
