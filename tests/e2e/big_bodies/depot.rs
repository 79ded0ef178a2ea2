//! A service that takes and gives big bodies, as slowly as it is told.

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use truc_model::{Digest, Digester};

use super::source::Source;

/// The service's state, as the tests see it.
#[derive(Default)]
pub(crate) struct Seen {
    /// Calls so far.
    pub(crate) calls: u32,
}

/// The running service.
pub(crate) struct Depot {
    pub(crate) url: String,
    pub(crate) seen: Arc<Mutex<Seen>>,
    /// `true` lets what is held go on.
    pub(crate) go: watch::Sender<bool>,
}

impl Depot {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (go, wait) = watch::channel(false);
        let seen = Arc::<Mutex<Seen>>::default();
        let counted = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (wait, seen) = (wait.clone(), Arc::clone(&counted));
                let service = service_fn(move |request| {
                    seen.lock().unwrap().calls += 1;
                    let wait = wait.clone();
                    async move { Ok::<_, Infallible>(answer(request, wait).await) }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { url, seen, go }
    }

    pub(crate) fn calls(&self) -> u32 {
        self.seen.lock().unwrap().calls
    }
}

type Answer = Response<UnsyncBoxBody<Bytes, io::Error>>;

fn whole(text: String) -> UnsyncBoxBody<Bytes, io::Error> {
    Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync()
}

/// `/take` tells length and digest of what it got; `/take/hold` reads only when it may go on. `/give/N` gives N bytes, a
/// part of them for `Range`; `/chunked/N` does not say how many; `/stuck/N` says more than it gives. `/swap/N` does both.
async fn answer(request: Request<Incoming>, mut wait: watch::Receiver<bool>) -> Answer {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let number = path.rsplit('/').next().and_then(|n| n.parse().ok()).unwrap_or(0);
    if path == "/take/hold" {
        drop(wait.wait_for(|go| *go).await);
    }
    let took = take(body).await;
    let told =
        took.map(|(length, digest)| json!({"length": length, "sha256": digest.to_string()}).to_string());
    let builder = Response::builder().header("x-took", told.clone().unwrap_or_default());
    let body = match path.split('/').nth(1) {
        Some("give") => match head.headers.get("range").and_then(|v| range(v.to_str().ok()?)) {
            Some((from, last)) => {
                let told = format!("bytes {from}-{last}/{number}");
                let part = Source::between(from, last + 1).boxed_unsync();
                return builder.status(206).header("content-range", told).body(part).unwrap();
            }
            None => Source::of(number).boxed_unsync(),
        },
        Some("chunked" | "swap") => Source::of(number).unannounced().boxed_unsync(),
        Some("stuck") => Source::of(number).held_after(number / 2).0.boxed_unsync(),
        _ => whole(told.unwrap_or_default()),
    };
    builder.body(body).unwrap()
}

async fn take(mut body: Incoming) -> Option<(u64, Digest)> {
    let mut digester = Digester::default();
    while let Some(frame) = body.frame().await {
        if let Some(data) = frame.ok()?.data_ref() {
            digester.update(data);
        }
    }
    Some((digester.length(), digester.finish()))
}

fn range(text: &str) -> Option<(u64, u64)> {
    let (from, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    Some((from.parse().ok()?, last.parse().ok()?))
}
