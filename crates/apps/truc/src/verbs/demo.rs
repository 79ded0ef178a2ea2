//! `truc demo`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use truc_demo::bus::BusOptions;
use truc_demo::story::{self, DemoOptions};

use crate::stop;

/// Start a whole bus on this machine, tell its story, and stay up until Ctrl-C
///
/// Registry, pilot PKI, four nodes and two registers of synthetic data, each its own process. What is started, and how to reach it,
/// is written to DIR/demo.json.
#[derive(Args)]
#[command(after_help = "Example:\n  truc demo\n  truc demo --dir /tmp/bus --once")]
pub(crate) struct Demo {
    /// Folder for everything [default: truc-demo in the user's data folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// First port to use; ports are chosen once and written down
    #[arg(long, value_name = "PORT")]
    pub(crate) base_port: Option<u16>,
    /// Exit after the story, with 1 if any step did not go as told
    #[arg(long)]
    pub(crate) once: bool,
}

impl Demo {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let dir = match self.dir {
            Some(dir) => dir,
            None => data_folder()?.join("truc-demo"),
        };
        let dir = std::path::absolute(&dir).with_context(|| dir.display().to_string())?;
        let program = std::env::current_exe().context("where this program lies is not known")?;
        let options = DemoOptions { bus: BusOptions::new(dir, self.base_port), program, once: self.once };
        let as_told = Box::pin(story::run(options, stop::on_signal()?)).await?;
        Ok(if as_told { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// The user's data folder (XDG base directories).
fn data_folder() -> anyhow::Result<PathBuf> {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    set("XDG_DATA_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".local/share")))
        .context("neither XDG_DATA_HOME nor HOME is set; choose a folder with --dir")
}
