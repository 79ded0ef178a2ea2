//! The information systems behind a node: one closure per service.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use truc_evidence::Recorded;
use truc_exchange::ports::{ServiceAnswer, ServiceDoor, ServiceFailure};
use truc_message::{Header, reveal};
use truc_model::ServiceId;
use truc_policy::{Admitted, ServiceDefinition, SideEffectFree};
use truc_trust::{Request, Verified};

/// What a service is asked.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The request's header.
    pub header: Header,
    /// Header fields with the secrets in clear.
    pub fields: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Bytes,
}

type Handler = Arc<dyn Fn(Asked) -> BoxFuture<'static, Result<ServiceAnswer, ServiceFailure>> + Send + Sync>;

#[derive(Default)]
struct Behind {
    handlers: HashMap<ServiceId, Handler>,
    calls: Vec<Asked>,
}

/// A [`ServiceDoor`] without a network. A service without a closure answers 200 with the body it got.
#[derive(Default)]
pub struct Services {
    behind: Mutex<Behind>,
}

/// An answer of JSON.
pub fn json(status: u16, text: &str) -> ServiceAnswer {
    ServiceAnswer {
        status,
        headers: Vec::new(),
        media_type: Some("application/json".into()),
        body: Bytes::copy_from_slice(text.as_bytes()).into(),
    }
}

impl Services {
    fn behind(&self) -> MutexGuard<'_, Behind> {
        self.behind.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts `handler` behind the service.
    pub fn on<F, A>(&self, service: &str, handler: F)
    where
        F: Fn(Asked) -> A + Send + Sync + 'static,
        A: Future<Output = Result<ServiceAnswer, ServiceFailure>> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |asked| handler(asked).boxed());
        self.behind().handlers.insert(service.parse().unwrap(), handler);
    }

    /// Every call so far, in order.
    pub fn calls(&self) -> Vec<Asked> {
        self.behind().calls.clone()
    }

    /// How many calls there were.
    pub fn count(&self) -> usize {
        self.behind().calls.len()
    }
}

#[async_trait]
impl ServiceDoor for Services {
    async fn call(
        &self,
        request: &Recorded<Admitted<Verified<Request>>>,
    ) -> Result<ServiceAnswer, ServiceFailure> {
        self.answer(request.inner()).await
    }

    async fn look(
        &self,
        request: &SideEffectFree<Verified<Request>>,
    ) -> Result<ServiceAnswer, ServiceFailure> {
        self.answer(request.admitted()).await
    }

    async fn description(&self, service: &ServiceDefinition) -> Result<ServiceAnswer, ServiceFailure> {
        Ok(json(200, &format!("{{\"openapi\":\"3.1.0\",\"info\":{{\"title\":\"{}\"}}}}", service.id.code())))
    }
}

impl Services {
    async fn answer(&self, request: &Admitted<Verified<Request>>) -> Result<ServiceAnswer, ServiceFailure> {
        let sealed = &request.request().message().sealed;
        let header = sealed.header().clone();
        let fields = reveal(&header.headers, sealed.secrets())
            .map_err(|error| ServiceFailure::Unreachable(error.to_string()))?;
        let asked = Asked { header, fields, body: sealed.body().bytes().cloned().unwrap_or_default() };
        let handler = {
            let mut behind = self.behind();
            behind.calls.push(asked.clone());
            behind.handlers.get(&asked.header.service).cloned()
        };
        match handler {
            Some(handler) => handler(asked).await,
            None => Ok(ServiceAnswer { body: asked.body.into(), ..json(200, "") }),
        }
    }
}
