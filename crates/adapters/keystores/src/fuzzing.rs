//! A way in for the fuzz targets (`tests/fuzz`): nobody else outside this crate reads a key file's bytes. Only with the
//! feature `fuzzing`, and no part of this crate's interface.

use crate::envelope::Envelope;

/// Reads a key file and writes it again; also tries to open it with a key that is not its own, which must fail.
pub fn key_file(bytes: &[u8]) -> Option<Vec<u8>> {
    let envelope = Envelope::parse(bytes).ok()?;
    let again = envelope.to_bytes().ok()?;
    envelope.open(&[0xa5; 32]).is_none().then_some(again)
}
