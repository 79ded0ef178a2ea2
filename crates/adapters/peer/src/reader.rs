//! Reads one shared stream on the accepting side, without a pause.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prost::Message as _;
use tokio::sync::mpsc;
use tonic::Streaming;
use truc_message::Peer;
use truc_model::{Fault, FaultCode, Side};
use truc_wire::peer as wire;
use truc_wire::peer::frame::Kind;

use crate::conversation::{End, StreamConversation};
use crate::convert::{fault_to_wire, frame};
use crate::server::Service;
use crate::stream::{Arrived, Numbers, StatusesSeen};
use crate::{EXCHANGE_QUEUE, SMALL_BODY};

const BUSY_RETRY: Duration = Duration::from_secs(1);

/// In order, so that the exchanges of a stream that ends hear it in the order in which they began.
type Queues = Arc<Mutex<BTreeMap<u64, Queue>>>;

/// Bytes that the frames of one exchange may bring after its `open`: a small body, a signature, and what is around them.
const REST: usize = SMALL_BODY + 64 * 1024;

/// Where the frames of one exchange wait.
struct Queue {
    frames: mpsc::Sender<Arrived>,
    /// Bytes that may still come.
    left: usize,
}

impl Queue {
    /// False when the exchange is given up: it has ended, or its peer sends more than an exchange has.
    fn take(&mut self, arrived: Arrived, length: usize) -> bool {
        let Some(left) = self.left.checked_sub(length) else { return false };
        self.left = left;
        self.frames.try_send(arrived).is_ok()
    }
}

/// Reads one shared stream without a pause.
pub(crate) struct StreamReader {
    service: Service,
    peer: Peer,
    out: mpsc::Sender<wire::Frame>,
    queues: Queues,
    numbers: Numbers,
    seen: StatusesSeen,
}

impl StreamReader {
    pub(crate) fn new(service: Service, peer: Peer, out: mpsc::Sender<wire::Frame>) -> Self {
        let (queues, numbers, seen) = (Queues::default(), Numbers::default(), StatusesSeen::default());
        Self { service, peer, out, queues, numbers, seen }
    }

    pub(crate) async fn run(mut self, mut incoming: Streaming<wire::Frame>) {
        loop {
            let frame = match incoming.message().await {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(status) => {
                    tracing::debug!(code = ?status.code(), "a peer's stream has ended");
                    break;
                }
            };
            self.dispatch(frame);
        }
        self.queues.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn dispatch(&mut self, mut frame: wire::Frame) {
        let (exchange, length) = (frame.exchange, frame.encoded_len());
        let begins = matches!(frame.kind, Some(Kind::Open(_))) && self.numbers.begins(exchange);
        if begins {
            // Only a message that begins an exchange brings statuses to this side.
            self.seen.fill(&mut frame);
        }
        let Some(kind) = frame.kind else { return };
        let arrived = Arrived { kind, at: self.service.clock.now() };
        if begins {
            self.begin(exchange, arrived);
            return;
        }
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        // Frames of an exchange that has ended are dropped; one that overfills its queue is given up.
        if queues.get_mut(&exchange).is_some_and(|queue| !queue.take(arrived, length)) {
            queues.remove(&exchange);
        }
    }

    fn begin(&self, exchange: u64, open: Arrived) {
        if let Some(conflict) = self.service.heads.conflict_with(&self.peer.fingerprint()) {
            return self.tell(exchange, &conflict.fault(Side::ServerProxy));
        }
        let Some(places) = self.service.places.take(self.peer.fingerprint(), 1) else {
            return self.tell_busy(exchange);
        };
        if self.service.tasks.is_closed() {
            return self.tell_busy(exchange);
        }
        let (queue, frames) = mpsc::channel(EXCHANGE_QUEUE);
        drop(queue.try_send(open));
        self.queues
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(exchange, Queue { frames: queue, left: REST });
        let queues = Arc::clone(&self.queues);
        let forget = Box::new(move || {
            queues.lock().unwrap_or_else(PoisonError::into_inner).remove(&exchange);
        });
        let provider = Arc::clone(&self.service.provider);
        let end = End::Provider(Arc::clone(&self.service.bodies), Arc::clone(&provider));
        let (peer, out) = (self.peer.clone(), self.out.clone());
        let conversation = StreamConversation::new(exchange, peer, Vec::new(), frames, out, end, forget);
        self.service.tasks.spawn(async move {
            provider.serve(Box::new(conversation)).await;
            drop(places);
        });
    }

    fn tell_busy(&self, exchange: u64) {
        let fault = Fault::provider(FaultCode::Busy, "this node carries out as many exchanges as it may")
            .with_retry_after(BUSY_RETRY);
        self.tell(exchange, &fault);
    }

    fn tell(&self, exchange: u64, fault: &Fault) {
        // A peer that does not even read its faults gets none.
        drop(self.out.try_send(frame(exchange, Kind::Fault(fault_to_wire(fault)))));
    }
}
