//! The connecting side's part in comparing heads: on connecting, and on every change as long as the connection lives.

use std::time::Duration;

use tokio::time::{sleep, timeout};
use tonic::transport::Channel;
use truc_message::Peer;
use truc_wire::peer::peer_client::PeerClient;

use crate::heads::{HeadConflict, Heads, Heard, Stand};
use crate::link::status_text;

/// How long a peer's word is waited for; without it the connection is used all the same.
const ANSWER: Duration = Duration::from_secs(5);
/// How often the two ends compare on a connection that lives.
const EVERY: Duration = Duration::from_secs(60);

/// Compares heads over one connection.
pub(crate) struct Comparing {
    pub(crate) heads: Heads,
    pub(crate) client: PeerClient<Channel>,
    pub(crate) peer: Peer,
}

impl Comparing {
    /// Shows where this node stands, and hears where the peer does. A peer that does not know the call, or does not answer,
    /// has said nothing.
    pub(crate) async fn compare(&self, known: Option<&Stand>) -> Result<Option<Stand>, HeadConflict> {
        let mut client = self.client.clone();
        match timeout(ANSWER, client.heads(self.heads.note(known))).await {
            Ok(Ok(reply)) => match self.heads.hear(&self.peer, reply.get_ref()) {
                Heard::Agree(theirs) => return Ok(theirs),
                Heard::Conflict(conflict) => return Err(conflict),
                Heard::Malformed => tracing::warn!("a node shows a head that is not the one it speaks of"),
            },
            Ok(Err(status)) => tracing::debug!(reason = %status_text(&status), "a node compares no heads"),
            Err(_) => tracing::debug!("a node did not say where its directory stands"),
        }
        Ok(None)
    }

    /// Goes on until it is dropped or the two ends contradict each other: then this connection takes no new exchange.
    pub(crate) async fn go_on(self, mut theirs: Option<Stand>) {
        loop {
            sleep(EVERY).await;
            match self.compare(theirs.as_ref()).await {
                Ok(now) => theirs = now,
                Err(_) => return,
            }
        }
    }
}
