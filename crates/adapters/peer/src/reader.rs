//! Reads one shared stream on the accepting side, without a pause.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tonic::Streaming;
use truc_message::Peer;
use truc_model::{Fault, FaultCode, Fingerprint};
use truc_wire::peer as wire;
use truc_wire::peer::frame::Kind;

use crate::EXCHANGE_QUEUE;
use crate::conversation::{End, StreamConversation};
use crate::convert::{fault_to_wire, frame};
use crate::server::Service;
use crate::stream::{Arrived, Numbers, StatusesSeen};

const BUSY_RETRY: Duration = Duration::from_secs(1);

/// Certificates whose shares are remembered at once, before the idle ones are swept out.
const SHARES: usize = 1024;

/// Places for exchanges: so many in all, and for one certificate at most half of them.
pub(crate) struct Places {
    all: Arc<Semaphore>,
    each: usize,
    shares: Mutex<HashMap<Fingerprint, Arc<Semaphore>>>,
}

impl Places {
    pub(crate) fn new(all: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(all)), each: all.div_ceil(2), shares: Mutex::default() }
    }

    fn take(&self, peer: Fingerprint) -> Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)> {
        let share = {
            let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
            if shares.len() >= SHARES {
                shares.retain(|_, share| share.available_permits() < self.each);
            }
            Arc::clone(shares.entry(peer).or_insert_with(|| Arc::new(Semaphore::new(self.each))))
        };
        let share = share.try_acquire_owned().ok()?;
        Some((share, Arc::clone(&self.all).try_acquire_owned().ok()?))
    }
}

type Queues = Arc<Mutex<HashMap<u64, mpsc::Sender<Arrived>>>>;

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
        let exchange = frame.exchange;
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
        if queues.get(&exchange).is_some_and(|queue| queue.try_send(arrived).is_err()) {
            queues.remove(&exchange);
        }
    }

    fn begin(&self, exchange: u64, open: Arrived) {
        let Some(places) = self.service.places.take(self.peer.fingerprint()) else {
            return self.tell_busy(exchange);
        };
        if self.service.tasks.is_closed() {
            return self.tell_busy(exchange);
        }
        let (queue, frames) = mpsc::channel(EXCHANGE_QUEUE);
        drop(queue.try_send(open));
        self.queues.lock().unwrap_or_else(PoisonError::into_inner).insert(exchange, queue);
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
        // A peer that does not even read its faults gets none.
        drop(self.out.try_send(frame(exchange, Kind::Fault(fault_to_wire(&fault)))));
    }
}
