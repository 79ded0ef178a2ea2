//! TLS between nodes: 1.3 only, both sides authenticated, no resumption, no 0-RTT (protocol P3).
//!
//! The handshake checks a path to an approved CA with auth usage, and possession of the key. Host names play no part.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, OtherError,
    ServerConfig, SignatureScheme, version,
};
use truc_directory::Usage;
use truc_exchange::ports::CurrentDirectory;
use truc_model::{Clock, Fingerprint};
use truc_trust::{Certificate, find_path};

use crate::identity::Identity;

/// Judges certificates in handshakes by the directory in force.
pub(crate) struct Handshakes {
    directory: Arc<dyn CurrentDirectory>,
    clock: Arc<dyn Clock>,
    provider: Arc<CryptoProvider>,
    /// Statuses that servers stapled, by certificate; the newest of each.
    stapled: Mutex<HashMap<Fingerprint, Bytes>>,
}

/// More servers than any bus has; a bound against growth without end.
const STAPLED_LIMIT: usize = 10_000;

impl std::fmt::Debug for Handshakes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Handshakes")
    }
}

impl Handshakes {
    pub(crate) fn new(directory: Arc<dyn CurrentDirectory>, clock: Arc<dyn Clock>) -> Arc<Self> {
        let provider = Arc::new(ring::default_provider());
        Arc::new(Self { directory, clock, provider, stapled: Mutex::default() })
    }

    /// The status that the server with this certificate stapled last.
    pub(crate) fn stapled(&self, certificate: &Fingerprint) -> Option<Bytes> {
        self.stapled.lock().unwrap_or_else(PoisonError::into_inner).get(certificate).cloned()
    }

    fn check(&self, end: &CertificateDer<'_>, between: &[CertificateDer<'_>]) -> Result<(), Error> {
        let refused = |error: Arc<dyn std::error::Error + Send + Sync>| {
            Error::InvalidCertificate(CertificateError::Other(OtherError(error)))
        };
        let Some(directory) = self.directory.current() else {
            return Err(Error::General("no directory yet: nobody can be judged".into()));
        };
        let certificate = Certificate::from_der(end).map_err(|e| refused(Arc::new(e)))?;
        let intermediates: Vec<Certificate> = between
            .iter()
            .map(|der| Certificate::from_der(der))
            .collect::<Result<_, _>>()
            .map_err(|e| refused(Arc::new(e)))?;
        find_path(&certificate, &intermediates, Usage::Auth, &directory, self.clock.now())
            .map(drop)
            .map_err(|e| refused(Arc::new(e)))
    }

    fn signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn no_tls12() -> Error {
    Error::General("TLS 1.2 is not spoken between nodes".into())
}

impl ServerCertVerifier for Handshakes {
    fn verify_server_cert(
        &self,
        end: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(end, between)?;
        if !ocsp.is_empty() {
            let mut stapled = self.stapled.lock().unwrap_or_else(PoisonError::into_inner);
            if stapled.len() >= STAPLED_LIMIT {
                stapled.clear();
            }
            stapled.insert(Fingerprint::of(end), Bytes::copy_from_slice(ocsp));
        }
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, certificate, signed)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}

impl ClientCertVerifier for Handshakes {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }
    fn verify_client_cert(
        &self,
        end: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(end, between)?;
        Ok(ClientCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, certificate, signed)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}

/// The accepting side's configuration.
pub(crate) fn server_config(
    handshakes: &Arc<Handshakes>,
    identity: &Arc<Identity>,
) -> Result<ServerConfig, Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::clone(&handshakes.provider))
        .with_protocol_versions(&[&version::TLS13])?
        .with_client_cert_verifier(Arc::clone(handshakes) as Arc<dyn ClientCertVerifier>)
        .with_cert_resolver(Arc::clone(identity) as Arc<dyn rustls::server::ResolvesServerCert>);
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}

/// The connecting side's configuration.
pub(crate) fn client_config(
    handshakes: &Arc<Handshakes>,
    identity: &Arc<Identity>,
) -> Result<ClientConfig, Error> {
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&handshakes.provider))
        .with_protocol_versions(&[&version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(handshakes) as Arc<dyn ServerCertVerifier>)
        .with_client_cert_resolver(Arc::clone(identity) as Arc<dyn rustls::client::ResolvesClientCert>);
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    Ok(config)
}
