//! One exchange on a shared stream: turns in the flow's words over frames on the wire.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use tokio::sync::mpsc;
use tokio::time::{timeout, timeout_at};
use truc_exchange::ports::{Beginning, Conversation, Interrupted, LinkError, ProviderSide, Turn};
use truc_message::{Body, BodyStream, Parts, Peer, Signature};
use truc_model::{Digester, Timestamp};
use truc_wire::peer as wire;
use truc_wire::peer::frame::Kind;

use crate::bodies::{Bodies, BrokeOff, Ticket, new_ticket};
use crate::body_calls::BodyCalls;
use crate::convert::{
    BadFrame, beginning_to_wire, fault_from_wire, fault_to_wire, frame, leaf_from_wire, leaf_to_wire,
    open_to_wire, parts_from_wire, signature_from_wire, signature_to_wire, whole_from_wire, whole_to_wire,
};
use crate::intake::{PROGRESS, Pace};
use crate::stream::Arrived;
use crate::{SAY_DEADLINE, SMALL_BODY};

/// How long after a body broke off the peer's word on it is waited for.
const LAST_WORD: Duration = Duration::from_secs(5);

/// Which end this is; the ends move big bodies and look at header frames differently.
pub(crate) enum End {
    /// The consumer's node: it calls `Send` and `Fetch`.
    Consumer(Box<BodyCalls>),
    /// The provider's node: bodies come and go by ticket, and header frames are looked at early.
    Provider(Arc<Bodies>, Arc<dyn ProviderSide>),
}

/// One exchange.
pub(crate) struct StreamConversation {
    number: u64,
    peer: Peer,
    /// What the peer presented in the handshake.
    handshake_statuses: Vec<Bytes>,
    frames: mpsc::Receiver<Arrived>,
    out: mpsc::Sender<wire::Frame>,
    end: End,
    /// A frame that has come and is heard next.
    early: Option<Arrived>,
    /// Dropping it now must tell the peer `cancel`.
    cancels: bool,
    /// Runs when the exchange is over, so that the stream forgets its number.
    forget: Box<dyn Fn() + Send + Sync>,
}

fn stream_ended() -> LinkError {
    LinkError::Broken("the stream has ended".into())
}

fn broken(error: BadFrame) -> LinkError {
    if error == BadFrame::Batch {
        return LinkError::Unsupported(error.to_string());
    }
    LinkError::Broken(error.to_string())
}

impl StreamConversation {
    pub(crate) fn new(
        number: u64,
        peer: Peer,
        handshake_statuses: Vec<Bytes>,
        frames: mpsc::Receiver<Arrived>,
        out: mpsc::Sender<wire::Frame>,
        end: End,
        forget: Box<dyn Fn() + Send + Sync>,
    ) -> Self {
        Self { number, peer, handshake_statuses, frames, out, end, early: None, cancels: false, forget }
    }

    async fn write(&self, kind: Kind) -> Result<(), LinkError> {
        match timeout(SAY_DEADLINE, self.out.send(frame(self.number, kind))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(stream_ended()),
            Err(_) => Err(LinkError::Broken("the peer does not read".into())),
        }
    }

    async fn read(&mut self) -> Result<Arrived, LinkError> {
        if let Some(early) = self.early.take() {
            return Ok(early);
        }
        self.frames.recv().await.ok_or_else(stream_ended)
    }

    /// The next frame of a message that has begun: the rest of it must keep coming.
    async fn read_on(&mut self) -> Result<Arrived, LinkError> {
        let late = |_| LinkError::Broken("the message stopped coming".into());
        timeout(PROGRESS, self.read()).await.map_err(late)?
    }

    async fn say_message(&mut self, parts: &Parts) -> Result<(), LinkError> {
        let body = parts.body.bytes();
        let body = body.ok_or_else(|| LinkError::Unsupported("this body is sent as it comes only".into()))?;
        if is_refusal(parts) && body.len() <= SMALL_BODY {
            return self.write(Kind::Refusal(whole_to_wire(parts))).await;
        }
        self.write(Kind::Open(open_to_wire(parts))).await?;
        if body.len() > SMALL_BODY {
            if !self.hand_over_whole(body.clone()).await? {
                return Ok(());
            }
        } else if !body.is_empty() {
            self.write(Kind::Data(wire::Data { bytes: body.clone() })).await?;
        }
        self.sign(&parts.signature).await
    }

    /// A peer that refuses by the header alone says so before it has the body: then the rest of it is not sent, and what
    /// it said is heard next. True when the body is handed over.
    async fn hand_over_whole(&mut self, body: Bytes) -> Result<bool, LinkError> {
        if let End::Provider(bodies, _) = &self.end {
            let ticket = bodies.offer(self.peer.fingerprint(), body).ok_or(LinkError::Busy)?;
            self.announce(ticket).await?;
            return Ok(true);
        }
        let pieces = stream::once(async move { Ok(body) }).boxed();
        match self.send_as_it_comes(pieces).await {
            Ok(sent) => Ok(sent.is_some()),
            Err(Interrupted::Link(error)) => Err(error),
            Err(Interrupted::Source(fault)) => Err(LinkError::Broken(fault.to_string())),
        }
    }

