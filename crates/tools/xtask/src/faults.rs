//! The fault rounds: disks, networks and processes that fail under real nodes, many times.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};

/// Rounds unless the command line says otherwise.
pub(crate) const DEFAULT_ROUNDS: u32 = 50;

/// What the rounds need, as Debian names it.
const NEEDS: &str = "root (mounts, strace, namespaces) and the packages e2fsprogs, xfsprogs, strace, util-linux, iproute2, nftables";

/// The suite of faults, and the end-to-end suite's tests whose names hold `kill`.
const SUITES: [&[&str]; 2] = [&["--test", "faults", "--"], &["--test", "e2e", "--", "kill"]];

/// The rounds of a command line: none, `N` or `--rounds N`.
pub(crate) fn rounds(words: &[&str]) -> Option<u32> {
    match words {
        [] => Some(DEFAULT_ROUNDS),
        [number] | ["--rounds", number] => number.parse().ok().filter(|rounds| *rounds > 0),
        _ => None,
    }
}

/// Runs every fault, `rounds` rounds each; nothing may be skipped.
pub(crate) fn run(root: &Path, rounds: u32) -> anyhow::Result<String> {
    super::tell(&format!(
        "{rounds} rounds of every fault; this needs {NEEDS}, and takes about {rounds} minutes"
    ));
    for suite in SUITES {
        let listed = cargo(root, suite).args(["--list"]).output().context("cargo cannot be started")?;
        if !listed.status.success() {
            bail!("the suite {suite:?} cannot be listed:\n{}", String::from_utf8_lossy(&listed.stderr));
        }
        // A filter that matches nothing succeeds: that must not look like fifty rounds survived.
        if !String::from_utf8_lossy(&listed.stdout).lines().any(|line| line.ends_with(": test")) {
            bail!("the suite {suite:?} has no test");
        }
        let status = cargo(root, suite)
            .args(["--include-ignored", "--nocapture", "--test-threads=1"])
            .env("TRUC_ROUNDS", rounds.to_string())
            .env("TRUC_REQUIRE_ALL", "1")
            .status()
            .context("cargo cannot be started")?;
        if !status.success() {
            bail!("a fault round failed; the output above names the fault and the round");
        }
    }
    Ok(format!("{rounds} rounds of every fault: nothing answered was lost, nothing was carried out twice"))
}

fn cargo(root: &Path, suite: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.args(["test", "--package", "truc"]).args(suite).current_dir(root);
    command
}
