//! Questions about a log, over TLS: they arrive as they were asked, and nothing is longer than it may be.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use truc_directory::NodeEntry;
use truc_exchange::ports::{CurrentDirectory, LinkError, ProviderSide};
use truc_message::Peer;
use truc_model::{Digest, Fingerprint};
use truc_peer::{
    Connections, LEAVES_AT_ONCE, LogAnswer, LogBook, LogQuestion, LogRefusal, PeerDoor, PeerDoorConfig,
    PeerLinks,
};
use truc_testkit::{Bus, MemorySpool};

use crate::{CONSUMER, PROVIDER, bus};

/// Answers what it was told to, and remembers who asked what.
struct Book {
    answer: Mutex<Result<LogAnswer, LogRefusal>>,
    asked: Mutex<Vec<(Fingerprint, LogQuestion)>>,
}

impl Book {
    fn new() -> Arc<Self> {
        let (answer, asked) = (Mutex::new(Ok(LogAnswer::default())), Mutex::default());
        Arc::new(Self { answer, asked })
    }

    fn answers(&self, answer: Result<LogAnswer, LogRefusal>) {
        *self.answer.lock().unwrap() = answer;
    }
}

#[async_trait]
impl LogBook for Book {
    async fn answer(&self, peer: &Peer, question: LogQuestion) -> Result<LogAnswer, LogRefusal> {
        self.asked.lock().unwrap().push((peer.fingerprint(), question));
        self.answer.lock().unwrap().clone()
    }
}

/// The provider's door with this book, and the consumer's links to it.
async fn door(bus: &Bus, book: Option<Arc<Book>>) -> (NodeEntry, PeerLinks, CancellationToken) {
    let (provider, consumer) = (bus.node(PROVIDER), bus.node(CONSUMER));
    let door = PeerDoor::new(
        &provider.identity,
        Arc::clone(&provider.directory) as _,
        Arc::clone(&bus.clock),
        Arc::clone(&provider.provider) as Arc<dyn ProviderSide>,
        Connections::default(),
        MemorySpool::for_tests(),
        PeerDoorConfig::default(),
    )
    .unwrap();
    let door = match book {
        Some(book) => door.with_log(book),
        None => door,
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut entry = provider.entry();
    entry.address = listener.local_addr().unwrap().to_string();
    let stop = CancellationToken::new();
    tokio::spawn(door.serve(listener, stop.clone()));
    let current = Arc::clone(&consumer.directory) as Arc<dyn CurrentDirectory>;
    let (clock, spool) = (Arc::clone(&bus.clock), MemorySpool::for_tests());
    let links = PeerLinks::new(&consumer.identity, current, clock, Connections::default(), spool).unwrap();
    (entry, links, stop)
}

fn question() -> LogQuestion {
    LogQuestion {
        log: "NODE:VN/GOV/G01/ss1".into(),
        known_size: 7,
        leaves: vec![0, 3, u64::MAX],
        at_size: 9,
        head: "a head\n".into(),
        head_known_size: 2,
        head_consistency: vec![Digest::of(b"1"), Digest::of(b"2")],
        held: vec!["what you showed me\n".into()],
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_and_its_answer_arrive_as_they_were() {
    let bus = bus().await;
    let book = Book::new();
    let (entry, links, stop) = door(&bus, Some(Arc::clone(&book))).await;
    assert!(links.connected().is_empty());
    let answer = LogAnswer {
        head: "the newest\n".into(),
        consistency: vec![Digest::of(b"3")],
        inclusion: vec![vec![], vec![Digest::of(b"4"), Digest::of(b"5")], vec![]],
        held: vec!["yours\n".into(), "your old one\n".into()],
    };
    book.answers(Ok(answer.clone()));
    assert_eq!(links.log_proof(&entry, &question()).await, Ok(answer));
    let asker = bus.node(CONSUMER).auth.fingerprint();
    assert_eq!(*book.asked.lock().unwrap(), [(asker, question())]);
    assert_eq!(links.connected(), [entry.id]);
    links.close().await;
    assert!(links.connected().is_empty());
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_long_is_not_asked_and_not_believed() {
    let bus = bus().await;
    let book = Book::new();
    let (entry, links, stop) = door(&bus, Some(Arc::clone(&book))).await;
    for long in [
        LogQuestion { leaves: vec![1; LEAVES_AT_ONCE + 1], ..question() },
        LogQuestion { log: "x".repeat(1025), ..question() },
        LogQuestion { head: "x".repeat(4097), ..question() },
        LogQuestion { head_consistency: vec![Digest::of(b""); 66], ..question() },
        LogQuestion { held: vec!["x".repeat(4097)], ..question() },
    ] {
        let refused = links.log_proof(&entry, &long).await;
        let right = matches!(&refused, Err(LinkError::Broken(why)) if why.contains("InvalidArgument"));
        assert!(right, "{refused:?}");
    }
    assert!(book.asked.lock().unwrap().is_empty());
    let one = LogQuestion { leaves: vec![1], ..LogQuestion::default() };
    for wrong in [
        LogAnswer::default(),
        LogAnswer { inclusion: vec![vec![]; 2], ..LogAnswer::default() },
        LogAnswer { inclusion: vec![vec![Digest::of(b""); 66]], ..LogAnswer::default() },
        LogAnswer { inclusion: vec![vec![]], head: "x".repeat(4097), ..LogAnswer::default() },
        LogAnswer { inclusion: vec![vec![]], consistency: vec![Digest::of(b""); 66], ..LogAnswer::default() },
    ] {
        book.answers(Ok(wrong));
        let broken = links.log_proof(&entry, &one).await;
        assert!(matches!(broken, Err(LinkError::Broken(_))), "{broken:?}");
    }
    for (refusal, code) in [
        (LogRefusal::Stranger("no".into()), "PermissionDenied"),
        (LogRefusal::OutOfRange("no".into()), "OutOfRange"),
        (LogRefusal::Unavailable("no".into()), "Unavailable"),
    ] {
        book.answers(Err(refusal));
        let refused = links.log_proof(&entry, &one).await;
        assert!(matches!(&refused, Err(LinkError::Broken(why)) if why.contains(code)), "{refused:?}");
    }
    stop.cancel();
    links.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_shows_no_log_says_so() {
    let bus = bus().await;
    let (entry, links, stop) = door(&bus, None).await;
    let refused = links.log_proof(&entry, &question()).await;
    assert!(matches!(&refused, Err(LinkError::Broken(why)) if why.contains("Unimplemented")), "{refused:?}");
    stop.cancel();
    links.close().await;
}
