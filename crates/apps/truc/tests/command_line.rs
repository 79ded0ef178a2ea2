//! The binary as a shell meets it: help, exit codes, and what goes to which stream.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop where it stands")]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn truc(arguments: &[&str], dir: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_truc")).args(arguments).current_dir(dir).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn help_is_data_and_shows_an_example() {
    let dir = tempfile::tempdir().unwrap();
    for arguments in [
        &["--help"][..],
        &["demo", "--help"],
        &["registry", "init", "--help"],
        &["node", "run", "--help"],
        &["service", "add", "--help"],
        &["access", "grant", "--help"],
        &["call", "--help"],
        &["evidence", "export", "--help"],
        &["verify", "--help"],
        &["pki", "issue", "sign", "--help"],
    ] {
        let output = truc(arguments, dir.path());
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(
            text(&output.stdout).contains("Example:\n  truc "),
            "{arguments:?}: {}",
            text(&output.stdout)
        );
    }
    let help = text(&truc(&["--help"], dir.path()).stdout);
    for verb in
        ["demo", "registry", "node", "service", "access", "call", "evidence", "verify", "pki", "register"]
    {
        assert!(help.lines().any(|l| l.trim_start().starts_with(&format!("{verb} "))), "{verb}: {help}");
    }
}

#[test]
fn exit_codes_tell_refused_from_not_understood() {
    let dir = tempfile::tempdir().unwrap();
    for (arguments, code) in [
        (&["juggle"][..], 2),
        (&["evidence", "list", "--limit", "0"], 2),
        (&["call", "--client", "VN/GOV", "x", "GET"], 2),
        (&["evidence", "show", "no-id"], 2),
        (&["call", "--client", "VN/GOV/H26/a", "VN/GOV/G01/b/c", "GET", "no-slash"], 2),
        (&["call", "--client", "VN/GOV/H26/a", "VN/GOV/G01/b/c", "GET", "/x", "--header", "no-colon"], 2),
        (&["call", "--client", "VN/GOV/H26/a", "VN/GOV/G01/b/c", "GET", "/x"], 1),
        (&["registry", "init", "--dir", "r", "--instance", "VN", "--public-address", "no-port"], 2),
        (&["registry", "init", "--dir", "r", "--instance", "V/N", "--public-address", "x:4001"], 2),
        (&["pki", "init", "--dir", "p", "--public-url", "https://x"], 2),
        (&["service", "add", "VN/GOV/G01/b/c", "--url", "http://x", "--timeout", "271s"], 2),
        (&["service", "add", "VN/GOV/G01/b/c", "--url", "http://x", "--secret-header", "a b"], 2),
        (&["node", "check-config"], 1),
        (&["evidence", "list"], 1),
        (&["service", "list"], 1),
        (&["verify", "missing.asice", "--anchor", "missing.json"], 1),
        (&["pki", "list"], 1),
        (&["registry", "member", "list"], 1),
    ] {
        let output = truc(arguments, dir.path());
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", text(&output.stderr));
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_configuration_is_checked_as_a_whole() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("node.toml");
    std::fs::write(&file, "config-version = 3\nnode = 'x'\ncolour = 1\n").unwrap();
    let output = truc(&["node", "check-config"], dir.path());
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    for key in ["config-version", "node", "member", "colour"] {
        assert!(told.contains(&format!("- {key}: ")), "{key}: {told}");
    }
    let output = truc(&["node", "check-config", "--json"], dir.path());
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).starts_with("{\"mistakes\":[{"), "{}", text(&output.stdout));
}

