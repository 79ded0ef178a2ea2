//! `cargo xtask …`: the repository's own checks, as CI and developers run them. Never shipped.

mod deps;
mod faults;
mod layers;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask layers          imports point down, and domain and flow stay pure
       cargo xtask deps            Cargo.lock holds no banned crate
       cargo xtask faults [N]      the kill test of the end-to-end suite, N rounds (default 50)";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["layers"] => layers::check(&root()),
        ["deps"] => deps::check(&root()),
        ["faults"] => faults::run(&root(), faults::DEFAULT_ROUNDS),
        ["faults", rounds] => match rounds.parse() {
            Ok(rounds) if rounds > 0 => faults::run(&root(), rounds),
            _ => return usage(),
        },
        _ => return usage(),
    };
    match outcome {
        Ok(done) => {
            tell(&done);
            ExitCode::SUCCESS
        }
        Err(error) => {
            tell(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    tell(USAGE);
    ExitCode::from(2)
}

/// Standard error may be closed; there is nobody left to tell that to.
fn tell(text: &str) {
    drop(writeln!(std::io::stderr().lock(), "{text}"));
}

/// The workspace's folder.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../..")
}
