//! Heads of nodes' logs at the registry (protocol P5.3, `docs/evidence.md` §2.3): the node's client, and what the registry's door asks of
//! whoever keeps them. The notes are opaque here: the log's own signature is what counts, not who brings it.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tonic::{Code, Status};
use truc_directory::{Anchor, RegistryAddress};
use truc_model::NodeId;
use truc_wire::registry::registry_client::RegistryClient;
use truc_wire::registry::{WitnessAnswer, WitnessRequest, WitnessedLog, WitnessedRequest};

use crate::connect::{connect, sentence};
use crate::rates::Addresses;

/// Longest head, in bytes.
const HEAD_LIMIT: usize = 4096;
/// Longest presentation, in bytes.
const PRESENTATION_LIMIT: usize = 8192;
/// Longest id asked about: four parts of 64 characters fit well.
const NODE_LIMIT: usize = 300;
/// Longest view of one log.
const VIEW_LIMIT: usize = 4 * 1024 * 1024;
/// Most logs of one node.
const LOGS_LIMIT: usize = 64;
/// Limit for one answer, connecting apart.
const ANSWER: Duration = Duration::from_secs(30);
/// Calls that are worked on at once; the next are told to come again.
const AT_ONCE: usize = 32;
/// What one address may show, and ask, in a minute: a node shows a head every ten minutes, and an office may have many nodes.
const A_MINUTE: [f64; 2] = [120.0, 30.0];

/// What became of a head that was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadAnswer {
    /// The newest head that is held of the log now, a signed note.
    pub held: Bytes,
    /// The head that was shown excludes one that is held.
    pub alarm: bool,
}

/// Why a head was not looked at, or none is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WitnessRefusal {
    /// It is not of the form that it must have.
    #[error("{0}")]
    Malformed(String),
    /// It is not signed by the key of a node in the directory.
    #[error("{0}")]
    Stranger(String),
    /// Too much at once: the same later.
    #[error("{0}")]
    Busy(String),
    /// Not now: the same later.
    #[error("{0}")]
    Unavailable(String),
}

/// Keeps the heads of nodes' logs.
#[async_trait]
pub trait WitnessDesk: Send + Sync {
    /// Looks at a head with the note that presents it, and keeps it where it continues the one that is held.
    ///
    /// # Errors
    /// [`WitnessRefusal`]; nothing was kept then.
    async fn witness(&self, head: Bytes, presentation: Bytes) -> Result<HeadAnswer, WitnessRefusal>;

    /// What is held of the logs of `node`, each as JSON.
    ///
    /// # Errors
    /// [`WitnessRefusal`].
    async fn witnessed(&self, node: NodeId) -> Result<Vec<Bytes>, WitnessRefusal>;
}

/// The desk behind the door, with the door's patience.
pub(crate) struct Witnesses {
    desk: Arc<dyn WitnessDesk>,
    places: Semaphore,
    rates: Mutex<Addresses<2>>,
}

impl Witnesses {
    pub(crate) fn new(desk: Arc<dyn WitnessDesk>) -> Self {
        Self { desk, places: Semaphore::new(AT_ONCE), rates: Mutex::new(Addresses::new(A_MINUTE)) }
    }

    pub(crate) async fn show(
        &self,
        from: Option<IpAddr>,
        asked: WitnessRequest,
    ) -> Result<WitnessAnswer, Status> {
        let WitnessRequest { head, presentation } = asked;
        if head.len() > HEAD_LIMIT || presentation.len() > PRESENTATION_LIMIT {
            return Err(Status::invalid_argument("a head has at most 4 KiB, its presentation at most 8 KiB"));
        }
        let answer = self.patiently(from, 0, self.desk.witness(head, presentation)).await?;
        Ok(WitnessAnswer { held: answer.held, alarm: answer.alarm })
    }