/// From nothing to a registered node, by hand, and the evidence of the stopped node read from its folder.
#[test]
fn a_bus_is_set_up_from_the_command_line() {
    let dir = tempfile::tempdir().unwrap();
    let run = |line: &str| {
        let output = truc(&line.split_whitespace().collect::<Vec<_>>(), dir.path());
        assert_eq!(output.status.code(), Some(0), "truc {line}: {}", text(&output.stderr));
        text(&output.stdout)
    };
    run("pki init --dir pki --public-url http://127.0.0.1:18880");
    run("registry init --dir registry --instance VN --public-address 127.0.0.1:14001");
    let at = "--config registry/registry.toml";
    run(&format!(
        "registry authority add --name CA --certificate pki/ca.pem --usage sign --usage auth --ocsp http://127.0.0.1:18880/ocsp {at}"
    ));
    run(&format!("registry member add VN/GOV/H26 --name-vi Hà-Nội --name-en Hanoi {at}"));
    run(&format!("registry subsystem add VN/GOV/H26/mot-cua-so-1 --name mot-cua {at}"));
    let made = run(
        "node init --dir node --node VN/GOV/H26/ss1 --subsystem VN/GOV/H26/mot-cua-so-1 --anchor registry/anchor.json --admin-listen 127.0.0.1:1 --json",
    );
    let log_key = made.split("\"logKey\":\"").nth(1).unwrap().split('"').next().unwrap();
    run(
        "pki issue auth VN/GOV/H26/ss1 --csr node/requests/auth.csr --organization Hanoi --out node/certs/auth.pem --config pki/pki.toml",
    );
    run(
        "pki issue sign VN/GOV/H26 --csr node/requests/sign-VN-GOV-H26.csr --organization Hanoi --out node/certs/sign-VN-GOV-H26.pem --config pki/pki.toml",
    );
    run(&format!(
        "registry node add VN/GOV/H26/ss1 --address 127.0.0.1:15500 --log-key {log_key} --serves VN/GOV/H26/mot-cua-so-1 {at}"
    ));
    run(&format!("registry certificate add auth VN/GOV/H26/ss1 --file node/certs/auth.pem {at}"));
    run(&format!("registry certificate add sign VN/GOV/H26 --file node/certs/sign-VN-GOV-H26.pem {at}"));
    assert_eq!(
        run(&format!("registry node list {at}")),
        "VN/GOV/H26/ss1\t127.0.0.1:15500\tVN/GOV/H26/mot-cua-so-1\n"
    );
    assert!(run(&format!("registry member list {at}")).starts_with("VN/GOV/H26\tactive\tHà-Nội\tHanoi"));
    run("node check-config --config node/node.toml");
    assert_eq!(run("pki list --config pki/pki.toml").lines().count(), 5, "CA, OCSP, TSA and the two issued");

    assert_eq!(run("evidence list --json --config node/node.toml"), "");
    assert!(run("evidence fsck --config node/node.toml --json").contains("\"problems\":[]"));
    let unknown =
        "evidence export 0199f3c2-5d7e-7c1a-9b52-3f1f0a6f2b11 --out x.asice --config node/node.toml";
    let output = truc(&unknown.split_whitespace().collect::<Vec<_>>(), dir.path());
    assert_eq!(output.status.code(), Some(1));
    assert!(!dir.path().join("x.asice").exists());
}

/// The demo starts its processes with a pipe as standard input: closing it ends them in good order.
#[test]
fn a_child_does_not_outlive_its_parent() {
    let dir = tempfile::tempdir().unwrap();
    let made = truc(
        &["pki", "init", "--dir", "pki", "--public-url", "http://127.0.0.1:1", "--listen", "127.0.0.1:0"],
        dir.path(),
    );
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    let mut child = Command::new(env!("CARGO_BIN_EXE_truc"))
        .args(["pki", "run", "--config", "pki/pki.toml", "--json", "--until-stdin-closes"])
        .current_dir(dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let told: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert!(told["listen"].as_str().is_some_and(|listen| listen.starts_with("127.0.0.1:")), "{line}");
    drop(child.stdin.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// An export for a person whose number is not told would answer a citizen's request with "nothing".
#[test]
fn a_person_is_read_from_standard_input_by_every_verb_that_takes_one() {
    let dir = tempfile::tempdir().unwrap();
    for arguments in [
        &["evidence", "export", "--subject", "-", "--out", "all.zip"][..],
        &["evidence", "export", "--dossier", "-", "--out", "all.zip"],
        &["evidence", "list", "--subject", "-"],
        &["evidence", "subject", "-"],
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_truc"))
            .args(arguments)
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(said.contains("standard input is empty"), "{arguments:?}: {said}");
    }
}

/// What a file says in an error is no line of a report, and no order to the terminal.
#[test]
fn an_error_cannot_forge_a_report() {
    let dir = tempfile::tempdir().unwrap();
    let evil = "{\"\u{1b}[2J\u{202e}\\n[ĐẠT / OK]\": 1}";
    std::fs::write(dir.path().join("anchor.json"), evil).unwrap();
    std::fs::write(dir.path().join("x.asice"), "x").unwrap();
    let evil_name = "\u{1b}[2J\n[ĐẠT OK] x";
    std::fs::write(dir.path().join(evil_name), "x").unwrap();
    for arguments in
        [["verify", "x.asice", "--anchor", "anchor.json"], ["verify", "x.asice", "--anchor", evil_name]]
    {
        let output = truc(&arguments, dir.path());
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1));
        assert!(!said.contains(['\u{1b}', '\u{202e}']), "{said:?}");
        assert!(!said.lines().any(|line| line.starts_with('[')), "{said}");
    }
    for file in ["/dev/zero", "."] {
        let output = truc(&["verify", file, "--anchor", file], dir.path());
        let said = text(&output.stderr);
        assert!(said.contains("tệp thường") && said.contains("not a plain file"), "{said}");
    }
}
