//! The golden container with entries changed and packed again in good order: past the ZIP, into what is signed.
#![no_main]

use std::io::{Cursor, Read as _, Write as _};
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use truc_directory::Anchor;
use truc_evidence::container::{Verdict, verify};
use truc_fuzz::Edits;
use truc_model::Digest;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

const ANCHOR: &[u8] = include_bytes!("../../../crates/domain/evidence/tests/golden/anchor.json");
const GOLDEN: &[u8] = include_bytes!("../../../crates/domain/evidence/tests/golden/container-v1.asice");

type Entries = Vec<(String, Vec<u8>)>;

static ENTRIES: LazyLock<Entries> = LazyLock::new(|| {
    let mut archive = ZipArchive::new(Cursor::new(GOLDEN)).expect("golden");
    (0..archive.len())
        .map(|i| {
            let mut file = archive.by_index(i).expect("golden");
            let mut content = Vec::new();
            file.read_to_end(&mut content).expect("golden");
            (file.name().expect("golden").into_owned(), content)
        })
        .collect()
});

fn pack(entries: &Entries) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        zip.start_file(name.as_str(), options).expect("packed");
        zip.write_all(content).expect("packed");
    }
    zip.finish().expect("packed").into_inner()
}

/// Names a changed supporting file rightly in the notes, and in its own name: a forger would.
fn renote(entries: &mut Entries, before: &[u8], after: &[u8]) {
    let (old, new) = (Digest::of(before).to_string(), Digest::of(after).to_string());
    for (name, content) in entries.iter_mut() {
        *name = name.replace(&old, &new);
        if name.ends_with("records.json")
            && let Ok(text) = std::str::from_utf8(content)
        {
            *content = text.replace(&old, &new).into_bytes();
        }
    }
}

fuzz_target!(|input: Vec<(u8, Edits, bool)>| {
    let anchor = Anchor::parse(ANCHOR).expect("golden");
    let mut entries = ENTRIES.clone();
    for (which, edits, noted) in input.iter().take(3) {
        let which = usize::from(*which) % entries.len();
        let before = entries[which].1.clone();
        edits.apply(&mut entries[which].1);
        let after = entries[which].1.clone();
        if *noted && before != after {
            renote(&mut entries, &before, &after);
        }
    }
    let Ok(report) = verify(&pack(&entries), &anchor) else {
        assert!(entries != *ENTRIES, "the golden container is read");
        return;
    };
    if report.verdict == Verdict::Holds {
        for (entry, golden) in entries.iter().zip(ENTRIES.iter()) {
            let signed =
                ["header.json", "body.bin", ".xml", ".p7s"].iter().any(|end| golden.0.ends_with(end));
            assert!(!signed || entry == golden, "{} was changed and is believed", golden.0);
        }
    }
});
