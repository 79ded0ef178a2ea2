//! The provider side: one request from a peer's node to the answer (design §3, protocol P4).
//!
//! [`Provider::exchange`] is the list of steps. Each yields the value that the next one needs:
//! `Received → Verified → Admitted → Recorded`.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;
use truc_directory::{Directory, NodeEntry};
use truc_evidence::{Claim, Known, OpenRequest, Past, Receipt, Recorded, Reservation, Role, StoreError};
use truc_message::{
    Freshness, Header, Kind, MalformedHeader, MalformedMessage, Parts, Peer, Received, Signature, reveal,
};
use truc_model::{Digest, Fault, FaultCode, MessageId, NodeId, Side, Timestamp};
use truc_policy::{Admitted, EvidenceSettings, NotAdmitted, Policy};
use truc_trust::{Request, Verified};

use crate::answer::{self, Made, Replied};
use crate::consumer::parts_of;
use crate::deadline::{Deadline, within};
use crate::ground::Ground;
use crate::moment::Moment;
use crate::ports::{Conversation, LinkError, OnRecord, PastOutcome, ProviderSide, ServiceDoor, Turn};
use crate::refusal_rate::RefusalRate;
use crate::standing::Standing;

/// Body of the largest message that comes whole on the shared stream (protocol P9.2).
const SMALL_BODY: u64 = 64 * 1024;

/// How long a provider waits for the consumer's `recorded` before it gives the request up.
const RECORDED_DEADLINE: Duration = Duration::from_secs(30);

/// When a client whose refusals are over the rate may ask again.
const REFUSALS_RETRY: Duration = Duration::from_secs(1);

/// The provider half of a node.
pub struct Provider {
    ground: Arc<Ground>,
    policy: Arc<ArcSwap<Policy>>,
    services: Arc<dyn ServiceDoor>,
    freshness: Freshness,
    refusals: RefusalRate,
}

type Conv<'a> = &'a mut dyn Conversation;

#[async_trait]
impl ProviderSide for Provider {
    fn early(&self, peer: &Peer, header: &[u8], announced: Option<u64>, at: Timestamp) -> Result<u64, Fault> {
        let header = Header::parse(header).map_err(|e| bad_message(&e.into()))?;
        self.is_for_us_and_fresh(&header, at)?;
        let directory = self.ground.directory(Side::ServerProxy)?;
        self.standing(&directory).caller(peer, &header)?;
        comes_from_its_node(peer, &header, &directory)?;
        match announced {
            Some(small) if small <= SMALL_BODY => Ok(small),
            // Nobody may make a node spool what it will deny.
            announced => {
                self.takes_requests(&header, &directory)?;
                self.ground.stamps_in_time(Side::ServerProxy)?;
                self.policy.load().early(&header, announced.unwrap_or_default(), &directory, at)
            }
        }
    }

    async fn serve(&self, mut conversation: Box<dyn Conversation>) {
        // On the heap: what every step holds at once is too long for the stacks of whoever awaits this.
        if let Err(fault) = Box::pin(self.exchange(conversation.as_mut())).await {
            tracing::info!(%fault, "exchange ended in an unsigned fault");
            // The peer may be gone already; then there is nobody to tell.
            drop(conversation.say(Turn::Fault(fault)).await);
        }
    }

    async fn outcome(&self, peer: &Peer, id: MessageId, digest: Digest) -> Result<PastOutcome, Fault> {
        let directory = self.ground.directory(Side::ServerProxy)?;
        let node = asking_node(&directory, peer).or_else(|unknown| {
            self.standing(&directory).stranger(peer)?;
            Err(unknown)
        })?;
        let trusted = self.ground.verifier.peer(peer, node, &[], &directory, self.ground.clock.now()).await;
        trusted.map_err(|error| Fault::provider(error.fault_code(), error.to_string()))?;
        match self.ground.recorder.past(&node.id, id, digest).await.map_err(|e| not_recorded(&e))? {
            Past::Never => Ok(PastOutcome::Never),
            Past::Open => Ok(PastOutcome::Open),
            Past::Answered(record) => {
                let (digest, leaf) = (record.manifest_digest, record.leaf());
                match self.recorded_parts(record.sequence).await {
                    Ok(parts) => Ok(PastOutcome::Answered(Box::new(parts), leaf)),
                    Err(fault) if fault.code == FaultCode::OutcomeUnknown => {
                        Ok(PastOutcome::Lost(fault, Some(OnRecord { digest, leaf })))
                    }
                    Err(fault) => Err(fault),
                }
            }
        }
    }
}

