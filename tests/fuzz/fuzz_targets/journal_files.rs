//! Whole data folders: one of the golden ones with a segment or body file changed, read by `fsck` and by the stores as a node does
//! at its start.
#![no_main]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use truc_fuzz::Edits;
use truc_model::MemberId;
use truc_stores::{DecisionJournal, RecordKey, RecordKeys, fsck};
use zeroize::Zeroizing;

macro_rules! golden {
    ($version:literal, $($name:literal),*) => {
        &[$((
            $name,
            include_bytes!(concat!("../../../crates/adapters/stores/tests/golden/", $version, "/", $name)).as_slice(),
        )),*]
    };
}

type Files = &'static [(&'static str, &'static [u8])];

const GOLDEN: [Files; 2] = [
    golden!(
        "v1",
        "journal/evidence-00000000000000000000-1.seg",
        "journal/decisions-00000000000000000000-1.seg",
        "bodies/default/202611/00000001.seg",
        "bodies/default/202611/key"
    ),
    golden!(
        "v2",
        "journal/evidence-00000000000000000000-1.seg",
        "journal/decisions-00000000000000000000-1.seg",
        "bodies/default/202611/00000001.seg",
        "bodies/default/202611/key"
    ),
];

/// The keys of the golden folders.
struct Keys;

impl RecordKeys for Keys {
    fn record_key(&self, _: &MemberId) -> Option<RecordKey> {
        self.by_id("member#1")
    }
    fn by_id(&self, id: &str) -> Option<RecordKey> {
        let byte = match id {
            "member#1" => 1,
            "node#1" => 2,
            _ => return None,
        };
        Some(RecordKey::new(id, Zeroizing::new([byte; 32])))
    }
    fn node_key(&self) -> RecordKey {
        RecordKey::new("node#1", Zeroizing::new([2; 32]))
    }
}

/// Memory, where there is some: the stores call fdatasync.
fn place() -> PathBuf {
    let shm = Path::new("/dev/shm");
    if shm.is_dir() { shm.to_owned() } else { std::env::temp_dir() }
}

fn write(folder: &Path, name: &str, bytes: &[u8]) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
    fs::write(path, bytes).expect("writable");
}

fuzz_target!(|input: (u8, Edits, Option<&[u8]>)| {
    let (which, edits, other) = input;
    let dir = tempfile::tempdir_in(place()).expect("writable");
    let mut changed = false;
    let files = GOLDEN[usize::from(which >> 7)];
    for (i, (name, golden)) in files.iter().enumerate() {
        let mut bytes = golden.to_vec();
        if i == usize::from(which) % files.len() {
            match other {
                Some(other) => bytes = other.to_vec(),
                None => edits.apply(&mut bytes),
            }
            changed = bytes != *golden;
        }
        write(dir.path(), name, &bytes);
    }
    match fsck(dir.path(), Some(&Keys)) {
        Ok(report) => {
            let clean = report.problems.is_empty();
            assert!(changed || clean, "{:?}", report.problems);
            let all = report.records + report.decisions + report.artifacts + report.bodies;
            assert!(all < 1000, "nothing is read twice");
        }
        Err(why) => assert!(changed, "{why}"),
    }
    drop(DecisionJournal::open(dir.path(), "decisions", Arc::new(Keys)));
});
