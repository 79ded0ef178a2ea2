//! The consumer side's word on requests that a crash left open (protocol P4.5): whoever carried them out is asked, and what
//! it says is recorded.

use std::time::Duration;

use futures::{StreamExt as _, stream};
use truc_evidence::{Ended, OpenRequest};
use truc_message::{Freshness, Header, Received};
use truc_model::{Fault, FaultCode, Side};
use truc_trust::Asked;

use crate::consumer::{Consumer, ending_of, is_node};
use crate::deadline::{Deadline, within};
use crate::ports::PastOutcome;

/// For a request that a crash left open: how long and how often the provider's node is asked.
const CLOSE_DEADLINE: Duration = Duration::from_secs(600);
const CLOSE_PAUSE: Duration = Duration::from_secs(2);
const CLOSE_AT_ONCE: usize = 16;

impl Consumer {
    /// Asks what became of the requests that a crash left open, and records the replies (protocol P4.5). One that
    /// nobody can tell about within the time allowed is recorded as unknown.
    pub async fn close_open(&self, open: Vec<OpenRequest>) {
        // Several at once, so that one node that is away does not keep the others' from being closed.
        stream::iter(open)
            .for_each_concurrent(CLOSE_AT_ONCE, |request| async move { self.close(&request).await })
            .await;
    }

    async fn close(&self, open: &OpenRequest) {
        let id = open.record.local.request;
        let ending = match self.outcome_of(open).await {
            Ok(()) => return,
            Err(fault) => fault,
        };
        tracing::warn!(request = %id, fault = %ending, "an interrupted exchange is closed without an answer");
        if let Err(error) = within(self.ground.recorder.unsigned(Ended::Stored(&open.record), &ending)).await
        {
            tracing::error!(request = %id, %error, "the end of the exchange was not recorded");
        }
    }

    /// Asks the provider's node, verifies its answer and records it.
    async fn outcome_of(&self, open: &OpenRequest) -> Result<(), Fault> {
        let deadline = Deadline::after(CLOSE_DEADLINE, Side::ClientProxy);
        let header = Header::parse(&open.record.header)
            .map_err(|e| Fault::consumer(FaultCode::OutcomeUnknown, format!("the recorded header: {e}")))?;
        let asked = Asked { header: &header, digest: open.record.manifest_digest };
        loop {
            let pause = tokio::time::sleep(CLOSE_PAUSE);
            let directory = self.ground.directory(Side::ClientProxy)?;
            let Some(node) = directory.node(&header.to) else {
                let detail = format!("node {} is no longer in the directory", header.to);
                return Err(Fault::consumer(FaultCode::OutcomeUnknown, detail));
            };
            let step = self.peers.outcome(node, header.id, asked.digest);
            match deadline.by(FaultCode::OutcomeUnknown, "asking for the outcome", step).await? {
                Ok((_, peer)) if !is_node(node, &peer) => {
                    tracing::warn!(request = %header.id, "another node answers at the provider's address");
                }
                Ok((PastOutcome::Answered(parts, _), peer)) => {
                    let at = self.ground.clock.now();
                    let told = |detail: String| Fault::consumer(FaultCode::OutcomeUnknown, detail);
                    let received = Received::parse(*parts, peer, at).map_err(|e| told(e.to_string()))?;
                    let fresh = Freshness::default().check_answer(received.header().sent, at);
                    fresh.map_err(|e| told(e.to_string()))?;
                    let judging = self.ground.verifier.answer(received, asked, &directory, at);
                    let judged =
                        deadline.by(FaultCode::OutcomeUnknown, "verifying the answer", judging).await?;
                    let answer = judged.map_err(|e| told(e.to_string()))?;
                    let ending = ending_of(&answer).0;
                    let recording = self.ground.recorder.received_answer(&answer, ending, &directory, None);
                    let recorded = within(recording).await;
                    return recorded.map(drop).map_err(|e| told(e.to_string()));
                }
                Ok((PastOutcome::Never, _)) => {
                    let detail = "the node was interrupted; the provider's node says that the request was not carried out";
                    return Err(Fault::consumer(FaultCode::Unavailable, detail));
                }
                Ok((PastOutcome::Lost(fault, _), _)) => return Err(fault),
                Ok((PastOutcome::Open, _)) => {}
                Err(error) => tracing::debug!(request = %header.id, %error, "outcome not to be had yet"),
            }
            deadline.by(FaultCode::OutcomeUnknown, "asking for the outcome", pause).await?;
        }
    }
}
