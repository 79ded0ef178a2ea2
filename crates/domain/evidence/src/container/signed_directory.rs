//! The part of `README.txt` that follows the directory's own signatures: anchor, roots, trust part, head.
//!
//! A signed document carries its payload in base64 inside JSON. The steps write the payload out, wrap it again, compare
//! that with the file, and have openssl check the Ed25519 signatures over the payload.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use truc_directory::{Endorsed, PublicKey, Root, SignedHead};

use super::names;
use super::readme::{Files, line, put};

/// A bigger document is left to `truc verify`: a text of megabytes is no text for people.
const INLINE_LIMIT: usize = 256 * 1024;
/// SubjectPublicKeyInfo of an Ed25519 key, up to the key (RFC 8410 §4).
const ED25519_SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// One signed document: its file, what it wraps, and how it is wrapped around `PAYLOAD`.
struct Document<'a> {
    file: String,
    /// Names the files that the steps write.
    tag: String,
    payload: &'a [u8],
    envelope: String,
    signatures: Vec<(PublicKey, Bytes)>,
}

const PAYLOAD: &str = "PAYLOAD";

pub(super) fn steps(out: &mut String, files: &Files) {
    let heads = files
        .keys()
        .filter(|n| n.starts_with(names::DIRECTORIES) && n.ends_with(&format!("/{}", names::HEAD)));
    for (number, name) in (1..).zip(heads) {
        let folder = name.trim_end_matches(names::HEAD);
        put(out, format_args!("\n# ===== {folder} =====\n"));
        line(
            out,
            "# 8. Chữ ký của danh bạ: cmp không được báo gì, mỗi chữ ký phải là \"Signature Verified Successfully\".",
        );
        line(
            out,
            "#    The directory's own signatures: cmp must say nothing, each must be \"Signature Verified Successfully\".",
        );
        one(out, number, folder, files);
    }
}

fn one(out: &mut String, number: u32, folder: &str, files: &Files) {
    let file = |name: &str| files.get(&format!("{folder}{name}"));
    let mut root_keys: Vec<PublicKey> = Vec::new();
    let mut publishing: Vec<PublicKey> = Vec::new();
    for version in 1u64.. {
        let name = names::root(version);
        let Some(envelope) = file(&name).and_then(|bytes| Endorsed::parse(bytes).ok()) else { break };
        let Ok(root) = Root::parse(&envelope.payload) else { break };
        // A root is signed by the keys before it and its own.
        root_keys.extend(&root.root_keys);
        if version == 1 {
            line(
                out,
                "# Khóa gốc in ra dưới đây phải có trong rootKeys của tệp neo (anchor.json) nhận từ sổ đăng ký, không phải từ hồ sơ:",
            );
            line(
                out,
                "# The root keys printed must stand in rootKeys of your anchor.json, which you have from the registry, not from here:",
            );
            root.root_keys.iter().for_each(|key| put(out, format_args!("echo \"root key: {key}\"\n")));
        }
        endorsed(out, format!("{folder}{name}"), format!("{number}-root-{version}"), &envelope, &root_keys);
        root_keys = root.root_keys;
        publishing = root.publishing_keys;
    }
    if let Some(envelope) = file(names::TRUST).and_then(|bytes| Endorsed::parse(bytes).ok()) {
        line(
            out,
            "# Chứng thư ca.pem phải có trong authorities / the certificate of ca.pem must stand under authorities:",
        );
        endorsed(out, format!("{folder}{}", names::TRUST), format!("{number}-trust"), &envelope, &root_keys);
        put(
            out,
            format_args!(
                "cat check-{number}-trust.json; echo\nopenssl x509 -in \"$CA\" -outform DER | openssl base64 -A; echo\n"
            ),
        );
    }
    let Some(head) = file(names::HEAD).and_then(|bytes| SignedHead::parse(bytes).ok()) else { return };
    let key = publishing.into_iter().find(|key| key.id() == head.key);
    line(
        out,
        "# Khóa công bố phải có trong publishingKeys của gốc cuối cùng; các giá trị băm ở bước 2 phải có trong parts.",
    );
    line(
        out,
        "# The publishing key must stand in publishingKeys of the last root; the digests of step 2 must stand in parts.",
    );
    let index = format!("{folder}index-");
    let indexed: Vec<&String> = files.keys().filter(|name| name.starts_with(&index)).collect();
    if !indexed.is_empty() {
        line(
            out,
            "# Tệp member-… không có trong parts thì phải có trong một tệp index-… mà giá trị băm của chính nó có trong parts:",
        );
        line(
            out,
            "# A member-… file that does not stand in parts must stand in an index-… file whose own digest stands there:",
        );
        indexed.iter().for_each(|name| put(out, format_args!("cat {name}; echo\n")));
    }
    document(
        out,
        &Document {
            file: format!("{folder}{}", names::HEAD),
            tag: format!("{number}-head"),
            payload: &head.head,
            envelope: format!(
                "{{\"v\":1,\"head\":\"{PAYLOAD}\",\"key\":\"{}\",\"signature\":\"{}\"}}",
                head.key,
                STANDARD.encode(&head.signature)
            ),
            signatures: key.map(|key| (key, head.signature.clone())).into_iter().collect(),
        },
    );
    put(out, format_args!("cat check-{number}-head.json; echo\n"));
}

