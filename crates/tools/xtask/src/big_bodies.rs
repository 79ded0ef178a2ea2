//! The figures of docs/big-bodies.md: a whole bus of release processes, and so many GiB through it each way.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};

/// How much goes each way unless the command line says otherwise.
pub(crate) const DEFAULT_GIB: u32 = 10;

/// The test that measures; it fails when memory grows or a byte is lost.
const MEASURE: &str = "big_bodies::measure_big_bodies";

/// The size of a command line: none or `--gib N`.
pub(crate) fn gib(words: &[&str]) -> Option<u32> {
    match words {
        [] => Some(DEFAULT_GIB),
        ["--gib", number] => number.parse().ok().filter(|gib| *gib > 0),
        _ => None,
    }
}

/// Builds for release and measures.
pub(crate) fn run(root: &Path, gib: u32) -> anyhow::Result<String> {
    super::tell(&format!("{gib} GiB up, then {gib} GiB down; the disk needs {} GiB free", gib + 2));
    let listed = cargo(root).args(["--list"]).output().context("cargo cannot be started")?;
    // A filter that matches nothing succeeds: that must not look like a measurement.
    if !String::from_utf8_lossy(&listed.stdout).lines().any(|line| line.ends_with(": test")) {
        bail!("there is no test {MEASURE}:\n{}", String::from_utf8_lossy(&listed.stderr));
    }
    let status = cargo(root)
        .args(["--ignored", "--nocapture"])
        .env("TRUC_GIB", gib.to_string())
        .status()
        .context("cargo cannot be started")?;
    if !status.success() {
        bail!("the bodies did not pass as they should; the output above says why");
    }
    Ok(format!("{gib} GiB each way: every byte as it was sent, memory constant"))
}

fn cargo(root: &Path) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command
        .args(["test", "--release", "--package", "truc", "--test", "e2e", "--", MEASURE])
        .current_dir(root);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_is_ten_gib_or_as_said() {
        assert_eq!(gib(&[]), Some(10));
        assert_eq!(gib(&["--gib", "2"]), Some(2));
        assert_eq!(gib(&["--gib", "0"]), None);
        assert_eq!(gib(&["2"]), None);
    }
}