impl Provider {
    /// The provider half over the services behind `services`, under the policy in force.
    pub fn new(ground: Arc<Ground>, policy: Arc<ArcSwap<Policy>>, services: Arc<dyn ServiceDoor>) -> Self {
        let freshness = Freshness::default();
        Self { ground, policy, services, freshness, refusals: RefusalRate::default() }
    }

    /// The steps of one exchange. An error is an unsigned fault: nothing was called, unless it is OUTCOME_UNKNOWN.
    async fn exchange(&self, c: Conv<'_>) -> Result<(), Fault> {
        let (received, heard) = self.receive(c).await?;
        let directory = self.ground.directory(Side::ServerProxy)?;
        self.standing(&directory).caller(c.peer(), received.header())?;
        let verified = self.verify(received, &directory).await?;
        let claim = match self.claim(&verified).await? {
            Ok(claim) => claim,
            Err(known) => return self.repeat(c, known).await,
        };
        // After the claim: what was carried out before is told all the same.
        self.takes_requests(verified.header(), &directory)?;
        self.ground.stamps_in_time(Side::ServerProxy)?;
        let _under_way = self.ground.recorder.under_way(Role::Provider, verified.header().id);
        let admitted = match self.admit(verified, &directory) {
            Ok(admitted) => admitted,
            Err(not) => return self.refuse(c, *not, (claim, heard), &directory).await,
        };
        let room = self.ground.recorder.reserve_answer().await.map_err(|e| not_recorded(&e))?;
        let (recorded, replied) = self.carry_out(c, admitted, claim, &directory).await?;
        let said = recorded.inner().target().evidence();
        let answer = self.seal(c, (&recorded, heard), replied, &directory).await;
        self.answer(c, answer, &said, &directory, Some(room)).await
    }

    /// What the service that a request names says about its evidence now.
    fn said(&self, header: &Header) -> EvidenceSettings {
        let policy = self.policy.load();
        policy.service(&header.service).map(|service| service.evidence.clone()).unwrap_or_default()
    }

    /// Received: well-formed, addressed to us, of now; and when that was.
    async fn receive(&self, c: Conv<'_>) -> Result<(Received, Moment), Fault> {
        let deadline = Deadline::after(self.freshness.life, Side::ServerProxy);
        let begun = deadline.by(FaultCode::Timeout, "waiting for the request", c.ready()).await?;
        let since = Instant::now();
        let heard = match begun {
            Ok(()) => c.hear().await,
            Err(error) => Err(error),
        };
        match heard {
            Ok(Turn::Message(parts, at)) => {
                let received = Received::parse(*parts, c.peer().clone(), at).map_err(|e| bad_message(&e))?;
                self.is_for_us_and_fresh(received.header(), at)?;
                let sealed = &received.message().sealed;
                reveal(&sealed.header().headers, sealed.secrets()).map_err(|e| malformed(e.to_string()))?;
                Ok((received, Moment::when(at, since)))
            }
            // The header frame was looked at early and refused: nothing more of it was heard.
            Ok(Turn::Fault(fault)) => Err(fault),
            Ok(_) => Err(malformed("an exchange begins with a message")),
            Err(LinkError::Unsupported(what)) => Err(Fault::provider(FaultCode::UnsupportedVersion, what)),
            Err(error) => Err(malformed(error.to_string())),
        }
    }

    fn is_for_us_and_fresh(&self, header: &Header, at: Timestamp) -> Result<(), Fault> {
        if header.kind != Kind::Request {
            return Err(malformed(format!("a {} does not begin an exchange", header.kind.as_str())));
        }
        if header.to != self.ground.me {
            let detail = format!("addressed to {}, this is {}", header.to, self.ground.me);
            return Err(Fault::provider(FaultCode::Untrusted, detail));
        }
        let fresh = self.freshness.check(header.sent, header.expires, at);
        fresh.map_err(|e| Fault::provider(FaultCode::Expired, e.to_string()))?;
        // An id carries the time it was made: so none comes back after its claim was forgotten.
        let (made, sent) = (header.id.made_at(), header.sent);
        if made > sent.plus(self.freshness.skew) || sent > made.plus(self.freshness.skew) {
            return Err(malformed(format!("the id was made {made}, the message says sent {sent}")));
        }
        Ok(())
    }

