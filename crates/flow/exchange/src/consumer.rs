//! The consumer side: one call from the information system to the answer (design §3, protocol P4.3).

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt as _, stream};
use ring::rand::{SecureRandom, SystemRandom};
use truc_directory::{Directory, NodeEntry};
use truc_evidence::{Ended, Ending, OpenRequest, Receipt, Reservation, StoreError};
use truc_message::{
    BodyInfo, DirectoryRef, FieldValue, Header, HeaderField, Kind, Parts, Peer, Received, Secret, Signed,
    VERSION, hide, is_secret, reveal,
};
use truc_model::{Fault, FaultCode, MessageId, Side, SubsystemId, Timestamp};
use truc_trust::{Answer, Asked, Verified};

use crate::call::{Draft, Failed, Reply};
use crate::deadline::{Deadline, within};
use crate::ground::Ground;
use crate::ports::{ConsumerSide, Conversation, LinkError, PastOutcome, PeerLink, Turn};
use crate::refusal;
use crate::routing;

/// How long a call may take from the edge to the answer: the longest life of a call (protocol P4.1), so that a service's own
/// timeout, which its provider states, is what ends a slow one.
pub const CALL_DEADLINE: Duration = truc_message::CALL_LIFE;

/// The provider's word on an interrupted request is asked for this often, at this interval.
const OUTCOME_TRIES: u32 = 10;
const OUTCOME_PAUSE: Duration = Duration::from_millis(500);

/// For a request that a crash left open: how long and how often the provider's node is asked.
const CLOSE_DEADLINE: Duration = Duration::from_secs(600);
const CLOSE_PAUSE: Duration = Duration::from_secs(2);
const CLOSE_AT_ONCE: usize = 16;

/// The consumer half of a node.
pub struct Consumer {
    ground: Arc<Ground>,
    peers: Arc<dyn PeerLink>,
    hosted: Vec<SubsystemId>,
    random: SystemRandom,
}

/// A request under way: what every later step needs.
struct Exchange {
    directory: Arc<Directory>,
    node: Arc<NodeEntry>,
    request: Signed,
    conversation: Box<dyn Conversation>,
    deadline: Deadline,
    /// Kept for our record of the request.
    request_room: Option<Reservation>,
    /// Kept for our record of what ends it.
    answer_room: Option<Reservation>,
}

/// Whoever awaits a call carries it to its end: dropping it in the middle leaves the exchange open until the next start.
#[async_trait]
impl ConsumerSide for Consumer {
    async fn call(&self, draft: Draft) -> Result<Reply, Failed> {
        let deadline = Deadline::after(CALL_DEADLINE, Side::ClientProxy);
        let exchange = match self.begin(draft, deadline).await {
            Ok(exchange) => exchange,
            Err(fault) => return Err(Failed { request: None, fault }),
        };
        let request = exchange.request.header().id;
        self.finish(exchange).await.map_err(|fault| Failed { request: Some(request), fault })
    }
}

impl Consumer {
    /// The consumer half for the subsystems that this node hosts.
    pub fn new(ground: Arc<Ground>, peers: Arc<dyn PeerLink>, hosted: Vec<SubsystemId>) -> Self {
        Self { ground, peers, hosted, random: SystemRandom::new() }
    }

    /// Asks what became of the requests that a crash left open, and records the replies (protocol P4.5). One that
    /// nobody can tell about within the time allowed is recorded as unknown.
    pub async fn close_open(&self, open: Vec<OpenRequest>) {
        // Several at once, so that one node that is away does not keep the others' from being closed.
        stream::iter(open)
            .for_each_concurrent(CLOSE_AT_ONCE, |request| async move { self.close(&request).await })
            .await;
    }

