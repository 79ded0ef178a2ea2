//! An edge on port 0, its consumer side, and a caller that writes bytes.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use truc_directory::Directory;
use truc_edge::{
    ClientConnections, Document, DocumentError, DocumentQuestion, EdgeConfig, EdgeDirectory, EdgeDoors,
    EdgeEvidence, EdgeIdentity, EdgePorts, Wanted, serve,
};
use truc_exchange::ports::ConsumerSide;
use truc_exchange::{Draft, DraftBody, Failed, Reply};
use truc_message::Body;
use truc_model::{ManualClock, MessageId, Timestamp};

pub(crate) const SERVICE: &str = "/r1/VN/GOV/G01/csdl-dancu/tra-cuu";
pub(crate) const CLIENT: &str = "X-Road-Client: VN/GOV/H26/mot-cua-so-1\r\n";

pub(crate) fn now() -> Timestamp {
    "2026-11-21T03:04:05.678Z".parse().unwrap()
}

pub(crate) fn id() -> MessageId {
    MessageId::new(now(), [7; 10])
}

pub(crate) fn reply(status: u16, body: &'static [u8]) -> Reply {
    Reply {
        request: id(),
        status,
        headers: vec![],
        media_type: None,
        body: Body::new(Bytes::from_static(body)),
    }
}

/// Answers from a list (200 `ok` when it is empty) and keeps the drafts; waits at `gate`.
pub(crate) struct Consumer {
    pub(crate) drafts: Mutex<Vec<Draft>>,
    pub(crate) answers: Mutex<VecDeque<Result<Reply, Failed>>>,
    pub(crate) gate: Semaphore,
    pub(crate) entered: Semaphore,
}

#[async_trait]
impl ConsumerSide for Consumer {
    async fn call(&self, draft: Draft) -> Result<Reply, Failed> {
        let draft = whole(draft).await?;
        self.drafts.lock().unwrap().push(draft);
        self.entered.add_permits(1);
        drop(self.gate.acquire().await.unwrap());
        self.answers.lock().unwrap().pop_front().unwrap_or_else(|| Ok(reply(200, b"ok")))
    }
}

/// The draft with its body read to the end.
async fn whole(draft: Draft) -> Result<Draft, Failed> {
    let body = match draft.body {
        DraftBody::Whole(body) => body,
        DraftBody::Coming { mut pieces, announced } => {
            let mut bytes = BytesMut::new();
            while let Some(piece) = pieces.next().await {
                bytes.extend_from_slice(&piece.map_err(|fault| Failed { request: None, fault })?);
            }
            assert!(announced.is_none_or(|length| length == bytes.len() as u64));
            Body::new(bytes.freeze())
        }
    };
    Ok(Draft { body: body.into(), ..draft })
}

pub(crate) struct Served(pub(crate) Option<Arc<Directory>>);

impl EdgeDirectory for Served {
    fn current(&self) -> Option<Arc<Directory>> {
        self.0.clone()
    }
}

/// Has the documents `one` and `two` (the latter twice) of one subsystem, and writes down what it is asked.
#[derive(Default)]
pub(crate) struct Documents {
    pub(crate) questions: Mutex<Vec<DocumentQuestion>>,
}

#[async_trait]
impl EdgeEvidence for Documents {
    async fn verification(&self) -> Result<Bytes, DocumentError> {
        Ok(Bytes::from_static(b"a zip"))
    }
    async fn documents(&self, question: DocumentQuestion) -> Result<Vec<Document>, DocumentError> {
        let many = match question.query_id.as_str() {
            "one" => 1,
            "two" => 2,
            "big" => return Err(DocumentError::TooMuch),
            "broken" => return Err(DocumentError::Failed("secret of the disk".into())),
            _ => return Err(DocumentError::NotFound),
        };
        let kind = if question.wanted == Wanted::Response { "response" } else { "request" };
        self.questions.lock().unwrap().push(question);
        let document =
            |n| Document { name: format!("{kind}-{n}.asice"), container: Bytes::from_static(b"asic") };
        Ok((0..many).map(document).collect())
    }
    async fn zip(&self, documents: Vec<Document>) -> Result<Bytes, DocumentError> {
        Ok(format!("zip of {}", documents.len()).into())
    }
}