    fn standing<'d>(&self, directory: &'d Directory) -> Standing<'d> {
        Standing::new(directory, self.ground.clock.now(), Side::ServerProxy)
    }

    /// What the directory says against this end. Told unsigned: a member that takes no part has no seal that counts, and
    /// maintenance is the node's own, like being busy.
    fn takes_requests(&self, header: &Header, directory: &Directory) -> Result<(), Fault> {
        let standing = self.standing(directory);
        standing.subsystem(&header.service.subsystem())?;
        standing.node(&self.ground.me)?;
        standing.at_work(&self.ground.me)
    }

    /// Verified: the five trust checks.
    async fn verify(&self, received: Received, directory: &Directory) -> Result<Verified<Request>, Fault> {
        let verified = self.ground.verifier.request(received, directory, self.ground.clock.now()).await;
        verified.map_err(|error| Fault::provider(error.fault_code(), error.to_string()))
    }

    /// Claimed: nobody else carries it out. Claims are forgotten after a while, within which a repeated request would have
    /// to arrive; a body that takes longer is looked up in the journal.
    async fn claim(&self, request: &Verified<Request>) -> Result<Result<Claim, Known>, Fault> {
        let recorder = &self.ground.recorder;
        if self.ground.clock.now() <= request.at().plus(self.freshness.life) {
            return Ok(recorder.claim(request));
        }
        recorder.claim_late(request).await.map_err(|e| not_recorded(&e))
    }

    /// A request that came before is never carried out again (protocol P4.2).
    async fn repeat(&self, c: Conv<'_>, known: Known) -> Result<(), Fault> {
        match known {
            Known::Answered(sequence) => {
                let parts = self.recorded_parts(sequence).await?;
                drop(c.say(Turn::Message(Box::new(parts), self.ground.clock.now())).await);
                let record =
                    self.ground.recorder.store().read(sequence).await.map_err(|e| not_recorded(&e))?;
                drop(c.say(Turn::Recorded(record.leaf())).await);
                Ok(())
            }
            Known::Open => {
                let detail =
                    "this very request is being carried out, or was interrupted; ask for its outcome";
                Err(Fault::provider(FaultCode::OutcomeUnknown, detail))
            }
            Known::OtherMessage => {
                let detail = "this client has already used this id for another message";
                Err(Fault::provider(FaultCode::Replayed, detail))
            }
            Known::Void => {
                let detail = "this node has said that this request was never carried out";
                Err(Fault::provider(FaultCode::Replayed, detail))
            }
            Known::Forgotten(youngest) => {
                let detail = format!(
                    "this node was restored from a backup, or its clock was set back, and it does not know which requests made until {youngest} it has \
                     carried out; send a new one, and if this goes on, restart the node once its clock is right"
                );
                Err(Fault::provider(FaultCode::Expired, detail))
            }
        }
    }

    /// Admitted: default deny.
    fn admit(
        &self,
        verified: Verified<Request>,
        directory: &Directory,
    ) -> Result<Admitted<Verified<Request>>, Box<NotAdmitted>> {
        self.policy.load().admit(verified, directory)
    }

    /// After verification a "no" is signed by the service's member, if its seal is here, and recorded; within a rate.
    async fn refuse(
        &self,
        c: Conv<'_>,
        not: NotAdmitted,
        (claim, heard): (Claim, Moment),
        directory: &Directory,
    ) -> Result<(), Fault> {
        let NotAdmitted { request, fault } = not;
        let header = request.header();
        let signable =
            self.ground.sealing.hosts(&header.service.member()) && fault.code != FaultCode::UnknownService;
        if !signable {
            return Err(fault);
        }
        if !self.refusals.allows(&header.client, self.ground.clock.now()) {
            let detail = format!("too many refused requests of {}; the last: {fault}", header.client);
            return Err(Fault::provider(FaultCode::QuotaExceeded, detail).with_retry_after(REFUSALS_RETRY));
        }
        let said = self.said(header);
        let recording = self.ground.recorder.refused_request(&request, claim, &said, directory);
        let receipt = within(recording).await.map_err(|e| not_recorded(&e))?;
        tracing::info!(request = %header.id, client = %header.client, service = %header.service, code = %fault.code, "refused");
        let (digest, leaf) = (request.message().digest(), receipt.leaf);
        let asked = answer::Asked { header, digest, leaf, heard: Some(heard) };
        let signed = answer::refuse(&self.ground, asked, &fault, directory).await;
        self.answer(c, signed, &said, directory, None).await
    }

    /// Recorded: durable before the service may act.
    async fn record(
        &self,
        admitted: Admitted<Verified<Request>>,
        claim: Claim,
        directory: &Directory,
    ) -> Result<Recorded<Admitted<Verified<Request>>>, Fault> {
        let recording = self.ground.recorder.admitted_request(admitted, claim, directory);
        within(recording).await.map_err(|e| not_recorded(&e))
    }

    /// The service is called only when the consumer's own record is durable too (protocol P4.3). What it says of it is kept
    /// with `ours`.
    async fn consumer_has_recorded(&self, c: Conv<'_>, from: &NodeId, ours: &Receipt) -> Result<(), Fault> {
        let not_called = |why: String| {
            Fault::provider(FaultCode::Unavailable, format!("the service was not called: {why}"))
        };
        let deadline = Deadline::after(RECORDED_DEADLINE, Side::ServerProxy);
        let heard = deadline
            .by(FaultCode::Unavailable, "the service was not called: no `recorded` came", c.hear())
            .await?;
        match heard {
            Ok(Turn::Recorded(leaf)) => {
                self.ground.time_stamps.acknowledged(from, ours.sequence, leaf);
                Ok(())
            }
            Ok(Turn::Cancel) => Err(not_called("the consumer's node gave up".into())),
            Ok(_) => Err(not_called("the consumer's node broke the order of frames".into())),
            Err(error) => Err(not_called(error.to_string())),
        }
    }

    /// Steps 8–10: both records, and the request's stamp where it is waited for; then the service. One that is declared free of
    /// side effects is called meanwhile; its answer is sealed only after them.
    async fn carry_out(
        &self,
        c: Conv<'_>,
        admitted: Admitted<Verified<Request>>,
        claim: Claim,
        directory: &Directory,
    ) -> Result<(Recorded<Admitted<Verified<Request>>>, Replied), Fault> {
        let free = admitted.side_effect_free();
        let look = async {
            match &free {
                Some(free) => Ok(Some(answer::from_early_look(self.services.as_ref(), free).await)),
                None => Ok(None),
            }
        };
        let record = async {
            let recorded = self.record(admitted, claim, directory).await?;
            let (request, ours) = (recorded.inner().request(), recorded.receipt());
            let said = recorded.inner().target().evidence();
            let ready = tokio::try_join!(
                self.consumer_has_recorded(c, &request.header().from, ours),
                self.ground.request_stamped(&said, ours),
            );
            Ok((recorded, ready.map(drop)))
        };
        // Without our record the look is dropped.
        let (looked, (recorded, ready)) = tokio::try_join!(look, record)?;
        let replied = match (ready, looked) {
            (Ok(()), Some(looked)) => looked,
            (Ok(()), None) => self.call(&recorded, directory).await,
            (Err(fault), _) => Replied::Refused(fault),
        };
        Ok((recorded, replied))
    }

    /// Step 10: the service, once; or the bus's own answer to a metaservice.
    async fn call(&self, recorded: &Recorded<Admitted<Verified<Request>>>, directory: &Directory) -> Replied {
        answer::from_target(self.services.as_ref(), &self.policy.load(), recorded, directory).await
    }

    /// Step 11; an answer that flows is with the peer when it is sealed.
    async fn seal(
        &self,
        c: Conv<'_>,
        (recorded, heard): (&Recorded<Admitted<Verified<Request>>>, Moment),
        replied: Replied,
        directory: &Directory,
    ) -> Result<Made, Fault> {
        let request = recorded.inner().request();
        let (digest, leaf) = (request.message().digest(), recorded.receipt().leaf);
        let asked = answer::Asked { header: request.header(), digest, leaf, heard: Some(heard) };
        match replied {
            Replied::Answered(answer, body) => {
                answer::seal(&self.ground, asked, (answer, body), directory).await
            }
            Replied::Coming(answer, announced, pieces) => {
                answer::pass_on(&self.ground, asked, c, (answer, announced, pieces), directory).await
            }
            Replied::Refused(fault) => answer::refuse(&self.ground, asked, &fault, directory).await,
        }
    }

    /// Step 12: append the answer while it is sent; say `recorded` when it is durable, and stamped where that is waited for.
    async fn answer(
        &self,
        c: Conv<'_>,
        made: Result<Made, Fault>,
        said: &EvidenceSettings,
        directory: &Directory,
        room: Option<Reservation>,
    ) -> Result<(), Fault> {
        let Made { message, statuses, ending, begun } = made?;
        let say = async {
            if begun {
                return c.sign(&message.signature).await;
            }
            let turn = Turn::Message(Box::new(parts_of(&message, statuses.clone())), message.header().sent);
            c.say(turn).await
        };
        let recorder = &self.ground.recorder;
        let (told, recorded) = tokio::join!(
            say,
            within(recorder.sent_answer(&message, &statuses, ending, said, directory, room)),
        );
        let receipt: Receipt = recorded.map_err(|error| {
            // The service may have acted and its answer is not on record: told as unknown, never silently.
            tracing::error!(%error, "the answer was not recorded");
            Fault::provider(FaultCode::OutcomeUnknown, format!("the answer could not be recorded: {error}"))
        })?;
        if let Err(error) = told {
            tracing::info!(%error, "the answer was not taken; it is on record");
            // A consumer's node that is still there learns from this to ask for the outcome.
            return Err(Fault::provider(
                FaultCode::OutcomeUnknown,
                "the answer was not taken; ask for the outcome",
            ));
        }
        self.ground.answer_stamped(said, message.header().kind, &receipt).await?;
        drop(c.say(Turn::Recorded(receipt.leaf)).await);
        Ok(())
    }

    /// A recorded answer as it was sent. Secrets are never stored, so a repeated answer comes without them.
    async fn recorded_parts(&self, sequence: u64) -> Result<Parts, Fault> {
        let store = self.ground.recorder.store();
        let record = store.read(sequence).await.map_err(|e| not_recorded(&e))?;
        let body = store.body(sequence).await.map_err(|e| not_recorded(&e))?.ok_or_else(|| {
            let detail = "the request was answered, but the answer's body is no longer kept";
            Fault::provider(FaultCode::OutcomeUnknown, detail)
        })?;
        let mut statuses: Vec<Bytes> = Vec::new();
        for digest in &record.statuses {
            statuses.extend(store.artifact(*digest).await.map_err(|e| not_recorded(&e))?);
        }
        Ok(Parts {
            header: record.header,
            body: truc_message::Body::new(body),
            secrets: Vec::new(),
            signature: Signature::Single(record.cms),
            statuses,
        })
    }

    /// At start-up, before the peer door opens: every request that a crash left open gets a signed OUTCOME_UNKNOWN, and
    /// is never called again (protocol P4.5). One that cannot be closed now (its member's seal has left this node, or the
    /// disk is full) stays open, is answered as such, and is tried again at the next start.
    pub async fn close_open(&self, open: &[OpenRequest]) {
        for request in open {
            let id = request.record.local.request;
            match self.close(request).await {
                Ok(()) => tracing::warn!(request = %id, "closed an interrupted request as OUTCOME_UNKNOWN"),
                Err(fault) => tracing::error!(request = %id, %fault, "an interrupted request stays open"),
            }
        }
    }

    async fn close(&self, request: &OpenRequest) -> Result<(), Fault> {
        let record = &request.record;
        let header = Header::parse(&record.header).map_err(|e| bad_message(&e.into()))?;
        let (digest, leaf) = (record.manifest_digest, record.leaf());
        let asked = answer::Asked { header: &header, digest, leaf, heard: None };
        let directory = self.ground.directory(Side::ServerProxy)?;
        let detail = "the provider's node was interrupted while it carried out this request";
        let fault = Fault::provider(FaultCode::OutcomeUnknown, detail);
        let made = answer::refuse(&self.ground, asked, &fault, &directory).await?;
        let Made { message, statuses, ending, .. } = made;
        let said = self.said(&header);
        let recording =
            self.ground.recorder.sent_answer(&message, &statuses, ending, &said, &directory, None);
        within(recording).await.map(drop).map_err(|e| not_recorded(&e))
    }
}

