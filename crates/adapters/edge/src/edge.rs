//! One request, from its head to its answer.

use std::convert::Infallible;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response, Version};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use truc_directory::Directory;
use truc_exchange::ports::ConsumerSide;
use truc_exchange::{Draft, DraftBody, Failed, Reply};
use truc_message::{CanonicalPath, CanonicalQuery};
use truc_model::{Clock, Fault, FaultCode, MessageId, ServiceId};

use crate::body::{CallerBody, Read};
use crate::codes::Codes;
use crate::config::EdgeConfig;
use crate::connection::{Caller, ClientConnections};
use crate::fault_response::{self, Wish};
use crate::reply::{self, Asked, ReplyBody};
use crate::signed_documents::{self, EdgeEvidence};
use crate::target::{Target, encode};
use crate::{body, fields, list_clients, target};

/// Where the edge finds the directory in force, for `listClients` and old agency codes.
pub trait EdgeDirectory: Send + Sync {
    /// The directory in force; `None` while the node has none yet.
    fn current(&self) -> Option<Arc<Directory>>;
}

/// Calls at once whose bodies are too big for memory; as many as flow to one other node at once.
pub(crate) const FLOWS: usize = 32;

/// What every request at this door shares.
pub(crate) struct Edge {
    pub(crate) consumer: Arc<dyn ConsumerSide>,
    pub(crate) directory: Arc<dyn EdgeDirectory>,
    pub(crate) evidence: Arc<dyn EdgeEvidence>,
    /// How each subsystem's information system must be connected.
    pub(crate) connections: Arc<ArcSwap<ClientConnections>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) config: EdgeConfig,
    /// One permit per byte of bodies being read.
    pub(crate) bodies: Arc<Semaphore>,
    /// One permit per call under way.
    pub(crate) calls: Arc<Semaphore>,
    /// One permit per call whose body flows instead: it may take hours.
    pub(crate) flows: Arc<Semaphore>,
    /// One permit per request for signed documents under way.
    pub(crate) documents: Arc<Semaphore>,
    /// Connections and calls, so that the stop can wait for them.
    pub(crate) tasks: TaskTracker,
    /// Cuts what has not ended when the time to drain is over.
    pub(crate) halt: CancellationToken,
}

/// A call's address, parsed.
struct Address {
    service: ServiceId,
    path: CanonicalPath,
    query: Option<CanonicalQuery>,
}

fn unsent(fault: Fault) -> Failed {
    Failed { request: None, fault }
}

impl Edge {
    /// Answers one request; every failure is an answer too.
    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Result<Response<ReplyBody>, Infallible> {
        let (head, incoming) = request.into_parts();
        let mut body = CallerBody::new(incoming);
        let wish = Wish::of(&head.method, &head.headers);
        Ok(match self.handle(&head, &mut body, wish).await {
            Ok(response) => response,
            Err(failed) => {
                if let Some(rest) = body.rest(&head.headers) {
                    self.tasks.spawn(body::discard(rest));
                }
                self.refuse(&failed, wish).map(Either::Left)
            }
        })
    }

    async fn handle(
        &self,
        head: &Parts,
        body: &mut CallerBody,
        wish: Wish,
    ) -> Result<Response<ReplyBody>, Failed> {
        match target::parse(&head.method, &head.uri).map_err(unsent)? {
            Target::ListClients { instance } => {
                let listed = self.list_clients(instance.as_deref(), wish).map_err(unsent)?;
                Ok(listed.map(Either::Left))
            }
            Target::SignedDocuments => Ok(signed_documents::answer(self, head).await.map(Either::Left)),
            Target::Call { service, path, query } => {
                let codes = self.codes();
                self.admit(head, &codes).map_err(unsent)?;
                self.call(head, body, Address { service, path, query }, codes).await
            }
        }
    }

    /// Old agency codes as the directory of this moment reads them.
    pub(crate) fn codes(&self) -> Codes {
        Codes(self.directory.current())
    }

    /// The caller's connection must be the one set for the subsystem that it names.
    fn admit(&self, head: &Parts, codes: &Codes) -> Result<(), Fault> {
        let client = codes.client(fields::client(&head.headers)?)?;
        self.connections.load().judge(&client, &Caller::of(&head.extensions))
    }

