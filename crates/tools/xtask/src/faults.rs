//! The fault rounds: disks, networks and processes that fail under real nodes, many times.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};

/// Rounds unless the command line says otherwise.
pub(crate) const DEFAULT_ROUNDS: u32 = 50;

/// What the rounds need, as Debian names it.
const NEEDS: &str = "root (mounts, strace, namespaces) and the packages e2fsprogs, xfsprogs, strace, util-linux, iproute2, nftables";

/// A process that is killed and a power cut hit another moment each time: so many times the rounds of the rest.
const CRASHES: u32 = 4;

/// The suite of faults, and the end-to-end suite's tests whose names hold `kill`; and how many times the rounds.
const SUITES: [(&[&str], u32); 3] = [
    (&["--test", "faults", "--", "kill::", "power::"], CRASHES),
    (&["--test", "faults", "--", "--skip", "kill::", "--skip", "power::"], 1),
    (&["--test", "e2e", "--", "kill"], 1),
];

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
        "{rounds} rounds of every fault, {} of kill -9 and power cuts; this needs {NEEDS}, and takes about {} minutes",
        rounds * CRASHES,
        rounds * 5
    ));
    for (suite, times) in SUITES {
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
            .env("TRUC_ROUNDS", (rounds * times).to_string())
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
