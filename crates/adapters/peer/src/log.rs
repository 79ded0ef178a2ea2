//! Heads of logs and proofs between nodes (protocol P5.3, `docs/evidence.md` §2.3): what a peer may ask about this node's log, and this node
//! about a peer's. Nothing is judged here; lengths are bounded, and digests have 32 bytes.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::timeout;
use tonic::Status;
use tonic::transport::Channel;
use truc_exchange::ports::LinkError;
use truc_message::Peer;
use truc_model::Digest;
use truc_wire::peer as wire;
use truc_wire::peer::peer_client::PeerClient;

use crate::link::status_text;

/// The most leaves asked about at once.
pub const LEAVES_AT_ONCE: usize = 256;
/// Longest name of a log, in bytes.
const NAME_LIMIT: usize = 1024;
/// Longest head, in bytes.
const HEAD_LIMIT: usize = 4096;
/// Most digests of one proof.
const PROOF_LIMIT: usize = 65;
/// Most heads told of the other end's logs.
const HELD_LIMIT: usize = 64;
/// Limit for one answer.
const ANSWER: Duration = Duration::from_secs(10);

/// What one node asks another about its log, and what it shows of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogQuestion {
    /// The log that `known_size` speaks of; empty when nothing is known.
    pub log: String,
    /// The size of the newest head that the asker holds of it; 0 for none.
    pub known_size: u64,
    /// Leaves whose inclusion is to be proved; at most [`LEAVES_AT_ONCE`].
    pub leaves: Vec<u64>,
    /// In the tree of so many leaves; 0 for that of the newest head.
    pub at_size: u64,
    /// The newest head of the asker's own log, a signed note; empty for none.
    pub head: String,
    /// The size at which the proof begins that this head continues what the other end holds.
    pub head_known_size: u64,
    /// That proof.
    pub head_consistency: Vec<Digest>,
    /// The newest heads that the asker holds of the other end's logs.
    pub held: Vec<String>,
}

/// The answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogAnswer {
    /// The newest head, a signed note.
    pub head: String,
    /// Consistency from the known size to it, where the log is the one that was named.
    pub consistency: Vec<Digest>,
    /// The way of each leaf asked for, in order; empty for one beyond the tree.
    pub inclusion: Vec<Vec<Digest>>,
    /// The newest heads held of the asker's logs.
    pub held: Vec<String>,
}

/// Why nothing is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogRefusal {
    /// The asker is no node whose certificate is registered and good.
    #[error("{0}")]
    Stranger(String),
    /// There is no tree of that size.
    #[error("{0}")]
    OutOfRange(String),
    /// Not now.
    #[error("{0}")]
    Unavailable(String),
}

/// Whoever keeps this node's log and the heads of others answers here. It judges who asks.
#[async_trait]
pub trait LogBook: Send + Sync {
    /// Answers `peer`.
    ///
    /// # Errors
    /// [`LogRefusal`].
    async fn answer(&self, peer: &Peer, question: LogQuestion) -> Result<LogAnswer, LogRefusal>;
}

fn digests(bytes: &[Bytes]) -> Option<Vec<Digest>> {
    let bytes = Some(bytes).filter(|bytes| bytes.len() <= PROOF_LIMIT)?;
    bytes.iter().map(|digest| Digest::from_slice(digest)).collect()
}

fn head(bytes: &Bytes) -> Option<String> {
    let bytes = Some(bytes).filter(|bytes| bytes.len() <= HEAD_LIMIT)?;
    String::from_utf8(bytes.to_vec()).ok()
}

fn to_wire(digests: &[Digest]) -> Vec<Bytes> {
    digests.iter().map(|digest| Bytes::copy_from_slice(digest.as_bytes())).collect()
}

fn question(asked: &wire::LogProofRequest) -> Option<LogQuestion> {
    let within = asked.log.len() <= NAME_LIMIT
        && asked.leaves.len() <= LEAVES_AT_ONCE
        && asked.held.len() <= HELD_LIMIT;
    within.then_some(LogQuestion {
        log: asked.log.clone(),
        known_size: asked.known_size,
        leaves: asked.leaves.clone(),
        at_size: asked.at_size,
        head: head(&asked.head)?,
        head_known_size: asked.head_known_size,
        head_consistency: digests(&asked.head_consistency)?,
        held: asked.held.iter().map(head).collect::<Option<_>>()?,
    })
}

/// The server's part.
pub(crate) async fn answer(
    book: &dyn LogBook,
    peer: &Peer,
    asked: &wire::LogProofRequest,
) -> Result<wire::LogProofReply, Status> {
    let question = question(asked).ok_or_else(|| {
        Status::invalid_argument("at most 256 leaves, proofs of 65 digests of 32 bytes, 64 heads of 4 KiB")
    })?;
    let answered = timeout(ANSWER, book.answer(peer, question)).await;
    let answer = answered.map_err(|_| Status::deadline_exceeded("the log did not answer in time"))?;
    let answer = answer.map_err(|refusal| match refusal {
        LogRefusal::Stranger(why) => Status::permission_denied(why),
        LogRefusal::OutOfRange(why) => Status::out_of_range(why),
        LogRefusal::Unavailable(why) => Status::unavailable(why),
    })?;
    let path = |path: &Vec<Digest>| wire::LogPath { digests: to_wire(path) };
    Ok(wire::LogProofReply {
        head: answer.head.into(),
        consistency: to_wire(&answer.consistency),
        inclusion: answer.inclusion.iter().map(path).collect(),
        held: answer.held.into_iter().take(HELD_LIMIT).map(Bytes::from).collect(),
    })
}

/// The client's part.
pub(crate) async fn ask(
    mut client: PeerClient<Channel>,
    question: &LogQuestion,
) -> Result<LogAnswer, LinkError> {
    let broken = |why: &str| LinkError::Broken(why.to_owned());
    let asked = wire::LogProofRequest {
        log: question.log.clone(),
        known_size: question.known_size,
        leaves: question.leaves.clone(),
        at_size: question.at_size,
        head: question.head.clone().into(),
        head_known_size: question.head_known_size,
        head_consistency: to_wire(&question.head_consistency),
        held: question.held.iter().take(HELD_LIMIT).cloned().map(Bytes::from).collect(),
    };
    let reply = timeout(ANSWER, client.log_proof(asked)).await;
    let reply = reply.map_err(|_| broken("no word on the log within 10 s"))?;
    let reply = reply.map_err(|status| LinkError::Broken(status_text(&status)))?.into_inner();
    let read = || {
        let held = Some(&reply.held).filter(|held| held.len() <= HELD_LIMIT)?;
        Some(LogAnswer {
            head: head(&reply.head)?,
            consistency: digests(&reply.consistency)?,
            inclusion: reply.inclusion.iter().map(|path| digests(&path.digests)).collect::<Option<_>>()?,
            held: held.iter().map(head).collect::<Option<_>>()?,
        })
    };
    read()
        .filter(|answer| answer.inclusion.len() == question.leaves.len())
        .ok_or_else(|| broken("the answer about the log has not the form that it must have"))
}
