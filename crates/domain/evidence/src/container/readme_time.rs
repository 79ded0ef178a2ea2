//! The part of `README.txt` that follows time and log: evidence record, token, the head of the log (`docs/evidence.md` §4).
//!
//! openssl can cut bytes out of a file by their place (`asn1parse -offset -length -out`), so the hashes on the way up and the
//! token are taken from the evidence record itself; the text only says where they lie and in which order they are joined.

use truc_directory::PublicKey;
use truc_log::{Checkpoint, NoteKey, SignedNote};
use truc_message::{Header, Kind};
use truc_model::{Digest, NodeId};

use super::looked::Looked;
use super::names;
use super::notes::{HeadNote, Notes, RecordNote};
use super::readme::{Files, line, put};
use super::signed_directory::{decoded, public_key};
use crate::ers::EvidenceRecord;
use crate::record::{LocalPart, Role};

/// What else has to be had from outside.
pub(super) fn opening(out: &mut String, notes: &Notes) {
    if notes.heads.is_empty() {
        return;
    }
    line(
        out,
        "#\n# Chứng thư của tổ chức cấp dấu thời gian (tsa.pem, đặt cạnh ca.pem) cũng phải lấy từ bên ngoài hồ sơ.\n\
         # The certificate of the time-stamp authority (tsa.pem, beside ca.pem) must come from outside the container as well.\n\
         TSA=${TSA:-../tsa.pem}",
    );
}

/// The steps of every stamped record, then of every head.
pub(super) fn steps(out: &mut String, notes: &Notes, looked: &Looked<'_>) -> Result<(), String> {
    for record in notes.records.iter().filter(|r| r.message.is_some()) {
        if let (Some(head), Some(named)) = (notes.head_of(record), notes.evidence_record(record)) {
            evidence_record(out, record, head, &named, looked.files)?;
        }
    }
    let node = || notes.records.iter().find_map(|r| node_of(notes, r, looked.files));
    let known = if notes.heads.is_empty() { None } else { node() };
    let known = known.map_or_else(Vec::new, |node| looked.log_keys(&node));
    for head in &notes.heads {
        log(out, notes, head, looked.files, &known)?;
    }
    Ok(())
}

fn evidence_record(
    out: &mut String,
    record: &RecordNote,
    head: &HeadNote,
    named: &names::EvidenceRecordNames,
    files: &Files,
) -> Result<(), String> {
    let file = &named.record;
    let bytes = files.get(file).ok_or_else(|| format!("{file} is missing"))?;
    let ers = EvidenceRecord::from_der(bytes).map_err(|e| format!("{file}: {e}"))?;
    let layout = ers.layout().map_err(|e| format!("{file}: {e}"))?;
    let tag = format!("check-r{}", record.sequence);
    let message = record.message.map(|m| m.names()).ok_or("no message")?;
    put(out, format_args!("\n# ===== {file} =====\n"));
    line(
        out,
        "# 9. Dấu thời gian: băm bản kê, chữ ký và trạng thái, nối theo thứ tự tăng dần, đi lên theo các giá trị băm nằm trong tệp .ers;\n\
         #    lệnh openssl ts phải in \"Verification: OK\". Đó là cách của RFC 4998.\n\
         #    Time-stamp: the digests of manifest, signature and statuses are joined in ascending order and go up through the hashes\n\
         #    that lie in the .ers file, as RFC 4998 has it; openssl ts must say \"Verification: OK\".",
    );
    let mut objects = vec![message.manifest, message.signature];
    objects.extend(record.statuses.iter().map(|d| names::status(*d)));
    let mut group = Vec::new();
    for object in objects {
        let digest = Digest::of(files.get(&object).ok_or_else(|| format!("{object} is missing"))?);
        group.push((digest, object));
    }
    group.sort();
    let mut parts = Vec::new();
    for (number, (_, object)) in (1..).zip(&group) {
        put(out, format_args!("openssl dgst -sha256 -binary {object} > {tag}-object-{number}.bin\n"));
        parts.push(format!("{tag}-object-{number}.bin"));
    }
    put(out, format_args!("cat {} > {tag}-0.bin\n", parts.join(" ")));
    let mut below = Digest::of(&group.iter().flat_map(|(digest, _)| digest.0).collect::<Vec<u8>>());
    let siblings = ers.siblings().zip(layout.lists.iter().skip(1).flatten());
    let mut last = 0;
    for (step, (sibling, place)) in (1..).zip(siblings) {
        let from = step - 1;
        put(out, format_args!("openssl dgst -sha256 -binary {tag}-{from}.bin > {tag}-{from}.sum\n"));
        cut(out, file, place, &format!("{tag}-{step}.beside"));
        let (own, beside) = (format!("{tag}-{from}.sum"), format!("{tag}-{step}.beside"));
        let (left, right) = if below <= sibling { (own, beside) } else { (beside, own) };
        put(out, format_args!("cat {left} {right} > {tag}-{step}.bin\n"));
        let (low, high) = (below.min(sibling), below.max(sibling));
        below = Digest::of(&[low.0, high.0].concat());
        last = step;
    }
    cut(out, file, &layout.token, &format!("{tag}.tst"));
    put(
        out,
        format_args!(
            "openssl ts -verify -in {tag}.tst -token_in -data {tag}-{last}.bin -CAfile \"$TSA\" -partial_chain \\\n  -attime {}\n",
            head.gen_time.seconds()
        ),
    );
    line(
        out,
        "#    Giờ của dấu thời gian (Time stamp) in dưới đây; chữ ký đã có trước giờ đó / The time printed: the signature is older.",
    );
    put(out, format_args!("openssl ts -reply -in {tag}.tst -token_in -text\n"));
    line(
        out,
        "#    Chứng thư tsa.pem phải có trong timestampAuthorities (bước 8) / tsa.pem must stand under timestampAuthorities (step 8):",
    );
    line(out, "openssl x509 -in \"$TSA\" -outform DER | openssl base64 -A; echo");
    Ok(())
}