    pub(crate) async fn tell(
        &self,
        from: Option<IpAddr>,
        asked: WitnessedRequest,
    ) -> Result<Vec<WitnessedLog>, Status> {
        let node = Some(asked.node).filter(|id| id.len() <= NODE_LIMIT).and_then(|id| id.parse().ok());
        let node = node.ok_or_else(|| Status::invalid_argument("not the id of a node"))?;
        let views = self.patiently(from, 1, self.desk.witnessed(node)).await?;
        Ok(views.into_iter().map(|view| WitnessedLog { view }).collect())
    }

    async fn patiently<T>(
        &self,
        from: Option<IpAddr>,
        rate: usize,
        work: impl Future<Output = Result<T, WitnessRefusal>> + Send,
    ) -> Result<T, Status> {
        let admit = |from| {
            let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
            rates.admit(from, rate, Instant::now())
        };
        let admitted = from.is_none_or(admit);
        let (true, Ok(_place)) = (admitted, self.places.try_acquire()) else {
            return Err(Status::resource_exhausted("too many at once; try again in a minute"));
        };
        match timeout(ANSWER, work).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(refusal)) => Err(status(&refusal)),
            Err(_) => Err(Status::unavailable("the registry did not answer in time")),
        }
    }
}

fn status(refusal: &WitnessRefusal) -> Status {
    let code = match refusal {
        WitnessRefusal::Malformed(_) => Code::InvalidArgument,
        WitnessRefusal::Stranger(_) => Code::PermissionDenied,
        WitnessRefusal::Busy(_) => Code::ResourceExhausted,
        WitnessRefusal::Unavailable(_) => Code::Unavailable,
    };
    Status::new(code, refusal.to_string())
}

fn refusal(status: &Status) -> WitnessRefusal {
    let said = status.message().to_owned();
    match status.code() {
        Code::InvalidArgument => WitnessRefusal::Malformed(said),
        Code::PermissionDenied => WitnessRefusal::Stranger(said),
        Code::ResourceExhausted => WitnessRefusal::Busy(said),
        _ => WitnessRefusal::Unavailable(sentence(status)),
    }
}

/// Shows heads to the registry and asks for those it holds, over TLS pinned by the anchor.
#[derive(Debug, Clone)]
pub struct WitnessClient {
    registry: Vec<RegistryAddress>,
}

impl WitnessClient {
    /// To the registry of this anchor.
    pub fn new(anchor: &Anchor) -> Self {
        Self { registry: anchor.registry.clone() }
    }

    /// Shows a head with the note that presents it, at each address in turn until one answers.
    ///
    /// # Errors
    /// [`WitnessRefusal`] in the registry's words; or no address can be reached.
    pub async fn witness(&self, head: Bytes, presentation: Bytes) -> Result<HeadAnswer, WitnessRefusal> {
        self.at_each(|mut client| {
            let asked = WitnessRequest { head: head.clone(), presentation: presentation.clone() };
            async move {
                let answer = client.witness(asked).await.map_err(|s| refusal(&s))?.into_inner();
                Ok(HeadAnswer { held: answer.held, alarm: answer.alarm })
            }
        })
        .await
    }

    /// What the registry holds of the logs of `node`, each as JSON.
    ///
    /// # Errors
    /// As [`Self::witness`].
    pub async fn witnessed(&self, node: &NodeId) -> Result<Vec<Bytes>, WitnessRefusal> {
        self.at_each(|mut client| {
            let asked = WitnessedRequest { node: node.to_string() };
            async move {
                let mut views = Vec::new();
                let mut told = client.witnessed(asked).await.map_err(|s| refusal(&s))?.into_inner();
                while let Some(log) = told.message().await.map_err(|s| refusal(&s))? {
                    if views.len() == LOGS_LIMIT {
                        return Err(WitnessRefusal::Unavailable("it tells of too many logs".into()));
                    }
                    views.push(log.view);
                }
                Ok(views)
            }
        })
        .await
    }

