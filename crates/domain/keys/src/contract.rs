//! The contract every [`Signer`] keeps; each adapter's tests run it.

use bytes::Bytes;

use crate::{KeyLabel, SignatureAlgorithm, Signer, SignerError};

/// Runs the contract over a store that holds at least one key.
///
/// # Errors
/// The sentence names the clause that does not hold.
pub async fn signer(signer: &dyn Signer) -> Result<(), String> {
    let keys = signer.keys();
    if keys.is_empty() {
        return Err("the store under test must hold a key".into());
    }
    if !keys.is_sorted_by(|a, b| a.label < b.label) {
        return Err("keys are listed once each, in label order".into());
    }
    let message = Bytes::from_static(b"tr\xe1\xbb\xa5c");
    for key in &keys {
        let algorithm = key.kind.default_algorithm();
        let value = signer.sign(&key.label, algorithm, message.clone()).await.map_err(|e| e.to_string())?;
        if !algorithm.verify(&key.public_key, &message, &value) {
            return Err(format!("what {} signs must verify under its public key", key.label));
        }
        if algorithm.verify(&key.public_key, b"another message", &value) {
            return Err(format!("what {} signs must not verify for another message", key.label));
        }
        for wrong in [
            SignatureAlgorithm::EcdsaP256Sha256,
            SignatureAlgorithm::RsaPssSha256,
            SignatureAlgorithm::Ed25519,
        ] {
            let outcome = signer.sign(&key.label, wrong, message.clone()).await;
            if wrong.key_kind() != key.kind && !matches!(outcome, Err(SignerError::WrongKind { .. })) {
                return Err(format!("{} must refuse {wrong:?} as WrongKind", key.label));
            }
        }
    }
    let unknown = KeyLabel::new("no-such-key").map_err(|e| e.to_string())?;
    match signer.sign(&unknown, SignatureAlgorithm::EcdsaP256Sha256, message).await {
        Err(SignerError::UnknownKey(label)) if label == unknown => Ok(()),
        other => Err(format!("an unknown key must be refused as UnknownKey, not {other:?}")),
    }
}
