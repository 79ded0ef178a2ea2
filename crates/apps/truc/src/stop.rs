//! When a running verb ends: Ctrl-C, the service manager's order, or the end of who started it.

use std::io::{Read as _, stdin};

use anyhow::Context as _;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Until when a verb runs.
#[derive(Args)]
pub(crate) struct Until {
    /// Stop when standard input ends: a child that is started with a pipe does not outlive its parent
    #[arg(long, hide = true)]
    until_stdin_closes: bool,
}

impl Until {
    /// A token that is cancelled by SIGINT, SIGTERM and, if so asked, the end of standard input.
    pub(crate) fn token(&self) -> anyhow::Result<CancellationToken> {
        let stop = on_signal()?;
        if self.until_stdin_closes {
            let token = stop.clone();
            // A thread of its own, which nobody waits for: a read of standard input cannot be called off.
            let watch = std::thread::Builder::new().name("stdin".to_owned()).spawn(move || {
                let mut bytes = [0; 256];
                while stdin().lock().read(&mut bytes).is_ok_and(|read| read > 0) {}
                token.cancel();
            });
            watch.context("standard input cannot be watched")?;
        }
        Ok(stop)
    }
}

/// A token that is cancelled by SIGINT or SIGTERM.
pub(crate) fn on_signal() -> anyhow::Result<CancellationToken> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = CancellationToken::new();
    let token = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        token.cancel();
    });
    Ok(stop)
}
