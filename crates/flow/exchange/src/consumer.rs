//! The consumer side: one call from the information system to the answer (design §3, protocol P4.3).

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use truc_directory::{Directory, NodeEntry};
use truc_evidence::{Ended, Ending, Receipt, Reservation, Role, StoreError};
use truc_message::{
    Body, BodyStream, FieldValue, Freshness, HeaderField, Kind, Leaf, Opening, Parts, Peer, Received, Signed,
    reveal,
};
use truc_model::{Fault, FaultCode, MessageId, Side, SubsystemId, Timestamp};
use truc_trust::{Answer, Asked, Verified};

use crate::call::{Draft, DraftBody, Failed, Reply};
use crate::deadline::{Deadline, within};
use crate::ground::Ground;
use crate::moment::Moment;
use crate::ports::{
    Beginning, ConsumerSide, Conversation, Interrupted, LinkError, OnRecord, PastOutcome, PeerLink, Turn,
};
use crate::sealing::Pen;
use crate::standing::Standing;
use crate::{refusal, request, routing};

/// How long a call may take from the edge to the answer: the longest life of a call (protocol P4.1), so that a service's own
/// timeout, which its provider states, is what ends a slow one.
pub const CALL_DEADLINE: Duration = truc_message::CALL_LIFE;

/// A service takes a body that flows at this many bytes a second at least, or the caller is told that the outcome is unknown.
const SERVICE_RATE: u64 = 1024 * 1024;

/// The provider's word on an interrupted request is asked for this often, at this interval.
const OUTCOME_TRIES: u32 = 10;
const OUTCOME_PAUSE: Duration = Duration::from_millis(500);

/// The consumer half of a node.
pub struct Consumer {
    pub(crate) ground: Arc<Ground>,
    pub(crate) peers: Arc<dyn PeerLink>,
    hosted: Vec<SubsystemId>,
}

/// A request with its header written, and nothing sent.
struct Begun {
    directory: Arc<Directory>,
    node: Arc<NodeEntry>,
    opening: Opening,
    conversation: Box<dyn Conversation>,
    deadline: Deadline,
    /// When its header was dated.
    dated: Moment,
    request_room: Reservation,
    answer_room: Reservation,
}

impl Begun {
    fn signed(self, request: Signed, statuses: Vec<Bytes>, streamed: bool) -> Exchange {
        Exchange {
            directory: self.directory,
            node: self.node,
            request,
            statuses,
            streamed,
            conversation: self.conversation,
            deadline: self.deadline,
            dated: self.dated,
            request_room: Some(self.request_room),
            answer_room: Some(self.answer_room),
            on_their_record: false,
        }
    }
}

/// A request under way: what every later step needs.
struct Exchange {
    directory: Arc<Directory>,
    node: Arc<NodeEntry>,
    request: Signed,
    /// What vouches for the seal that signed it.
    statuses: Vec<Bytes>,
    /// Header and body are with the peer already: only the signature is still to be sent.
    streamed: bool,
    conversation: Box<dyn Conversation>,
    deadline: Deadline,
    /// When the request's header was dated.
    dated: Moment,
    /// Kept for our record of the request.
    request_room: Option<Reservation>,
    /// Kept for our record of what ends it.
    answer_room: Option<Reservation>,
    /// The answer came by `Outcome`, from the provider's record: no `recorded` is waited for.
    on_their_record: bool,
}

/// What the provider's node says of its record of the answer.
enum Theirs {
    /// The answer came from that record.
    Known,
    /// It is durable.
    Recorded(Leaf),
    /// It cannot vouch for it, or not yet.
    Unknown(Fault),
    /// Nothing: it can still be asked.
    Unsaid,
}

/// What the provider's node says when it is asked for the outcome.
enum Told {
    /// The recorded answer, verified.
    Answer(Box<Verified<Answer>>),
    /// Only which answer it has on record: it does not keep the body.
    Named(OnRecord, Fault),
}

