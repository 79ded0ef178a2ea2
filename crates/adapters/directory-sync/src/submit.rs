//! Management requests on their way to the registry (protocol P7): the node's client, and what the registry's door asks of
//! whoever decides. The documents are opaque here.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tonic::{Code, Status};
use truc_directory::{Anchor, RegistryAddress};
use truc_model::Digest;
use truc_wire::registry::SubmitRequest;
use truc_wire::registry::registry_client::RegistryClient;

use crate::connect::{connect, sentence};
use crate::rates::{Addresses, REMEMBERED};

/// Longest document, in bytes.
pub const DOCUMENT_LIMIT: usize = 256 * 1024;
/// Longest answer: a standing with the certificates of 500 members.
const STANDING_LIMIT: usize = 8 * 1024 * 1024;
/// Limit for one answer of the registry, connecting apart.
const ANSWER: Duration = Duration::from_secs(30);
/// Limit for connecting, TLS included.
const CONNECT: Duration = Duration::from_secs(10);
/// Documents that are looked at at once; the next are told to come again.
const AT_ONCE: usize = 32;
/// What one address may send in a minute: documents that were never answered, as X-Road takes management requests ...
const NEW_A_MINUTE: f64 = 10.0;
/// ... and documents that were, so that every node of an office can wait for its approval.
const KNOWN_A_MINUTE: f64 = 60.0;
/// A refusal's sentence travels in a header field.
const SENTENCE_LIMIT: usize = 2000;

/// Why a document was not taken in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitRefusal {
    /// It is refused; the sentence is for the node's operator. Sending it again changes nothing.
    #[error("{0}")]
    Refused(String),
    /// Too much at once: the same later.
    #[error("{0}")]
    Busy(String),
    /// The registry cannot decide now: the same later.
    #[error("{0}")]
    Unavailable(String),
}

/// Takes management requests.
#[async_trait]
pub trait RequestDesk: Send + Sync {
    /// Takes the document in, or says where it stands when it came in before; the answer is the standing as JSON.
    ///
    /// # Errors
    /// [`SubmitRefusal`]; nothing was taken in then.
    async fn submit(&self, document: Bytes) -> Result<Bytes, SubmitRefusal>;
}

/// The desk behind the door, with the door's patience.
pub(crate) struct Submissions {
    desk: Arc<dyn RequestDesk>,
    places: Semaphore,
    rates: Mutex<Rates>,
}

impl Submissions {
    pub(crate) fn new(desk: Arc<dyn RequestDesk>) -> Self {
        Self { desk, places: Semaphore::new(AT_ONCE), rates: Mutex::default() }
    }

    /// Hands the document to the desk, unless its sender sent too many.
    pub(crate) async fn take(&self, from: Option<IpAddr>, document: Bytes) -> Result<Bytes, Status> {
        if document.is_empty() || document.len() > DOCUMENT_LIMIT {
            return Err(Status::invalid_argument(format!("a document has 1 to {DOCUMENT_LIMIT} bytes")));
        }
        let digest = Digest::of(&document);
        let admitted = from.is_none_or(|from| self.rates().admit(from, &digest, Instant::now()));
        let place = self.places.try_acquire();
        let (true, Ok(_place)) = (admitted, place) else {
            return Err(Status::resource_exhausted(
                "quá nhiều yêu cầu từ địa chỉ này; thử lại sau một phút / too many requests from this address; try again in a minute",
            ));
        };
        let answered = timeout(ANSWER, self.desk.submit(document)).await;
        match answered {
            Ok(Ok(standing)) => {
                self.rates().remember(digest);
                Ok(standing)
            }
            Ok(Err(refusal)) => Err(status(&refusal)),
            Err(_) => Err(Status::unavailable("the registry did not decide in time; send the same again")),
        }
    }

    fn rates(&self) -> std::sync::MutexGuard<'_, Rates> {
        self.rates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn status(refusal: &SubmitRefusal) -> Status {
    let code = match refusal {
        SubmitRefusal::Refused(_) => Code::FailedPrecondition,
        SubmitRefusal::Busy(_) => Code::ResourceExhausted,
        SubmitRefusal::Unavailable(_) => Code::Unavailable,
    };
    Status::new(code, refusal.to_string().chars().take(SENTENCE_LIMIT).collect::<String>())
}

/// What was answered before, and how often addresses come; everything in it is bounded.
struct Rates {
    known: HashMap<Digest, u64>,
    counter: u64,
    addresses: Addresses<2>,
}

impl Default for Rates {
    fn default() -> Self {
        let addresses = Addresses::new([NEW_A_MINUTE, KNOWN_A_MINUTE]);
        Self { known: HashMap::new(), counter: 0, addresses }
    }
}

impl Rates {
    fn admit(&mut self, from: IpAddr, document: &Digest, now: Instant) -> bool {
        self.addresses.admit(from, usize::from(self.known.contains_key(document)), now)
    }

