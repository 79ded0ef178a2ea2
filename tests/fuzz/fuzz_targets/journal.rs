//! Journal segments, records and index values, without a disk.
#![no_main]

use libfuzzer_sys::fuzz_target;
use truc_stores::fuzzing::{index_value, record, segment};

fuzz_target!(|bytes: &[u8]| {
    let read = segment(bytes);
    assert!(read.length <= bytes.len().saturating_sub(88));
    assert!(read.frames * 43 <= read.length);
    // What follows the whole frames decides nothing about them.
    let cut = segment(&bytes[..bytes.len().min(88 + read.length)]);
    assert_eq!((cut.header, cut.frames, cut.length), (read.header, read.frames, read.length));
    if let Some(length) = record(bytes.to_vec()) {
        assert!(length < bytes.len());
    }
    let _ = index_value(bytes);
});
