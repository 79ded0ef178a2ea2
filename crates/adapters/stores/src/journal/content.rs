//! How content lies inside its frame, before encryption: as it is, or compressed.
//!
//! ```text
//! artifact or proof, segment version 1    the bytes
//! artifact or proof, segment version 2    0 u8 · the bytes      or      1 u8 · their number u32 · zstd
//! ```

use truc_evidence::StoreError;

use super::format::{FRAME_LIMIT, Reader};

const LEVEL: i32 = 3;
const PLAIN: u8 = 0;
const ZSTD: u8 = 1;
/// Below so many bytes it is not tried.
const WORTH: usize = 64;
/// What [`encode`] adds at most.
pub(crate) const ENCODING: usize = 1;

/// The bytes compressed; `None` when that makes them no smaller.
pub(crate) fn compress(bytes: &[u8]) -> Option<Vec<u8>> {
    if bytes.len() < WORTH {
        return None;
    }
    zstd::bulk::compress(bytes, LEVEL).ok().filter(|packed| packed.len() + 4 < bytes.len())
}

/// The bytes compressed, whether that helps or not.
pub(crate) fn pack(bytes: &[u8]) -> Result<Vec<u8>, StoreError> {
    zstd::bulk::compress(bytes, LEVEL).map_err(|e| StoreError::Failed(format!("compressing a record: {e}")))
}

/// The reverse of both, when it gives exactly `length` bytes.
pub(crate) fn decompress(packed: &[u8], length: usize) -> Option<Vec<u8>> {
    if length > FRAME_LIMIT {
        return None;
    }
    zstd::bulk::decompress(packed, length).ok().filter(|bytes| bytes.len() == length)
}

/// An artifact or a proof, as it is written.
pub(crate) fn encode(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + ENCODING);
    match (compress(bytes), u32::try_from(bytes.len())) {
        (Some(packed), Ok(length)) => {
            out.push(ZSTD);
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(&packed);
        }
        _ => {
            out.push(PLAIN);
            out.extend_from_slice(bytes);
        }
    }
    out
}

/// An artifact or a proof from a segment of this version; `None` when it is none.
pub(crate) fn decode(version: u16, content: Vec<u8>) -> Option<Vec<u8>> {
    if version == 1 {
        return Some(content);
    }
    let mut r = Reader(&content);
    match r.u8()? {
        PLAIN => Some(r.0.to_vec()),
        ZSTD => {
            let length = r.u32()? as usize;
            decompress(r.0, length)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_read_as_it_was_written_and_never_longer_than_it_says() {
        for bytes in [Vec::new(), b"short".to_vec(), vec![7; 100_000], (0..=255).collect::<Vec<u8>>()] {
            let written = encode(&bytes);
            assert!(written.len() <= bytes.len() + ENCODING);
            assert_eq!(decode(2, written).as_ref(), Some(&bytes));
            assert_eq!(decode(1, bytes.clone()), Some(bytes));
        }
        let packed = compress(&[7; 100_000]).unwrap();
        assert!(packed.len() < 1000 && decompress(&packed, 100_000).is_some());
        assert_eq!(decompress(&packed, 99_999), None, "a bomb");
        assert_eq!(decompress(&packed, 100_001), None, "too short");
        assert_eq!(decompress(&packed, FRAME_LIMIT + 1), None);
        assert_eq!(decode(2, vec![2, 0]), None, "an encoding that nobody defined");
        assert_eq!(decode(2, vec![]), None);
    }
}
