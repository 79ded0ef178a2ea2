//! `truc`: the one binary. It reads the command line, starts logging and the runtime, and hands over to the crates that do
//! the work; it must not hold a rule of the bus, a format or a protocol.
//!
//! Data goes to standard output, everything else to standard error. The exit code is 0 when it was done, 1 when it was
//! refused or a check failed, 2 when the command line was not understood.

mod cli;
mod out;
mod stop;
mod verbs;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::Cli;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if cli.command.keeps_running() || std::env::var_os("TRUC_LOG").is_some() {
        truc_telemetry::init(cli.log_format);
    }
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        out::note("TLS was set up twice; this is a mistake in the program");
        return ExitCode::FAILURE;
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            out::note(format!("truc: the runtime cannot start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(Box::pin(cli.command.run())) {
        Ok(code) => code,
        Err(error) => {
            out::failed(&error);
            ExitCode::FAILURE
        }
    }
}
