//! The services behind the providing nodes: they count what they do and check what they are given.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use truc_evidence::{RecordKind, Recorded, Role};
use truc_exchange::ports::{AnswerBody, ServiceAnswer, ServiceDoor, ServiceFailure};
use truc_message::Body;
use truc_model::MessageId;
use truc_policy::{Admitted, ServiceDefinition, SideEffectFree};
use truc_trust::{Request, Verified};

use crate::disk::name_of;
use crate::plan::BodyPlan;
use crate::world::{Execution, World};

/// Bytes of one piece of a flowing body, and how long the next one takes.
const PIECE: usize = 100 * 1000;
const PAUSE: Duration = Duration::from_millis(2);

/// The pieces of a body, one after the other.
pub(crate) fn pieces<E: Send + 'static>(
    body: BodyPlan,
) -> futures::stream::BoxStream<'static, Result<Bytes, E>> {
    let piece = Bytes::from(vec![body.octet; PIECE.min(body.length)]);
    stream::unfold(body.length, move |left| {
        let piece = piece.slice(..left.min(PIECE));
        async move {
            if left == 0 {
                return None;
            }
            tokio::time::sleep(PAUSE).await;
            let rest = left - piece.len();
            Some((Ok(piece), rest))
        }
    })
    .boxed()
}

/// The whole body, with its digest.
pub(crate) fn whole(body: BodyPlan) -> Bytes {
    Bytes::from(vec![body.octet; body.length])
}

/// Whether these are the bytes that were planned.
pub(crate) fn is(body: &Body, planned: BodyPlan) -> bool {
    *body == Body::new(whole(planned))
}

/// The door to the services of one node.
pub(crate) struct Services {
    pub(crate) node: usize,
    pub(crate) world: Arc<World>,
}

impl Services {
    /// P4.3: both nodes hold the request when a service begins.
    fn both_have_recorded(&self, request: MessageId, consumer: usize) -> bool {
        let holds = |node: usize, role: Role| {
            let records = self.world.exchange(node, request);
            records.iter().any(|r| r.kind == RecordKind::Request && r.local.role == role)
        };
        holds(self.node, Role::Provider) && holds(consumer, Role::Consumer)
    }
}

#[async_trait]
impl ServiceDoor for Services {
    async fn call(
        &self,
        request: &Recorded<Admitted<Verified<Request>>>,
    ) -> Result<ServiceAnswer, ServiceFailure> {
        let sealed = &request.inner().request().message().sealed;
        let header = sealed.header();
        let (world, journal, name) = (&self.world, &self.world.journal, name_of(header));
        let number = header.client_message_id.as_deref().and_then(|id| id.strip_prefix("call-"));
        let call: usize = number.and_then(|number| number.parse().ok()).unwrap();
        let plan = world.plan.calls[call].clone();
        journal.note(format_args!("{} carries out {name}", header.to));
        world.executed().push(Execution { node: self.node, request: header.id, call, name: name.clone() });
        if !self.both_have_recorded(header.id, World::index_of(header.from.as_str())) {
            journal.violation(format_args!("{name} was carried out before both nodes had recorded it"));
        }
        if !is(sealed.body(), plan.request) {
            journal.violation(format_args!("{name} reached the service with another body"));
        }
        tokio::time::sleep(plan.takes).await;
        if plan.fails {
            return Err(ServiceFailure::Broken("planned".into()));
        }
        let body = match plan.answer.flows {
            None => AnswerBody::Whole(whole(plan.answer)),
            Some(announced) => AnswerBody::Coming {
                announced: announced.then_some(plan.answer.length as u64),
                pieces: pieces(plan.answer),
            },
        };
        Ok(ServiceAnswer { status: 200, headers: Vec::new(), media_type: None, body })
    }

    async fn look(
        &self,
        _request: &SideEffectFree<Verified<Request>>,
    ) -> Result<ServiceAnswer, ServiceFailure> {
        Err(ServiceFailure::Broken("no service here is free of side effects".into()))
    }

    async fn description(&self, _service: &ServiceDefinition) -> Result<ServiceAnswer, ServiceFailure> {
        Err(ServiceFailure::Description("there is none".into()))
    }
}
