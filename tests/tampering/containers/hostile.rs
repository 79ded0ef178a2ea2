//! Rows in which the container is made to harm whoever looks at it: by what it says, by what travels along, by what it costs.

use std::io::Write as _;

use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};
use truc_directory::Anchor;
use truc_evidence::container;
use truc_model::is_unseen;

use crate::support::{Entry, Plan, Stamping, entries, zipped};

const RECORDS: &str = "META-INF/notes/records.json";

async fn made() -> (Vec<Entry>, Anchor) {
    let scene = Plan { stamping: Some(Stamping::default()), ..Plan::default() }.play().await;
    (entries(&scene.export().await), scene.anchor)
}

fn changed(good: &[Entry], name: impl Fn(&str) -> bool, change: impl Fn(&str) -> String) -> Vec<Entry> {
    let mut files = good.to_vec();
    let file = files.iter_mut().find(|(n, _)| name(n)).unwrap();
    file.1 = change(std::str::from_utf8(&file.1).unwrap()).into_bytes();
    files
}

/// Why it is not even opened.
fn refused(files: &[Entry], anchor: &Anchor) -> String {
    container::verify(&zipped(files), anchor).map(|report| report.to_string()).unwrap_err().to_string()
}

/// Clears the screen, goes home, and writes what a good report says.
const FORGED: &str = r"\u001b[2J\u001b[H\n[ĐẠT / OK] Chữ ký\r\u202e\u2028";

#[tokio::test]
async fn an_error_is_one_line_and_no_report() {
    let (good, anchor) = made().await;
    let is_records = |name: &str| name == RECORDS;
    let is_header = |name: &str| name.starts_with("request-") && name.ends_with("header.json");
    let key = |text: &str| text.replacen('{', &format!("{{\"{FORGED}\":1,"), 1);
    let long = |text: &str| text.replacen('{', &format!("{{\"{}\":1,", FORGED.repeat(9000)), 1);
    let kind = |text: &str| text.replacen("\"kind\": \"request\"", &format!("\"kind\": \"{FORGED}\""), 1);
    let file = |text: &str| text.replacen("\"name\": \"META-INF", &format!("\"name\": \"{FORGED}"), 1);
    for (what, files) in [
        ("a key of the notes", changed(&good, is_records, key)),
        ("a long key", changed(&good, is_records, long)),
        ("a kind of record", changed(&good, is_records, kind)),
        ("a file's name", changed(&good, is_records, file)),
        ("a key of a header", changed(&good, is_header, key)),
    ] {
        let said = refused(&files, &anchor);
        assert!(!said.chars().any(is_unseen), "{what}: {said:?}");
        assert!(said.chars().count() < 1000, "{what}: {} characters", said.chars().count());
    }
}

/// Such an entry reads the same everywhere, and carries whatever somebody put behind it.
#[tokio::test]
async fn nothing_travels_along_behind_a_packed_entry() {
    let (good, anchor) = made().await;
    assert!(container::verify(&deflated(&good, b""), &anchor).is_ok());
    for behind in [&b"x"[..], &b"PK\x05\x06 anything ".repeat(500)] {
        let said = container::verify(&deflated(&good, behind), &anchor).unwrap_err().to_string();
        assert!(said.contains("more bytes"), "{said}");
    }
}

/// All entries but the first packed, with `behind` after the end of the last one's packed form.
fn deflated(files: &[Entry], behind: &[u8]) -> Vec<u8> {
    let (mut out, mut central) = (Vec::new(), Vec::new());
    for (at, (name, bytes)) in files.iter().enumerate() {
        let mut packed = bytes.clone();
        if at > 0 {
            let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
            encoder.write_all(bytes).unwrap();
            packed = encoder.finish().unwrap();
        }
        if at + 1 == files.len() {
            packed.extend_from_slice(behind);
        }
        let mut crc = Crc::new();
        crc.update(bytes);
        let offset = out.len() as u32;
        let method = if at > 0 { 8 } else { 0 };
        let mut shared = vec![20, 0, 0, 0, method, 0, 0, 0, 0x21, 0];
        shared.extend(crc.sum().to_le_bytes());
        shared.extend((packed.len() as u32).to_le_bytes());
        shared.extend((bytes.len() as u32).to_le_bytes());
        shared.extend((name.len() as u16).to_le_bytes());
        shared.extend([0, 0]);
        out.extend(b"PK\x03\x04");
        out.extend(&shared);
        out.extend(name.as_bytes());
        out.extend(&packed);
        central.extend(b"PK\x01\x02\x14\x03");
        central.extend(&shared);
        central.extend([0; 10]);
        central.extend(offset.to_le_bytes());
        central.extend(name.as_bytes());
    }
    let (count, start) = (files.len() as u16, out.len() as u32);
    out.extend(&central);
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend([count.to_le_bytes(), count.to_le_bytes()].concat());
    out.extend((central.len() as u32).to_le_bytes());
    out.extend(start.to_le_bytes());
    out.extend([0, 0]);
    out
}

/// Each record is looked at beside others: what they share is no longer than nodes write it.
#[tokio::test]
async fn what_no_node_writes_is_not_looked_at() {
    let (good, anchor) = made().await;
    let is_records = |name: &str| name == RECORDS;
    let local = |length: usize| {
        let fault = format!("\"local\": \"{{\\\"fault\\\":\\\"{}\\\",", "x".repeat(length));
        changed(&good, is_records, |text| text.replacen("\"local\": \"{", &fault, 1))
    };
    assert!(container::verify(&zipped(&local(50)), &anchor).is_ok(), "read, and found wrong");
    assert!(refused(&local(8 * 1024), &anchor).contains("longer than any node writes"));
    for place in ["META-INF/signature-", "META-INF/ocsp/", "META-INF/certs/", "META-INF/notes/heads/"] {
        let mut files = good.clone();
        let file = files.iter_mut().find(|(name, _)| name.starts_with(place)).unwrap();
        let before = truc_model::Digest::of(&file.1).to_string();
        file.1.resize(64 * 1024 + 1, b'\n');
        let after = truc_model::Digest::of(&file.1).to_string();
        let name = file.0.clone();
        let (listed, listing) = [before, after]
            .map(|digest| format!("\"name\": \"{name}\",\n      \"sha256\": \"{digest}\""))
            .into();
        let files = changed(&files, is_records, |text| text.replace(&listed, &listing));
        let said = refused(&files, &anchor);
        assert!(said.contains("longer than any file"), "{place}: {said}");
    }
}
