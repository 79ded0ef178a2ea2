//! An information system that answers with what it was asked, and counts.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// How often each id was carried out.
pub(crate) type Calls = Arc<Mutex<HashMap<String, u32>>>;

pub(crate) struct Echo {
    address: SocketAddr,
    /// Calls by `X-Road-Request-Id`, the bus's own.
    pub(crate) calls: Calls,
    /// Calls by `X-Road-Id`, the caller's own.
    pub(crate) asked: Calls,
    /// Request ids since [`Echo::take_new`].
    new: Arc<Mutex<Vec<String>>>,
}

impl Echo {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let echo = Self { address, calls: Calls::default(), asked: Calls::default(), new: Arc::default() };
        let (calls, asked, new) = (Arc::clone(&echo.calls), Arc::clone(&echo.asked), Arc::clone(&echo.new));
        let count = Arc::new(move |request: &Request<Incoming>| {
            let header =
                |name| request.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or("none").to_owned();
            let id = header("x-road-request-id");
            new.lock().unwrap().push(id.clone());
            *calls.lock().unwrap().entry(id).or_default() += 1;
            *asked.lock().unwrap().entry(header("x-road-id")).or_default() += 1;
        });
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let count = Arc::clone(&count);
                tokio::spawn(async move {
                    let answer = service_fn(move |request| {
                        count(&request);
                        answer(request)
                    });
                    Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), answer)
                        .await
                        .ok();
                });
            }
        });
        echo
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How often the request was carried out.
    pub(crate) fn carried_out(&self, request: &str) -> u32 {
        self.calls.lock().unwrap().get(request).copied().unwrap_or(0)
    }

    /// How often the call with the caller's own id was carried out.
    pub(crate) fn asked(&self, own: &str) -> u32 {
        self.asked.lock().unwrap().get(own).copied().unwrap_or(0)
    }

    /// The ids of the requests that came since this was asked last.
    pub(crate) fn take_new(&self) -> Vec<String> {
        std::mem::take(&mut *self.new.lock().unwrap())
    }

    pub(crate) fn total(&self) -> u32 {
        self.calls.lock().unwrap().values().sum()
    }
}

/// `/status/N` answers with that status, `/raw` with the body as it came, everything else with what was asked as JSON.
async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let path = head.uri.path();
    let status = path.strip_prefix("/status/").and_then(|n| n.parse().ok()).unwrap_or(200);
    let builder = Response::builder().status(status).header("x-echo", "1");
    if status == 302 {
        return Ok(builder.header("location", "http://elsewhere.example/x").body(Full::default()).unwrap());
    }
    if path.starts_with("/raw") {
        let media = head.headers.get("content-type").cloned();
        let builder = media.into_iter().fold(builder, |b, m| b.header("content-type", m));
        return Ok(builder.body(Full::new(body)).unwrap());
    }
    let headers: Vec<Value> = head
        .headers
        .iter()
        .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]))
        .collect();
    let seen = json!({
        "method": head.method.as_str(),
        "uri": head.uri.to_string(),
        "headers": headers,
        "length": body.len(),
    });
    Ok(builder
        .header("content-type", "application/json")
        .header("set-cookie", "session=geheim")
        .body(Full::new(seen.to_string().into()))
        .unwrap())
}

/// The value of a header that the echo service saw; `None` when it saw none.
pub(crate) fn seen<'a>(answer: &'a Value, name: &str) -> Option<&'a str> {
    let headers = answer["headers"].as_array()?;
    headers.iter().find(|pair| pair[0] == name)?[1].as_str()
}
