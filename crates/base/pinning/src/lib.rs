//! TLS servers that are known by their very certificate: the registry, the pilot CA, a service that its operator pinned.
//!
//! A pin is the SHA-256 of the certificate's DER, which somebody put there who had it from the server's operator; so neither its
//! name nor its dates nor its issuer count. That the server holds the key is proved by the handshake as ever.
//!
//! This crate must not read a file, know a CA, or decide which server needs a pin.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use truc_model::Fingerprint;

/// Trusts exactly these certificates; without a pin, none.
#[derive(Debug)]
pub struct Pinned {
    pins: Vec<Fingerprint>,
    otherwise: fn(Fingerprint) -> Error,
    provider: Arc<CryptoProvider>,
}

impl Pinned {
    /// Trusts `pins`. `otherwise` says, for whoever reads it, that another certificate was shown: the one of that fingerprint.
    pub fn new(
        pins: impl IntoIterator<Item = Fingerprint>,
        otherwise: fn(Fingerprint) -> Error,
        provider: Arc<CryptoProvider>,
    ) -> Arc<Self> {
        Arc::new(Self { pins: pins.into_iter().collect(), otherwise, provider })
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let shown = Fingerprint::of(end_entity);
        if self.pins.contains(&shown) {
            return Ok(ServerCertVerified::assertion());
        }
        Err((self.otherwise)(shown))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(pins: &[Fingerprint], shown: &[u8]) -> Result<(), Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let otherwise = |shown| Error::General(format!("another: {shown}"));
        let pinned = Pinned::new(pins.iter().copied(), otherwise, provider);
        let (certificate, name) =
            (CertificateDer::from(shown.to_vec()), "anybody.invalid".try_into().unwrap());
        pinned
            .verify_server_cert(
                &certificate,
                &[],
                &name,
                &[],
                UnixTime::since_unix_epoch(std::time::Duration::ZERO),
            )
            .map(drop)
    }

    #[test]
    fn only_the_pinned_certificates_are_trusted_and_without_a_pin_none() {
        let (ours, next) = (Fingerprint::of(b"ours"), Fingerprint::of(b"next"));
        assert_eq!(judged(&[ours], b"ours"), Ok(()));
        assert_eq!(judged(&[next, ours], b"ours"), Ok(()));
        let other = Error::General(format!("another: {}", Fingerprint::of(b"other")));
        assert_eq!(judged(&[ours, next], b"other"), Err(other.clone()));
        assert_eq!(judged(&[], b"other"), Err(other));
    }
}
