//! The bytes of every format, with fixed keys and times. A change here is a change of format: it needs a new version.
//! `TRUC_BLESS=1` writes the files anew.

use std::path::Path;

use truc_model::Digest;

use crate::bus::Bus;

#[test]
fn formats_have_not_moved() {
    let bus = Bus::new();
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
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut digests = String::new();
    for (name, bytes) in &files {
        digests.push_str(&format!("{}  {name}\n", Digest::of(bytes)));
    }
    digests.push_str(&format!("{}  content of head.json\n", bus.head.content_digest()));
    if std::env::var_os("TRUC_BLESS").is_some() {
        for (name, bytes) in &files {
            std::fs::write(folder.join(name), bytes).unwrap();
        }
        std::fs::write(folder.join("SHA256SUMS"), &digests).unwrap();
    }
    for (name, bytes) in &files {
        let golden = std::fs::read(folder.join(name)).unwrap();
        assert_eq!(String::from_utf8_lossy(&golden), String::from_utf8_lossy(bytes), "{name}");
    }
    assert_eq!(std::fs::read_to_string(folder.join("SHA256SUMS")).unwrap(), digests);
    assert!(bus.assemble().is_ok());
}