    fn list_clients(&self, instance: Option<&str>, wish: Wish) -> Result<Response<Full<Bytes>>, Fault> {
        let none =
            || Fault::consumer(FaultCode::DirectoryExpired, "listClients: this node has no directory yet");
        let directory = self.directory.current().ok_or_else(none)?;
        list_clients::answer(&directory, instance, self.clock.now(), wish)
    }

    async fn call(
        &self,
        head: &Parts,
        body: &mut CallerBody,
        address: Address,
        codes: Codes,
    ) -> Result<Response<ReplyBody>, Failed> {
        let split_cookies = head.version >= Version::HTTP_2;
        let mut taken = fields::take(&head.headers, split_cookies).map_err(unsent)?;
        // The request hash is the caller's to compute, so it keeps the address as the caller wrote it.
        let target = hashed_target(&address);
        let client = codes.client(taken.client).map_err(unsent)?;
        let service = codes.service(address.service).map_err(unsent)?;
        taken.context.target = taken.context.target.map(|n| codes.node(n)).transpose().map_err(unsent)?;
        drop(codes);
        let Read { body, hash } =
            body.read(&self.config, &self.bodies, &head.headers).await.map_err(unsent)?;
        // Only now: slow bodies must not use up the calls. Those that flow have places of their own.
        let permit = self.permit(&body).map_err(unsent)?;
        let method = head.method.as_str().to_owned();
        let asked = Asked {
            client: client.clone(),
            service: service.clone(),
            own_id: taken.context.client_message_id.clone(),
            method: method.clone(),
            target,
            surviving: taken.surviving,
            body: hash,
        };
        let draft = Draft {
            client,
            service,
            method,
            path: address.path,
            query: address.query,
            headers: taken.forwarded,
            media_type: taken.media_type,
            body,
            context: taken.context,
        };
        let reply = self.carry_out(draft, permit).await?;
        Ok(reply::render(reply, &asked))
    }

    fn permit(&self, body: &DraftBody) -> Result<OwnedSemaphorePermit, Fault> {
        let (places, all, what) = match body {
            DraftBody::Whole(_) => (&self.calls, self.config.max_calls, "calls are under way at the edge"),
            DraftBody::Coming { .. } => {
                (&self.flows, FLOWS, "bodies of more than 10 MiB flow through the edge")
            }
        };
        let full = |_| body::busy(format!("{all} {what}, the most it takes at once"));
        Arc::clone(places).try_acquire_owned().map_err(full)
    }

    /// Runs the exchange as a task of its own: a caller that hangs up must not cut it in the middle.
    async fn carry_out(&self, draft: Draft, permit: OwnedSemaphorePermit) -> Result<Reply, Failed> {
        let consumer = Arc::clone(&self.consumer);
        let halt = self.halt.clone();
        let task = self.tasks.spawn(async move {
            let _under_way = permit;
            let cut = |why: &str| unsent(Fault::consumer(FaultCode::OutcomeUnknown, why));
            tokio::select! {
                biased;
                outcome = consumer.call(draft) => outcome,
                () = halt.cancelled() => Err(cut("the node stopped before the exchange had ended")),
            }
        });
        let died =
            |e| unsent(Fault::consumer(FaultCode::Internal, format!("the task of the exchange died: {e}")));
        task.await.unwrap_or_else(|e| Err(died(e)))
    }

    fn refuse(&self, failed: &Failed, wish: Wish) -> Response<Full<Bytes>> {
        let trace = failed.request.unwrap_or_else(|| self.fresh_id()).to_string();
        let fault = &failed.fault;
        let status = fault.code.http_status();
        if status >= 500 {
            tracing::warn!(trace, code = %fault.code, kind = fault.x_road_type(), status, detail = fault.detail, "call failed");
        } else {
            tracing::info!(trace, code = %fault.code, kind = fault.x_road_type(), status, detail = fault.detail, "call refused");
        }
        fault_response::render(fault, failed.request, &trace, wish)
    }

    /// An id to find a failure in the log by; names no exchange.
    fn fresh_id(&self) -> MessageId {
        let mut random = [0; 10];
        // Without randomness the id is still of this millisecond, which is enough to find a log line.
        let _weak = SystemRandom::new().fill(&mut random);
        MessageId::new(self.clock.now(), random)
    }
}

/// The request line's target as the request hash has it.
fn hashed_target(address: &Address) -> String {
    let mut target = format!("/r1/{}{}", encode(address.service.as_str()), address.path.as_str());
    if let Some(query) = &address.query {
        target.push('?');
        target.push_str(query.as_str());
    }
    target
}