/// What an edge under test is to be.
pub(crate) struct Setup {
    pub(crate) config: EdgeConfig,
    /// Calls let through the gate at once.
    pub(crate) open: usize,
    pub(crate) connections: ClientConnections,
    pub(crate) identity: Option<Arc<EdgeIdentity>>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            config: EdgeConfig::default(),
            open: 1_000,
            connections: ClientConnections::default(),
            identity: None,
        }
    }
}

pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    /// Where TLS is spoken, if an identity was given.
    pub(crate) secured: Option<SocketAddr>,
    pub(crate) evidence: Arc<Documents>,
    pub(crate) connections: Arc<ArcSwap<ClientConnections>>,
    pub(crate) consumer: Arc<Consumer>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) task: JoinHandle<()>,
}

impl Node {
    pub(crate) async fn start() -> Self {
        Self::with(EdgeConfig::default(), 1_000).await
    }

    /// With these limits, and so many calls let through the gate at once.
    pub(crate) async fn with(config: EdgeConfig, open: usize) -> Self {
        Self::set_up(Setup { config, open, ..Setup::default() }).await
    }

    pub(crate) async fn set_up(setup: Setup) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut doors = EdgeDoors { plain: Some(listener), tls: None };
        let mut secured = None;
        if let Some(identity) = setup.identity {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            secured = Some(listener.local_addr().unwrap());
            doors.tls = Some((listener, identity));
        }
        let consumer = Arc::new(Consumer {
            drafts: Mutex::default(),
            answers: Mutex::default(),
            gate: Semaphore::new(setup.open),
            entered: Semaphore::new(0),
        });
        let clock = Arc::new(ManualClock::new(now()));
        let shutdown = CancellationToken::new();
        let directory = Arc::new(Served(Some(Arc::new(crate::directory::directory()))));
        let evidence = Arc::new(Documents::default());
        let connections = Arc::new(ArcSwap::from_pointee(setup.connections));
        let ports = EdgePorts {
            consumer: consumer.clone(),
            directory,
            evidence: evidence.clone(),
            connections: connections.clone(),
            clock: clock.clone(),
        };
        let serving = serve(doors, ports, setup.config, shutdown.clone());
        let task = tokio::spawn(async move { serving.await.unwrap() });
        Self { address, secured, evidence, connections, consumer, clock, shutdown, task }
    }

    pub(crate) fn answer_with(&self, answer: Result<Reply, Failed>) {
        self.consumer.answers.lock().unwrap().push_back(answer);
    }

    /// The one draft since last asked.
    pub(crate) fn draft(&self) -> Draft {
        let mut drafts = self.consumer.drafts.lock().unwrap();
        assert_eq!(drafts.len(), 1);
        drafts.remove(0)
    }

    /// The bytes of a draft's body.
    pub(crate) fn bytes(draft: &Draft) -> Bytes {
        let DraftBody::Whole(body) = &draft.body else { panic!("read to its end") };
        body.bytes().unwrap().clone()
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends a request of its own connection and reads the answer to the end.
    pub(crate) async fn send(&self, line: &str, fields: &str, body: &[u8]) -> Answer {
        let length =
            if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let head = format!("{line} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n{fields}{length}\r\n");
        self.raw(&[head.as_bytes(), body].concat()).await
    }

    pub(crate) async fn raw(&self, bytes: &[u8]) -> Answer {
        let mut stream = self.connect().await;
        // The edge may answer before it has read everything.
        let _early = stream.write_all(bytes).await;
        Answer::read(stream).await
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(60), self.task).await.expect("the edge stops").unwrap();
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Reads until the edge closes the connection.
    pub(crate) async fn read(mut stream: impl AsyncRead + Unpin) -> Self {
        let mut bytes = Vec::new();
        let reading = stream.read_to_end(&mut bytes);
        let _reset = tokio::time::timeout(Duration::from_secs(60), reading).await.expect("the edge closes");
        let end =
            bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or_else(|| panic!("no answer: {bytes:?}"));
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let field =
            |l: &str| l.split_once(": ").map(|(n, v)| (n.to_ascii_lowercase(), v.to_owned())).unwrap();
        Self { status, fields: lines.map(field).collect(), body: bytes[end + 4..].to_vec() }
    }

    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.fields.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect()
    }

    pub(crate) fn one(&self, name: &str) -> &str {
        let all = self.all(name);
        assert_eq!(all.len(), 1, "{name} in {:?}", self.fields);
        all[0]
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}