/// Whoever awaits a call carries it to its end: dropping it in the middle leaves the exchange open until the next start.
#[async_trait]
impl ConsumerSide for Consumer {
    async fn call(&self, draft: Draft) -> Result<Reply, Failed> {
        let deadline = Deadline::after(CALL_DEADLINE, Side::ClientProxy);
        let unsent = |fault| Failed { request: None, fault };
        let (begun, body) = self.begin(draft, deadline).await.map_err(unsent)?;
        let request = begun.opening.header().id;
        let failed = |fault| Failed { request: Some(request), fault };
        let _under_way = self.ground.recorder.under_way(Role::Consumer, request);
        let exchange = match body {
            DraftBody::Whole(body) => self.seal(begun, body).await.map_err(unsent)?,
            DraftBody::Coming { pieces, .. } => self.stream(begun, pieces).await.map_err(failed)?,
        };
        self.finish(exchange).await.map_err(failed)
    }
}

impl Consumer {
    /// The consumer half for the subsystems that this node hosts.
    pub fn new(ground: Arc<Ground>, peers: Arc<dyn PeerLink>, hosted: Vec<SubsystemId>) -> Self {
        Self { ground, peers, hosted }
    }

    /// Steps 1 and 2: nothing has left the node yet, and nothing is recorded.
    async fn begin(&self, draft: Draft, deadline: Deadline) -> Result<(Begun, DraftBody), Fault> {
        let directory = self.ground.directory(Side::ClientProxy)?;
        self.is_hosted(&draft.client, &directory)?;
        self.ground.stamps_in_time(Side::ClientProxy)?;
        let candidates = routing::candidates(&directory, &draft, self.ground.clock.now())?;
        let (node, conversation) = self.reach(&candidates, &directory, deadline).await?;
        let length = draft.body.announced();
        let (opening, body) = request::open(&self.ground, draft, &node, &directory)?;
        let dated = Moment::of(opening.header().sent);
        // Room for both records of ours, before anything leaves the node.
        let rooms = async {
            let request = self.ground.recorder.reserve_request(length.unwrap_or(u64::MAX)).await?;
            Ok((request, self.ground.recorder.reserve_answer().await?))
        };
        let rooms = deadline.by(FaultCode::RecordingFailed, "keeping room for the records", rooms).await?;
        let (request_room, answer_room) = rooms.map_err(|error: StoreError| recording_failed(&error))?;
        let begun =
            Begun { directory, node, opening, conversation, deadline, dated, request_room, answer_room };
        Ok((begun, body))
    }

    /// Step 3: manifest and signature over a body that is here.
    async fn seal(&self, begun: Begun, body: Body) -> Result<Exchange, Fault> {
        let pen = self.pen(&begun.opening)?;
        let request = sign(&pen, begun.opening.clone(), body).await?;
        let statuses = pen.statuses(self.ground.clock.now());
        Ok(begun.signed(request, statuses, false))
    }

    /// Step 3 for a body that is still coming: it is sent as it comes, and signed when it is whole. It takes as long as it
    /// takes to flow; the time for everything else begins anew, with what the service may need to take the body.
    async fn stream(&self, mut begun: Begun, pieces: BodyStream) -> Result<Exchange, Fault> {
        let pen = self.pen(&begun.opening)?;
        let statuses = pen.statuses(self.ground.clock.now());
        let beginning = Beginning::of(&begun.opening, statuses.clone());
        let fault = match begun.conversation.begin(beginning, pieces).await {
            Ok(Some(body)) => {
                let passing = Duration::from_secs(body.len() / SERVICE_RATE);
                let request = sign(&pen, begun.opening.clone(), body).await?;
                begun.deadline = Deadline::after(CALL_DEADLINE + passing, Side::ClientProxy);
                return Ok(begun.signed(request, statuses, true));
            }
            // The caller's own: nobody has heard a whole message of it.
            Err(Interrupted::Source(fault)) => return Err(fault),
            Ok(None) => match begun.conversation.hear().await {
                Ok(Turn::Fault(fault)) => fault,
                Ok(_) => out_of_order(),
                Err(error) => link_fault(&error),
            },
            Err(Interrupted::Link(error)) => link_fault(&error),
        };
        let ended = Ended::Begun(begun.opening.header(), &begun.directory);
        Err(self.record_unsigned(ended, begun.opening.header().id, fault).await)
    }

