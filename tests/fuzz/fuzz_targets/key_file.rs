//! Key files.
#![no_main]

use libfuzzer_sys::fuzz_target;
use truc_keystores::fuzzing::key_file;

fuzz_target!(|bytes: &[u8]| {
    if let Some(written) = key_file(bytes) {
        assert_eq!(key_file(&written).as_ref(), Some(&written), "one form");
    }
});
