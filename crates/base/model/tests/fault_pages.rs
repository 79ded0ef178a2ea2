//! Every fault code has a page in `docs/faults/`, every page a code, and they say the same.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop where it stands")]

use std::collections::BTreeSet;
use std::path::PathBuf;

use truc_model::{FaultCode, Lang};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../docs/faults")
}

#[test]
fn codes_and_pages_are_the_same_set() {
    let pages: BTreeSet<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| name.strip_suffix(".md").map(str::to_owned))
        .filter(|name| name != "README")
        .collect();
    let codes: BTreeSet<String> = FaultCode::ALL.iter().map(|c| c.as_str().to_owned()).collect();
    assert_eq!(pages, codes, "add or remove pages of docs/faults so that there is one for each code");
}

#[test]
fn every_page_says_what_the_code_does() {
    for code in FaultCode::ALL {
        let page = std::fs::read_to_string(folder().join(format!("{code}.md"))).unwrap();
        let has = |text: &str| assert!(page.contains(text), "docs/faults/{code}.md must contain {text:?}");
        assert!(page.starts_with(&format!("# {code}\n")), "{code}");
        has(&format!("\n> {}\n>\n> {}\n", code.public_text(Lang::Vi), code.public_text(Lang::En)));
        has(&format!("\n| HTTP | {} |\n", code.http_status()));
        has(&format!("(`blame`) | `{}`: ", code.blame().as_str()));
        has(&format!("(`retry`) | `{}`: ", code.retry().as_str()));
        for section in [
            "\n## Nghĩa là gì\n",
            "**Bên gọi**",
            "**Đơn vị vận hành**",
            "\n## What it means\n",
            "**The caller**",
            "**The operator**",
        ] {
            has(section);
        }
        // Every type that the page shows is one that this code can have.
        let row = page.lines().find(|l| l.starts_with("| X-Road (")).expect("a row for X-Road");
        let types: Vec<&str> =
            row.split('`').filter(|t| t.starts_with("client.") || t.starts_with("server.")).collect();
        let possible = ["client", "server.clientproxy", "server.serverproxy"]
            .map(|side| format!("{side}.{}", code.x_road()));
        assert!(
            !types.is_empty() && types.iter().all(|t| possible.iter().any(|p| p == t)),
            "{code}: {types:?}"
        );
    }
}

#[test]
fn the_table_lists_every_code_in_order() {
    let table = std::fs::read_to_string(folder().join("README.md")).unwrap();
    let rows: Vec<&str> = table.lines().filter(|l| l.starts_with("| [")).collect();
    let expected: Vec<String> = FaultCode::ALL
        .iter()
        .map(|c| {
            let (blame, retry, text) = (c.blame().as_str(), c.retry().as_str(), c.public_text(Lang::Vi));
            format!(
                "| [{c}]({c}.md) | {} | `{}` | `{blame}` | `{retry}` | {text} |",
                c.http_status(),
                c.x_road()
            )
        })
        .collect();
    assert_eq!(rows, expected);
}
