//! Secrets are not evidence: of some header fields only a salted digest is signed (protocol P1.3).

use truc_model::Digest;

use crate::header::{FieldValue, HeaderField};

/// Bytes of salt per secret.
pub(crate) const SALT: usize = 16;

/// A secret that travels beside the header, is checked before forwarding, and is never stored.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    /// Fresh random bytes.
    pub salt: [u8; SALT],
    /// The field's value.
    pub value: Vec<u8>,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Why header fields and secrets do not belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// There are more or fewer secrets than hidden fields.
    #[error("the secrets beside the header are not those that it hides")]
    Count,
    /// A secret's digest is not the signed one.
    #[error("a secret beside the header does not match its signed digest")]
    Mismatch,
}

/// True for the fields whose values are never evidence.
pub fn is_secret(name: &str) -> bool {
    const PREFIX: &[u8] = b"proxy-";
    ["authorization", "cookie", "set-cookie"].iter().any(|secret| name.eq_ignore_ascii_case(secret))
        || name.as_bytes().get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

fn digest(salt: &[u8; SALT], value: &[u8]) -> Digest {
    Digest::of(&[salt.as_slice(), value].concat())
}

/// Makes the field that is signed and the secret that travels beside it.
pub fn hide(name: &str, value: &[u8], salt: [u8; SALT]) -> (HeaderField, Secret) {
    (HeaderField::hidden(name, digest(&salt, value)), Secret { salt, value: value.to_vec() })
}

/// Joins fields and secrets to what is forwarded: (name, value) in the header's order. The n-th secret belongs to the
/// n-th hidden field.
///
/// # Errors
/// [`SecretError`] when a secret is missing, left over or another one.
pub fn reveal(fields: &[HeaderField], secrets: &[Secret]) -> Result<Vec<(String, Vec<u8>)>, SecretError> {
    let mut secrets = secrets.iter();
    let mut out = Vec::with_capacity(fields.len());
    for field in fields {
        let value = match field.content() {
            Some(FieldValue::Plain(value)) => value,
            Some(FieldValue::Hidden(signed)) => {
                let secret = secrets.next().ok_or(SecretError::Count)?;
                if digest(&secret.salt, &secret.value) != signed
                    || secret.value.iter().any(|b| matches!(b, b'\r' | b'\n' | 0))
                {
                    return Err(SecretError::Mismatch);
                }
                secret.value.clone()
            }
            None => return Err(SecretError::Mismatch),
        };
        out.push((field.name.clone(), value));
    }
    if secrets.next().is_some() { Err(SecretError::Count) } else { Ok(out) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_checked_and_none_may_be_missing_or_left_over() {
        assert!(is_secret("Authorization") && is_secret("Proxy-X") && !is_secret("accept"));
        let (field, secret) = hide("Authorization", b"Bearer x", [1; SALT]);
        let fields = [HeaderField::plain("accept", b"*/*"), field];
        let seen = reveal(&fields, std::slice::from_ref(&secret)).unwrap();
        assert_eq!(seen[1], ("authorization".to_owned(), b"Bearer x".to_vec()));
        assert_eq!(reveal(&fields, &[]), Err(SecretError::Count));
        assert_eq!(reveal(&fields, &[secret.clone(), secret.clone()]), Err(SecretError::Count));
        let other = Secret { value: b"Bearer y".to_vec(), ..secret };
        assert_eq!(reveal(&fields, &[other]), Err(SecretError::Mismatch));
    }
}
