//! How much disk an exchange takes, against the bytes of it that have to be kept.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop where it stands")]
#![allow(clippy::print_stderr, reason = "the measure is what the test is for")]
#![allow(missing_docs, reason = "a test")]

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use ring::rand::{SecureRandom as _, SystemRandom};
use truc_evidence::contract::Sample;
use truc_evidence::{EvidenceStore as _, NewRecord, ProofStore as _};
use truc_message::manifest;
use truc_model::{Digest, MemberId};
use truc_stores::{EvidenceJournal, JournalOptions, RecordKey, RecordKeys};
use zeroize::Zeroizing;

struct Keys;

impl RecordKeys for Keys {
    fn record_key(&self, _: &MemberId) -> Option<RecordKey> {
        Some(self.node_key())
    }
    fn by_id(&self, _: &str) -> Option<RecordKey> {
        Some(self.node_key())
    }
    fn node_key(&self) -> RecordKey {
        RecordKey::new("evidence-vn-gov-h26-1", Zeroizing::new([2; 32]))
    }
}

fn random(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    SystemRandom::new().fill(&mut bytes).unwrap();
    bytes
}

/// A citizen's data as a service answers it: names, numbers and places that differ from one to the next.
fn json(length: usize) -> Vec<u8> {
    const WORDS: [&str; 12] =
        ["Nguyễn", "Trần", "Lê", "Phạm", "Thị", "Văn", "Hà Nội", "Huế", "phường", "quận", "đường", "xã"];
    let mut out = String::from("{\"congDan\":[");
    while out.len() < length {
        let r = random(16);
        let word = |i: usize| WORDS[usize::from(r[i]) % WORDS.len()];
        let number = u64::from_be_bytes(r[..8].try_into().unwrap());
        out.push_str(&format!(
            "{{\"soDinhDanh\":\"{:012}\",\"hoVaTen\":\"{} {} {}\",\"noiThuongTru\":\"{} {} {}\",\"ngaySinh\":\"19{:02}-0{}-1{}\"}},",
            number % 1_000_000_000_000,
            word(8), word(9), word(10), word(11), word(12), word(13),
            r[14] % 100, r[15] % 9 + 1, r[15] % 10
        ));
    }
    let mut out = out.into_bytes();
    out.truncate(length);
    out
}

/// A record like a node's own: CMS of a signature and a certificate that repeats, statuses that are stored once.
fn realistic(mut record: NewRecord, body: Vec<u8>, certificate: &[u8]) -> NewRecord {
    record.cms = [certificate, &random(400)].concat().into();
    let header = truc_message::Header::parse(&record.header).unwrap();
    let kind = record.kind.message_kind().unwrap();
    let (of_header, of_body) = (Digest::of(&record.header), Digest::of(&body));
    record.manifest_digest = Digest::of(&manifest::write(kind, header.id, of_header, of_body));
    record.body = Some(Bytes::from(body));
    record
}

fn used(folder: &Path) -> u64 {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() { used(&entry.path()) } else { entry.metadata().unwrap().len() }
        })
        .sum()
}

async fn measure(exchanges: u64, body: usize) -> f64 {
    let dir = tempfile::tempdir().unwrap();
    let certificate = random(700);
    let store = EvidenceJournal::open(dir.path(), Arc::new(Keys), JournalOptions::default()).unwrap();
    let mut kept = 0;
    for n in 0..exchanges {
        let sample = Sample::new(n).unwrap();
        let request = realistic(sample.request(b"").unwrap(), json(body.min(300)), &certificate);
        let response = realistic(sample.response(b"").unwrap(), json(body), &certificate);
        for record in [request, response] {
            let local = serde_json::to_vec(&record.local).unwrap().len();
            let body = record.body.as_ref().map_or(0, Bytes::len);
            kept +=
                (record.header.len() + body + record.cms.len() + 32 * record.statuses.len() + local) as u64;
            store.append(record, None).await.unwrap();
        }
    }
    assert_eq!(store.log_size().await.unwrap(), 2 * exchanges);
    drop(store);
    let all = used(dir.path());
    let index = used(&dir.path().join("index"));
    let (ratio, without) = (all as f64 / kept as f64, (all - index) as f64 / kept as f64);
    eprintln!(
        "{exchanges} exchanges, answers of {body} bytes: {} bytes to keep each, {} on disk: {ratio:.2} ({without:.2} without index and tree)",
        kept / exchanges,
        all / exchanges
    );
    ratio
}

#[tokio::test]
async fn an_exchange_takes_no_more_than_a_third_beyond_what_has_to_be_kept() {
    for body in [400, 10_000] {
        let ratio = measure(2000, body).await;
        assert!(ratio <= 1.3, "{ratio:.2} with bodies of {body} bytes");
    }
}