    fn remember(&mut self, document: Digest) {
        self.counter = self.counter.saturating_add(1);
        self.known.insert(document, self.counter);
        if self.known.len() > REMEMBERED {
            let line = self.counter.saturating_sub(REMEMBERED as u64 / 2);
            self.known.retain(|_, at| *at > line);
        }
    }
}

/// Sends management requests to the registry, over TLS pinned by the anchor.
#[derive(Debug, Clone)]
pub struct SubmitClient {
    registry: Vec<RegistryAddress>,
}

impl SubmitClient {
    /// To the registry of this anchor.
    pub fn new(anchor: &Anchor) -> Self {
        Self { registry: anchor.registry.clone() }
    }

    /// Sends the document, to each address in turn until one answers; the answer is the standing as JSON.
    ///
    /// # Errors
    /// [`SubmitRefusal`]: refused or too many, in the registry's words; or no address can be reached.
    pub async fn submit(&self, document: &Bytes) -> Result<Bytes, SubmitRefusal> {
        let mut why = vec![];
        for registry in &self.registry {
            match submit_to(registry, document.clone()).await {
                Err(SubmitRefusal::Unavailable(reason)) => {
                    why.push(format!("{}: {reason}", registry.address))
                }
                answered => return answered,
            }
        }
        Err(SubmitRefusal::Unavailable(if why.is_empty() {
            "the anchor names no registry".into()
        } else {
            why.join("; ")
        }))
    }
}

async fn submit_to(registry: &RegistryAddress, document: Bytes) -> Result<Bytes, SubmitRefusal> {
    let channel = connect(registry, CONNECT).await.map_err(SubmitRefusal::Unavailable)?;
    let mut client = RegistryClient::new(channel).max_decoding_message_size(STANDING_LIMIT);
    let silent = |_| SubmitRefusal::Unavailable(format!("no answer within {} s", ANSWER.as_secs()));
    let answer = timeout(ANSWER, client.submit(SubmitRequest { document })).await.map_err(silent)?;
    answer.map(|answer| answer.into_inner().standing).map_err(|status| match status.code() {
        Code::FailedPrecondition | Code::InvalidArgument => SubmitRefusal::Refused(status.message().to_owned()),
        Code::ResourceExhausted => SubmitRefusal::Busy(status.message().to_owned()),
        Code::Unimplemented => SubmitRefusal::Refused(
            "sổ đăng ký này chưa nhận yêu cầu; hãy nâng cấp / this registry takes no requests; it must be upgraded".into(),
        ),
        _ => SubmitRefusal::Unavailable(sentence(&status)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn ten_new_documents_a_minute_and_sixty_known_ones() {
        let (mut rates, start) = (Rates::default(), Instant::now());
        let known = Digest::of(b"known");
        rates.remember(known);
        let new = |n: u32| Digest::of(&n.to_be_bytes());
        let admitted = (0..100).filter(|n| rates.admit(address("10.0.0.1"), &new(*n), start)).count();
        assert_eq!(admitted, 10);
        let admitted = (0..100).filter(|_| rates.admit(address("10.0.0.1"), &known, start)).count();
        assert_eq!(admitted, 60);
        assert!(rates.admit(address("10.0.0.2"), &new(1), start), "another address has its own");
        let later = start + Duration::from_secs(6);
        assert!(rates.admit(address("10.0.0.1"), &new(1), later));
        assert!(!rates.admit(address("10.0.0.1"), &new(1), later));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut rates, now) = (Rates::default(), Instant::now());
        for n in 0..3 * REMEMBERED as u32 {
            rates.remember(Digest::of(&n.to_be_bytes()));
            rates.admit(IpAddr::V4(n.into()), &Digest::of(b"x"), now);
        }
        assert!(rates.known.len() <= REMEMBERED && rates.addresses.remembered() <= REMEMBERED);
        let later = now + Duration::from_secs(61);
        assert!(rates.admit(address("192.0.2.1"), &Digest::of(b"x"), later), "room again after a minute");
        assert_eq!(rates.addresses.remembered(), 1);
    }

    struct Never;

    #[async_trait]
    impl RequestDesk for Never {
        async fn submit(&self, document: Bytes) -> Result<Bytes, SubmitRefusal> {
            match &document[..] {
                b"refused" => Err(SubmitRefusal::Refused("lý do / the reason".into())),
                b"busy" => Err(SubmitRefusal::Busy("later".into())),
                b"away" => Err(SubmitRefusal::Unavailable("away".into())),
                b"hangs" => std::future::pending().await,
                _ => Ok(document),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn every_refusal_has_its_code_and_nothing_waits_for_ever() {
        let submissions = Submissions::new(Arc::new(Never));
        let cases: [(&[u8], Code); 5] = [
            (b"refused", Code::FailedPrecondition),
            (b"busy", Code::ResourceExhausted),
            (b"away", Code::Unavailable),
            (b"hangs", Code::Unavailable),
            (b"", Code::InvalidArgument),
        ];
        for (document, code) in cases {
            let status = submissions.take(None, Bytes::from_static(document)).await.unwrap_err();
            assert_eq!(status.code(), code);
        }
        let long = Bytes::from(vec![b'x'; DOCUMENT_LIMIT + 1]);
        assert_eq!(submissions.take(None, long.clone()).await.unwrap_err().code(), Code::InvalidArgument);
        assert_eq!(submissions.take(None, long.slice(1..)).await.unwrap().len(), DOCUMENT_LIMIT);
    }
}
