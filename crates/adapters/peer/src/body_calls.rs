//! The consumer's end of big bodies: `Send` and `Fetch`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{timeout, timeout_at};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use truc_exchange::ports::{Interrupted, LinkError};
use truc_message::{Body, BodyStream, WHOLE_BODY};
use truc_model::{Digester, Fingerprint};
use truc_wire::peer as wire;
use truc_wire::peer::peer_client::PeerClient;

use crate::CHUNK;
use crate::bodies::Ticket;
use crate::intake::{Intake, NotTaken, PROGRESS};
use crate::link::status_text;

/// Chunks on their way from the body's source to the connection.
const CHUNKS: usize = 2;

/// How long the last chunks may take to arrive and be acknowledged; that they move is watched at the other end.
const ACKNOWLEDGED: Duration = Duration::from_secs(120);

/// Bodies beyond memory that flow from one node at once; what is smaller always finds a stream beside them.
pub(crate) const FLOWS: usize = 32;

/// Carries big bodies over the connection that an exchange runs on.
pub(crate) struct BodyCalls {
    pub(crate) client: PeerClient<Channel>,
    pub(crate) intake: Intake,
    pub(crate) peer: Fingerprint,
    /// One permit for each body beyond memory that flows over this connection.
    pub(crate) flows: Arc<Semaphore>,
}

fn broken(error: NotTaken) -> LinkError {
    LinkError::Broken(error.to_string())
}

impl BodyCalls {
    /// Sends a big body under `ticket`, as it comes. How long it takes is the source's to bound; each chunk must be taken
    /// in time.
    pub(crate) async fn send(&self, ticket: Ticket, pieces: BodyStream) -> Result<Digester, Interrupted> {
        let (chunks, outgoing) = mpsc::channel(CHUNKS);
        let (done, whole) = oneshot::channel();
        let mut client = self.client.clone();
        let feeding = async {
            let digester = feed(ticket, pieces, chunks).await?;
            let _gone_already = done.send(());
            Ok(digester)
        };
        let calling = async {
            let reply = tokio::select! {
                reply = client.send(ReceiverStream::new(outgoing)) => reply,
                () = some_time_after(whole) => return Err(LinkError::Broken("the body was not acknowledged".into()).into()),
            };
            let reply = reply.map_err(|s| LinkError::Broken(status_text(&s)))?;
            Ok::<u64, Interrupted>(reply.into_inner().length)
        };
        let (digester, taken) = tokio::try_join!(feeding, calling)?;
        if taken == digester.length() {
            Ok(digester)
        } else {
            Err(LinkError::Broken("the body was taken in part".into()).into())
        }
    }

    /// Fetches a big body under `ticket`.
    pub(crate) async fn fetch(&self, ticket: Ticket, announced: Option<u64>) -> Result<Body, LinkError> {
        let _flow = match announced {
            Some(length) if length <= WHOLE_BODY => None,
            _ => {
                let free = timeout(PROGRESS, Arc::clone(&self.flows).acquire_owned()).await;
                Some(free.map_err(|_| broken(NotTaken::Busy))?.map_err(|_| broken(NotTaken::Busy))?)
            }
        };
        let mut taking = self.intake.begin(self.peer, announced, u64::MAX).await.map_err(broken)?;
        let request = wire::FetchRequest { ticket: Bytes::copy_from_slice(&ticket) };
        let reply = timeout(PROGRESS, self.client.clone().fetch(request)).await;
        let reply = reply.map_err(|_| broken(NotTaken::Late))?;
        let mut chunks = reply.map_err(|s| LinkError::Broken(status_text(&s)))?.into_inner();
        loop {
            let chunk = timeout_at(taking.patience(), chunks.message()).await;
            let chunk = chunk.map_err(|_| broken(NotTaken::Late))?;
            match chunk.map_err(|s| LinkError::Broken(status_text(&s)))? {
                Some(chunk) => taking.push(chunk.bytes).await.map_err(broken)?,
                None => return taking.whole().await.map_err(broken),
            }
        }
    }
}

/// Ends some time after `event`, and never without it.
async fn some_time_after(event: oneshot::Receiver<()>) {
    match event.await {
        Ok(()) => tokio::time::sleep(ACKNOWLEDGED).await,
        Err(_) => std::future::pending().await,
    }
}

/// Cuts pieces into chunks; the ticket stands on the first, which may be empty.
async fn feed(
    ticket: Ticket,
    mut pieces: BodyStream,
    chunks: mpsc::Sender<wire::BodyChunk>,
) -> Result<Digester, Interrupted> {
    let mut digester = Digester::default();
    let mut ticket = Bytes::copy_from_slice(&ticket);
    let mut piece = Bytes::new();
    loop {
        let bytes = piece.split_to(piece.len().min(CHUNK));
        if !bytes.is_empty() || !ticket.is_empty() {
            digester.update(&bytes);
            let chunk = wire::BodyChunk { ticket: std::mem::take(&mut ticket), bytes };
            let taken = timeout(PROGRESS, chunks.send(chunk)).await;
            let not_taken = || LinkError::Broken("the peer does not take the body".into());
            taken.map_err(|_| not_taken())?.map_err(|_| not_taken())?;
        }
        while piece.is_empty() {
            match pieces.next().await {
                Some(next) => piece = next.map_err(Interrupted::Source)?,
                None => return Ok(digester),
            }
        }
    }
}

/// Cuts a body into chunks; the ticket stands on the first.
pub(crate) fn chunks_of(ticket: Ticket, body: Bytes) -> Vec<wire::BodyChunk> {
    let mut chunks = Vec::with_capacity(body.len() / CHUNK + 1);
    let mut at = 0;
    while at < body.len() {
        let end = body.len().min(at + CHUNK);
        let ticket = if at == 0 { Bytes::copy_from_slice(&ticket) } else { Bytes::new() };
        chunks.push(wire::BodyChunk { ticket, bytes: body.slice(at..end) });
        at = end;
    }
    chunks
}
