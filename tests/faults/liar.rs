//! A trust service that is away, slow, or lies: what stands between the bus and the pilot PKI.

use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use truc_demo::bus::Layout;
use truc_demo::http::HttpClient;

use crate::process_ground::free_port;

/// What it does with a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Hands it on, and the answer back.
    Honest,
    /// Closes the connection.
    Away,
    /// Answers truly, later than anybody waits.
    Slow,
    /// Gives what was truly answered to another question.
    Others,
    /// Gives what was truly answered, with one byte changed.
    Spoilt,
    /// Gives half of it.
    Half,
    /// Says that it cannot, with a page for people.
    Error,
}

pub(crate) const WRONG: [Mode; 6] =
    [Mode::Others, Mode::Away, Mode::Slow, Mode::Spoilt, Mode::Error, Mode::Half];

/// Longer than the 10 s and 5 s that nodes wait.
const SLOW: Duration = Duration::from_secs(13);

/// A true answer, and what it was about.
type Kept = (String, Bytes, Bytes);

/// In front of the pilot PKI, at its address.
#[derive(Clone)]
pub(crate) struct Liar(Arc<Inner>);

struct Inner {
    upstream: String,
    http: HttpClient,
    stamping: Mutex<Mode>,
    statuses: Mutex<Mode>,
    kept: Mutex<Vec<Kept>>,
    asked: Mutex<u32>,
}

impl Liar {
    /// Moves the PKI of a bus that does not run yet to another port, and answers at its own.
    pub(crate) fn in_front_of_the_pki(layout: &Layout) -> Self {
        let port = free_port();
        let file: PathBuf = layout.pki_folder().join("pki.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        let listen = format!("listen = \"127.0.0.1:{}\"", layout.pki);
        assert!(text.contains(&listen), "{text}");
        std::fs::write(&file, text.replace(&listen, &format!("listen = \"127.0.0.1:{port}\""))).unwrap();
        let liar = Self(Arc::new(Inner {
            upstream: format!("http://127.0.0.1:{port}"),
            http: HttpClient::default(),
            stamping: Mutex::new(Mode::Honest),
            statuses: Mutex::new(Mode::Honest),
            kept: Mutex::default(),
            asked: Mutex::default(),
        }));
        let listener = std::net::TcpListener::bind(("127.0.0.1", layout.pki)).unwrap();
        listener.set_nonblocking(true).unwrap();
        tokio::spawn(liar.clone().serve(TcpListener::from_std(listener).unwrap()));
        liar
    }

    /// What comes of questions for time-stamps from now on.
    pub(crate) fn stamps(&self, mode: Mode) {
        *self.0.stamping.lock().unwrap() = mode;
    }

    /// What comes of questions for the status of a certificate from now on.
    pub(crate) fn statuses(&self, mode: Mode) {
        *self.0.asked.lock().unwrap() = 0;
        *self.0.statuses.lock().unwrap() = mode;
    }

    /// How many questions for a status came since the mode was set.
    pub(crate) fn asked(&self) -> u32 {
        *self.0.asked.lock().unwrap()
    }

    async fn serve(self, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            let liar = self.clone();
            tokio::spawn(async move {
                let answer = service_fn(|request| liar.answer(request));
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), answer)
                    .await
                    .ok();
            });
        }
    }

    fn mode(&self, path: &str) -> Mode {
        let of = match path {
            "/tsa" => &self.0.stamping,
            path if path.starts_with("/ocsp") => {
                *self.0.asked.lock().unwrap() += 1;
                &self.0.statuses
            }
            // A list that stands in for the responder is away with it.
            "/crl" => &self.0.statuses,
            _ => return Mode::Honest,
        };
        *of.lock().unwrap()
    }

    /// An error closes the connection without an answer.
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, io::Error> {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let of = |name| request.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let content_type = of(CONTENT_TYPE);
        let mode = self.mode(&path);
        let away = || io::Error::from(io::ErrorKind::ConnectionReset);
        let question = request.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
        match mode {
            Mode::Away => return Err(away()),
            Mode::Slow => tokio::time::sleep(SLOW).await,
            Mode::Error => {
                let page = Full::new(Bytes::from_static(b"<html>B\xe1\xba\xa3o tr\xc3\xac</html>"));
                return Ok(Response::builder().status(503).body(page).unwrap());
            }
            _ => {}
        }
        let headers: Vec<(&str, &str)> =
            content_type.iter().map(|value| ("content-type", value.as_str())).collect();
        let url = format!("{}{path}", self.0.upstream);
        let answer = self.0.http.send(method.as_str(), &url, &headers, question.clone()).await;
        let answer = answer.map_err(io::Error::other)?;
        let body = match mode {
            // A true answer to something else, or none at all.
            Mode::Others => self.other(&path, &question).ok_or_else(away)?,
            Mode::Spoilt => spoilt(&answer.body),
            Mode::Half => answer.body.slice(..answer.body.len() / 2),
            _ => {
                self.keep(path, question, answer.body.clone());
                answer.body.clone()
            }
        };
        let mut response = Response::builder().status(answer.status);
        if let Some(value) = answer.header("content-type") {
            response = response.header(CONTENT_TYPE, value);
        }
        Ok::<_, Infallible>(response.body(Full::new(body)).unwrap()).map_err(io::Error::other)
    }

    fn keep(&self, path: String, question: Bytes, answer: Bytes) {
        let mut kept = self.0.kept.lock().unwrap();
        if kept.len() < 64 {
            kept.push((path, question, answer));
        }
    }

    fn other(&self, path: &str, question: &Bytes) -> Option<Bytes> {
        let kept = self.0.kept.lock().unwrap();
        let other = kept.iter().rev().find(|(of, asked, _)| of == path && asked != question);
        other.map(|(_, _, answer)| answer.clone())
    }
}

/// Another byte near the end: in the signature.
fn spoilt(answer: &Bytes) -> Bytes {
    let mut bytes = answer.to_vec();
    let at = bytes.len().saturating_sub(20);
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1;
    }
    bytes.into()
}