fn cut(out: &mut String, file: &str, place: &std::ops::Range<usize>, to: &str) {
    put(
        out,
        format_args!(
            "openssl asn1parse -inform DER -in {file} -offset {} -length {} -noout -out {to}\n",
            place.start,
            place.len()
        ),
    );
}

fn log(
    out: &mut String,
    notes: &Notes,
    head: &HeadNote,
    files: &Files,
    known: &[(&str, PublicKey)],
) -> Result<(), String> {
    let (file, tag) = (names::log_head(head.head), format!("check-log-{}", head.next));
    let text = files.get(&file).and_then(|bytes| std::str::from_utf8(bytes).ok());
    let text = text.ok_or_else(|| format!("{file} is missing or no text"))?;
    let note = SignedNote::parse(text).map_err(|e| format!("{file}: {e}"))?;
    let checkpoint = Checkpoint::parse(note.text()).map_err(|e| format!("{file}: {e}"))?;
    put(out, format_args!("\n# ===== {file} =====\n"));
    line(
        out,
        "# 10. Nhật ký của nút: đầu nhật ký do nút ký, khóa phải là logKey của nút trong danh bạ (dưới đây); cmp không được báo gì.\n\
         #     The node's log: its head is signed with the node's key, which must stand as logKey in the directory; cmp must say nothing.",
    );
    decoded(out, note.text().as_bytes(), &format!("{tag}.txt"));
    let rest = text.get(note.text().len()..).unwrap_or_default();
    decoded(out, rest.as_bytes(), &format!("{tag}.rest"));
    put(out, format_args!("cat {tag}.txt {tag}.rest | cmp - {file}\n"));
    for (place, _) in known {
        put(out, format_args!("cat {place}; echo\n"));
    }
    let own = |(_, key): &&(&str, PublicKey)| {
        NoteKey::new(&checkpoint.origin, &key.0).is_ok_and(|key| note.verify(&key).is_ok())
    };
    let signature = note.signatures().iter().find(|s| s.name == checkpoint.origin);
    match (known.iter().find(own), signature) {
        (Some((_, key)), Some(signature)) => {
            decoded(out, &signature.signature, &format!("{tag}.sig"));
            public_key(out, key, &format!("{tag}.pem"));
            put(
                out,
                format_args!(
                    "openssl pkeyutl -verify -pubin -inkey {tag}.pem -rawin -in {tag}.txt \\\n  -sigfile {tag}.sig\n"
                ),
            );
        }
        _ => line(out, "#     Hồ sơ không có khóa này / The key is not in this container."),
    }
    let mine = |r: &&RecordNote| r.stamped.as_ref().is_some_and(|stamp| stamp.head == head.head);
    for record in notes.records.iter().filter(mine) {
        inclusion(out, record, head, &checkpoint, files)?;
    }
    Ok(())
}

