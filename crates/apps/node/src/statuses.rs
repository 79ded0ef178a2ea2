//! Keeps the statuses of this node's own certificates fresh, so that every message can carry them (protocol P3.5).

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use truc_directory::Usage;
use truc_exchange::Ground;
use truc_exchange::ports::CurrentDirectory;
use truc_model::Clock;
use truc_peer::Identity;
use truc_trust::{Certificate, OwnStatuses, StatusSource, find_path, ocsp};

/// After a failure the next attempt comes this soon; peers are graced meanwhile.
const RETRY: Duration = Duration::from_secs(10);

/// This node's certificates, each with its intermediates and its usage.
pub(crate) type OwnCertificates = Vec<(Certificate, Vec<Certificate>, Usage)>;

/// Fetches and renews.
pub(crate) struct StatusKeeper {
    pub(crate) certificates: Arc<ArcSwap<OwnCertificates>>,
    /// Told when the certificates have been replaced.
    pub(crate) replaced: Arc<Notify>,
    pub(crate) ground: Arc<Ground>,
    pub(crate) own: Arc<OwnStatuses>,
    pub(crate) source: Arc<dyn StatusSource>,
    pub(crate) directory: Arc<dyn CurrentDirectory>,
    pub(crate) identity: Arc<Identity>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) every: Duration,
}

impl StatusKeeper {
    /// Runs until told to stop.
    pub(crate) async fn run(self, stop: CancellationToken) {
        loop {
            let wait = if self.renew().await { self.every } else { RETRY };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.replaced.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Fetches each status once; false when one was not to be had.
    pub(crate) async fn renew(&self) -> bool {
        let mut complete = true;
        for (certificate, intermediates, usage) in self.certificates.load_full().iter() {
            if let Err(reason) = self.fetch(certificate, intermediates, *usage).await {
                tracing::warn!(certificate = %certificate.fingerprint(), %reason, "own certificate status not renewed");
                complete = false;
            }
        }
        complete
    }

    async fn fetch(
        &self,
        certificate: &Certificate,
        intermediates: &[Certificate],
        usage: Usage,
    ) -> Result<(), String> {
        let directory = self.directory.current().ok_or("no directory yet")?;
        let now = self.clock.now();
        let (path, index) =
            find_path(certificate, intermediates, usage, &directory, now).map_err(|e| e.to_string())?;
        let authority = directory.authorities().get(index).ok_or("the authority is no longer approved")?;
        let response =
            self.source.ocsp(certificate, &path.issuer, authority).await.map_err(|e| e.to_string())?;
        let read = ocsp::read(&response).map_err(|e| e.to_string())?;
        let status = read.judge(certificate, &path.issuer, now).map_err(|e| e.to_string())?;
        if !matches!(status.verdict, truc_trust::Verdict::Good) {
            tracing::error!(certificate = %certificate.fingerprint(), ?status.verdict, "own certificate is not good");
        }
        self.ground
            .verifier
            .remember(certificate, intermediates, usage, &response, &directory, now)
            .map_err(|e| e.to_string())?;
        self.carry(certificate, usage, response);
        Ok(())
    }

    /// Begins with what was kept over the restart; what is newer replaces it.
    pub(crate) fn take_kept(&self) {
        let kept = self.ground.verifier.statuses();
        for (certificate, _, usage) in self.certificates.load_full().iter() {
            let status = kept.iter().find(|status| status.certificate == *certificate);
            if let Some(status) = status {
                self.carry(certificate, *usage, status.response.clone());
            }
        }
    }

    fn carry(&self, certificate: &Certificate, usage: Usage, response: bytes::Bytes) {
        match usage {
            Usage::Auth => {
                self.identity.staple(&response);
                self.own.renew_auth(response);
            }
            Usage::Sign => self.own.renew_seal(certificate.fingerprint(), response),
        }
    }
}