    fn pen(&self, opening: &Opening) -> Result<Pen<'_>, Fault> {
        self.ground.sealing.pen(&opening.header().client.member(), Side::ClientProxy)
    }

    /// Steps 4–14.
    async fn finish(&self, mut exchange: Exchange) -> Result<Reply, Fault> {
        let ended = match self.send(&mut exchange).await {
            Ok(()) => self.hear_answer(&mut exchange).await,
            Err(fault) => Err(fault),
        };
        match ended {
            Ok(answer) => self.hand_over(&mut exchange, answer).await,
            Err(fault) => {
                let ended = Ended::Signed(&exchange.request, &exchange.directory);
                Err(self.record_unsigned(ended, exchange.request.header().id, fault).await)
            }
        }
    }

    fn is_hosted(&self, client: &SubsystemId, directory: &Directory) -> Result<(), Fault> {
        let me = &self.ground.me;
        let unknown = || {
            let detail = format!("{client} is not a subsystem that node {me} hosts and is registered for");
            Fault::consumer(FaultCode::UnknownClient, detail)
        };
        if !(self.hosted.contains(client) && self.ground.sealing.hosts(&client.member())) {
            return Err(unknown());
        }
        // Peers would refuse it: the caller hears why from its own node.
        let standing = Standing::new(directory, self.ground.clock.now(), Side::ClientProxy);
        standing.subsystem(client)?;
        standing.node(me)?;
        if directory.speaks_for(me, client) { Ok(()) } else { Err(unknown()) }
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

    /// Steps 4 and 5: append our own request while it is sent; say `recorded` when it is durable. Until that frame is
    /// out, the provider will not call the service (protocol P4.3), so every failure here means: not carried out.
    async fn send(&self, exchange: &mut Exchange) -> Result<(), Fault> {
        let statuses = std::mem::take(&mut exchange.statuses);
        let turn = Turn::Message(
            Box::new(parts_of(&exchange.request, statuses.clone())),
            exchange.request.header().sent,
        );
        let room = exchange.request_room.take();
        let conversation = &mut exchange.conversation;
        let say = async {
            if exchange.streamed {
                return conversation.sign(&exchange.request.signature).await;
            }
            conversation.say(turn).await
        };
        let step = async {
            tokio::join!(
                say,
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
        let ready = exchange.conversation.ready();
        let begun = exchange.deadline.by(FaultCode::OutcomeUnknown, "waiting for the answer", ready).await?;
        let heard = match begun {
            Ok(()) => exchange.conversation.hear().await,
            Err(error) => Err(error),
        };
        // A body takes as long as it takes to flow; the time for everything else begins anew.
        exchange.deadline = Deadline::after(CALL_DEADLINE, Side::ClientProxy);
        let (parts, at) = match heard {
            Ok(Turn::Message(parts, at)) => (parts, at),
            // The provider's node knows more than it could say on this stream.
            Ok(Turn::Fault(fault)) if fault.code == FaultCode::OutcomeUnknown => {
                return self.answer_on_record(exchange).await;
            }
            Ok(Turn::Fault(fault)) => return Err(fault),
            Ok(Turn::Recorded(_) | Turn::Cancel) => return Err(out_of_order()),
            Err(error) => {
                tracing::warn!(request = %exchange.request.header().id, %error, "connection broke, asking for the outcome");
                return self.answer_on_record(exchange).await;
            }
        };
        let peer = exchange.conversation.peer().clone();
        let answer = self.verify(exchange, *parts, peer, at).await?;
        secrets_hold(&answer)?;
        Ok(answer)
    }

    /// The answer as the provider's node has it on record, which is all that `recorded` would say. It comes without secrets,
    /// or with those that it hides.
    async fn answer_on_record(&self, exchange: &mut Exchange) -> Result<Verified<Answer>, Fault> {
        let answer = match self.ask_outcome(exchange).await? {
            Told::Answer(answer) => *answer,
            Told::Named(_, fault) => return Err(fault),
        };
        if !answer.message().sealed.secrets().is_empty() {
            secrets_hold(&answer)?;
        }
        exchange.on_their_record = true;
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
        let fresh = Freshness::default().check_answer(received.header().sent, exchange.dated.now());
        fresh.map_err(|e| Fault::consumer(FaultCode::InconsistentResponse, format!("the answer: {e}")))?;
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

    /// The node as the directory lists it now: its certificate may have been renewed while the exchange went on.
    fn as_listed_now(&self, node: &Arc<NodeEntry>) -> Arc<NodeEntry> {
        let directory = self.ground.directory.current();
        directory.and_then(|d| d.node(&node.id).cloned()).map_or_else(|| Arc::clone(node), Arc::new)
    }

    /// The connection broke after `recorded` was said: only the provider knows what became of the request (P4.5).
    async fn ask_outcome(&self, exchange: &Exchange) -> Result<Told, Fault> {
        let (id, digest) = (exchange.request.header().id, exchange.request.digest());
        for _ in 0..OUTCOME_TRIES {
            let node = self.as_listed_now(&exchange.node);
            let step = self.peers.outcome(&node, id, digest);
            match exchange.deadline.by(FaultCode::OutcomeUnknown, "asking for the outcome", step).await? {
                // Nobody but the provider's node can say what became of the request.
                Ok((_, peer)) if !is_node(&node, &peer) => {
                    tracing::warn!(%id, "another node answers at the provider's address");
                }
                Ok((PastOutcome::Answered(parts, _), peer)) => {
                    let answer = self.verify(exchange, *parts, peer, self.ground.clock.now()).await?;
                    return Ok(Told::Answer(Box::new(answer)));
                }
                Ok((PastOutcome::Never, _)) => {
                    let detail =
                        "the connection broke; the provider's node says that the request was not carried out";
                    return Err(Fault::consumer(FaultCode::Unavailable, detail));
                }
                Ok((PastOutcome::Lost(fault, Some(named)), _)) => return Ok(Told::Named(named, fault)),
                Ok((PastOutcome::Lost(fault, None), _)) => return Err(fault),
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
        let on_their_record = exchange.on_their_record;
        let step = async {
            let hear = async {
                if on_their_record {
                    return Theirs::Known;
                }
                match exchange.conversation.hear().await {
                    Ok(Turn::Recorded(leaf)) => Theirs::Recorded(leaf),
                    Ok(Turn::Fault(fault)) if fault.code == FaultCode::OutcomeUnknown => {
                        Theirs::Unknown(fault)
                    }
                    _ => Theirs::Unsaid,
                }
            };
            tokio::join!(
                self.ground.recorder.received_answer(&answer, ending, &exchange.directory, room),
                hear,
            )
        };
        let (recorded, theirs) =
            exchange.deadline.by(FaultCode::OutcomeUnknown, "recording the answer", step).await?;
        let recorded = recorded.map_err(|error| {
            let mut fault = recording_failed(&error);
            fault.code = FaultCode::OutcomeUnknown;
            fault
        })?;
        match theirs {
            Theirs::Known => {}
            Theirs::Recorded(leaf) => self.acknowledged(&answer, recorded.receipt(), leaf),
            Theirs::Unknown(fault) => return Err(fault),
            Theirs::Unsaid => {
                if let Some(leaf) = self.is_on_their_record(exchange, &answer).await? {
                    self.acknowledged(&answer, recorded.receipt(), leaf);
                }
            }
        }
        match refused {
            Some(fault) => Err(fault),
            None => reply_of(exchange.request.header().id, &answer),
        }
    }

    fn acknowledged(&self, answer: &Verified<Answer>, ours: &Receipt, theirs: Leaf) {
        self.ground.time_stamps.acknowledged(&answer.header().from, ours.sequence, theirs);
    }

    /// The answer is here, but `recorded` did not come: the provider's node is asked until it says that this very answer is
    /// on its record, also where it keeps the digest alone and names its leaf. It may have crashed and closed the exchange
    /// otherwise; then that is recorded here too, and the caller is told that the outcome is not known.
    async fn is_on_their_record(
        &self,
        exchange: &Exchange,
        answer: &Verified<Answer>,
    ) -> Result<Option<Leaf>, Fault> {
        let unknown = |detail: String| Fault::consumer(FaultCode::OutcomeUnknown, detail);
        let ours = answer.message().digest();
        match self.ask_outcome(exchange).await {
            Ok(Told::Answer(theirs)) if theirs.message().digest() == ours => Ok(None),
            Ok(Told::Named(theirs, _)) if theirs.digest == ours => Ok(Some(theirs.leaf)),
            Ok(Told::Named(..)) => Err(unknown("an answer came, but the provider's node has another one on its record, which it cannot give again".into())),
            Ok(Told::Answer(theirs)) => {
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
    async fn record_unsigned(&self, ended: Ended<'_>, request: MessageId, fault: Fault) -> Fault {
        if let Err(error) = within(self.ground.recorder.unsigned(ended, &fault)).await {
            tracing::error!(%request, %error, "the end of the exchange was not recorded");
        }
        fault
    }
}

/// Whether `peer` showed a certificate that the directory lists for `node`.
pub(crate) fn is_node(node: &NodeEntry, peer: &Peer) -> bool {
    node.auth_certificates.contains(&peer.fingerprint())
}

async fn sign(pen: &Pen<'_>, opening: Opening, body: Body) -> Result<Signed, Fault> {
    let sealed = opening
        .seal(body)
        .map_err(|error| Fault::at(Side::Client, FaultCode::Malformed, error.to_string()))?;
    pen.sign(sealed).await
}

/// The secrets beside an answer are those that it hides.
fn secrets_hold(answer: &Verified<Answer>) -> Result<(), Fault> {
    let sealed = &answer.message().sealed;
    let held = reveal(&sealed.header().headers, sealed.secrets());
    held.map(drop).map_err(|e| Fault::consumer(FaultCode::InconsistentResponse, e.to_string()))
}

/// How a verified answer ends its exchange, and the fault that a refusal tells.
pub(crate) fn ending_of(answer: &Verified<Answer>) -> (Ending, Option<Fault>) {
    if answer.header().kind != Kind::Refusal {
        return (Ending::OK, None);
    }
    let fault = refusal::fault_of(answer.message().sealed.body().bytes().map_or(&[][..], |bytes| bytes));
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
        body: sealed.body().clone(),
    })
}

pub(crate) fn recording_failed(error: &truc_evidence::StoreError) -> Fault {
    Fault::consumer(FaultCode::RecordingFailed, error.to_string())
}

fn out_of_order() -> Fault {
    Fault::consumer(FaultCode::InconsistentResponse, "the provider's node broke the order of frames")
}

fn link_fault(error: &LinkError) -> Fault {
    let code = match error {
        LinkError::Busy => FaultCode::Busy,
        LinkError::WrongPeer { .. } => FaultCode::Untrusted,
        LinkError::Unsupported(_) => FaultCode::UnsupportedVersion,
        LinkError::Conflict(_) => FaultCode::DirectoryConflict,
        LinkError::Unreachable { .. } | LinkError::Broken(_) => FaultCode::Unavailable,
    };
    Fault::consumer(code, error.to_string())
}
