//! `/asic` and `/verificationconf`: an information system fetches the signed documents of its own exchanges, and what one
//! needs to check them offline (X-Road ug-sigdoc 2, 3.2).
//!
//! Errors are plain text, as X-Road's tools expect them here. What the containers hold is ours: see
//! `docs/xroad-compatibility.md`.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{ALLOW, CONTENT_DISPOSITION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::Full;
use truc_model::SubsystemId;

use crate::connection::Caller;
use crate::edge::Edge;

/// Requests for documents carried out at once: each may hold a container of many megabytes.
pub(crate) const AT_ONCE: usize = 2;

/// Longest wait for the documents.
const DEADLINE: Duration = Duration::from_secs(120);

/// Longest id that a caller may have given to a request.
const LONGEST_ID: usize = 256;

/// Which of an exchange's documents are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Both.
    All,
    /// The request's.
    Request,
    /// The answer's.
    Response,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentQuestion {
    /// For whom; this node has found that its information system asks.
    pub client: SubsystemId,
    /// The id that the caller gave to the request (`X-Road-Id`), or the bus's own.
    pub query_id: String,
    /// Which documents.
    pub wanted: Wanted,
}

/// One container and the name X-Road would give it: `{queryId}-request-{10 characters}.asice`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Percent-encoded, safe as a file name.
    pub name: String,
    /// The ASiC-E container.
    pub container: Bytes,
}

/// Why there are no documents.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// Nothing that this subsystem took part in on this node.
    #[error("no signed documents of this subsystem with this queryId are on this node")]
    NotFound,
    /// More, or bigger ones, than one answer may carry.
    #[error(
        "too many or too big documents for one answer: ask by the request's own id (X-Road-Request-Id), or with requestOnly"
    )]
    TooMuch,
    /// The operator's text.
    #[error("{0}")]
    Failed(String),
}

/// Where the edge finds evidence.
#[async_trait]
pub trait EdgeEvidence: Send + Sync {
    /// A ZIP with what an offline check starts from: anchor and directory.
    ///
    /// # Errors
    /// [`DocumentError::Failed`].
    async fn verification(&self) -> Result<Bytes, DocumentError>;

    /// The documents of exchanges in which the client took part on this node, newest exchange first; never none.
    ///
    /// # Errors
    /// [`DocumentError`].
    async fn documents(&self, question: DocumentQuestion) -> Result<Vec<Document>, DocumentError>;

    /// One ZIP of all these.
    ///
    /// # Errors
    /// [`DocumentError::TooMuch`].
    async fn zip(&self, documents: Vec<Document>) -> Result<Bytes, DocumentError>;
}

fn plain(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(format!("{text}\n"))));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain;charset=utf-8"));
    response
}

fn bad(text: &str) -> Response<Full<Bytes>> {
    plain(StatusCode::BAD_REQUEST, text)
}

fn file(bytes: Bytes, media_type: &'static str, name: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(bytes));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
        response.headers_mut().insert(CONTENT_DISPOSITION, value);
    }
    response
}

fn failed(error: &DocumentError) -> Response<Full<Bytes>> {
    let status = match error {
        DocumentError::NotFound => StatusCode::NOT_FOUND,
        DocumentError::TooMuch => StatusCode::BAD_REQUEST,
        DocumentError::Failed(detail) => {
            tracing::error!(detail, "signed documents could not be given out");
            return plain(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the documents cannot be given out: the operator finds the reason in the node's log",
            );
        }
    };
    plain(status, &error.to_string())
}

/// A text as part of a file name and of a header: what is not a letter, digit, `-`, `.` or `_` is percent-encoded.
pub fn file_name(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, b| {
        if b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_') {
            out.push(char::from(b));
        } else {
            // Writing into a String does not fail.
            let _ = write!(out, "%{b:02X}");
        }
        out
    })
}

/// A parameter's value; `+` is a space, as forms write it, where `spaces` says that the value can hold one.
fn decoded(raw: &str, spaces: bool) -> Option<String> {
    let mut bytes = raw.bytes();
    let mut out = Vec::with_capacity(raw.len());
    while let Some(b) = bytes.next() {
        out.push(match b {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                u8::try_from(high * 16 + low).ok()?
            }
            b'+' if spaces => b' ',
            b => b,
        });
    }
    String::from_utf8(out).ok().filter(|text| !text.chars().any(char::is_control))
}

