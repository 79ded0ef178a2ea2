//! The fuzz targets of `tests/fuzz`: built once, then each run for a while.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, bail};

/// Seconds for each target unless the command line says otherwise.
pub(crate) const DEFAULT_SECONDS: u32 = 10;

const FOLDER: &str = "tests/fuzz";

/// Longest input, in bytes, where libFuzzer's own choice does not fit: what the parser takes, or a little beyond it.
const LENGTHS: [(&str, u32); 6] = [
    ("header", 68_000),
    ("fields", 16_384),
    ("cms", 34_000),
    ("container", 65_536),
    ("journal", 16_384),
    ("path", 9_000),
];

/// Golden files that serve as seeds beside `tests/fuzz/seeds`.
const GOLDEN: [(&str, &str); 9] = [
    ("header", "crates/domain/message/tests/golden"),
    ("cms", "crates/domain/trust/tests/golden"),
    ("certificate", "crates/domain/trust/tests/golden"),
    ("directory", "crates/domain/directory/tests/golden"),
    ("key_file", "crates/adapters/keystores/tests/golden"),
    ("journal", "crates/adapters/stores/tests/golden/v1/journal"),
    ("container", "crates/domain/evidence/tests/golden"),
    ("node_config", "deploy"),
    ("policy", "crates/flow/governance/tests/golden"),
];

/// Builds every target and runs it for `seconds`; stops at the first that fails.
pub(crate) fn run(root: &Path, seconds: u32) -> anyhow::Result<String> {
    let have = Command::new("cargo-fuzz").arg("--version").output();
    if !have.is_ok_and(|output| output.status.success()) {
        bail!("cargo-fuzz is missing: run `cargo install cargo-fuzz --locked`");
    }
    let folder = root.join(FOLDER).canonicalize().context(FOLDER)?;
    build(&folder)?;
    let targets = targets(&folder)?;
    let begun = Instant::now();
    for target in &targets {
        run_one(root, &folder, target, seconds).with_context(|| format!("fuzz target {target}"))?;
    }
    let total = begun.elapsed().as_secs();
    Ok(format!("{} fuzz targets, {seconds} s each, {total} s in all: nothing found", targets.len()))
}

/// Sanitisers are an unstable option of the compiler; the toolchain stays the stable one.
fn build(folder: &Path) -> anyhow::Result<()> {
    let status = Command::new("cargo-fuzz")
        .args(["fuzz", "build", "--fuzz-dir"])
        .arg(folder)
        .env("RUSTC_BOOTSTRAP", "1")
        .env_remove("CARGO_INCREMENTAL")
        .current_dir(folder)
        .status()
        .context("cargo-fuzz cannot be started")?;
    if !status.success() {
        bail!("the fuzz targets do not build");
    }
    Ok(())
}

/// The names of the targets, in order.
fn targets(folder: &Path) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder.join("fuzz_targets"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "rs") {
            names.extend(path.file_stem().and_then(|s| s.to_str()).map(str::to_owned));
        }
    }
    names.sort();
    if names.is_empty() {
        bail!("{FOLDER} has no targets");
    }
    Ok(names)
}

/// New inputs go into the first folder, which git does not see; the others are only read.
fn run_one(root: &Path, folder: &Path, target: &str, seconds: u32) -> anyhow::Result<()> {
    let (corpus, artifacts) = (folder.join("corpus").join(target), folder.join("artifacts").join(target));
    std::fs::create_dir_all(&corpus)?;
    std::fs::create_dir_all(&artifacts)?;
    let golden = GOLDEN.iter().filter(|(name, _)| *name == target).map(|(_, path)| root.join(path));
    let seeds: Vec<PathBuf> =
        [folder.join("seeds").join(target)].into_iter().chain(golden).filter(|path| path.is_dir()).collect();
    let dictionary = folder.join("dictionaries").join(format!("{target}.dict"));
    let length = LENGTHS.iter().find(|(name, _)| *name == target).map_or(4096, |(_, length)| *length);
    let mut command = Command::new(folder.join("target/x86_64-unknown-linux-gnu/release").join(target));
    command.arg(corpus).args(seeds);
    command.args(["-rss_limit_mb=512", "-malloc_limit_mb=128", "-timeout=10", "-verbosity=0"]);
    command.arg("-print_final_stats=1").arg(format!("-max_total_time={seconds}"));
    command.arg(format!("-max_len={length}")).arg(format!("-artifact_prefix={}/", artifacts.display()));
    if dictionary.is_file() {
        command.arg(format!("-dict={}", dictionary.display()));
    }
    // Freed memory that the sanitiser holds back would count against the limit.
    command.env("ASAN_OPTIONS", "quarantine_size_mb=16:detect_odr_violation=0:abort_on_error=1");
    let output = command.output().context("it cannot be started")?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let end: Vec<&str> = said.lines().rev().take(60).collect();
        let end: Vec<&str> = end.into_iter().rev().collect();
        bail!("it failed; the input is in {}\n{}", artifacts.display(), end.join("\n"));
    }
    let stat = |name: &str| said.lines().find_map(|l| l.strip_prefix(name)).map_or("?", str::trim).to_owned();
    let runs = stat("stat::number_of_executed_units:");
    let memory = stat("stat::peak_rss_mb:");
    crate::tell(&format!("fuzz {target}: {runs} inputs, at most {memory} MiB"));
    Ok(())
}