    /// Steps 1–3: nothing has left the node yet, and nothing is recorded.
    async fn begin(&self, draft: Draft, deadline: Deadline) -> Result<Exchange, Fault> {
        let directory = self.ground.directory(Side::ClientProxy)?;
        self.is_hosted(&draft.client, &directory)?;
        let candidates = routing::candidates(&directory, &draft, self.ground.clock.now())?;
        let (node, conversation) = self.reach(&candidates, &directory, deadline).await?;
        let request = self.seal(draft, &node, &directory).await?;
        // Room for both records of ours, before anything leaves the node.
        let body = request.sealed.body().len();
        let rooms = async {
            let request = self.ground.recorder.reserve_request(body).await?;
            Ok((request, self.ground.recorder.reserve_answer().await?))
        };
        let rooms = deadline.by(FaultCode::RecordingFailed, "keeping room for the records", rooms).await?;
        let (request_room, answer_room) = rooms.map_err(|error: StoreError| recording_failed(&error))?;
        let (request_room, answer_room) = (Some(request_room), Some(answer_room));
        Ok(Exchange { directory, node, request, conversation, deadline, request_room, answer_room })
    }

    /// Steps 4–14.
    async fn finish(&self, mut exchange: Exchange) -> Result<Reply, Fault> {
        let ended = match self.send(&mut exchange).await {
            Ok(()) => self.hear_answer(&mut exchange).await,
            Err(fault) => Err(fault),
        };
        match ended {
            Ok(answer) => self.hand_over(&mut exchange, answer).await,
            Err(fault) => Err(self.record_unsigned(&exchange, fault).await),
        }
    }

    fn is_hosted(&self, client: &SubsystemId, directory: &Directory) -> Result<(), Fault> {
        let known = self.hosted.contains(client)
            && self.ground.sealing.hosts(&client.member())
            && directory.speaks_for(&self.ground.me, client);
        if known {
            Ok(())
        } else {
            let detail = format!(
                "{client} is not a subsystem that node {} hosts and is registered for",
                self.ground.me
            );
            Err(Fault::consumer(FaultCode::UnknownClient, detail))
        }
    }

    /// Opens an exchange with the first candidate that answers and is who it should be.
    async fn reach(
        &self,
        candidates: &[Arc<NodeEntry>],
        directory: &Directory,
        deadline: Deadline,
    ) -> Result<(Arc<NodeEntry>, Box<dyn Conversation>), Fault> {
        let mut last = Fault::consumer(FaultCode::Unavailable, "no node serves this service");
        for node in candidates {
            let opened = deadline.by(FaultCode::Unavailable, "connecting", self.peers.open(node)).await?;
            let conversation = match opened {
                Ok(conversation) => conversation,
                Err(error) => {
                    tracing::warn!(node = %node.id, %error, "node not reached");
                    last = link_fault(&error);
                    continue;
                }
            };
            let now = self.ground.clock.now();
            let statuses = conversation.handshake_statuses();
            match self.ground.verifier.peer(conversation.peer(), node, statuses, directory, now).await {
                Ok(_) => return Ok((Arc::clone(node), conversation)),
                Err(error) => {
                    tracing::warn!(node = %node.id, %error, "node not trusted");
                    last = Fault::consumer(error.fault_code(), format!("node {}: {error}", node.id));
                }
            }
        }
        Err(last)
    }

    /// Step 2 and 3: header, manifest, signature.
    async fn seal(&self, draft: Draft, node: &NodeEntry, directory: &Directory) -> Result<Signed, Fault> {
        let (headers, secrets) = self.split_secrets(&draft)?;
        let now = self.ground.clock.now();
        let context = draft.context;
        let header = Header {
            v: VERSION,
            kind: Kind::Request,
            id: MessageId::new(now, self.fresh_random()?),
            instance: directory.instance().to_owned(),
            client: draft.client,
            service: draft.service,
            from: self.ground.me.clone(),
            to: node.id.clone(),
            directory: DirectoryRef { epoch: directory.epoch(), version: directory.version() },
            sent: now,
            expires: now.plus(CALL_DEADLINE),
            method: Some(draft.method),
            path: Some(draft.path.as_str().to_owned()),
            query: draft.query.map(|query| query.as_str().to_owned()),
            headers,
            user_id: context.user_id,
            agency: context.agency,
            purpose: context.purpose,
            legal_basis: context.legal_basis,
            consent: context.consent,
            represented_party: context.represented_party,
            issue: context.issue,
            client_message_id: context.client_message_id,
            idempotency_key: context.idempotency_key,
            trace: context.trace,
            body: Some(BodyInfo { media_type: draft.media_type, length: Some(draft.body.len() as u64) }),
            status: None,
            in_reply_to: None,
            leaf: None,
        };
        let member = header.client.member();
        self.ground.sealing.sign(&member, header, draft.body, secrets, Side::ClientProxy).await
    }