/// The question, and whether exactly one document is expected.
fn question(query: &str) -> Result<(DocumentQuestion, bool), String> {
    const NAMES: [&str; 5] = ["queryId", "xRoadInstance", "memberClass", "memberCode", "subsystemCode"];
    const FLAGS: [&str; 4] = ["requestOnly", "responseOnly", "unique", "force"];
    let mut values: [Option<String>; 5] = [const { None }; 5];
    let mut flags = [false; 4];
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if let Some(slot) = NAMES.iter().position(|n| *n == name).and_then(|i| values.get_mut(i)) {
            let text =
                decoded(value, name == "queryId").ok_or(format!("{name} is not percent-encoded UTF-8"))?;
            if slot.replace(text).is_some() {
                return Err(format!("{name} is given twice"));
            }
        }
        if let Some(flag) = FLAGS.iter().position(|n| *n == name).and_then(|i| flags.get_mut(i)) {
            *flag = true;
        }
    }
    let [query_id, instance, class, member, subsystem] = values;
    let needed = |value: Option<String>, name: &str| {
        value.filter(|v| !v.is_empty()).ok_or(format!("the parameter {name} is missing"))
    };
    let query_id = needed(query_id, "queryId")?;
    if query_id.len() > LONGEST_ID {
        return Err(format!("queryId has at most {LONGEST_ID} bytes"));
    }
    let client = SubsystemId::new(
        &needed(instance, "xRoadInstance")?,
        &needed(class, "memberClass")?,
        &needed(member, "memberCode")?,
        &needed(subsystem, "subsystemCode")?,
    )
    .map_err(|e| e.to_string())?;
    // Nothing is ever withheld for want of a time-stamp, so there is nothing to force.
    let [request, response, unique, _force] = flags;
    let wanted = match (request, response) {
        (true, true) => return Err("requestOnly and responseOnly exclude each other".into()),
        (true, false) => Wanted::Request,
        (false, true) => Wanted::Response,
        (false, false) if unique => return Err("unique goes with requestOnly or responseOnly".into()),
        (false, false) => Wanted::All,
    };
    Ok((DocumentQuestion { client, query_id, wanted }, unique))
}

/// Answers a request for one of the two paths.
pub(crate) async fn answer(edge: &Edge, head: &Parts) -> Response<Full<Bytes>> {
    let mut response = match head.method {
        Method::GET | Method::HEAD if head.uri.path() == "/verificationconf" => verification(edge).await,
        Method::GET | Method::HEAD => documents(edge, head).await,
        _ => {
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "this is asked with GET");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            response
        }
    };
    if head.method == Method::HEAD {
        *response.body_mut() = Full::default();
    }
    response
}

async fn verification(edge: &Edge) -> Response<Full<Bytes>> {
    let evidence = Arc::clone(&edge.evidence);
    match bounded(edge, async move { evidence.verification().await }).await {
        Ok(bytes) => file(bytes, "application/zip", "verificationconf.zip"),
        Err(refused) => refused,
    }
}

async fn documents(edge: &Edge, head: &Parts) -> Response<Full<Bytes>> {
    let (mut question, unique) = match question(head.uri.query().unwrap_or_default()) {
        Ok(question) => question,
        Err(why) => return bad(&why),
    };
    question.client = match edge.codes().client(question.client) {
        Ok(client) => client,
        Err(fault) => return plain(StatusCode::NOT_FOUND, &fault.detail),
    };
    if let Err(fault) = edge.connections.load().judge(&question.client, &Caller::of(&head.extensions)) {
        tracing::info!(detail = fault.detail, "signed documents refused");
        let mut response = plain(StatusCode::UNAUTHORIZED, &fault.detail);
        response
            .headers_mut()
            .insert(WWW_AUTHENTICATE, HeaderValue::from_static(crate::fault_response::CHALLENGE));
        return response;
    }
    let id = file_name(&question.query_id);
    let archive = match question.wanted {
        Wanted::All => format!("{id}.zip"),
        Wanted::Request => format!("{id}-request.zip"),
        Wanted::Response => format!("{id}-response.zip"),
    };
    let evidence = Arc::clone(&edge.evidence);
    let found = bounded(edge, async move {
        let mut documents = evidence.documents(question).await?;
        match (unique, documents.len()) {
            (_, 0) => Err(DocumentError::NotFound),
            (true, 1) => Ok(documents.pop().map(|d| (d.name, d.container))),
            (true, _) => Ok(None),
            (false, _) => Ok(Some((archive, evidence.zip(documents).await?))),
        }
    });
    match found.await {
        Ok(Some((name, bytes))) if unique => file(bytes, "application/vnd.etsi.asic-e+zip", &name),
        Ok(Some((name, bytes))) => file(bytes, "application/zip", &name),
        Ok(None) => bad("several signed documents bear this queryId, and unique was asked for"),
        Err(refused) => refused,
    }
}

