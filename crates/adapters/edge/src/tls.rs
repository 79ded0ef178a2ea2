//! TLS towards information systems: 1.2 and 1.3, and a client certificate that is asked for and may be left out.
//!
//! The handshake proves that the caller holds the key of the certificate it shows, and judges nothing: whether that
//! certificate may speak for `X-Road-Client` is asked of each request ([`crate::ClientConnections`]).

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme};

/// Why files are not the edge's TLS identity.
#[derive(Debug, thiserror::Error)]
pub enum EdgeIdentityError {
    /// The certificate file is no PEM or holds no certificate.
    #[error("it must hold at least one certificate in PEM, the edge's own first")]
    Certificates,
    /// The key file is no PEM or holds no private key.
    #[error("it must hold one private key in PEM, without a passphrase")]
    Key,
    /// The key is not one that TLS can use here, or not the certificate's.
    #[error("certificate and key cannot be used together for TLS: {0}")]
    Pair(#[from] Error),
}

/// The certificate by which information systems know the edge, replaceable while connections live.
#[derive(Debug)]
pub struct EdgeIdentity {
    current: ArcSwap<CertifiedKey>,
}

impl EdgeIdentity {
    /// From PEM: the certificate first, then intermediates; and its private key.
    ///
    /// # Errors
    /// [`EdgeIdentityError`].
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self, EdgeIdentityError> {
        Ok(Self { current: ArcSwap::from_pointee(certified(certificates, key)?) })
    }

    /// Puts a renewed certificate in place: new handshakes use it.
    ///
    /// # Errors
    /// [`EdgeIdentityError`]; then the old one stays.
    pub fn replace(&self, certificates: &[u8], key: &[u8]) -> Result<(), EdgeIdentityError> {
        self.current.store(Arc::new(certified(certificates, key)?));
        Ok(())
    }
}

fn certified(certificates: &[u8], key: &[u8]) -> Result<CertifiedKey, EdgeIdentityError> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificates)
        .collect::<Result<_, _>>()
        .map_err(|_| EdgeIdentityError::Certificates)?;
    if chain.is_empty() {
        return Err(EdgeIdentityError::Certificates);
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| EdgeIdentityError::Key)?;
    Ok(CertifiedKey::from_der(chain, key, &ring::default_provider())?)
}

impl ResolvesServerCert for EdgeIdentity {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

/// Asks for a certificate, checks possession of its key, and takes any.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }
    fn verify_client_cert(
        &self,
        _end: &CertificateDer<'_>,
        _between: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// The accepting side's configuration.
///
/// # Errors
/// rustls's, when its provider lacks a protocol version.
pub(crate) fn server_config(identity: Arc<EdgeIdentity>) -> Result<ServerConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(Arc::new(AnyCertificate(provider)))
        .with_cert_resolver(identity);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.max_early_data_size = 0;
    Ok(config)
}