fn endorsed(out: &mut String, file: String, tag: String, envelope: &Endorsed, keys: &[PublicKey]) {
    let written: Vec<String> = envelope
        .signatures
        .iter()
        .map(|s| format!("{{\"key\":\"{}\",\"signature\":\"{}\"}}", s.key, STANDARD.encode(&s.signature)))
        .collect();
    let known = |s: &truc_directory::Endorsement| {
        keys.iter().find(|k| k.id() == s.key).map(|k| (*k, s.signature.clone()))
    };
    document(
        out,
        &Document {
            file,
            tag,
            payload: &envelope.payload,
            envelope: format!("{{\"v\":1,\"payload\":\"{PAYLOAD}\",\"signatures\":[{}]}}", written.join(",")),
            signatures: envelope.signatures.iter().filter_map(known).collect(),
        },
    );
}

fn document(out: &mut String, document: &Document<'_>) {
    let (file, tag) = (&document.file, &document.tag);
    if document.payload.len() > INLINE_LIMIT {
        put(
            out,
            format_args!(
                "# {file}: quá lớn để chép ra đây, dùng truc verify / too big for these steps, use truc verify\n"
            ),
        );
        return;
    }
    decoded(out, document.payload, &format!("check-{tag}.json"));
    let again = document.envelope.replace(PAYLOAD, &format!("$(openssl base64 -A -in check-{tag}.json)"));
    put(
        out,
        format_args!(
            "cat > check-{tag}.txt <<END\n{again}\nEND\n(cat {file}; echo) | cmp - check-{tag}.txt\n"
        ),
    );
    for (number, (key, signature)) in (1..).zip(&document.signatures) {
        decoded(out, signature, &format!("check-{tag}-{number}.sig"));
        public_key(out, key, &format!("check-{tag}-{number}.pem"));
        put(
            out,
            format_args!(
                "openssl pkeyutl -verify -pubin -inkey check-{tag}-{number}.pem -rawin -in check-{tag}.json \\\n  \
                 -sigfile check-{tag}-{number}.sig\n"
            ),
        );
    }
}

/// Has the shell write an Ed25519 key to `file`, as openssl reads it.
pub(super) fn public_key(out: &mut String, key: &PublicKey, file: &str) {
    let spki = [&ED25519_SPKI[..], &key.0].concat();
    put(out, format_args!("# {key}\ncat > {file} <<'END'\n"));
    put(
        out,
        format_args!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\nEND\n",
            STANDARD.encode(spki)
        ),
    );
}

/// Has the shell write `bytes` to `file`.
pub(super) fn decoded(out: &mut String, bytes: &[u8], file: &str) {
    put(out, format_args!("cat <<'END' | openssl base64 -d > {file}\n"));
    for chunk in bytes.chunks(48) {
        line(out, &STANDARD.encode(chunk));
    }
    line(out, "END");
}
