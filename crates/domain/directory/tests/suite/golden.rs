//! The bytes of every format, with fixed keys and times. A change here is a change of format: it needs a new version.
//! `TRUC_BLESS=1` writes the files anew.

use std::path::Path;

use bytes::Bytes;
use truc_model::Digest;

use crate::bus::Bus;

#[test]
fn formats_have_not_moved() {
    let bus = Bus::new();
    let mut content = String::new();
    content.push_str(&format!("{}  content of head.json\n", bus.head.content_digest()));
    let part = |name: &str| bus.parts.iter().find(|(n, _)| n == name).unwrap().1.clone();
    let files = [
        ("anchor.json", bus.anchor.to_json()),
        ("root-1.json", bus.chain[0].clone()),
        ("trust.json", part("trust")),
        ("groups.json", part("groups")),
        ("aliases.json", part("aliases")),
        ("member.json", part("member/VN/GOV/H26")),
        ("head.json", bus.head.to_bytes()),
        ("signed-head.json", bus.signed().to_bytes()),
    ];
    compare("SHA256SUMS", &files, &content);
    assert!(bus.assemble().is_ok());
}

#[test]
fn index_parts_have_not_moved() {
    let bus = Bus::indexed();
    let bucket = bus.made.iter().find(|(name, _)| name.starts_with("members/")).unwrap();
    let content = format!("{}  content of head-indexed.json\n", bus.head.content_digest());
    let files = [
        ("member-index.json", bucket.1.clone()),
        ("group-index.json", bus.made("group-index")),
        ("group.json", bus.made("group/mot-cua")),
        ("head-indexed.json", bus.head.to_bytes()),
        ("signed-head-indexed.json", bus.signed().to_bytes()),
    ];
    compare("SHA256SUMS-indexed", &files, &content);
    assert!(bus.assemble().is_ok());
}

fn compare(sums: &str, files: &[(&str, Bytes)], content: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut digests = String::new();
    for (name, bytes) in files {
        digests.push_str(&format!("{}  {name}\n", Digest::of(bytes)));
    }
    digests.push_str(content);
    if std::env::var_os("TRUC_BLESS").is_some() {
        for (name, bytes) in files {
            std::fs::write(folder.join(name), bytes).unwrap();
        }
        std::fs::write(folder.join(sums), &digests).unwrap();
    }
    for (name, bytes) in files {
        let golden = std::fs::read(folder.join(name)).unwrap();
        assert_eq!(String::from_utf8_lossy(&golden), String::from_utf8_lossy(bytes), "{name}");
    }
    assert_eq!(std::fs::read_to_string(folder.join(sums)).unwrap(), digests);
}
