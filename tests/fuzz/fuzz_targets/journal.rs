//! Journal segments, records and proofs of both versions, and index values, without a disk.
#![no_main]

use libfuzzer_sys::fuzz_target;
use truc_stores::fuzzing::{index_value, proof, record, segment};

fuzz_target!(|bytes: &[u8]| {
    let read = segment(bytes);
    assert!(read.length <= bytes.len().saturating_sub(88));
    assert!(read.frames * 43 <= read.length);
    // What follows the whole frames decides nothing about them.
    let cut = segment(&bytes[..bytes.len().min(88 + read.length)]);
    assert_eq!((cut.header, cut.frames, cut.length), (read.header, read.frames, read.length));
    // Compressed content is never longer than a frame may be.
    if let Some(length) = record(bytes.to_vec()) {
        assert!(length <= 64 << 20);
    }
    for version in [1, 2] {
        if let Some(stable) = proof(version, bytes.to_vec()) {
            assert!(stable, "a proof is read again as it is written");
        }
    }
    let _ = index_value(bytes);
});