    async fn announce(&self, ticket: Ticket) -> Result<(), LinkError> {
        self.write(Kind::Ticket(wire::Ticket { ticket: Bytes::copy_from_slice(&ticket) })).await
    }

    /// Consumer's end: calls `Send`. `None` when the peer has ended the exchange.
    async fn send_as_it_comes(&mut self, pieces: BodyStream) -> Result<Option<Digester>, Interrupted> {
        let ticket = new_ticket().ok_or(LinkError::Busy)?;
        self.announce(ticket).await?;
        let End::Consumer(calls) = &self.end else { return Err(LinkError::Busy.into()) };
        let sent = tokio::select! {
            biased;
            arrived = self.frames.recv() => {
                self.early = Some(arrived.ok_or_else(stream_ended)?);
                return Ok(None);
            }
            sent = calls.send(ticket, pieces) => sent,
        };
        match sent {
            Ok(digester) => Ok(Some(digester)),
            Err(Interrupted::Source(fault)) => Err(Interrupted::Source(fault)),
            Err(Interrupted::Link(error)) => {
                // The node that would not take it says why on the shared stream.
                match timeout(LAST_WORD, self.frames.recv()).await {
                    Ok(Some(arrived)) => {
                        self.early = Some(arrived);
                        Ok(None)
                    }
                    _ => Err(error.into()),
                }
            }
        }
    }

    /// Provider's end: holds the pieces ready for `Fetch`. `None` when the peer has ended the exchange.
    async fn offer_as_it_comes(&mut self, mut pieces: BodyStream) -> Result<Option<Digester>, Interrupted> {
        let End::Provider(bodies, _) = &self.end else { return Err(LinkError::Busy.into()) };
        let (ticket, taker) = bodies.offer_flowing(self.peer.fingerprint()).ok_or(LinkError::Busy)?;
        self.announce(ticket).await?;
        let (mut digester, pace) = (Digester::default(), Pace::begin());
        let feeding = async {
            while let Some(piece) = pieces.next().await {
                let piece = match piece {
                    Ok(piece) => piece,
                    Err(fault) => {
                        let _told = timeout(LAST_WORD, taker.send(Err(BrokeOff))).await;
                        return Err(Interrupted::Source(fault));
                    }
                };
                let patience = pace.patience(digester.length());
                digester.update(&piece);
                let taken = timeout_at(patience, taker.send(Ok(piece))).await;
                let not_taken = || LinkError::Broken("the peer does not take the body".into());
                taken.map_err(|_| not_taken())?.map_err(|_| not_taken())?;
            }
            Ok(())
        };
        tokio::select! {
            biased;
            arrived = self.frames.recv() => {
                self.early = Some(arrived.ok_or_else(stream_ended)?);
                Ok(None)
            }
            fed = feeding => fed.map(|()| Some(digester)),
        }
    }

    /// Hears the rest of a message whose `open` frame has come.
    async fn hear_message(&mut self, open: wire::Open, at: Timestamp) -> Result<Turn, LinkError> {
        let announced = (!open.length_unknown).then_some(open.body_length);
        let limit = match &self.end {
            End::Provider(_, provider) => provider.early(&self.peer, &open.header, announced, at),
            End::Consumer(_) => Ok(u64::MAX),
        };
        let limit = match limit {
            Ok(limit) => limit,
            Err(fault) => return Ok(Turn::Fault(fault)),
        };
        let body = match announced {
            Some(small) if small <= SMALL_BODY as u64 => Body::new(self.hear_small_body(small).await?),
            announced => match self.hear_big_body(announced, limit).await? {
                Big::Body(body) => body,
                Big::Ended(turn) => return Ok(turn),
            },
        };
        let Kind::Signature(signature) = self.read_on().await?.kind else {
            return Err(broken(BadFrame::Order));
        };
        let signature = signature_from_wire(Some(signature)).map_err(broken)?;
        let parts = parts_from_wire(open, body, signature).map_err(broken)?;
        Ok(Turn::Message(Box::new(parts), at))
    }

    async fn hear_small_body(&mut self, length: u64) -> Result<Bytes, LinkError> {
        if length == 0 {
            return Ok(Bytes::new());
        }
        match self.read_on().await?.kind {
            Kind::Data(data) if data.bytes.len() as u64 == length => Ok(data.bytes),
            Kind::Data(_) => Err(broken(BadFrame::Length)),
            _ => Err(broken(BadFrame::Order)),
        }
    }

