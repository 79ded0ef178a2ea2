//! `truc call`: one call through a node's edge, as an information system makes it.

use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use base64::Engine as _;
use bytes::Bytes;
use clap::Args;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::json;
use truc_model::{ServiceId, SubsystemId};
use truc_node::config::NodeConfig;

use super::target::reachable;
use super::{blocking, duration, read};
use crate::out;

/// Call a service through a node; the body goes to standard output, status and headers to standard error
///
/// The exit code is 1 when the answer's status is 400 or above.
#[derive(Args)]
#[command(
    after_help = "Example:\n  truc call --client VN/GOV/H26/mot-cua-so-1 VN/GOV/G01/csdl-dancu/tra-cuu-cong-dan POST /cong-dan/tra-cuu --user CB-0001 --purpose 'Đăng ký khai sinh' --body question.json"
)]
pub(crate) struct Call {
    /// The service
    service: ServiceId,
    /// The HTTP method
    method: Method,
    /// The path below the service, with the query; it begins with /
    #[arg(default_value = "", value_parser = below)]
    path: String,
    /// The calling subsystem (X-Road-Client)
    #[arg(long, value_name = "SUBSYSTEM")]
    client: SubsystemId,
    /// The officer behind the call (X-Road-UserId)
    #[arg(long, value_name = "OFFICER")]
    user: Option<String>,
    /// What the data is for (Truc-Purpose)
    #[arg(long, value_name = "TEXT")]
    purpose: Option<String>,
    /// The legal basis (Truc-Legal-Basis)
    #[arg(long, value_name = "TEXT")]
    legal_basis: Option<String>,
    /// The officer's agency (Truc-Agency)
    #[arg(long, value_name = "TEXT")]
    agency: Option<String>,
    /// A file with the body; - is standard input
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// The body's media type
    #[arg(long, default_value = "application/json", value_name = "TYPE")]
    content_type: String,
    /// A further header; several may be given
    #[arg(long = "header", value_name = "NAME:VALUE", value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The node's configuration file, from which its edge is known
    #[arg(long, default_value = "node.toml", value_name = "FILE")]
    config: PathBuf,
    /// Address of the edge, where it is not the one of the configuration
    #[arg(long, value_name = "ADDRESS")]
    edge: Option<SocketAddr>,
    /// How long to wait for the answer
    #[arg(long, default_value = "330s", value_parser = duration, value_name = "DURATION")]
    timeout: Duration,
    /// Print status, headers and body as one JSON object; a body that is not text is in base64
    #[arg(long)]
    json: bool,
}

impl Call {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let edge = match self.edge {
            Some(edge) => edge,
            None => {
                let config = self.config.clone();
                let listen = blocking(move || NodeConfig::load(&config)).await?.edge.listen;
                reachable(listen.context(
                    "this node's plain HTTP edge is off (edge.listen), and truc call speaks plain HTTP only: call its \
                     https-listen with curl",
                )?)
            }
        };
        let body = match &self.body {
            None => Bytes::new(),
            Some(file) => body(file).await?,
        };
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(format!("http://{edge}/r1/{}{}", self.service, self.path))
            .body(Full::new(body))
            .context("the path is not one of a URL; percent-encode what is not ASCII")?;
        *request.headers_mut() = self.headers()?;
        let exchange = async {
            let mut connector = HttpConnector::new();
            connector.set_nodelay(true);
            let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
            let unreachable = || format!("the node's edge at {edge} does not answer; is the node running?");
            let response = client.request(request).await.with_context(unreachable)?;
            let (head, body) = response.into_parts();
            let body = body.collect().await.context("the answer broke off")?.to_bytes();
            Ok::<_, anyhow::Error>((head, body))
        };
        let answer = tokio::time::timeout(self.timeout, exchange).await;
        let (head, body) = answer
            .map_err(|_| anyhow!("no answer in time; whether the call was carried out is not known"))??;
        if self.json {
            show_json(&head, &body)?
        } else {
            show(&head, &body)?
        }
        let refused = head.status.as_u16() >= 400;
        Ok(if refused { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    fn headers(&self) -> anyhow::Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        headers.insert("x-road-client", HeaderValue::from_str(self.client.as_str())?);
        for (name, value) in [
            ("x-road-userid", &self.user),
            ("truc-purpose", &self.purpose),
            ("truc-legal-basis", &self.legal_basis),
            ("truc-agency", &self.agency),
        ] {
            if let Some(value) = value {
                headers.insert(name, HeaderValue::from_str(&ext_value(value))?);
            }
        }
        if self.body.is_some() {
            headers.insert("content-type", HeaderValue::from_str(&self.content_type)?);
        }
        for (name, value) in &self.headers {
            headers.append(name, value.clone());
        }
        Ok(headers)
    }
}

/// For clap: the path below a service.
fn below(text: &str) -> Result<String, String> {
    if !text.is_empty() && !text.starts_with('/') {
        return Err("the path begins with /, like /cong-dan/tra-cuu".to_owned());
    }
    let readable = text.is_empty() || text.parse::<http::uri::PathAndQuery>().is_ok();
    readable.then(|| text.to_owned()).ok_or_else(|| "percent-encode what is not ASCII".to_owned())
}

/// For clap: a further header.
fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let like = "write NAME:VALUE, like X-Road-Issue:HS-2026-001";
    let (name, value) = text.split_once(':').ok_or_else(|| like.to_owned())?;
    let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|e| format!("{e}; {like}"))?;
    let value = HeaderValue::from_str(value.trim()).map_err(|e| format!("{e}; {like}"))?;
    Ok((name, value))
}

async fn body(file: &Path) -> anyhow::Result<Bytes> {
    if file.as_os_str() != "-" {
        return Ok(read(file).await?.into());
    }
    let input = || {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    };
    Ok(blocking(input).await?.into())
}

/// ASCII as it is, anything else as RFC 8187 has it.
fn ext_value(text: &str) -> String {
    if text.bytes().all(|b| (0x20..0x7f).contains(&b)) && !text.to_ascii_lowercase().starts_with("utf-8'") {
        return text.to_owned();
    }
    text.bytes().fold("UTF-8''".to_owned(), |mut out, b| {
        if b.is_ascii_alphanumeric() || b"-._~".contains(&b) {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
        out
    })
}

fn show(head: &http::response::Parts, body: &[u8]) -> anyhow::Result<()> {
    out::note(head.status);
    for (name, value) in &head.headers {
        out::note(format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())));
    }
    Ok(out::data(body)?)
}

fn show_json(head: &http::response::Parts, body: &[u8]) -> anyhow::Result<()> {
    let headers: Vec<_> = head
        .headers
        .iter()
        .map(|(n, v)| json!([n.as_str(), String::from_utf8_lossy(v.as_bytes())]))
        .collect();
    let mut answer = json!({ "status": head.status.as_u16(), "headers": headers });
    match std::str::from_utf8(body) {
        Ok(text) => answer["body"] = text.into(),
        Err(_) => answer["bodyBase64"] = base64::engine::general_purpose::STANDARD.encode(body).into(),
    }
    out::json(&answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vietnamese_fits_into_a_header() {
        assert_eq!(ext_value("HS-2026/001"), "HS-2026/001");
        assert_eq!(ext_value("Đăng ký"), "UTF-8''%C4%90%C4%83ng%20k%C3%BD");
        assert_eq!(ext_value("utf-8'x"), "UTF-8''utf-8%27x", "what looks encoded is encoded");
    }
}
