//! `docs/xroad-compatibility.md` names the test that holds each row; a name without a test is a promise without a mechanism.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..")
}

#[test]
fn every_test_that_the_compatibility_table_names_is_there() {
    let table = std::fs::read_to_string(root().join("docs/xroad-compatibility.md")).unwrap();
    let rows: Vec<&str> = table
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| clause") && !line.starts_with("| ---"))
        .collect();
    assert!(rows.len() > 40, "the table has only {} rows", rows.len());
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 4, "four cells: {row}");
        let verdict = cells[1];
        assert!(["same", "better", "not"].iter().any(|word| verdict.starts_with(word)), "{row}");
        if verdict.starts_with("not") && cells[3] == "–" {
            continue;
        }
        let tests: Vec<&str> = cells[3].split('`').filter(|piece| piece.contains("::")).collect();
        assert!(!tests.is_empty(), "no test holds this row: {row}");
        for test in tests {
            let (file, name) = test.split_once("::").unwrap();
            let source = std::fs::read_to_string(root().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
            let found = source.contains(&format!("fn {name}("));
            assert!(found, "{file} has no test {name}, which the table names");
        }
    }
}
