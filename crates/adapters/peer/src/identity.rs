//! This node's TLS identity, replaceable while connections live.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{SignatureScheme, crypto};
use truc_model::Fingerprint;

/// Why a certificate and key are not an identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// No certificate was given.
    #[error("the auth certificate file holds no certificate")]
    NoCertificate,
    /// The key is not one that TLS can use here, or not the certificate's.
    #[error("the auth key cannot be used for TLS: {0}")]
    Key(#[from] rustls::Error),
}

/// The auth certificate with its key and its newest status. New handshakes use what was put in last.
#[derive(Debug)]
pub struct Identity {
    current: ArcSwap<CertifiedKey>,
}

impl Identity {
    /// From the certificate chain, leaf first, and the key as PKCS#8.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn new(chain: &[Bytes], pkcs8: &[u8]) -> Result<Self, IdentityError> {
        Ok(Self { current: ArcSwap::from_pointee(certified(chain, pkcs8, None)?) })
    }

    /// Puts a renewed certificate in place: new connections use it, open ones go on. With its status, where that is here
    /// already.
    ///
    /// # Errors
    /// [`IdentityError`]; then the old one stays.
    pub fn replace(
        &self,
        chain: &[Bytes],
        pkcs8: &[u8],
        status: Option<&Bytes>,
    ) -> Result<(), IdentityError> {
        self.current.store(Arc::new(certified(chain, pkcs8, status.map(|status| status.to_vec()))?));
        Ok(())
    }

    /// Puts the newest OCSP response of the certificate in place; it is stapled to the handshake (RFC 8446 §4.4.2.1). False
    /// when it is not this certificate's: it may have been replaced while its status was on the way.
    pub fn staple(&self, certificate: &Fingerprint, response: &Bytes) -> bool {
        let its_own =
            |key: &CertifiedKey| key.cert.first().is_some_and(|leaf| Fingerprint::of(leaf) == *certificate);
        // Never loses a replacement that comes in between.
        let before = self.current.rcu(|old| {
            if !its_own(old) {
                return Arc::clone(old);
            }
            let mut key = CertifiedKey::new(old.cert.clone(), Arc::clone(&old.key));
            key.ocsp = Some(response.to_vec());
            Arc::new(key)
        });
        its_own(&before)
    }

    /// The certificate's fingerprint.
    pub fn fingerprint(&self) -> Fingerprint {
        let current = self.current.load();
        current.cert.first().map_or(Fingerprint([0; 32]), |leaf| Fingerprint::of(leaf))
    }
}

fn certified(chain: &[Bytes], pkcs8: &[u8], ocsp: Option<Vec<u8>>) -> Result<CertifiedKey, IdentityError> {
    if chain.is_empty() {
        return Err(IdentityError::NoCertificate);
    }
    let chain: Vec<CertificateDer<'static>> =
        chain.iter().map(|der| CertificateDer::from(der.to_vec())).collect();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8.to_vec()));
    let mut certified = CertifiedKey::from_der(chain, key, &crypto::ring::default_provider())?;
    certified.ocsp = ocsp;
    Ok(certified)
}

impl ResolvesServerCert for Identity {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

impl ResolvesClientCert for Identity {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
    fn has_certs(&self) -> bool {
        true
    }
}