    fn split_secrets(&self, draft: &Draft) -> Result<(Vec<HeaderField>, Vec<Secret>), Fault> {
        let mut fields = Vec::with_capacity(draft.headers.len());
        let mut secrets = Vec::new();
        for (name, value) in &draft.headers {
            if is_secret(name) {
                let (field, secret) = hide(name, value, self.fresh_random()?);
                fields.push(field);
                secrets.push(secret);
            } else {
                fields.push(HeaderField::plain(name, value));
            }
        }
        Ok((fields, secrets))
    }

    fn fresh_random<const N: usize>(&self) -> Result<[u8; N], Fault> {
        let mut bytes = [0; N];
        let failed =
            |_| Fault::consumer(FaultCode::Internal, "the system's random numbers are not to be had");
        self.random.fill(&mut bytes).map_err(failed)?;
        Ok(bytes)
    }

    /// Steps 4 and 5: append our own request while it is sent; say `recorded` when it is durable. Until that frame is
    /// out, the provider will not call the service (protocol P4.3), so every failure here means: not carried out.
    async fn send(&self, exchange: &mut Exchange) -> Result<(), Fault> {
        let statuses = self.ground.sealing.statuses(&exchange.request.header().client.member());
        let turn = Turn::Message(
            Box::new(parts_of(&exchange.request, statuses.clone())),
            exchange.request.header().sent,
        );
        let room = exchange.request_room.take();
        let step = async {
            tokio::join!(
                exchange.conversation.say(turn),
                self.ground.recorder.sent_request(&exchange.request, &statuses, &exchange.directory, room),
            )
        };
        let (said, recorded) =
            exchange.deadline.by(FaultCode::Unavailable, "sending the request", step).await?;
        let receipt: Receipt = recorded.map_err(|error| recording_failed(&error))?;
        said.map_err(|error| link_fault(&error))?;
        let say = exchange.conversation.say(Turn::Recorded(receipt.leaf));
        exchange
            .deadline
            .by(FaultCode::Unavailable, "sending `recorded`", say)
            .await?
            .map_err(|error| link_fault(&error))
    }

    /// Step 13: hear and verify the answer. A connection that breaks now leaves the outcome to be asked for.
    async fn hear_answer(&self, exchange: &mut Exchange) -> Result<Verified<Answer>, Fault> {
        let hear = exchange.conversation.hear();
        let (parts, at) = match exchange
            .deadline
            .by(FaultCode::OutcomeUnknown, "waiting for the answer", hear)
            .await?
        {
            Ok(Turn::Message(parts, at)) => (parts, at),
            // The provider's node knows more than it could say on this stream.
            Ok(Turn::Fault(fault)) if fault.code == FaultCode::OutcomeUnknown => {
                return self.ask_outcome(exchange).await;
            }
            Ok(Turn::Fault(fault)) => return Err(fault),
            Ok(Turn::Recorded(_) | Turn::Cancel) => {
                return Err(Fault::consumer(
                    FaultCode::InconsistentResponse,
                    "the provider's node broke the order of frames",
                ));
            }
            Err(error) => {
                tracing::warn!(request = %exchange.request.header().id, %error, "connection broke, asking for the outcome");
                return self.ask_outcome(exchange).await;
            }
        };
        let peer = exchange.conversation.peer().clone();
        let answer = self.verify(exchange, *parts, peer, at).await?;
        let sealed = &answer.message().sealed;
        reveal(&sealed.header().headers, sealed.secrets())
            .map_err(|e| Fault::consumer(FaultCode::InconsistentResponse, e.to_string()))?;
        Ok(answer)
    }