    async fn hear_big_body(&mut self, announced: Option<u64>, limit: u64) -> Result<Big, LinkError> {
        let Kind::Ticket(ticket) = self.read_on().await?.kind else { return Err(broken(BadFrame::Order)) };
        let ticket: Ticket = ticket.ticket.as_ref().try_into().map_err(|_| broken(BadFrame::Digest))?;
        match &self.end {
            End::Consumer(calls) => match calls.fetch(ticket, announced).await {
                Ok(body) => Ok(Big::Body(body)),
                Err(error) => self.instead_of_the_rest(error).await,
            },
            End::Provider(bodies, _) => {
                let waiting = bodies.want(ticket, self.peer.fingerprint(), announced, limit);
                tokio::select! {
                    biased;
                    body = waiting.body() => Ok(match body {
                        Ok(body) => Big::Body(body),
                        Err(not_taken) => Big::Ended(Turn::Fault(not_taken.fault())),
                    }),
                    // Nothing but the end of the exchange comes before the body is here.
                    _ = self.frames.recv() => Err(LinkError::Broken("the consumer's node gave up".into())),
                }
            }
        }
    }

    /// An answer whose body breaks off ends in a refusal or a fault in place of its signature.
    async fn instead_of_the_rest(&mut self, error: LinkError) -> Result<Big, LinkError> {
        let Ok(arrived) = timeout(LAST_WORD, self.read()).await else { return Err(error) };
        let Arrived { kind, at } = arrived?;
        match kind {
            Kind::Refusal(refusal) => {
                let parts = whole_from_wire(refusal).map_err(broken)?;
                Ok(Big::Ended(Turn::Message(Box::new(parts), at)))
            }
            Kind::Fault(fault) => {
                self.cancels = false;
                Ok(Big::Ended(Turn::Fault(fault_from_wire(fault))))
            }
            _ => Err(error),
        }
    }
}

/// What became of a big body.
enum Big {
    Body(Body),
    /// The message will not become whole; this came in its place.
    Ended(Turn),
}

/// Whether what this node sends is a refusal: its own headers begin with version and kind. Only chooses the frame.
fn is_refusal(parts: &Parts) -> bool {
    parts.header.starts_with(br#"{"v":1,"kind":"refusal""#)
}

#[async_trait]
impl Conversation for StreamConversation {
    fn peer(&self) -> &Peer {
        &self.peer
    }

    fn handshake_statuses(&self) -> &[Bytes] {
        &self.handshake_statuses
    }

    async fn say(&mut self, turn: Turn) -> Result<(), LinkError> {
        self.cancels =
            matches!(self.end, End::Consumer(_)) && matches!(turn, Turn::Message(..) | Turn::Recorded(_));
        match turn {
            Turn::Message(parts, _) => self.say_message(&parts).await,
            Turn::Recorded(leaf) => self.write(Kind::Recorded(leaf_to_wire(leaf))).await,
            Turn::Fault(fault) => self.write(Kind::Fault(fault_to_wire(&fault))).await,
            Turn::Cancel => self.write(Kind::Cancel(wire::Cancel {})).await,
        }
    }

    async fn begin(&mut self, beginning: Beginning, body: BodyStream) -> Result<Option<Body>, Interrupted> {
        self.cancels = matches!(self.end, End::Consumer(_));
        self.write(Kind::Open(beginning_to_wire(beginning))).await?;
        let sent = match self.end {
            End::Consumer(_) => self.send_as_it_comes(body).await?,
            End::Provider(..) => self.offer_as_it_comes(body).await?,
        };
        Ok(sent.map(Body::gone))
    }

    async fn sign(&mut self, signature: &Signature) -> Result<(), LinkError> {
        self.write(Kind::Signature(signature_to_wire(signature))).await
    }

    async fn ready(&mut self) -> Result<(), LinkError> {
        if self.early.is_none() {
            self.early = Some(self.frames.recv().await.ok_or_else(stream_ended)?);
        }
        Ok(())
    }

    async fn hear(&mut self) -> Result<Turn, LinkError> {
        let Arrived { kind, at } = self.read().await?;
        // These end an exchange: then there is nothing to cancel.
        if matches!(kind, Kind::Recorded(_) | Kind::Fault(_) | Kind::Cancel(_)) {
            self.cancels = false;
        }
        match kind {
            Kind::Open(open) => self.hear_message(open, at).await,
            Kind::Refusal(refusal) => {
                let parts = whole_from_wire(refusal).map_err(broken)?;
                Ok(Turn::Message(Box::new(parts), at))
            }
            Kind::Recorded(recorded) => leaf_from_wire(&recorded).map(Turn::Recorded).map_err(broken),
            Kind::Fault(fault) => Ok(Turn::Fault(fault_from_wire(fault))),
            Kind::Cancel(_) => Ok(Turn::Cancel),
            Kind::Data(_) | Kind::Signature(_) | Kind::Ticket(_) => Err(broken(BadFrame::Order)),
        }
    }
}

impl Drop for StreamConversation {
    fn drop(&mut self) {
        (self.forget)();
        // The provider's node ends an exchange by falling silent; the consumer's node says that it has gone.
        if self.cancels {
            drop(self.out.try_send(frame(self.number, Kind::Cancel(wire::Cancel {}))));
        }
    }
}
