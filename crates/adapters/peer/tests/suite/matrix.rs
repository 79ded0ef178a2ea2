//! Every RPC has a row in the authorisation matrix, and every row an RPC (protocol P9.3).

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// `service.Rpc` for each RPC of one proto file.
fn rpcs(text: &str) -> BTreeSet<String> {
    let mut service = "";
    let mut found = BTreeSet::new();
    for line in text.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("service ") {
            service = rest.split([' ', '{']).next().unwrap();
        }
        if let Some(rest) = line.strip_prefix("rpc ") {
            found.insert(format!("{service}.{}", rest.split('(').next().unwrap().trim()));
        }
    }
    found
}

#[test]
fn every_rpc_has_a_row() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let mut declared = BTreeSet::new();
    for entry in fs::read_dir(root.join("proto")).unwrap() {
        declared.extend(rpcs(&fs::read_to_string(entry.unwrap().path()).unwrap()));
    }
    assert!(declared.contains("Peer.Exchange") && declared.contains("Registry.Watch"), "{declared:?}");
    let matrix = fs::read_to_string(root.join("docs/authorisation-matrix.md")).unwrap();
    let rows: Vec<&str> =
        matrix.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let listed: BTreeSet<String> = rows.iter().map(|row| (*row).to_owned()).collect();
    assert_eq!(rows.len(), listed.len(), "a row for each RPC, once");
    assert_eq!(declared, listed, "left: declared in proto/, right: rows of docs/authorisation-matrix.md");
    for line in matrix.lines().filter(|line| line.starts_with("| `")) {
        let filled = line.trim_matches('|').split('|').all(|cell| !cell.trim().is_empty());
        assert!(filled && line.matches('|').count() == 6, "every question is answered: {line}");
    }
}