    /// By now the service may have acted, so an answer that cannot be believed is never told as "not carried out".
    async fn verify(
        &self,
        exchange: &Exchange,
        parts: Parts,
        peer: Peer,
        at: Timestamp,
    ) -> Result<Verified<Answer>, Fault> {
        let received = Received::parse(parts, peer, at)
            .map_err(|e| Fault::consumer(FaultCode::InconsistentResponse, e.to_string()))?;
        let asked = Asked { header: exchange.request.header(), digest: exchange.request.digest() };
        let step = self.ground.verifier.answer(received, asked, &exchange.directory, at);
        let verified = exchange.deadline.by(FaultCode::OutcomeUnknown, "verifying the answer", step).await?;
        verified.map_err(|error| {
            let code = match error.fault_code() {
                FaultCode::StatusUnknown | FaultCode::DirectoryExpired => FaultCode::OutcomeUnknown,
                _ => FaultCode::InconsistentResponse,
            };
            Fault::consumer(code, format!("the answer is not believed: {error}"))
        })
    }

    /// The connection broke after `recorded` was said: only the provider knows what became of the request (P4.5).
    async fn ask_outcome(&self, exchange: &Exchange) -> Result<Verified<Answer>, Fault> {
        let (id, digest) = (exchange.request.header().id, exchange.request.digest());
        for _ in 0..OUTCOME_TRIES {
            let step = self.peers.outcome(&exchange.node, id, digest);
            match exchange.deadline.by(FaultCode::OutcomeUnknown, "asking for the outcome", step).await? {
                Ok((PastOutcome::Answered(parts, _), peer)) => {
                    return self.verify(exchange, *parts, peer, self.ground.clock.now()).await;
                }
                Ok((PastOutcome::Never, _)) => {
                    let detail =
                        "the connection broke; the provider's node says that the request was not carried out";
                    return Err(Fault::consumer(FaultCode::Unavailable, detail));
                }
                Ok((PastOutcome::Open, _)) => {}
                Err(error) => tracing::debug!(%id, %error, "outcome not to be had yet"),
            }
            let pause = tokio::time::sleep(OUTCOME_PAUSE);
            exchange.deadline.by(FaultCode::OutcomeUnknown, "asking for the outcome", pause).await?;
        }
        let detail = "the connection broke and the provider's node does not say what became of the request";
        Err(Fault::consumer(FaultCode::OutcomeUnknown, detail))
    }

    /// Step 14: the caller is answered only when our record is durable and the provider's is said to be (P4.3).
    async fn hand_over(&self, exchange: &mut Exchange, answer: Verified<Answer>) -> Result<Reply, Fault> {
        let (ending, refused) = ending_of(&answer);
        let room = exchange.answer_room.take();
        let step = async {
            tokio::join!(
                self.ground.recorder.received_answer(&answer, ending, &exchange.directory, room),
                exchange.conversation.hear(),
            )
        };
        let (recorded, heard) =
            exchange.deadline.by(FaultCode::OutcomeUnknown, "recording the answer", step).await?;
        recorded.map_err(|error| {
            let mut fault = recording_failed(&error);
            fault.code = FaultCode::OutcomeUnknown;
            fault
        })?;
        if !matches!(heard, Ok(Turn::Recorded(_))) {
            self.is_on_their_record(exchange, &answer).await?;
        }
        match refused {
            Some(fault) => Err(fault),
            None => reply_of(exchange.request.header().id, &answer),
        }
    }

    /// The answer is here, but `recorded` did not come: the provider's node is asked until it says that this very answer is
    /// on its record. It may have crashed and closed the exchange otherwise; then that is recorded here too, and the caller
    /// is told that the outcome is not known.
    async fn is_on_their_record(&self, exchange: &Exchange, answer: &Verified<Answer>) -> Result<(), Fault> {
        let unknown = |detail: String| Fault::consumer(FaultCode::OutcomeUnknown, detail);
        match self.ask_outcome(exchange).await {
            Ok(theirs) if theirs.message().digest() == answer.message().digest() => Ok(()),
            Ok(theirs) => {
                let ending = ending_of(&theirs).0;
                let recording =
                    self.ground.recorder.received_answer(&theirs, ending, &exchange.directory, None);
                if let Err(error) = within(recording).await {
                    tracing::error!(%error, "the provider's other answer was not recorded");
                }
                Err(unknown("an answer came, but the provider's node has another one on its record".into()))
            }
            Err(fault) => Err(unknown(format!(
                "an answer came, but is not known to be on the provider's record: {fault}"
            ))),
        }
    }

