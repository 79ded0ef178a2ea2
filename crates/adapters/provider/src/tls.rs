//! How a service behind an https address is trusted, and what this node shows to it.

use std::path::Path;
use std::sync::Arc;

use rustls::client::{ResolvesClientCert, WantsClientCert};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CertificateError, ClientConfig, ConfigBuilder, OtherError, RootCertStore};
use truc_model::Fingerprint;
use truc_pinning::Pinned;
use truc_trust::Certificate;
use zeroize::{Zeroize as _, Zeroizing};

use crate::door::{ClientIdentity, ProviderError};

/// TLS 1.2 and 1.3 towards services.
#[derive(Debug)]
pub(crate) struct Tls {
    provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    identity: Option<Arc<dyn ResolvesClientCert>>,
}

impl Tls {
    /// Reads the files once. Without CA file no service is trusted unless its certificate is pinned: there are no
    /// built-in CAs.
    pub(crate) fn read(
        ca_file: Option<&Path>,
        identity: Option<&ClientIdentity>,
    ) -> Result<Self, ProviderError> {
        let roots = ca_file.map_or_else(|| Ok(RootCertStore::empty()), read_roots)?;
        let identity = identity.map(read_identity).transpose()?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        Ok(Self { provider, roots: Arc::new(roots), identity })
    }

    pub(crate) fn trusts_some_ca(&self) -> bool {
        !self.roots.is_empty()
    }

    /// A certificate from one of the CAs, for the host's name or address, valid now.
    pub(crate) fn verified(&self) -> Result<ClientConfig, rustls::Error> {
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(Arc::clone(&self.roots));
        Ok(self.with_identity(builder))
    }

    /// One of these certificates, as it is: X-Road's way (ug-ss 6.6, 9.2).
    pub(crate) fn pinned(&self, pins: &[Fingerprint]) -> Result<ClientConfig, rustls::Error> {
        let verifier = Pinned::new(pins.iter().copied(), not_pinned, Arc::clone(&self.provider));
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        Ok(self.with_identity(builder))
    }

    fn with_identity(&self, builder: ConfigBuilder<ClientConfig, WantsClientCert>) -> ClientConfig {
        match &self.identity {
            Some(identity) => builder.with_client_cert_resolver(Arc::clone(identity)),
            None => builder.with_no_client_auth(),
        }
    }
}

fn read_roots(path: &Path) -> Result<RootCertStore, ProviderError> {
    let bad = |problem: String| ProviderError::CaFile { path: path.to_owned(), problem };
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates(path).map_err(bad)? {
        roots.add(certificate).map_err(|e| bad(e.to_string()))?;
    }
    Ok(roots)
}

/// The certificates of a PEM file: at least one, and none of `certs-example/`, whose keys everybody has.
fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let all = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let all = all.map_err(|e| e.to_string())?;
    if all.is_empty() {
        return Err("no certificate in it".to_owned());
    }
    if all.iter().any(|der| Certificate::is_example(der)) {
        return Err(truc_trust::CertificateError::Example.to_string());
    }
    Ok(all)
}

fn read_identity(files: &ClientIdentity) -> Result<Arc<dyn ResolvesClientCert>, ProviderError> {
    let bad = |path: &Path, problem: String| ProviderError::Identity { path: path.to_owned(), problem };
    let (file, key_file) = (files.certificate_file.as_path(), files.key_file.as_path());
    let chain = read_certificates(file).map_err(|problem| bad(file, problem))?;
    let pem = Zeroizing::new(std::fs::read(key_file).map_err(|e| bad(key_file, e.to_string()))?);
    let mut der = PrivateKeyDer::from_pem_slice(&pem).map_err(|e| bad(key_file, e.to_string()))?;
    let key = rustls::crypto::ring::sign::any_supported_type(&der);
    der.zeroize();
    let pair = CertifiedKey::new(chain, key.map_err(|e| bad(key_file, e.to_string()))?);
    pair.keys_match().map_err(|_| bad(key_file, "the key does not fit the certificate".to_owned()))?;
    Ok(Arc::new(SingleCertAndKey::from(pair)))
}

/// The service showed another certificate.
#[derive(Debug, thiserror::Error)]
#[error(
    "it shows a certificate with the fingerprint {0}, which is not pinned for it; if its operator has replaced the certificate, pin the new one"
)]
pub(crate) struct NotPinned(Fingerprint);

fn not_pinned(shown: Fingerprint) -> rustls::Error {
    rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(NotPinned(shown)))))
}

/// What went wrong in TLS, in words for the operator; `None` when it was not TLS.
pub(crate) fn failure(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    use CertificateError as Bad;
    Some(match cause(error)? {
        rustls::Error::InvalidCertificate(bad) => match bad {
            // Whatever the ca-file says: the rules of paths take no CA's certificate for a server's.
            Bad::Other(OtherError(inner))
                if inner.downcast_ref() == Some(&webpki::Error::CaUsedAsEndEntity) =>
            {
                "its certificate is a CA's own, as self-signed ones mostly are, and not from a CA in [provider] \
                 ca-file; pin it for this service (--pin), or give the service a certificate from a CA in ca-file"
                    .to_owned()
            }
            Bad::Other(OtherError(inner)) => inner.to_string(),
            Bad::UnknownIssuer => {
                "its certificate is not from a CA in [provider] ca-file; add the CA there, \
                 or pin the certificate for this service (--pin)"
                    .to_owned()
            }
            Bad::NotValidForName | Bad::NotValidForNameContext { .. } => {
                "its certificate is for another host name; write the name of the certificate in the \
                 service's address, or pin the certificate"
                    .to_owned()
            }
            Bad::Expired | Bad::ExpiredContext { .. } => "its certificate has expired".to_owned(),
            Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
                "its certificate is not valid yet".to_owned()
            }
            other => format!("its certificate is not accepted: {other}"),
        },
        rustls::Error::InvalidMessage(_) => {
            "what answers does not speak TLS; should its address be http://?".to_owned()
        }
        other => other.to_string(),
    })
}

/// The TLS error within; an `io::Error` does not tell its inner one as source.
fn cause<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    if let Some(found) = error.downcast_ref::<rustls::Error>() {
        return Some(found);
    }
    match error.downcast_ref::<std::io::Error>() {
        Some(io) => cause(io.get_ref()?),
        None => cause(error.source()?),
    }
}
