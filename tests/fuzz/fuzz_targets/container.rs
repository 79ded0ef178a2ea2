//! Evidence containers: any bytes, and a golden one with edits.
#![no_main]

use libfuzzer_sys::fuzz_target;
use truc_directory::Anchor;
use truc_evidence::container::{Verdict, verify};

const ANCHOR: &[u8] = include_bytes!("../../../crates/domain/evidence/tests/golden/anchor.json");

fuzz_target!(|bytes: &[u8]| {
    let anchor = Anchor::parse(ANCHOR).expect("golden");
    if let Ok(report) = verify(bytes, &anchor) {
        let _ = report.verdict == Verdict::Holds;
        let text = serde_json::to_string(&report).expect("a report is JSON");
        assert!(text.len() < 4 << 20);
    }
});