    /// An exchange that ends without a signed answer is recorded as such; what the caller is told stays the fault.
    async fn record_unsigned(&self, exchange: &Exchange, fault: Fault) -> Fault {
        let ended = Ended::Signed(&exchange.request, &exchange.directory);
        if let Err(error) = within(self.ground.recorder.unsigned(ended, &fault)).await {
            tracing::error!(request = %exchange.request.header().id, %error, "the end of the exchange was not recorded");
        }
        fault
    }
}

impl Consumer {
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
                Ok((PastOutcome::Answered(parts, _), peer)) => {
                    let at = self.ground.clock.now();
                    let told = |detail: String| Fault::consumer(FaultCode::OutcomeUnknown, detail);
                    let received = Received::parse(*parts, peer, at).map_err(|e| told(e.to_string()))?;
                    let judged = self.ground.verifier.answer(received, asked, &directory, at).await;
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
                Ok((PastOutcome::Open, _)) => {}
                Err(error) => tracing::debug!(request = %header.id, %error, "outcome not to be had yet"),
            }
            deadline.by(FaultCode::OutcomeUnknown, "asking for the outcome", pause).await?;
        }
    }
}

/// How a verified answer ends its exchange, and the fault that a refusal tells.
fn ending_of(answer: &Verified<Answer>) -> (Ending, Option<Fault>) {
    if answer.header().kind != Kind::Refusal {
        return (Ending::OK, None);
    }
    let fault = refusal::fault_of(answer.message().sealed.body().bytes());
    (Ending::of(fault.code), Some(fault))
}

/// A message as it goes over the wire.
pub(crate) fn parts_of(message: &Signed, statuses: Vec<bytes::Bytes>) -> Parts {
    Parts {
        header: message.sealed.header_bytes().clone(),
        body: message.sealed.body().clone(),
        secrets: message.sealed.secrets().to_vec(),
        signature: message.signature.clone(),
        statuses,
    }
}

fn reply_of(request: MessageId, answer: &Verified<Answer>) -> Result<Reply, Fault> {
    let header = answer.header();
    let sealed = &answer.message().sealed;
    // Secrets are never stored: an answer that came by `Outcome` comes without them, and its hidden fields are left out.
    let headers = if sealed.secrets().is_empty() {
        let plain = |field: &HeaderField| match field.content() {
            Some(FieldValue::Plain(value)) => Some((field.name.clone(), value)),
            _ => None,
        };
        header.headers.iter().filter_map(plain).collect()
    } else {
        reveal(&header.headers, sealed.secrets())
            .map_err(|e| Fault::consumer(FaultCode::InconsistentResponse, e.to_string()))?
    };
    Ok(Reply {
        request,
        status: header.status.unwrap_or(502),
        headers,
        media_type: header.body.as_ref().and_then(|body| body.media_type.clone()),
        body: sealed.body().bytes().clone(),
    })
}

pub(crate) fn recording_failed(error: &truc_evidence::StoreError) -> Fault {
    Fault::consumer(FaultCode::RecordingFailed, error.to_string())
}

fn link_fault(error: &LinkError) -> Fault {
    let code = match error {
        LinkError::Busy => FaultCode::Busy,
        LinkError::WrongPeer { .. } => FaultCode::Untrusted,
        LinkError::Unsupported(_) => FaultCode::UnsupportedVersion,
        LinkError::Unreachable { .. } | LinkError::Broken(_) => FaultCode::Unavailable,
    };
    Fault::consumer(code, error.to_string())
}
