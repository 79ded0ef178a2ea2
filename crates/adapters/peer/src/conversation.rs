//! One exchange on a shared stream: turns in the flow's words over frames on the wire.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::timeout;
use truc_exchange::ports::{Conversation, LinkError, ProviderSide, Turn};
use truc_message::{Parts, Peer};
use truc_model::Timestamp;
use truc_wire::peer as wire;
use truc_wire::peer::frame::Kind;

use crate::bodies::{Bodies, PROGRESS, Ticket, new_ticket};
use crate::convert::{
    BadFrame, fault_from_wire, fault_to_wire, frame, leaf_from_wire, leaf_to_wire, open_to_wire,
    parts_from_wire, signature_from_wire, signature_to_wire, whole_from_wire, whole_to_wire,
};
use crate::link::BodyCalls;
use crate::stream::Arrived;
use crate::{SAY_DEADLINE, SMALL_BODY};

/// Which end this is; the ends move big bodies and look at header frames differently.
pub(crate) enum End {
    /// The consumer's node: it calls `Send` and `Fetch`.
    Consumer(BodyCalls),
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
    /// A frame that came while a body was still on its way; heard next.
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
        if is_refusal(parts) && body.len() <= SMALL_BODY {
            return self.write(Kind::Refusal(whole_to_wire(parts))).await;
        }
        self.write(Kind::Open(open_to_wire(parts))).await?;
        if body.len() > SMALL_BODY {
            self.hand_over_body(body.clone()).await?;
            // The peer has ended the exchange; what it said is heard next.
            if self.early.is_some() {
                return Ok(());
            }
        } else if !body.is_empty() {
            self.write(Kind::Data(wire::Data { bytes: body.clone() })).await?;
        }
        self.write(Kind::Signature(signature_to_wire(&parts.signature))).await
    }

    /// A peer that refuses by the header alone says so before it has the body: then the rest of it is not sent.
    async fn hand_over_body(&mut self, body: Bytes) -> Result<(), LinkError> {
        let ticket = match &self.end {
            End::Consumer(_) => new_ticket(),
            End::Provider(bodies, _) => bodies.offer(self.peer.fingerprint(), body.clone()),
        };
        let ticket = ticket.ok_or(LinkError::Busy)?;
        self.write(Kind::Ticket(wire::Ticket { ticket: Bytes::copy_from_slice(&ticket) })).await?;
        match &self.end {
            End::Consumer(calls) => tokio::select! {
                biased;
                arrived = self.frames.recv() => {
                    self.early = Some(arrived.ok_or_else(stream_ended)?);
                    Ok(())
                }
                sent = calls.send(ticket, body) => sent,
            },
            End::Provider(..) => Ok(()),
        }
    }

    /// Hears the rest of a message whose `open` frame has come.
    async fn hear_message(&mut self, open: wire::Open, at: Timestamp) -> Result<Turn, LinkError> {
        if let End::Provider(_, provider) = &self.end
            && let Err(fault) = provider.early(&self.peer, &open.header, open.body_length, at)
        {
            return Ok(Turn::Fault(fault));
        }
        let body = if open.body_length > SMALL_BODY as u64 {
            self.hear_big_body(open.body_length).await?
        } else {
            self.hear_small_body(open.body_length).await?
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

    async fn hear_big_body(&mut self, length: u64) -> Result<Bytes, LinkError> {
        let Kind::Ticket(ticket) = self.read_on().await?.kind else { return Err(broken(BadFrame::Order)) };
        let ticket: Ticket = ticket.ticket.as_ref().try_into().map_err(|_| broken(BadFrame::Digest))?;
        match &self.end {
            End::Consumer(calls) => calls.fetch(ticket, length).await,
            End::Provider(bodies, _) => {
                let waiting = bodies.want(ticket, self.peer.fingerprint(), length);
                tokio::select! {
                    biased;
                    body = waiting.body(length) => {
                        body.ok_or_else(|| LinkError::Broken("the body did not come".into()))
                    }
                    // Nothing but the end of the exchange comes before the body is here.
                    _ = self.frames.recv() => Err(LinkError::Broken("the consumer's node gave up".into())),
                }
            }
        }
    }
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
