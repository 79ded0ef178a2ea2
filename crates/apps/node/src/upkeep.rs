//! What a running node looks after by itself: exchanges that nobody carries out any more, and connections that nobody may keep.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use truc_directory_sync::DirectoryHandle;
use truc_evidence::{OpenRequest, Role as Half};
use truc_exchange::{Consumer, Ground, Provider};
use truc_peer::Connections;

/// Closes exchanges that nobody carries out any more: a crash left them open, or a record failed or took too long.
pub(crate) struct Abandoned {
    pub(crate) ground: Arc<Ground>,
    pub(crate) consumer: Arc<Consumer>,
    pub(crate) provider: Arc<Provider>,
}

/// How often open exchanges are looked for, and how old one must be: older than any call lives.
const ABANDONED_EVERY: Duration = Duration::from_secs(60);
const ABANDONED_AFTER: Duration = Duration::from_secs(600);

impl Abandoned {
    /// First those of the last run, then, ever again, those of this one: one after the other, so that none is closed twice.
    pub(crate) async fn run(self, left_open: Vec<OpenRequest>, stop: CancellationToken) {
        let closing = async {
            self.consumer.close_open(left_open).await;
            loop {
                tokio::time::sleep(ABANDONED_EVERY).await;
                self.close().await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = closing => {}
        }
    }

    async fn close(&self) {
        let before = self.ground.clock.now().minus(ABANDONED_AFTER);
        match self.ground.recorder.abandoned(before).await {
            Ok(open) => {
                let (ours, theirs): (Vec<_>, Vec<_>) =
                    open.into_iter().partition(|request| request.record.local.role == Half::Consumer);
                self.provider.close_open(&theirs).await;
                self.consumer.close_open(ours).await;
            }
            Err(error) => tracing::error!(%error, "open exchanges cannot be looked for"),
        }
    }
}

/// Connections are looked through this often even when the registry is away.
const CUT_EVERY: Duration = Duration::from_secs(60);

/// Cuts connections whose certificate is not registered, whenever the directory changes (protocol P3).
pub(crate) async fn cut_untrusted(
    mut handle: DirectoryHandle,
    connections: Connections,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            more = handle.changed() => if !more { return },
            () = tokio::time::sleep(CUT_EVERY) => {}
        }
        let directory = handle.current();
        connections.close_untrusted(|certificate| directory.node_of_auth_certificate(certificate).is_some());
    }
}
