//! Rows in which the container was changed after its export: carelessly, and by somebody who keeps its notes in step.

use truc_directory::Anchor;
use truc_evidence::container::{self, CheckName, Verdict};
use truc_model::Digest;

use crate::support::{Entry, Plan, Stamping, entries, zipped};

const RECORDS: &str = "META-INF/notes/records.json";

async fn made() -> (Vec<Entry>, Anchor) {
    let scene = Plan { stamping: Some(Stamping::default()), ..Plan::default() }.play().await;
    (entries(&scene.export().await), scene.anchor)
}

/// What fails; `None` when it is not even opened.
fn failed(files: &[Entry], anchor: &Anchor) -> Option<Vec<CheckName>> {
    let report = container::verify(&zipped(files), anchor).ok()?;
    Some(report.failed().map(|c| c.name).collect())
}

fn refused(files: &[Entry], anchor: &Anchor, what: &str) {
    assert!(failed(files, anchor).is_none_or(|names| !names.is_empty()), "{what} is believed");
}

#[tokio::test]
async fn every_part_is_needed_as_it_is() {
    let (good, anchor) = made().await;
    assert_eq!(failed(&good, &anchor), Some(vec![]));
    for at in 0..good.len() {
        let (name, content) = &good[at];
        // Each class of byte that a file has: its frame, lengths, hashes, signatures; the ends and places between.
        let places = (0..24).map(|n| n * (content.len() - 1) / 23);
        for place in places {
            for mask in [0x01, 0x80] {
                let mut other = good.clone();
                other[at].1[place] ^= mask;
                refused(&other, &anchor, &format!("byte {place} of {name} changed"));
            }
        }
        let mut other = good.clone();
        other.remove(at);
        refused(&other, &anchor, &format!("{name} left out"));
        let mut other = good.clone();
        other[at].1.push(0);
        refused(&other, &anchor, &format!("{name} made longer"));
        let mut other = good.clone();
        other[at].1.clear();
        refused(&other, &anchor, &format!("{name} emptied"));
        for with in at + 1..good.len() {
            let mut other = good.clone();
            other[at].1 = good[with].1.clone();
            other[with].1 = good[at].1.clone();
            refused(&other, &anchor, &format!("{name} swapped with {}", good[with].0));
        }
    }
    for extra in [
        "META-INF/evidencerecord-1.ers",
        "META-INF/ASiCEvidenceRecordManifest-1.xml",
        "META-INF/ASiCArchiveManifest.xml",
        "META-INF/timestamp.tst",
        "META-INF/notes/heads/x.txt",
        "META-INF/crl/x.crl",
        "request/body.bin",
    ] {
        let mut other = good.clone();
        other.push((extra.into(), b"x".to_vec()));
        assert_eq!(failed(&other, &anchor), None, "{extra}");
    }
}

/// Changes a file and its digest in the notes: only README.txt still tells on it, and the check that it was made for must.
fn carefully(good: &[Entry], name: &str, change: impl Fn(&mut Vec<u8>)) -> Vec<Entry> {
    let mut files = good.to_vec();
    let file = files.iter_mut().find(|(n, _)| n == name).unwrap();
    let before = Digest::of(&file.1).to_string();
    change(&mut file.1);
    let after = Digest::of(&file.1).to_string();
    noted(&files, |text| {
        let listed = format!("\"name\": \"{name}\",\n      \"sha256\": \"{before}\"");
        assert!(text.contains(&listed), "{name}");
        text.replace(&listed, &format!("\"name\": \"{name}\",\n      \"sha256\": \"{after}\""))
    })
}

fn noted(files: &[Entry], change: impl Fn(&str) -> String) -> Vec<Entry> {
    let mut files = files.to_vec();
    let notes = files.iter_mut().find(|(n, _)| n == RECORDS).unwrap();
    notes.1 = change(std::str::from_utf8(&notes.1).unwrap()).into_bytes();
    files
}

fn find(files: &[Entry], start: &str, end: &str) -> String {
    let found = files.iter().find(|(n, _)| n.starts_with(start) && n.ends_with(end));
    found.unwrap_or_else(|| panic!("no {start}…{end}")).0.clone()
}

