//! The systemd units under `deploy/`: systemd understands them, the binary understands their command lines, and they agree with the
//! example configurations beside them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop where it stands")]
#![allow(missing_docs, reason = "a test")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Unit, its configuration file, the key in that file that names its folder.
const UNITS: [(&str, &str, &str); 3] = [
    ("truc-node.service", "node.toml", "data-folder"),
    ("truc-registry.service", "registry.toml", "data"),
    ("truc-pki.service", "pki.toml", "dir"),
];
/// Of 100, lower is better: what a service on the network cannot do without makes about 12.
const EXPOSURE: u32 = 20;

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../deploy")
}

fn unit(name: &str) -> String {
    std::fs::read_to_string(deploy().join(name)).unwrap()
}

/// The values of a key, in order.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

fn value<'a>(unit: &'a str, key: &str) -> &'a str {
    match values(unit, key)[..] {
        [value] => value,
        ref other => panic!("{key} stands there {} times", other.len()),
    }
}

fn truc(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_truc")).args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

#[test]
fn command_lines_are_understood_and_fit_the_configurations() {
    for (name, config, folder_key) in UNITS {
        let unit = unit(name);
        let words: Vec<&str> = value(&unit, "ExecStart").split_whitespace().collect();
        assert_eq!(words[0], "/usr/bin/truc");
        let installed = format!("/etc/truc/{config}");
        assert!(words.contains(&installed.as_str()), "{name} does not name {installed}");
        // 2 would mean that the line was not understood; the file is not there, which is 1.
        let words: Vec<&str> =
            words[1..].iter().map(|w| if *w == installed { "/nowhere/truc.toml" } else { w }).collect();
        let ran = truc(&words);
        assert_eq!(ran.status.code(), Some(1), "{name}: {}", text(&ran));

        let file = std::fs::read_to_string(deploy().join(config)).unwrap();
        let line = format!("{folder_key} = \"/var/lib/{}\"", value(&unit, "StateDirectory"));
        assert!(file.lines().any(|l| l == line), "{config} has no {line}");
    }
    let check = truc(&[
        "node",
        "check-config",
        "--text-only",
        "--config",
        deploy().join("node.toml").to_str().unwrap(),
    ]);
    assert!(check.status.success(), "{}", text(&check));
}

#[test]
fn only_the_node_is_told_to_read_its_files_again() {
    // A process that does not handle SIGHUP dies of it.
    assert_eq!(value(&unit("truc-node.service"), "ExecReload"), "/bin/kill -HUP $MAINPID");
    for name in ["truc-registry.service", "truc-pki.service"] {
        assert!(values(&unit(name), "ExecReload").is_empty(), "{name}");
    }
}

#[test]
fn units_are_hardened_and_leave_time_to_drain() {
    for (name, ..) in UNITS {
        let unit = unit(name);
        for (key, wanted) in [
            ("User", "truc"),
            ("NoNewPrivileges", "yes"),
            ("CapabilityBoundingSet", ""),
            ("ProtectSystem", "strict"),
            ("MemoryDenyWriteExecute", "yes"),
            ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX"),
            ("LimitCORE", "0"),
            ("UMask", "0077"),
            ("StateDirectoryMode", "0700"),
            ("Restart", "on-failure"),
        ] {
            assert_eq!(value(&unit, key), wanted, "{name}: {key}");
        }
        assert_eq!(
            values(&unit, "SystemCallFilter"),
            ["@system-service", "~@privileged @resources"],
            "{name}"
        );
        assert!(value(&unit, "LimitNOFILE").parse::<u32>().unwrap() >= 8192, "{name}");
        let stop: u64 = value(&unit, "TimeoutStopSec").strip_suffix('s').unwrap().parse().unwrap();
        // Edge 30 s (truc_edge::EdgeConfig), a decision of the registry 30 s, answers of the PKI 5 s.
        let drain = if name == "truc-pki.service" { 5 } else { 30 };
        assert!(stop >= drain + 10, "{name}: {stop} s");
    }
}

#[test]
fn systemd_understands_the_units_and_finds_them_closed() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        assert!(
            std::env::var_os("TRUC_REQUIRE_ALL").is_none_or(|v| v != "1"),
            "systemd-analyze is not there"
        );
        eprintln!("SKIPPED: systemd-analyze is not there (Debian package systemd)");
        return;
    }
    let place = tempfile::tempdir().unwrap();
    for (name, ..) in UNITS {
        // It looks for the binary, which is not installed here.
        let here = unit(name).replace("/usr/bin/truc", env!("CARGO_BIN_EXE_truc"));
        let path = place.path().join(name);
        std::fs::write(&path, here).unwrap();
        let analyze =
            |arguments: &[&str]| Command::new("systemd-analyze").args(arguments).arg(&path).output().unwrap();
        let verified = analyze(&["verify", "--man=no"]);
        assert!(verified.status.success() && verified.stderr.is_empty(), "{name}: {}", text(&verified));
        let threshold = format!("--threshold={EXPOSURE}");
        let judged = analyze(&["security", "--offline=yes", "--no-pager", &threshold]);
        assert!(judged.status.success(), "{name}: {}", text(&judged));
    }
}

/// systemd opens a credential to the service by an access control list, which shows as a group's right to read.
#[test]
fn a_passphrase_may_be_a_credential_of_the_service_manager() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("node");
    let made = truc(&[
        "node",
        "init",
        "--dir",
        folder.to_str().unwrap(),
        "--node",
        "VN/GOV/H26/ss1",
        "--subsystem",
        "VN/GOV/H26/mot-cua",
    ]);
    assert!(made.status.success(), "{}", text(&made));
    let credentials = place.path().join("credentials");
    std::fs::create_dir(&credentials).unwrap();
    let file = credentials.join("passphrase");
    std::fs::rename(folder.join("passphrase"), &file).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o440)).unwrap();
    let config = folder.join("node.toml");
    let told = std::fs::read_to_string(&config).unwrap();
    let kept: String =
        told.lines().filter(|l| !l.contains("passphrase-file")).map(|l| format!("{l}\n")).collect();
    let line = format!("passphrase-file = {:?}\n", file.to_str().unwrap());
    std::fs::write(&config, kept.replacen("config-version = 1\n", &format!("config-version = 1\n{line}"), 1))
        .unwrap();

    let check = |credentials: Option<&Path>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_truc"));
        command
            .args(["node", "check-config", "--json", "--config"])
            .arg(&config)
            .env_remove("CREDENTIALS_DIRECTORY");
        if let Some(folder) = credentials {
            command.env("CREDENTIALS_DIRECTORY", folder);
        }
        text(&command.output().unwrap())
    };
    // Anchor and certificates are missing anyhow; what counts is the passphrase.
    assert!(check(None).contains("\"passphrase-file\""), "{}", check(None));
    assert!(!check(Some(&credentials)).contains("\"passphrase-file\""), "{}", check(Some(&credentials)));
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o444)).unwrap();
    assert!(check(Some(&credentials)).contains("\"passphrase-file\""), "readable by everybody");
}
