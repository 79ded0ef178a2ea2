//! `truc register run`: one of the demo's registers, started by `truc demo`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use clap::Subcommand;
use truc_demo::registers::{self, RegisterConfig};

use super::read;
use crate::out;
use crate::stop::Until;

/// The demo's registers of synthetic data; truc demo starts them
#[derive(Subcommand)]
#[command(after_help = "Example:\n  truc register run --config csdl-dancu.toml")]
pub(crate) enum Register {
    /// Run a register until it is told to stop
    #[command(after_help = "Example:\n  truc register run --config csdl-dancu.toml")]
    Run {
        /// Its configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        #[command(flatten)]
        until: Until,
        /// Print the address it listens on as JSON on standard output
        #[arg(long)]
        json: bool,
    },
}

impl Register {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let Self::Run { config, until, json } = self;
        let text = String::from_utf8(read(&config).await?).with_context(|| config.display().to_string())?;
        let parsed = RegisterConfig::parse(&text);
        let parsed = parsed.map_err(|m| anyhow!("{}:\n  - {}", config.display(), m.join("\n  - ")))?;
        let ready = move |address: std::net::SocketAddr| {
            if json && let Err(error) = out::json(&serde_json::json!({ "listen": address })) {
                out::note(error);
            }
        };
        registers::run(parsed, ready, until.token()?).await?;
        Ok(ExitCode::SUCCESS)
    }
}