/// Runs `work` as a task of its own, one of few at a time: it may hold much memory, and goes on when its caller hangs up.
async fn bounded<T: Send + 'static>(
    edge: &Edge,
    work: impl Future<Output = Result<T, DocumentError>> + Send + 'static,
) -> Result<T, Response<Full<Bytes>>> {
    let busy = || {
        let mut response = plain(
            StatusCode::SERVICE_UNAVAILABLE,
            "other documents are being put together: ask again in a moment",
        );
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("2"));
        response
    };
    let permit = Arc::clone(&edge.documents).try_acquire_owned().map_err(|_| busy())?;
    let halt = edge.halt.clone();
    let task = edge.tasks.spawn(async move {
        let _one_of_few = permit;
        let late = || DocumentError::Failed("putting the documents together took too long".into());
        tokio::select! {
            done = tokio::time::timeout(DEADLINE, work) => done.unwrap_or_else(|_| Err(late())),
            () = halt.cancelled() => Err(DocumentError::Failed("the node is stopping".into())),
        }
    });
    let died = |e| DocumentError::Failed(format!("the task died: {e}"));
    task.await.unwrap_or_else(|e| Err(died(e))).map_err(|e| failed(&e))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: &str = "xRoadInstance=VN&memberClass=GOV&memberCode=H26&subsystemCode=mot%2Dcua";

    #[test]
    fn questions_are_read_as_x_road_writes_them() {
        for (query, id, wanted, one) in [
            ("queryId=abc", "abc", Wanted::All, false),
            ("queryId=a%2Fb+c&requestOnly&unique", "a/b c", Wanted::Request, true),
            ("responseOnly=true&queryId=%C4%91&force&other=1", "đ", Wanted::Response, false),
        ] {
            let (question, unique) = question(&format!("{CLIENT}&{query}")).unwrap();
            assert_eq!(question.client.as_str(), "VN/GOV/H26/mot-cua");
            assert_eq!((question.query_id.as_str(), question.wanted, unique), (id, wanted, one));
        }
        assert_eq!(file_name("a/b c\"đ"), "a%2Fb%20c%22%C4%91");
    }

    #[test]
    fn what_is_no_question_is_told() {
        let long = format!("{CLIENT}&queryId={}", "x".repeat(257));
        for (query, told) in [
            ("", "queryId is missing"),
            ("queryId=a&xRoadInstance=VN&memberClass=GOV&memberCode=H26", "subsystemCode is missing"),
            (&format!("{CLIENT}&queryId="), "queryId is missing"),
            (&format!("{CLIENT}&queryId=a&queryId=a"), "twice"),
            (&format!("{CLIENT}&queryId=%zz"), "percent-encoded"),
            (&format!("{CLIENT}&queryId=%0a"), "percent-encoded"),
            (&format!("{CLIENT}&queryId=a&requestOnly&responseOnly"), "exclude each other"),
            (&format!("{CLIENT}&queryId=a&unique"), "unique goes with"),
            ("queryId=a&xRoadInstance=V/N&memberClass=GOV&memberCode=H26&subsystemCode=x", "allowed"),
            (&long, "256"),
        ] {
            let why = question(query).unwrap_err();
            assert!(why.contains(told), "{query}: {why}");
        }
    }
}
