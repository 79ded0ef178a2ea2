//! `cargo xtask …`: the repository's own checks, as CI and developers run them. Never shipped.

mod big_bodies;
mod certs_example;
mod deps;
mod faults;
mod fuzz;
mod layers;
#[cfg(test)]
mod threat_model;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask layers          imports point down, and domain and flow stay pure
       cargo xtask deps            Cargo.lock holds no banned crate
       cargo xtask faults [--rounds N]   disks, networks and processes that fail, N rounds each (default 50); needs root
       cargo xtask big-bodies [--gib N]  N GiB each way through a bus of release processes (default 10), with figures
       cargo xtask certs-example   makes certs-example/ anew, with new keys
       cargo xtask fuzz [--seconds N]   every fuzz target of tests/fuzz, N seconds each (default 10)";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["layers"] => layers::check(&root()),
        ["deps"] => deps::check(&root()),
        ["faults", words @ ..] => match faults::rounds(words) {
            Some(rounds) => faults::run(&root(), rounds),
            None => return usage(),
        },
        ["big-bodies", words @ ..] => match big_bodies::gib(words) {
            Some(gib) => big_bodies::run(&root(), gib),
            None => return usage(),
        },
        ["certs-example"] => certs_example::run(&root()),
        ["fuzz"] => fuzz::run(&root(), fuzz::DEFAULT_SECONDS),
        ["fuzz", "--seconds", seconds] => match seconds.parse() {
            Ok(seconds) if seconds > 0 => fuzz::run(&root(), seconds),
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
