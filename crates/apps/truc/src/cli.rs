//! The command line as a whole.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use truc_telemetry::LogFormat;

use crate::verbs::{
    access, call, code_lists, demo, evidence, node, pki, register, registry, service, verify,
};

/// Trục: the bus over which members ask each other's registers, with proof on both sides.
#[derive(Parser)]
#[command(
    name = "truc",
    version,
    max_term_width = 110,
    disable_help_subcommand = true,
    after_help = "Example:\n  truc demo\n\nThe exit code is 0 when it was done, 1 when it was refused or a check failed, 2 when the command line was not \
                  understood. TRUC_LOG filters the log, e.g. TRUC_LOG=debug."
)]
pub(crate) struct Cli {
    /// How log lines on standard error look: text or json
    #[arg(long, global = true, default_value = "text", value_name = "FORMAT")]
    pub(crate) log_format: LogFormat,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    Demo(demo::Demo),
    #[command(subcommand)]
    Registry(registry::Registry),
    #[command(subcommand)]
    Node(node::Node),
    #[command(subcommand)]
    Service(service::Service),
    #[command(subcommand)]
    Access(access::Access),
    Call(call::Call),
    #[command(subcommand)]
    Evidence(evidence::Evidence),
    Verify(verify::Verify),
    #[command(subcommand)]
    Pki(pki::Pki),
    #[command(subcommand)]
    Register(register::Register),
    #[command(subcommand)]
    CodeLists(code_lists::CodeLists),
}

impl Command {
    /// Whether this is a process that runs until it is told to stop. The others tell what they did by themselves, so they log only when
    /// TRUC_LOG asks for it.
    pub(crate) const fn keeps_running(&self) -> bool {
        matches!(
            self,
            Self::Registry(registry::Registry::Run { .. })
                | Self::Node(node::Node::Run { .. })
                | Self::Pki(pki::Pki::Run { .. })
                | Self::Register(register::Register::Run { .. })
                | Self::CodeLists(code_lists::CodeLists::Serve { .. })
        )
    }

    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Demo(verb) => Box::pin(verb.run()).await,
            Self::Registry(verb) => Box::pin(verb.run()).await,
            Self::Node(verb) => Box::pin(verb.run()).await,
            Self::Service(verb) => Box::pin(verb.run()).await,
            Self::Access(verb) => Box::pin(verb.run()).await,
            Self::Call(verb) => Box::pin(verb.run()).await,
            Self::Evidence(verb) => Box::pin(verb.run()).await,
            Self::Verify(verb) => verb.run().await,
            Self::Pki(verb) => Box::pin(verb.run()).await,
            Self::Register(verb) => Box::pin(verb.run()).await,
            Self::CodeLists(verb) => Box::pin(verb.run()).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn all_verbs(command: &clap::Command, path: &str, found: &mut Vec<(String, clap::Command)>) {
        let path = format!("{path} {}", command.get_name()).trim().to_owned();
        found.push((path.clone(), command.clone()));
        command.get_subcommands().for_each(|sub| all_verbs(sub, &path, found));
    }

    /// The examples are read as their own command lines, so that none of them is out of date.
    #[test]
    fn every_verb_has_help_with_an_example_that_is_understood() {
        let root = Cli::command();
        root.clone().debug_assert();
        let mut all = vec![];
        all_verbs(&root, "", &mut all);
        assert!(all.len() >= 50, "{}", all.len());
        for (path, command) in all {
            assert!(command.get_about().is_some(), "{path} says nothing about itself");
            let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let examples: Vec<&str> = after.lines().filter(|l| l.trim_start().starts_with("truc ")).collect();
            assert!(after.contains("Example:") && !examples.is_empty(), "{path} has no example");
            for example in examples {
                assert!(example.trim().starts_with(&path), "{path}: {example}");
                Cli::try_parse_from(words(example)).unwrap_or_else(|e| panic!("{example}: {e}"));
            }
        }
    }

    /// Words as a shell splits them, as far as the examples go: single quotes hold a word together.
    fn words(line: &str) -> Vec<String> {
        let quoted = |(i, piece): (usize, &str)| {
            if i % 2 == 1 {
                vec![piece.to_owned()]
            } else {
                piece.split_whitespace().map(str::to_owned).collect()
            }
        };
        line.trim().split('\'').enumerate().flat_map(quoted).collect()
    }
}