#[tokio::test]
async fn the_check_that_is_made_for_it_finds_each_change() {
    use CheckName::{Answer, EvidenceRecord, Log, Manifest, Registered, Signature, Timestamp};
    let (good, anchor) = made().await;
    let content = |name: &str| good.iter().find(|(n, _)| n == name).unwrap().1.clone();
    let request = find(&good, "META-INF/evidencerecord-request", ".ers");
    let response = find(&good, "META-INF/evidencerecord-response", ".ers");
    let manifest = find(&good, "META-INF/ASiCEvidenceRecordManifest-request", ".xml");
    let token = find(&good, "META-INF/notes/heads/", ".der");
    let head = find(&good, "META-INF/notes/heads/", ".txt");
    let flip = |name: &str, place: usize| carefully(&good, name, |bytes| bytes[place] ^= 1);
    let length = |name: &str| content(name).len();
    let replaced = |name: &str, with: &str| carefully(&good, name, |bytes| *bytes = content(with));
    let records = String::from_utf8(content(RECORDS)).unwrap();
    let value = |key: &str| {
        let at = records.find(&format!("\"{key}\"")).unwrap();
        let quoted: Vec<&str> = records[at..].split('"').collect();
        quoted[3].to_owned()
    };
    let swapped = |key: &str, with: &str| {
        let old = value(key);
        noted(&good, |text| text.replacen(&old, with, 1))
    };
    let hash = Digest::of(b"another").to_string();
    let size = records.find("\"next\": ").map(|at| records[at..].lines().next().unwrap().to_owned()).unwrap();
    let header = find(&good, "request-", "header.json");
    let signed = find(&good, "META-INF/signature-request", ".p7s");
    let plain = |name: &str, place: usize| {
        let mut files = good.clone();
        files.iter_mut().find(|(n, _)| n == name).unwrap().1[place] ^= 1;
        files
    };
    let mut both = carefully(&good, &request, |bytes| *bytes = content(&response));
    both = carefully(&both, &response, |bytes| *bytes = content(&request));
    let rows: Vec<(&str, Vec<Entry>, CheckName)> = vec![
        ("a hash of the group in the evidence record", flip(&request, 60), EvidenceRecord),
        ("the evidence record's token", flip(&request, length(&request) - 20), EvidenceRecord),
        ("the evidence record of the other message", replaced(&request, &response), EvidenceRecord),
        ("the two evidence records swapped", both, EvidenceRecord),
        ("what its manifest names", flip(&manifest, length(&manifest) - 60), EvidenceRecord),
        ("the token", flip(&token, length(&token) - 9), Timestamp),
        ("the token's time in the notes", swapped("genTime", "2021-11-21T03:05:14.000Z"), Timestamp),
        ("the head's way to the token", swapped("path", &hash), Timestamp),
        ("the inclusion proof", swapped("inclusion", &hash), Log),
        ("the size of the log in the notes", noted(&good, |t| t.replacen(&size, "\"next\": 8,", 1)), Log),
        ("the head's signature", flip(&head, length(&head) - 12), Log),
        ("the header", plain(&header, 2 * length(&header) / 3), Manifest),
        ("the signature", plain(&signed, length(&signed) - 3), Signature),
    ];
    for (what, files, check) in rows {
        let names = failed(&files, &anchor);
        // A header that is no header any more is not even opened.
        let found = names.as_ref().is_some_and(|names| names.contains(&check));
        assert!(found || (check == Manifest && names.is_none()), "{what}: {names:?}");
    }
    let _ = (Answer, Registered, Verdict::Fails);
}

/// Somebody who unpacks such an entry reads what it points at, and not these bytes.
#[tokio::test]
async fn an_entry_that_unpacks_as_a_link_or_a_folder_is_refused() {
    let (good, anchor) = made().await;
    let bytes = zipped(&good);
    for attributes in [0o120_777_u32 << 16, 0o040_755 << 16, 0x10, 0o020_644 << 16] {
        let mut other = bytes.clone();
        let central = other.windows(4).rposition(|w| w == [0x50, 0x4b, 1, 2]).unwrap();
        other[central + 38..central + 42].copy_from_slice(&attributes.to_le_bytes());
        assert!(container::verify(&other, &anchor).is_err(), "{attributes:o}");
        other[central + 38..central + 42].copy_from_slice(&(0o100_644_u32 << 16).to_le_bytes());
        assert!(container::verify(&other, &anchor).is_ok());
    }
}

/// What costs a signature or a walk each is bounded by what an exchange can have; what the notes say of a batch must be possible.
#[tokio::test]
async fn impossible_numbers_are_refused() {
    let (good, anchor) = made().await;
    let records = String::from_utf8(good.iter().find(|(n, _)| n == RECORDS).unwrap().1.clone()).unwrap();
    let at = records.find("\"statuses\": [\n").unwrap() + "\"statuses\": [\n".len();
    let line = records[at..].lines().next().unwrap().trim_end_matches(',').to_owned();
    let many =
        |times: usize| noted(&good, |text| text.replacen(&line, &vec![line.as_str(); times].join(",\n"), 1));
    assert!(failed(&many(62), &anchor).is_some(), "read, and found wrong");
    assert_eq!(failed(&many(63), &anchor), None);
    for first in [6, 7, u64::MAX] {
        let other = noted(&good, |text| text.replace("\"first\": 0,", &format!("\"first\": {first},")));
        assert_eq!(failed(&other, &anchor), None, "{first}");
    }
}
