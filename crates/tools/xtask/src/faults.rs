//! The fault rounds: `kill -9` of a node under load, many times.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};

/// Rounds unless the command line says otherwise.
pub(crate) const DEFAULT_ROUNDS: u32 = 50;

/// Runs the tests of the end-to-end suite whose names hold `kill`, `rounds` rounds each.
pub(crate) fn run(root: &Path, rounds: u32) -> anyhow::Result<String> {
    let listed = Command::new(env!("CARGO"))
        .args(["test", "--package", "truc", "--test", "e2e", "--", "--list", "kill"])
        .current_dir(root)
        .output()
        .context("cargo cannot be started")?;
    if !listed.status.success() {
        bail!("the end-to-end suite cannot be listed:\n{}", String::from_utf8_lossy(&listed.stderr));
    }
    // A filter that matches nothing succeeds: that must not look like fifty rounds survived.
    if !String::from_utf8_lossy(&listed.stdout).lines().any(|line| line.ends_with(": test")) {
        bail!("the end-to-end suite has no test whose name holds `kill`");
    }
    let status = Command::new(env!("CARGO"))
        .args([
            "test",
            "--package",
            "truc",
            "--test",
            "e2e",
            "--",
            "kill",
            "--include-ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .env("TRUC_ROUNDS", rounds.to_string())
        .current_dir(root)
        .status()
        .context("cargo cannot be started")?;
    if !status.success() {
        bail!("a fault round failed; the output above names the round and its seed");
    }
    Ok(format!("{rounds} rounds of kill -9 under load: nothing answered was lost"))
}
