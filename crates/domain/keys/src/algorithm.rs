//! The algorithms of protocol P2.2, one closed list.

use ring::signature as r;

/// What kind of key a public key is; RSA sizes are 2048 to 4096 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyKind {
    /// ECDSA on NIST P-256.
    EcP256,
    /// ECDSA on NIST P-384.
    EcP384,
    /// RSA, 2048–4096 bits.
    Rsa,
    /// Ed25519: log heads and directory signatures only, never a message (protocol P2.2).
    Ed25519,
}

impl KeyKind {
    /// The algorithm a key of this kind signs messages with, when nothing else is asked for.
    pub const fn default_algorithm(self) -> SignatureAlgorithm {
        match self {
            Self::EcP256 => SignatureAlgorithm::EcdsaP256Sha256,
            Self::EcP384 => SignatureAlgorithm::EcdsaP384Sha384,
            Self::Rsa => SignatureAlgorithm::RsaPkcs1Sha256,
            Self::Ed25519 => SignatureAlgorithm::Ed25519,
        }
    }
}

/// A signature algorithm with its digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SignatureAlgorithm {
    /// ECDSA P-256 with SHA-256, DER-encoded value.
    EcdsaP256Sha256,
    /// ECDSA P-384 with SHA-384, DER-encoded value.
    EcdsaP384Sha384,
    /// ECDSA P-384 with SHA-256, DER-encoded value; accepted, never made.
    EcdsaP384Sha256,
    /// RSA PKCS#1 v1.5 with SHA-256.
    RsaPkcs1Sha256,
    /// RSA PKCS#1 v1.5 with SHA-384.
    RsaPkcs1Sha384,
    /// RSA PKCS#1 v1.5 with SHA-512.
    RsaPkcs1Sha512,
    /// RSA-PSS with SHA-256, MGF1-SHA-256 and a salt of 32 bytes.
    RsaPssSha256,
    /// Ed25519 (RFC 8032); never for messages.
    Ed25519,
}

impl SignatureAlgorithm {
    /// The kind of key this algorithm needs.
    pub const fn key_kind(self) -> KeyKind {
        match self {
            Self::EcdsaP256Sha256 => KeyKind::EcP256,
            Self::EcdsaP384Sha384 | Self::EcdsaP384Sha256 => KeyKind::EcP384,
            Self::RsaPkcs1Sha256 | Self::RsaPkcs1Sha384 | Self::RsaPkcs1Sha512 | Self::RsaPssSha256 => {
                KeyKind::Rsa
            }
            Self::Ed25519 => KeyKind::Ed25519,
        }
    }

    /// Checks `signature` over `message`. `public_key` is the content of the SubjectPublicKeyInfo's bit string
    /// (an EC point, a PKCS#1 RSAPublicKey, or 32 Ed25519 bytes). RSA keys outside 2048–4096 bits fail.
    pub fn verify(self, public_key: &[u8], message: &[u8], signature: &[u8]) -> bool {
        let algorithm: &dyn r::VerificationAlgorithm = match self {
            Self::EcdsaP256Sha256 => &r::ECDSA_P256_SHA256_ASN1,
            Self::EcdsaP384Sha384 => &r::ECDSA_P384_SHA384_ASN1,
            Self::EcdsaP384Sha256 => &r::ECDSA_P384_SHA256_ASN1,
            Self::RsaPkcs1Sha256 => &r::RSA_PKCS1_2048_8192_SHA256,
            Self::RsaPkcs1Sha384 => &r::RSA_PKCS1_2048_8192_SHA384,
            Self::RsaPkcs1Sha512 => &r::RSA_PKCS1_2048_8192_SHA512,
            Self::RsaPssSha256 => &r::RSA_PSS_2048_8192_SHA256,
            Self::Ed25519 => &r::ED25519,
        };
        if self.key_kind() == KeyKind::Rsa && !rsa_size_allowed(public_key) {
            return false;
        }
        r::UnparsedPublicKey::new(algorithm, public_key).verify(message, signature).is_ok()
    }
}

/// Upper bound of protocol P2.2; ring itself would take 8192 bits. A 4096-bit PKCS#1 key is at most 526 bytes long
/// with the exponents ring accepts (up to 33 bits).
fn rsa_size_allowed(pkcs1: &[u8]) -> bool {
    pkcs1.len() <= 530
}
