//! `docs/threat-model.md` names files and tests; each of them must exist.

use std::path::{Path, PathBuf};

const DOCUMENT: &str = "docs/threat-model.md";

/// What of the document is not there, one sentence each.
fn mistakes(root: &Path, text: &str) -> Vec<String> {
    named(text).filter_map(|name| missing(root, name)).collect()
}

/// What stands between single backticks and looks like a file, a folder or a test.
fn named(text: &str) -> impl Iterator<Item = &str> {
    let in_line = |line| str::split(line, '`').skip(1).step_by(2);
    let is_path = |name: &&str| {
        !name.contains(' ') && (name.contains(".rs") || name.ends_with('/') || name.contains('/'))
    };
    text.lines().flat_map(in_line).filter(is_path)
}

fn missing(root: &Path, name: &str) -> Option<String> {
    let (file, test) = name.split_once("::").map_or((name, None), |(file, test)| (file, Some(test)));
    let Some(path) = find(root, file) else { return Some(format!("{file} does not exist")) };
    let test = test?;
    match std::fs::read_to_string(&path) {
        Ok(text) if holds_test(&text, test) => None,
        Ok(_) => Some(format!("{file} has no test {test}")),
        Err(error) => Some(format!("{file}: {error}")),
    }
}

/// From the root, from `crates/` or from `docs/`.
fn find(root: &Path, file: &str) -> Option<PathBuf> {
    ["", "crates", "docs"].iter().map(|place| root.join(place).join(file)).find(|path| path.exists())
}

/// A function of that name with an attribute that makes it a test, a few lines above at most.
fn holds_test(text: &str, test: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
    let heads = [format!("fn {test}("), format!("async fn {test}(")];
    let is_test =
        |at: usize| lines[at.saturating_sub(6)..at].iter().any(|l| l.starts_with("#[") && l.contains("test"));
    lines.iter().enumerate().any(|(at, line)| heads.iter().any(|head| line.starts_with(head)) && is_test(at))
}

#[test]
fn everything_the_threat_model_names_exists() {
    let root = crate::root();
    let text = std::fs::read_to_string(root.join(DOCUMENT)).unwrap();
    let names = named(&text).filter(|name| name.contains("::")).count();
    assert!(names > 80, "only {names} tests are named: the document is not read as it is written");
    let mistakes = mistakes(&root, &text);
    assert!(mistakes.is_empty(), "{DOCUMENT}:\n  - {}", mistakes.join("\n  - "));
}

#[test]
fn what_is_not_there_is_told() {
    let text = "| `xtask/src/nothing.rs` | `tools/xtask/src/threat_model.rs::no_such_test` · \
                `tools/xtask/src/threat_model.rs::what_is_not_there_is_told` · `crates/nowhere/` · `plain` |";
    let told = mistakes(&crate::root(), text);
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[1].contains("has no test no_such_test"), "{told:?}");
}
