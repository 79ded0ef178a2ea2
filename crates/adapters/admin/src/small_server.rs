//! A small HTTP server for operators and tools: few connections at once, none for ever, none that stalls, and none that keeps
//! others out by doing nothing. The admin APIs of node and registry and the pilot PKI are served by it.

use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;
use truc_places::{Place, Places};

/// Pause after a failed accept, which is mostly a lack of file handles.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Longest request head, bytes, and most fields in it; more is answered 431.
const HEAD: usize = 32 * 1024;
const FIELDS: usize = 100;

/// What connections may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Open at once, half of them from one address; when there is no place, the connection that has had no request for longest
    /// makes way ([`truc_places::Places`]).
    pub open: usize,
    /// How long a request's head may take to come, and how long a connection may be idle between requests.
    pub head: Duration,
    /// How long a connection may live; then it takes no further request.
    pub life: Duration,
    /// How long requests in progress may go on after that, or after the order to stop.
    pub drain: Duration,
}

/// Serves `router` on `listener` until `stop` is cancelled. When it returns, none of its tasks is left.
pub async fn serve(listener: TcpListener, router: Router, limits: Limits, stop: CancellationToken) {
    let places = Places::new(limits.open);
    let tasks = TaskTracker::new();
    loop {
        let (stream, from) = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            next = accept(&listener) => next,
        };
        let Some(place) = places.enter(from) else {
            tracing::debug!(%from, "no place for a connection: dropped");
            continue;
        };
        tasks.spawn(connection(stream, place, router.clone(), limits, stop.clone()));
    }
    drop(listener);
    tasks.close();
    // Each connection cuts itself off after the drain.
    tasks.wait().await;
}

async fn accept(listener: &TcpListener) -> (TcpStream, IpAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, from)) => return (stream, from.ip()),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    place: Place,
    router: Router,
    limits: Limits,
    stop: CancellationToken,
) {
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(limits.head).max_buf_size(HEAD).max_headers(FIELDS);
    let gone = place.gone();
    let place = Arc::new(place);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (work, router) = (place.work(), router.clone());
        async move {
            let answer = router.oneshot(request).await;
            drop(work);
            answer
        }
    });
    let mut serving = pin!(server.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = serving.as_mut() => Some(ended),
        () = gone.cancelled() => return tracing::debug!("an idle connection made way for another"),
        () = tokio::time::sleep(limits.life) => None,
        () = stop.cancelled() => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            serving.as_mut().graceful_shutdown();
            let Ok(ended) = tokio::time::timeout(limits.drain, serving).await else {
                tracing::debug!("a connection was cut with a request still open");
                return;
            };
            ended
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    const SHORT: Limits = Limits {
        open: 2,
        head: Duration::from_millis(50),
        life: Duration::from_secs(60),
        drain: Duration::from_millis(50),
    };
    const LONG: Duration = Duration::from_secs(3600);

    async fn served(
        limits: Limits,
    ) -> (std::net::SocketAddr, CancellationToken, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let slow = axum::routing::get(std::future::pending::<&str>);
        let router = Router::new().route("/", axum::routing::get(|| async { "well" })).route("/slow", slow);
        let stop = CancellationToken::new();
        (address, stop.clone(), tokio::spawn(serve(listener, router, limits, stop)))
    }

    async fn sent(address: std::net::SocketAddr, bytes: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(bytes.as_bytes()).await.unwrap();
        stream
    }

    /// Everything until the server closes.
    async fn rest(mut stream: TcpStream) -> String {
        let mut said = Vec::new();
        // A reset is an end too.
        let _ = stream.read_to_end(&mut said).await;
        String::from_utf8_lossy(&said).into_owned()
    }

    #[tokio::test]
    async fn stalled_and_idle_connections_make_way() {
        let (address, stop, task) = served(SHORT).await;
        let mut held = Vec::new();
        for begun in ["", "GET / HTTP/1.1\r\nhost: x\r\nx-slow", "GET / HTTP/1.1\r\nhost: x\r\n\r\n", "", "G"]
        {
            held.push(sent(address, begun).await);
        }
        let asked = sent(address, "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        assert!(rest(asked).await.ends_with("well"), "its turn comes");
        for stream in held {
            rest(stream).await;
        }
        stop.cancel();
        task.await.unwrap();
    }

    #[tokio::test]
    async fn no_connection_lives_for_ever_and_none_outlives_the_server() {
        let old = Limits { head: LONG, life: Duration::from_millis(50), ..SHORT };
        let (address, stop, task) = served(old).await;
        for asked in ["", "GET /slow HTTP/1.1\r\nhost: x\r\n\r\n"] {
            assert_eq!(rest(sent(address, asked).await).await, "");
        }
        stop.cancel();
        task.await.unwrap();

        let (address, stop, task) = served(Limits { head: LONG, life: LONG, ..SHORT }).await;
        let slow = sent(address, "GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let whole = sent(address, "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        assert!(rest(whole).await.ends_with("well"));
        stop.cancel();
        task.await.unwrap();
        assert_eq!(rest(slow).await, "");
    }
}
