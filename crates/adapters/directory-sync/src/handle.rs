//! Where the rest of a node reads the directory from.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use truc_directory::Directory;

/// How the node stands with its registry, for console and metrics.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SyncStatus {
    /// Whether heads are arriving.
    pub connected: bool,
    /// Why not, or why the last offer was refused.
    pub last_error: Option<String>,
    /// Two directories under one number, or an older one offered: stays until the node is restarted.
    pub alarm: Option<String>,
}

/// The directory in force. Cheap to clone; reading costs no lock.
#[derive(Debug, Clone)]
pub struct DirectoryHandle {
    shared: Arc<Shared>,
    changes: watch::Receiver<u64>,
}

#[derive(Debug)]
struct Shared {
    current: ArcSwap<Directory>,
    status: watch::Sender<SyncStatus>,
}

impl DirectoryHandle {
    /// A handle on one unchanging directory, for offline tools and tests.
    pub fn fixed(directory: Arc<Directory>) -> Self {
        Publisher::new(directory).1
    }

    /// The directory in force. Its freshness is the reader's to judge ([`Directory::freshness`]).
    pub fn current(&self) -> Arc<Directory> {
        self.shared.current.load_full()
    }

    /// How the node stands with its registry.
    pub fn status(&self) -> SyncStatus {
        self.shared.status.borrow().clone()
    }

    /// Every change of that standing.
    pub fn status_changes(&self) -> watch::Receiver<SyncStatus> {
        self.shared.status.subscribe()
    }

    /// Waits until another directory than the last one seen through this handle is in force; re-signed heads of the
    /// same version count too. `false` when no more will come.
    pub async fn changed(&mut self) -> bool {
        self.changes.changed().await.is_ok()
    }
}

/// The writing end.
#[derive(Debug)]
pub(crate) struct Publisher {
    shared: Arc<Shared>,
    changes: watch::Sender<u64>,
}

impl Publisher {
    pub(crate) fn new(directory: Arc<Directory>) -> (Self, DirectoryHandle) {
        let shared = Arc::new(Shared {
            current: ArcSwap::new(directory),
            status: watch::Sender::new(SyncStatus::default()),
        });
        let (changes, receiver) = watch::channel(0);
        (Self { shared: Arc::clone(&shared), changes }, DirectoryHandle { shared, changes: receiver })
    }

    pub(crate) fn current(&self) -> Arc<Directory> {
        self.shared.current.load_full()
    }

    pub(crate) fn publish(&self, directory: Arc<Directory>) {
        self.shared.current.store(directory);
        self.changes.send_modify(|n| *n = n.wrapping_add(1));
    }

    pub(crate) fn status(&self, change: impl FnOnce(&mut SyncStatus)) {
        self.shared.status.send_modify(change);
    }
}
