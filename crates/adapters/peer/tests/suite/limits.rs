//! What is bounded, and that a bound stops only whom it is for.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::join_all;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use truc_exchange::ports::{Conversation, LinkError, PastOutcome, ProviderSide, Turn};
use truc_message::{Body, Leaf, Parts, Peer, Signature};
use truc_model::{Digest, Fault, FaultCode, MessageId, Timestamp};
use truc_peer::{Connections, PeerDoor, PeerDoorConfig};
use truc_testkit::draft;
use truc_testkit::services::json;

use crate::{CLIENT, CONSUMER, PROVIDER, SERVICE, bus, federation};

/// The service waits for `go` when the body says so, and tells that it was called.
fn wait_when_asked(bus: &truc_testkit::Bus) -> (Arc<Notify>, Arc<Notify>) {
    let (started, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (start, wait) = (Arc::clone(&started), Arc::clone(&go));
    bus.node(PROVIDER).services.on(SERVICE, move |asked| {
        let (start, wait) = (Arc::clone(&start), Arc::clone(&wait));
        async move {
            if asked.body.as_ref() == b"wait" {
                start.notify_one();
                wait.notified().await;
            }
            Ok(json(200, "{}"))
        }
    });
    (started, go)
}

fn waiting() -> truc_exchange::Draft {
    let mut asked = draft(CLIENT, SERVICE);
    asked.body = Body::new("wait".into()).into();
    asked
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_exchange_too_many_is_told_busy() {
    let door = PeerDoorConfig { max_exchanges: 1, ..PeerDoorConfig::default() };
    let bus = federation().doors(door).start().await;
    let (started, go) = wait_when_asked(&bus);
    let consumer = Arc::clone(&bus.node(CONSUMER).consumer);
    let first =
        tokio::spawn(
            async move { truc_exchange::ports::ConsumerSide::call(consumer.as_ref(), waiting()).await },
        );
    started.notified().await;
    let failed = bus.node(CONSUMER).call(draft(CLIENT, SERVICE)).await.unwrap_err();
    assert_eq!(failed.fault.code, FaultCode::Busy);
    assert!(failed.fault.retry_after.is_some());
    go.notify_one();
    assert_eq!(first.await.unwrap().unwrap().status, 200);
    // The permit is given back when the provider's side has ended, a moment after the answer.
    loop {
        match bus.node(CONSUMER).call(draft(CLIENT, SERVICE)).await {
            Ok(reply) => break assert_eq!(reply.status, 200),
            Err(failed) => assert_eq!(failed.fault.code, FaultCode::Busy),
        }
    }
    bus.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_exchange_holds_up_no_other() {
    let bus = bus().await;
    let (started, go) = wait_when_asked(&bus);
    let consumer = Arc::clone(&bus.node(CONSUMER).consumer);
    let slow =
        tokio::spawn(
            async move { truc_exchange::ports::ConsumerSide::call(consumer.as_ref(), waiting()).await },
        );
    started.notified().await;
    for _ in 0..20 {
        assert_eq!(bus.node(CONSUMER).call(draft(CLIENT, SERVICE)).await.unwrap().status, 200);
    }
    assert!(!slow.is_finished());
    go.notify_one();
    assert_eq!(slow.await.unwrap().unwrap().status, 200);
    bus.close().await;
}

/// A provider side that listens to one exchange only when it is told to, and answers all others.
struct Deaf {
    go: Notify,
    heard: mpsc::Sender<usize>,
}

#[async_trait]
impl ProviderSide for Deaf {
    fn early(
        &self,
        _peer: &Peer,
        _header: &[u8],
        announced: Option<u64>,
        _at: Timestamp,
    ) -> Result<u64, Fault> {
        Ok(announced.unwrap_or(u64::MAX))
    }
    async fn serve(&self, mut c: Box<dyn Conversation>) {
        let Ok(Turn::Message(parts, _)) = c.hear().await else { return };
        if parts.header.as_ref() == b"deaf" {
            self.go.notified().await;
            let mut turns = 0;
            while c.hear().await.is_ok() {
                turns += 1;
            }
            self.heard.send(turns).await.unwrap();
        } else {
            c.say(Turn::Message(parts, Timestamp::from_millis(0))).await.unwrap();
        }
    }
    async fn outcome(&self, _peer: &Peer, _id: MessageId, _digest: Digest) -> Result<PastOutcome, Fault> {
        Ok(PastOutcome::Never)
    }
}

fn message(header: &'static [u8]) -> Turn {
    let parts = Parts {
        header: Bytes::from_static(header),
        body: Body::empty(),
        secrets: vec![],
        signature: Signature::Single(Bytes::from_static(b"cms")),
        statuses: vec![],
    };
    Turn::Message(Box::new(parts), Timestamp::from_millis(0))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exchange_that_overfills_its_queue_is_given_up_alone() {
    let bus = bus().await;
    let (heard, mut turns) = mpsc::channel(1);
    let deaf = Arc::new(Deaf { go: Notify::new(), heard });
    let provider = bus.node(PROVIDER);
    let door = PeerDoor::new(
        &provider.identity,
        Arc::clone(&provider.directory) as _,
        Arc::clone(&bus.clock),
        Arc::clone(&deaf) as _,
        Connections::default(),
        truc_testkit::MemorySpool::for_tests(),
        PeerDoorConfig::default(),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut entry = provider.entry();
    entry.address = listener.local_addr().unwrap().to_string();
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let serving = tokio::spawn(async move { door.unwrap().serve(listener, stopped).await.unwrap() });
    let link = &bus.node(CONSUMER).link;
    let mut flooding = link.open(&entry).await.unwrap();
    flooding.say(message(b"deaf")).await.unwrap();
    let leaf = Leaf { index: 1, hash: Digest([1; 32]) };
    for _ in 0..1000 {
        flooding.say(Turn::Recorded(leaf)).await.unwrap();
    }
    for _ in 0..10 {
        let mut other = link.open(&entry).await.unwrap();
        other.say(message(b"echo")).await.unwrap();
        assert!(matches!(other.hear().await.unwrap(), Turn::Message(..)));
    }
    deaf.go.notify_one();
    let heard = turns.recv().await.unwrap();
    assert!((1..1000).contains(&heard), "{heard} of 1000");
    drop(flooding);
    stop.cancel();
    serving.await.unwrap();
    bus.close().await;
}

/// Callers that wait for the same dead node share one attempt; the next node is tried in time.
#[tokio::test(start_paused = true)]
async fn callers_of_a_dead_node_wait_for_one_attempt_together() {
    let bus = bus().await;
    // Takes connections into its backlog and never shakes hands.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut entry = bus.node(PROVIDER).entry();
    entry.address = silent.local_addr().unwrap().to_string();
    let begun = Instant::now();
    let opened = join_all((0..20).map(|_| bus.node(CONSUMER).link.open(&entry))).await;
    assert!(opened.iter().all(|result| matches!(result, Err(LinkError::Unreachable { .. }))));
    // On the test's own time, which passes only when nothing else can.
    assert!(begun.elapsed() < std::time::Duration::from_secs(15), "{:?}", begun.elapsed());
    bus.close().await;
}