/// The leaf of the record is made again from what it stands for, and hashed up to the root that the head states.
fn inclusion(
    out: &mut String,
    record: &RecordNote,
    head: &HeadNote,
    checkpoint: &Checkpoint,
    files: &Files,
) -> Result<(), String> {
    let tag = format!("check-r{}-log", record.sequence);
    put(
        out,
        format_args!(
            "# Bản ghi {0}: lá nhật ký dẫn tới gốc của đầu nhật ký / Record {0}: its leaf leads to the root in the head\n",
            record.sequence
        ),
    );
    let mut prefix = vec![0x00, 0x01];
    prefix.extend_from_slice(&record.sequence.to_be_bytes());
    prefix.push(record.kind.number());
    decoded(out, &prefix, &format!("{tag}-a.bin"));
    let (manifest, signature) = match record.message.map(|m| m.names()) {
        Some(names) => (names.manifest, names.signature),
        None => ("/dev/null".to_owned(), "/dev/null".to_owned()),
    };
    put(out, format_args!("openssl dgst -sha256 -binary {manifest} > {tag}-b.bin\n"));
    put(out, format_args!("openssl dgst -sha256 -binary {signature} > {tag}-c.bin\n"));
    let count = u16::try_from(record.statuses.len()).unwrap_or(u16::MAX);
    decoded(out, &count.to_be_bytes(), &format!("{tag}-d.bin"));
    let mut parts: Vec<String> = ["a", "b", "c", "d"].map(|part| format!("{tag}-{part}.bin")).into();
    for (number, status) in (1..).zip(&record.statuses) {
        let name = names::status(*status);
        files.get(&name).ok_or_else(|| format!("{name} is missing"))?;
        put(out, format_args!("openssl dgst -sha256 -binary {name} > {tag}-e{number}.bin\n"));
        parts.push(format!("{tag}-e{number}.bin"));
    }
    decoded(out, record.local.as_bytes(), &format!("{tag}-local.json"));
    put(out, format_args!("openssl dgst -sha256 -binary {tag}-local.json > {tag}-f.bin\n"));
    parts.push(format!("{tag}-f.bin"));
    put(out, format_args!("cat {} | openssl dgst -sha256 -binary > {tag}-0.sum\n", parts.join(" ")));
    decoded(out, &[0x01], &format!("{tag}-one.bin"));
    let stamp = record.stamped.as_ref().ok_or("no stamp")?;
    let (mut at, mut last, mut steps) = (record.sequence, head.next.saturating_sub(1), 0);
    for (step, beside) in (1..).zip(&stamp.inclusion) {
        decoded(out, beside.as_bytes(), &format!("{tag}-{step}.beside"));
        let (own, other) = (format!("{tag}-{}.sum", step - 1), format!("{tag}-{step}.beside"));
        let (left, right) = if at & 1 == 1 || at == last {
            while at & 1 == 0 && at != 0 {
                (at, last) = (at >> 1, last >> 1);
            }
            (other, own)
        } else {
            (own, other)
        };
        (at, last) = (at >> 1, last >> 1);
        put(
            out,
            format_args!(
                "cat {tag}-one.bin {left} {right} | openssl dgst -sha256 -binary > {tag}-{step}.sum\n"
            ),
        );
        steps = step;
    }
    // The head again, around the root that the steps above came to.
    decoded(
        out,
        format!("{}\n{}\n", checkpoint.origin, checkpoint.size).as_bytes(),
        &format!("{tag}-head.txt"),
    );
    let extensions: String = checkpoint.extensions.iter().map(|e| format!("{e}\n")).collect();
    decoded(out, extensions.as_bytes(), &format!("{tag}-end.txt"));
    put(
        out,
        format_args!(
            "(cat {tag}-head.txt; openssl base64 -in {tag}-{steps}.sum; cat {tag}-end.txt) | cmp - check-log-{}.txt\n",
            head.next
        ),
    );
    Ok(())
}

/// Whose log the records are in: of the consumer's the request was sent from, of the provider's sent to.
fn node_of(notes: &Notes, record: &RecordNote, files: &Files) -> Option<NodeId> {
    let local: LocalPart = serde_json::from_str(&record.local).ok()?;
    let request = notes.messages().into_iter().find(|m| m.kind == Kind::Request)?;
    let header = Header::parse(files.get(&request.names().header)?).ok()?;
    Some(if local.role == Role::Provider { header.to } else { header.from })
}

/// What the container does not show of time and log.
pub(super) fn closing(out: &mut String, notes: &Notes) {
    if notes.records.iter().all(|r| r.stamped.is_some()) {
        line(
            out,
            "# - Điều gì xảy ra TRƯỚC giờ của dấu thời gian: giờ gửi là lời của bên ký, chỉ biết chắc là không muộn hơn dấu thời gian.\n\
             #   What happened BEFORE the time-stamp: the time of sending is the signer's own word; it is certain only that it was no later.\n\
             # - Rằng nhật ký của nút chỉ có một bản: so đầu nhật ký với bản mà sổ đăng ký và nút bên kia giữ.\n\
             #   That the node shows everybody the same log: compare its heads with those that the registry and the other node hold.",
        );
        return;
    }
    line(
        out,
        "# - Dấu thời gian của bên thứ ba (RFC 3161) và vị trí trong nhật ký: khi xuất hồ sơ chưa có cho mọi bản ghi; hãy xuất lại sau.\n\
         #   Thời điểm ký là do bên ký tự ghi. / A time-stamp of a third party (RFC 3161) and the place in the log: not yet there for every\n\
         #   record at the time of this export; export it again later. The signing time is the signer's own word.",
    );
}