fn asking_node<'d>(directory: &'d Directory, peer: &Peer) -> Result<&'d NodeEntry, Fault> {
    directory.node_of_auth_certificate(&peer.fingerprint()).ok_or_else(|| {
        let detail = format!("the TLS certificate {} is not registered to any node", peer.fingerprint());
        Fault::provider(FaultCode::Untrusted, detail)
    })
}

/// A stranger holds nothing here, not even a place in the queue: the TLS peer is the node that the header names, and that
/// node speaks for the client. Grants nothing: verification asks again, and for more.
fn comes_from_its_node(peer: &Peer, header: &Header, directory: &Directory) -> Result<(), Fault> {
    let node = asking_node(directory, peer)?;
    if node.id == header.from && directory.speaks_for(&node.id, &header.client) {
        return Ok(());
    }
    let detail = format!("node {} is not {}, or does not speak for {}", node.id, header.from, header.client);
    Err(Fault::provider(FaultCode::Untrusted, detail))
}

fn bad_message(error: &MalformedMessage) -> Fault {
    match error {
        MalformedMessage::Header(MalformedHeader::Version(_)) => {
            Fault::provider(FaultCode::UnsupportedVersion, error.to_string())
        }
        _ => malformed(error.to_string()),
    }
}

fn malformed(detail: impl Into<String>) -> Fault {
    Fault::provider(FaultCode::Malformed, detail)
}

fn not_recorded(error: &StoreError) -> Fault {
    Fault::provider(FaultCode::RecordingFailed, error.to_string())
}