    async fn at_each<T, F: Future<Output = Result<T, WitnessRefusal>>>(
        &self,
        ask: impl Fn(RegistryClient<tonic::transport::Channel>) -> F,
    ) -> Result<T, WitnessRefusal> {
        let mut why = Vec::new();
        for registry in &self.registry {
            let asked = async {
                let channel = connect(registry, crate::connect::CONNECT).await;
                let channel = channel.map_err(WitnessRefusal::Unavailable)?;
                ask(RegistryClient::new(channel).max_decoding_message_size(VIEW_LIMIT + 1024)).await
            };
            let late = || WitnessRefusal::Unavailable(format!("no answer within {} s", ANSWER.as_secs()));
            match timeout(ANSWER, asked).await.unwrap_or_else(|_| Err(late())) {
                Err(WitnessRefusal::Unavailable(reason)) => {
                    why.push(format!("{}: {reason}", registry.address));
                }
                answered => return answered,
            }
        }
        let nobody = why.is_empty().then(|| "the anchor names no registry".to_owned());
        Err(WitnessRefusal::Unavailable(nobody.unwrap_or_else(|| why.join("; "))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Echo;

    #[async_trait]
    impl WitnessDesk for Echo {
        async fn witness(&self, head: Bytes, presentation: Bytes) -> Result<HeadAnswer, WitnessRefusal> {
            match &presentation[..] {
                b"malformed" => Err(WitnessRefusal::Malformed("why".into())),
                b"stranger" => Err(WitnessRefusal::Stranger("why".into())),
                b"away" => Err(WitnessRefusal::Unavailable("why".into())),
                b"hangs" => std::future::pending().await,
                _ => Ok(HeadAnswer { held: head, alarm: false }),
            }
        }
        async fn witnessed(&self, node: NodeId) -> Result<Vec<Bytes>, WitnessRefusal> {
            Ok(vec![Bytes::from(node.to_string())])
        }
    }

    fn asked(head: usize, presentation: &[u8]) -> WitnessRequest {
        let presentation = Bytes::copy_from_slice(presentation);
        WitnessRequest { head: Bytes::from(vec![b'x'; head]), presentation }
    }

    #[tokio::test(start_paused = true)]
    async fn every_refusal_has_its_code_sizes_are_bounded_and_nothing_waits_for_ever() {
        let door = Witnesses::new(Arc::new(Echo));
        let cases: [(usize, &[u8], Code); 6] = [
            (1, b"malformed", Code::InvalidArgument),
            (1, b"stranger", Code::PermissionDenied),
            (1, b"away", Code::Unavailable),
            (1, b"hangs", Code::Unavailable),
            (HEAD_LIMIT + 1, b"", Code::InvalidArgument),
            (1, &[b'x'; PRESENTATION_LIMIT + 1], Code::InvalidArgument),
        ];
        for (head, presentation, code) in cases {
            let status = door.show(None, asked(head, presentation)).await.unwrap_err();
            assert_eq!(status.code(), code);
        }
        let shown = door.show(None, asked(HEAD_LIMIT, &[b'x'; PRESENTATION_LIMIT])).await.unwrap();
        assert_eq!(shown.held.len(), HEAD_LIMIT);
        for node in ["", "VN/GOV/H26", &format!("VN/GOV/H26/{}", "x".repeat(400))] {
            let status = door.tell(None, WitnessedRequest { node: node.to_owned() }).await.unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument);
        }
        let told = door.tell(None, WitnessedRequest { node: "VN/GOV/H26/ss1".into() }).await.unwrap();
        assert_eq!(told[0].view, "VN/GOV/H26/ss1");
    }

    #[tokio::test]
    async fn one_address_is_heard_so_often_a_minute() {
        let (door, from) = (Witnesses::new(Arc::new(Echo)), Some("192.0.2.7".parse().unwrap()));
        let mut taken = 0;
        while door.show(from, asked(1, b"")).await.is_ok() {
            taken += 1;
        }
        assert!(taken >= 120, "{taken}");
        let ask = || WitnessedRequest { node: "VN/GOV/H26/ss1".into() };
        assert!(door.tell(from, ask()).await.is_ok(), "questions have their own count");
        assert!(door.show(Some("192.0.2.8".parse().unwrap()), asked(1, b"")).await.is_ok());
    }
}
