//! The contract every [`PeerLink`] and its [`Conversation`]s keep; each adapter's tests run it.
//!
//! An adapter puts a [`Scripted`] provider side behind its door and hands [`peer_link`] a link to that node.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use tokio::sync::mpsc;
use tokio::time::timeout;
use truc_directory::NodeEntry;
use truc_message::contract::{digest_of, pieces};
use truc_message::{Body, BodyStream, Leaf, Parts, Peer, Secret, Signature};
use truc_model::{Digest, Fault, FaultCode, MessageId, Timestamp};

use crate::ports::{
    Beginning, Conversation, Interrupted, LinkError, OnRecord, PastOutcome, PeerLink, ProviderSide, Turn,
};

type Check = Result<(), String>;

/// Nothing here takes longer on a machine that works; only so that a broken link fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(60);

/// The length of the big body.
const BIG: usize = 1024 * 1024 + 17;

/// The length of a body that flows; longer than what is held in memory.
const FLOWING: u64 = truc_message::WHOLE_BODY + 3 * 1024 * 1024 + 5;

/// How long a body of unknown length may become.
const LIMIT: u64 = FLOWING + 1;

fn ensure(holds: bool, clause: &str) -> Check {
    if holds { Ok(()) } else { Err(clause.to_owned()) }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// What the provider's end heard, for the clauses about what the consumer's end says.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Leaf(Leaf),
    Cancel,
    Broken,
}

/// A provider side that does what the header of the first message says.
pub struct Scripted {
    heard: mpsc::Sender<Heard>,
    told: tokio::sync::Mutex<mpsc::Receiver<Heard>>,
    peer: std::sync::Mutex<Option<Peer>>,
}

impl Default for Scripted {
    fn default() -> Self {
        let (heard, told) = mpsc::channel(256);
        Self { heard, told: tokio::sync::Mutex::new(told), peer: std::sync::Mutex::default() }
    }
}

