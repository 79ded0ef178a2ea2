//! Keeps the newest certificate statuses over a restart, so that a node that starts while the trust services are away can go
//! on within the grace (protocol P3.5). The file is a cache: every status in it is signed, and is judged again when read.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use truc_directory::{Der, Usage};
use truc_exchange::Ground;
use truc_trust::Certificate;

const SAVE_EVERY: Duration = Duration::from_secs(60);
/// The first time sooner: a node that is killed soon after its first start must not be left without any status.
const SAVE_FIRST: Duration = Duration::from_secs(5);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Shelf {
    v: u32,
    statuses: Vec<Kept>,
    /// Revocation lists, each with its CA's certificate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    lists: Vec<KeptList>,
}

#[derive(Serialize, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(deny_unknown_fields)]
struct KeptList {
    issuer: String,
    list: String,
}

#[derive(Serialize, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(deny_unknown_fields)]
struct Kept {
    certificate: String,
    response: String,
}

/// The file `directory/statuses.json`.
pub(crate) struct StatusShelf {
    pub(crate) file: PathBuf,
    pub(crate) ground: Arc<Ground>,
}

impl StatusShelf {
    /// Takes the kept statuses in; what does not hold any more is left out.
    pub(crate) async fn load(&self) {
        let file = self.file.clone();
        let Ok(Ok(text)) = spawn_blocking(move || std::fs::read(file)).await else { return };
        let (Ok(shelf), Some(directory)) =
            (serde_json::from_slice::<Shelf>(&text), self.ground.directory.current())
        else {
            tracing::warn!(file = %self.file.display(), "the kept certificate statuses are not readable; going on without");
            return;
        };
        let now = self.ground.clock.now();
        let mut taken = 0_usize;
        for kept in shelf.statuses.iter().filter(|_| shelf.v == 1) {
            let (Some(der), Some(response)) = (decoded(&kept.certificate), decoded(&kept.response)) else {
                continue;
            };
            let Ok(certificate) = Certificate::from_der(der.as_bytes()) else { continue };
            for usage in [Usage::Sign, Usage::Auth] {
                let verifier = &self.ground.verifier;
                taken += usize::from(
                    verifier.remember(&certificate, &[], usage, &response.0, &directory, now).is_ok(),
                );
            }
        }
        for kept in shelf.lists.iter().filter(|_| shelf.v == 1) {
            let (Some(issuer), Some(list)) = (decoded(&kept.issuer), decoded(&kept.list)) else { continue };
            let verifier = &self.ground.verifier;
            taken += usize::from(verifier.remember_list(issuer.as_bytes(), &list.0, &directory, now).is_ok());
        }
        tracing::debug!(taken, "kept certificate statuses taken in");
    }

    /// Saves what is new, until told to stop, and then once more.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut saved = Vec::new();
        let mut rest = SAVE_FIRST;
        loop {
            let stopping = tokio::select! {
                () = stop.cancelled() => true,
                () = tokio::time::sleep(rest) => false,
            };
            rest = SAVE_EVERY;
            if let Some(text) = self.text()
                && text != saved
            {
                let (file, bytes) = (self.file.clone(), text.clone());
                match spawn_blocking(move || write(&file, &bytes)).await {
                    Ok(Ok(())) => saved = text,
                    Ok(Err(error)) => tracing::warn!(%error, "certificate statuses are not kept"),
                    Err(error) => tracing::warn!(%error, "certificate statuses are not kept"),
                }
            }
            if stopping {
                return;
            }
        }
    }

    fn text(&self) -> Option<Vec<u8>> {
        let kept = |status: &Arc<truc_trust::KnownStatus>| Kept {
            certificate: encoded(status.certificate.der()),
            response: encoded(&status.response),
        };
        let mut statuses: Vec<Kept> = self.ground.verifier.statuses().iter().map(kept).collect();
        statuses.sort_unstable();
        let list = |known: &Arc<truc_trust::KnownList>| KeptList {
            issuer: encoded(known.issuer.der()),
            list: encoded(&known.bytes),
        };
        let mut lists: Vec<KeptList> = self.ground.verifier.lists().iter().map(list).collect();
        lists.sort_unstable();
        serde_json::to_vec(&Shelf { v: 1, statuses, lists }).ok()
    }
}

fn encoded(bytes: &[u8]) -> String {
    hex::encode(bytes)
}

fn decoded(text: &str) -> Option<Der> {
    hex::decode(text).ok().map(|bytes| Der(bytes.into()))
}

/// Whole or not at all.
fn write(file: &std::path::Path, bytes: &[u8]) -> std::io::Result<()> {
    let new = file.with_extension("new");
    std::fs::write(&new, bytes)?;
    // Else a power cut may leave the name without the bytes.
    std::fs::File::open(&new)?.sync_all()?;
    std::fs::rename(new, file)
}
