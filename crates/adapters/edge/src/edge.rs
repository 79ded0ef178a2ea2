//! One request, from its head to its answer.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response, Version};
use http_body_util::Full;
use hyper::body::Incoming;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use truc_directory::Directory;
use truc_exchange::ports::ConsumerSide;
use truc_exchange::{Draft, Failed, Reply};
use truc_message::{CanonicalPath, CanonicalQuery};
use truc_model::{Clock, Fault, FaultCode, MessageId, ServiceId};

use crate::config::EdgeConfig;
use crate::fault_response::{self, Wish};
use crate::reply::{self, Asked};
use crate::target::{Target, encode};
use crate::{body, fields, list_clients, target};

/// Where the edge finds the directory in force, for `listClients`.
pub trait EdgeDirectory: Send + Sync {
    /// The directory in force; `None` while the node has none yet.
    fn current(&self) -> Option<Arc<Directory>>;
}

/// What every request at this door shares.
pub(crate) struct Edge {
    pub(crate) consumer: Arc<dyn ConsumerSide>,
    pub(crate) directory: Arc<dyn EdgeDirectory>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) config: EdgeConfig,
    /// One permit per byte of bodies being read.
    pub(crate) bodies: Semaphore,
    /// One permit per call under way.
    pub(crate) calls: Arc<Semaphore>,
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
    pub(crate) async fn answer(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let (head, mut incoming) = request.into_parts();
        let wish = Wish::of(&head.method, &head.headers);
        Ok(match self.handle(&head, &mut incoming, wish).await {
            Ok(response) => response,
            Err(failed) => {
                let EdgeConfig { body_limit, body_timeout, .. } = self.config;
                body::discard(&mut incoming, &head.headers, body_limit, body_timeout).await;
                self.refuse(&failed, wish)
            }
        })
    }

    async fn handle(
        &self,
        head: &Parts,
        incoming: &mut Incoming,
        wish: Wish,
    ) -> Result<Response<Full<Bytes>>, Failed> {
        match target::parse(&head.method, &head.uri).map_err(unsent)? {
            Target::ListClients { instance } => self.list_clients(instance.as_deref(), wish).map_err(unsent),
            Target::Call { service, path, query } => {
                self.call(head, incoming, Address { service, path, query }).await
            }
        }
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
        incoming: &mut Incoming,
        address: Address,
    ) -> Result<Response<Full<Bytes>>, Failed> {
        let split_cookies = head.version >= Version::HTTP_2;
        let taken = fields::take(&head.headers, split_cookies).map_err(unsent)?;
        let (bytes, room) = body::read(incoming, &self.config, &self.bodies).await.map_err(unsent)?;
        // Only now: slow bodies must not use up the calls.
        let permit = self.permit().map_err(unsent)?;
        drop(room);
        let (body, body_hash) = body::digest(bytes).await.map_err(unsent)?;
        let method = head.method.as_str().to_owned();
        let asked = Asked {
            client: taken.client.clone(),
            service: address.service.clone(),
            own_id: taken.context.client_message_id.clone(),
            method: method.clone(),
            target: hashed_target(&address),
            surviving: taken.surviving,
            body: body_hash,
        };
        let draft = Draft {
            client: taken.client,
            service: address.service,
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

    fn permit(&self) -> Result<OwnedSemaphorePermit, Fault> {
        let full = |_| {
            let detail = format!("{} calls are under way at the edge, its max-calls", self.config.max_calls);
            body::busy(detail)
        };
        Arc::clone(&self.calls).try_acquire_owned().map_err(full)
    }

    /// Runs the exchange as a task of its own: a caller that hangs up must not cut it in the middle.
    async fn carry_out(&self, draft: Draft, permit: OwnedSemaphorePermit) -> Result<Reply, Failed> {
        let consumer = Arc::clone(&self.consumer);
        let halt = self.halt.clone();
        let backstop = self.config.call_backstop;
        let task = self.tasks.spawn(async move {
            let _under_way = permit;
            let cut = |why: &str| unsent(Fault::consumer(FaultCode::OutcomeUnknown, why));
            tokio::select! {
                biased;
                outcome = consumer.call(draft) => outcome,
                () = halt.cancelled() => Err(cut("the node stopped before the exchange had ended")),
                () = tokio::time::sleep(backstop) => Err(cut("the exchange outlived every deadline: report this")),
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