impl Scripted {
    /// A provider side for one run of the contract.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    async fn next(&self) -> Result<Heard, String> {
        let mut told = self.told.lock().await;
        let heard = timeout(PATIENCE, told.recv()).await;
        heard.ok().flatten().ok_or_else(|| "the provider's end hears what the consumer's end did".to_owned())
    }

    async fn play(&self, c: &mut dyn Conversation) -> Result<(), LinkError> {
        let parts = match c.hear().await? {
            Turn::Message(parts, _) => parts,
            Turn::Fault(fault) => return c.say(Turn::Fault(fault)).await,
            Turn::Recorded(_) | Turn::Cancel => return Ok(()),
        };
        *self.peer.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(c.peer().clone());
        match parts.header.as_ref() {
            b"fault" => c.say(Turn::Fault(the_fault())).await,
            b"wait" => {
                let heard = match c.hear().await {
                    Ok(Turn::Cancel) => Heard::Cancel,
                    Ok(Turn::Recorded(leaf)) => Heard::Leaf(leaf),
                    _ => Heard::Broken,
                };
                drop(self.heard.send(heard).await);
                Ok(())
            }
            b"flow" => {
                let heard = c.hear().await?;
                let pieces = parts.body.read().unwrap_or_else(|| futures::stream::empty().boxed());
                let announced = Some(parts.body.len());
                match c.begin(beginning(b"flow", announced), pieces).await {
                    Ok(Some(_)) => c.sign(&parts.signature).await?,
                    _ => return Err(LinkError::Broken("a body that flows".into())),
                }
                c.say(heard).await
            }
            b"break" => {
                drop(c.hear().await?);
                let announced = Some(FLOWING);
                let broken = c.begin(beginning(b"flow", announced), pieces_then_fault()).await;
                if broken == Err(Interrupted::Source(the_fault())) {
                    c.say(turn(&message(br#"{"v":1,"kind":"refusal"}"#, 9))).await?;
                }
                Ok(())
            }
            _ => {
                let heard = c.hear().await?;
                c.say(Turn::Message(parts, Timestamp::from_millis(0))).await?;
                c.say(heard).await
            }
        }
    }
}

#[async_trait]
impl ProviderSide for Scripted {
    fn early(
        &self,
        _peer: &Peer,
        header: &[u8],
        announced: Option<u64>,
        _at: Timestamp,
    ) -> Result<u64, Fault> {
        if header == b"refuse" { Err(the_fault()) } else { Ok(announced.unwrap_or(LIMIT)) }
    }

    async fn serve(&self, mut conversation: Box<dyn Conversation>) {
        // A consumer's end that has gone is a clause of its own.
        drop(self.play(conversation.as_mut()).await);
    }

    async fn outcome(&self, _peer: &Peer, _id: MessageId, digest: Digest) -> Result<PastOutcome, Fault> {
        match digest.as_bytes().first() {
            Some(0) => Ok(PastOutcome::Never),
            Some(1) => Ok(PastOutcome::Open),
            Some(2) => Ok(PastOutcome::Answered(Box::new(message(b"past", 3)), leaf(2))),
            Some(3) => Ok(PastOutcome::Answered(Box::new(message(b"past", BIG)), leaf(3))),
            Some(4) => Ok(PastOutcome::Lost(lost(), None)),
            Some(5) => Ok(PastOutcome::Lost(lost(), Some(named()))),
            _ => Err(the_fault()),
        }
    }
}

fn lost() -> Fault {
    Fault::provider(FaultCode::OutcomeUnknown, "the answer is no longer kept")
}

fn named() -> OnRecord {
    OnRecord { digest: Digest([8; 32]), leaf: leaf(5) }
}

fn the_fault() -> Fault {
    let fault = Fault::provider(FaultCode::QuotaExceeded, "Hết hạn mức");
    fault.with_retry_after(Duration::from_millis(1500)).with_successor("VN/GOV/H26".parse().ok())
}

fn leaf(index: u64) -> Leaf {
    Leaf { index, hash: Digest::of(&index.to_be_bytes()) }
}

fn message(header: &'static [u8], length: usize) -> Parts {
    let body: Vec<u8> = (0_u8..251).cycle().take(length).collect();
    Parts {
        header: Bytes::from_static(header),
        body: Body::new(body.into()),
        secrets: vec![Secret { salt: [7; 16], value: b"Bearer x".to_vec() }],
        signature: Signature::Single(Bytes::from_static(b"cms")),
        statuses: vec![Bytes::from_static(b"status 1"), Bytes::from_static(b"status 2")],
    }
}

fn same(a: &Parts, b: &Parts) -> bool {
    a.header == b.header
        && a.body == b.body
        && a.secrets == b.secrets
        && a.signature == b.signature
        && a.statuses == b.statuses
}

async fn hear(c: &mut dyn Conversation) -> Result<Turn, String> {
    timeout(PATIENCE, c.hear()).await.map_err(|_| "a turn that was said is heard".to_owned())?.map_err(text)
}

async fn say(c: &mut dyn Conversation, turn: Turn) -> Check {
    let said = timeout(PATIENCE, c.say(turn)).await;
    said.map_err(|_| "a turn can be said while the other end reads".to_owned())?.map_err(text)
}

fn turn(parts: &Parts) -> Turn {
    Turn::Message(Box::new(parts.clone()), Timestamp::from_millis(0))
}

/// Runs the contract: `node` is the entry of the node behind which `provider` is, `absent` one that nobody answers for.
///
/// # Errors
/// The sentence names the clause that does not hold.
pub async fn peer_link(
    link: &dyn PeerLink,
    node: &NodeEntry,
    absent: &NodeEntry,
    provider: &Scripted,
) -> Check {
    let unreachable = link.open(absent).await.map(drop);
    ensure(
        matches!(unreachable, Err(LinkError::Unreachable { .. })),
        "a node that does not answer is Unreachable",
    )?;
    for length in [0, 1, 64 * 1024, 64 * 1024 + 1, BIG] {
        echo(link, node, length).await?;
    }
    peers(link, node, provider).await?;
    flowing(link, node).await?;
    faults(link, node).await?;
    dropping(link, node, provider).await?;
    order_of_beginning(link, node).await?;
    idle_ones(link, node).await?;
    outcomes(link, node).await
}

async fn echo(link: &dyn PeerLink, node: &NodeEntry, length: usize) -> Check {
    let mut c = link.open(node).await.map_err(text)?;
    echo_on(c.as_mut(), length).await
}

async fn echo_on(c: &mut dyn Conversation, length: usize) -> Check {
    let sent = message(b"echo", length);
    say(c, turn(&sent)).await?;
    say(c, Turn::Recorded(leaf(length as u64))).await?;
    let Turn::Message(came, _) = hear(c).await? else { return Err("a message is heard as a message".into()) };
    ensure(same(&sent, &came), "every part of a message arrives as it was said, both ways")?;
    let Turn::Recorded(came) = hear(c).await? else { return Err("turns are heard in the order said".into()) };
    ensure(came == leaf(length as u64), "`recorded` carries its leaf, both ways")
}

fn beginning(header: &'static [u8], announced: Option<u64>) -> Beginning {
    let Parts { header, secrets, statuses, .. } = message(header, 0);
    Beginning { header, secrets, statuses, announced }
}

/// As [`pieces`], but it breaks off.
fn pieces_then_fault() -> BodyStream {
    pieces(FLOWING / 2).chain(futures::stream::once(async { Err(the_fault()) })).boxed()
}

/// Bodies that leave while they come, of known and of unknown length.
async fn flowing(link: &dyn PeerLink, node: &NodeEntry) -> Check {
    let sent = message(b"flow", 0);
    for announced in [Some(FLOWING), None] {
        let mut c = link.open(node).await.map_err(text)?;
        let begun = c.begin(beginning(b"flow", announced), pieces(FLOWING)).await.map_err(text)?;
        let body = begun.ok_or("a body that flows is taken whole")?;
        ensure(
            (body.len(), body.digest()) == digest_of(pieces(FLOWING)).await?,
            "who sends a body that flows knows its length and digest",
        )?;
        c.sign(&sent.signature).await.map_err(text)?;
        say(c.as_mut(), Turn::Recorded(leaf(1))).await?;
        timeout(PATIENCE, c.ready())
            .await
            .map_err(|_| "an answer begins to arrive".to_owned())?
            .map_err(text)?;
        let Turn::Message(came, _) = hear(c.as_mut()).await? else {
            return Err("a message whose body flows is heard as a message".into());
        };
        ensure(came.body == body, "a body that flows arrives as it left, both ways")?;
        let read = came.body.read().ok_or("a body that flowed is readable")?;
        ensure(digest_of(read).await? == (body.len(), body.digest()), "and reads as it was")?;
        ensure(
            (&came.header, &came.secrets, &came.statuses) == (&sent.header, &sent.secrets, &sent.statuses),
            "with every other part of its message",
        )?;
        ensure(matches!(hear(c.as_mut()).await?, Turn::Recorded(_)), "and the turns after it")?;
    }
    breaking(link, node).await
}

async fn breaking(link: &dyn PeerLink, node: &NodeEntry) -> Check {
    let mut c = link.open(node).await.map_err(text)?;
    let refused = c.begin(beginning(b"refuse", Some(FLOWING)), pieces(FLOWING)).await.map_err(text)?;
    ensure(refused.is_none(), "a body that nobody wants is not sent to its end")?;
    ensure(
        matches!(hear(c.as_mut()).await?, Turn::Fault(fault) if fault == the_fault()),
        "and the fault says why",
    )?;
    let mut c = link.open(node).await.map_err(text)?;
    let broken = c.begin(beginning(b"flow", Some(FLOWING)), pieces_then_fault()).await;
    ensure(
        broken == Err(Interrupted::Source(the_fault())),
        "a body that breaks off at its source is known as such",
    )?;
    drop(c);
    let mut c = link.open(node).await.map_err(text)?;
    let long = c.begin(beginning(b"flow", None), pieces(LIMIT + 1)).await;
    let told = match long {
        Ok(None) => Some(hear(c.as_mut()).await?),
        _ => None,
    };
    ensure(
        matches!(told, Some(Turn::Fault(fault)) if fault.code == FaultCode::TooLarge),
        "a body of unknown length that becomes too long is refused as TOO_LARGE",
    )?;
    let mut c = link.open(node).await.map_err(text)?;
    say(c.as_mut(), turn(&message(b"break", 0))).await?;
    say(c.as_mut(), Turn::Recorded(leaf(1))).await?;
    let Turn::Message(refusal, _) = hear(c.as_mut()).await? else {
        return Err("an answer that breaks off can end in a refusal".into());
    };
    ensure(refusal.body.len() == 9, "which is heard in its place")
}

async fn peers(link: &dyn PeerLink, node: &NodeEntry, provider: &Scripted) -> Check {
    let c = link.open(node).await.map_err(text)?;
    ensure(
        node.auth_certificates.contains(&c.peer().fingerprint()),
        "the consumer's end knows the node's certificate before anything is said",
    )?;
    let seen = provider.peer.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    let seen = seen.ok_or("the provider's end knows its peer")?;
    ensure(seen.fingerprint() != c.peer().fingerprint(), "each end knows the other, not itself")
}

async fn faults(link: &dyn PeerLink, node: &NodeEntry) -> Check {
    for (header, length) in [(b"fault".as_slice(), 0), (b"refuse", 0), (b"refuse", BIG)] {
        let mut c = link.open(node).await.map_err(text)?;
        say(c.as_mut(), turn(&message(header, length))).await?;
        match hear(c.as_mut()).await? {
            Turn::Fault(fault) if fault == the_fault() => {}
            _ => return Err("a fault arrives whole, also the early one for a body that nobody wants".into()),
        }
    }
    Ok(())
}

async fn dropping(link: &dyn PeerLink, node: &NodeEntry, provider: &Scripted) -> Check {
    let mut c = link.open(node).await.map_err(text)?;
    say(c.as_mut(), turn(&message(b"wait", 0))).await?;
    drop(c);
    ensure(provider.next().await? == Heard::Cancel, "dropping a conversation before its end says `cancel`")?;
    let mut c = link.open(node).await.map_err(text)?;
    say(c.as_mut(), turn(&message(b"wait", 0))).await?;
    say(c.as_mut(), Turn::Cancel).await?;
    ensure(provider.next().await? == Heard::Cancel, "`cancel` is heard as said")?;
    let mut c = link.open(node).await.map_err(text)?;
    say(c.as_mut(), turn(&message(b"wait", 0))).await?;
    say(c.as_mut(), Turn::Recorded(leaf(5))).await?;
    ensure(provider.next().await? == Heard::Leaf(leaf(5)), "what was said before dropping is heard first")
}

/// Conversations may begin to speak in another order than they were opened in.
async fn order_of_beginning(link: &dyn PeerLink, node: &NodeEntry) -> Check {
    let mut opened = Vec::new();
    for _ in 0..8 {
        opened.push(link.open(node).await.map_err(text)?);
    }
    drop(opened.remove(3));
    for mut c in opened.into_iter().rev() {
        echo_on(c.as_mut(), 10)
            .await
            .map_err(|e| format!("conversations may begin in any order, whichever was opened first: {e}"))?;
    }
    Ok(())
}

/// One that is not read does not hold up the others.
async fn idle_ones(link: &dyn PeerLink, node: &NodeEntry) -> Check {
    let mut idle = Vec::new();
    for _ in 0..8 {
        let mut c = link.open(node).await.map_err(text)?;
        say(c.as_mut(), turn(&message(b"echo", 10))).await?;
        say(c.as_mut(), Turn::Recorded(leaf(1))).await?;
        idle.push(c);
    }
    for _ in 0..8 {
        echo(link, node, 10)
            .await
            .map_err(|e| format!("a conversation that is not read holds up no other: {e}"))?;
    }
    for mut c in idle {
        ensure(
            matches!(hear(c.as_mut()).await?, Turn::Message(..)),
            "what came for an idle conversation is still there",
        )?;
    }
    Ok(())
}

async fn outcomes(link: &dyn PeerLink, node: &NodeEntry) -> Check {
    let id = MessageId::new(Timestamp::from_millis(1_800_000_000_000), [1; 10]);
    let ask = |first: u8| async move {
        let asked = timeout(PATIENCE, link.outcome(node, id, Digest([first; 32]))).await;
        asked.map_err(|_| "an outcome is told".to_owned())
    };
    ensure(matches!(ask(0).await?, Ok((PastOutcome::Never, _))), "Never is told as Never")?;
    ensure(matches!(ask(1).await?, Ok((PastOutcome::Open, _))), "Open is told as Open")?;
    for (first, length) in [(2, 3), (3, BIG)] {
        let Ok((PastOutcome::Answered(parts, told), peer)) = ask(first).await? else {
            return Err("a past answer is told, also one with a big body".into());
        };
        ensure(same(&parts, &message(b"past", length)), "a past answer arrives as it was")?;
        ensure(told == leaf(u64::from(first)), "with its leaf")?;
        ensure(node.auth_certificates.contains(&peer.fingerprint()), "and with who told it")?;
    }
    for (first, on_record) in [(4, None), (5, Some(named()))] {
        let Ok((PastOutcome::Lost(fault, told), peer)) = ask(first).await? else {
            return Err("an answer that cannot be given again is told as such".into());
        };
        ensure(
            fault == lost() && told == on_record,
            "with the fault, and which answer it was where that is said",
        )?;
        ensure(node.auth_certificates.contains(&peer.fingerprint()), "and with who told it")?;
    }
    ensure(matches!(ask(9).await?, Err(LinkError::Broken(_))), "a fault is told as Broken")
}
