//! Certificates from the pilot CA (`truc pki run` with `[issuing]`), for a registry that approves an enrolment.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use serde::Deserialize;
use serde_json::{Value, json};
use truc_directory::Usage;
use truc_model::Fingerprint;
use truc_pinning::Pinned;
use truc_trust::{Certificate, CertificateRequest};

use crate::http_client::with_causes;

/// The longest answer taken: a certificate of at most 16 KiB and its intermediates, in base64.
const ANSWER_LIMIT: usize = 256 * 1024;
/// Intermediates that are taken.
const INTERMEDIATES: usize = 8;

/// Why there is no issuer, or no certificate from it; each sentence is for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssuerError {
    /// The URL, token or pin cannot be used.
    #[error("địa chỉ CA thử nghiệm không dùng được / the pilot CA's address cannot be used: {0}")]
    Config(String),
    /// It cannot be reached, or did not answer in time.
    #[error("không tới được CA thử nghiệm / the pilot CA at {url} does not answer: {why}")]
    Away {
        /// Where it was asked.
        url: String,
        /// What happened.
        why: String,
    },
    /// It refused; its own sentence.
    #[error("CA thử nghiệm từ chối / the pilot CA refused: {0}")]
    Refused(String),
    /// It answered something else than the certificate asked for.
    #[error("CA thử nghiệm trả lời sai / the pilot CA answered something else: {0}")]
    Odd(String),
}

/// A certificate with its intermediates, each DER.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedChain {
    /// The certificate, for the requested key.
    pub certificate: Vec<u8>,
    /// Between it and the approved CA.
    pub intermediates: Vec<Vec<u8>>,
}

/// How long asking may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IssuerLimits {
    /// Until a connection stands.
    pub connect: Duration,
    /// Until the whole answer is there.
    pub total: Duration,
}

impl Default for IssuerLimits {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), total: Duration::from_secs(15) }
    }
}

/// A client of the pilot CA. Asking is idempotent: the CA answers one request with one certificate, however often it is sent.
pub struct PilotIssuer {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    base: String,
    token: HeaderValue,
    total: Duration,
}

impl PilotIssuer {
    /// A client for the CA at `url`: `http://` on this machine's loopback, or `https://` with the pinned certificate of the TLS terminator
    /// in front of it. `token` is the content of its token file.
    ///
    /// # Errors
    /// [`IssuerError::Config`]: the token would cross a network unprotected, or is no token.
    pub fn new(
        url: &str,
        token: &str,
        pin: Option<Fingerprint>,
        limits: IssuerLimits,
    ) -> Result<Self, IssuerError> {
        check(url, pin.is_some()).map_err(|why| IssuerError::Config(why.to_owned()))?;
        let mut token = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
            .map_err(|_| IssuerError::Config("the token has characters that no token has".into()))?;
        token.set_sensitive(true);
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(limits.connect));
        connector.enforce_http(false);
        let tls = pinned(pin).map_err(|e| IssuerError::Config(e.to_string()))?;
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(1)
            .build(connector);
        Ok(Self { client, base: url.trim_end_matches('/').to_owned(), token, total: limits.total })
    }

    /// A certificate for the request (PKCS#10, DER) in `holder`'s name: a member with [`Usage::Sign`], a node with [`Usage::Auth`].
    ///
    /// # Errors
    /// [`IssuerError`]; a certificate for another key than the requested one counts as none.
    pub async fn issue(
        &self,
        request: &[u8],
        usage: Usage,
        holder: &str,
        organisation: &str,
    ) -> Result<IssuedChain, IssuerError> {
        #[derive(Deserialize)]
        struct Answer {
            certificate: String,
            #[serde(default)]
            intermediates: Vec<String>,
        }
        let asked = CertificateRequest::from_der(request).map_err(|e| IssuerError::Refused(e.to_string()))?;
        let body = json!({
            "csr": STANDARD.encode(request), "usage": usage, "holder": holder, "organisation": organisation,
        });
        let answer = self.post("/issue", &body).await?;
        let odd = |why: &str| IssuerError::Odd(why.to_owned());
        let answer: Answer = serde_json::from_value(answer).map_err(|e| odd(&e.to_string()))?;
        if answer.intermediates.len() > INTERMEDIATES {
            return Err(odd("more than 8 intermediate certificates"));
        }
        let read = |text: &String| {
            let der = STANDARD.decode(text).map_err(|_| odd("not base64"))?;
            Certificate::from_der(&der).map_err(|e| odd(&e.to_string()))
        };
        let certificate = read(&answer.certificate)?;
        if certificate.spki_der() != asked.spki_der() {
            return Err(odd("a certificate for another key"));
        }
        let intermediates = answer.intermediates.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        Ok(IssuedChain {
            certificate: certificate.der().to_vec(),
            intermediates: intermediates.iter().map(|c| c.der().to_vec()).collect(),
        })
    }

    /// Has a certificate revoked; OCSP and the revocation list say so from then on. `reason` as in `truc pki revoke`, e.g. `key-compromise`.
    ///
    /// # Errors
    /// [`IssuerError`].
    pub async fn revoke(&self, fingerprint: &Fingerprint, reason: &str) -> Result<(), IssuerError> {
        self.post("/revoke", &json!({ "fingerprint": fingerprint, "reason": reason })).await.map(drop)
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Value, IssuerError> {
        let away = |why: String| IssuerError::Away { url: self.base.clone(), why };
        let request = Request::post(format!("{}{path}", self.base))
            .header(AUTHORIZATION, self.token.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body.to_string())))
            .map_err(|e| IssuerError::Config(e.to_string()))?;
        let exchange = async {
            let answer = self.client.request(request).await.map_err(|e| away(with_causes(&e)))?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ANSWER_LIMIT).collect().await;
            Ok((status, body.map_err(|e| away(e.to_string()))?.to_bytes()))
        };
        let in_time = tokio::time::timeout(self.total, exchange).await;
        let (status, body) = in_time
            .unwrap_or_else(|_| Err(away(format!("no whole answer within {} ms", self.total.as_millis()))))?;
        let value = serde_json::from_slice::<Value>(&body);
        if status == StatusCode::OK {
            return value.map_err(|e| IssuerError::Odd(e.to_string()));
        }
        let sentence = value.ok().and_then(|v| Some(v.get("error")?.as_str()?.chars().take(1000).collect()));
        Err(IssuerError::Refused(sentence.unwrap_or_else(|| format!("status {}", status.as_u16()))))
    }
}

/// Whether the token stays on this machine or under pinned TLS.
fn check(url: &str, has_pin: bool) -> Result<(), &'static str> {
    let uri: Uri = url.parse().map_err(|_| "it is not a URL")?;
    let host = uri.host().ok_or("it has no host")?;
    if uri.query().is_some() || !matches!(uri.path(), "" | "/") {
        return Err("write scheme, host and port only");
    }
    match uri.scheme_str() {
        Some("https") if has_pin => Ok(()),
        Some("https") => Err("pin the certificate that it shows (SHA-256 of the DER)"),
        Some("http") => {
            let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
            let here = host == "localhost" || address.is_ok_and(|a| a.is_loopback());
            if here {
                Ok(())
            } else {
                Err("http:// only on 127.0.0.1; elsewhere https:// with a pinned certificate")
            }
        }
        _ => Err("write http:// or https://"),
    }
}

fn not_pinned(shown: Fingerprint) -> rustls::Error {
    rustls::Error::General(format!("it shows certificate {shown}, which is not the pinned one"))
}

/// Without a pin nothing is trusted.
fn pinned(pin: Option<Fingerprint>) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Pinned::new(pin, not_pinned, Arc::clone(&provider));
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_never_crosses_a_network_unprotected() {
        let pin = Some(Fingerprint::of(b"x"));
        for (url, pin, good) in [
            ("http://127.0.0.1:8881", None, true),
            ("http://127.0.0.1:8881/", None, true),
            ("http://[::1]:8881", None, true),
            ("http://localhost:8881", None, true),
            ("https://pki.example.vn", pin, true),
            ("https://pki.example.vn", None, false),
            ("http://10.0.0.1:8881", None, false),
            ("http://10.0.0.1:8881", pin, false),
            ("http://127.0.0.1.example.vn", None, false),
            ("http://localhost@example.vn", None, false),
            ("http://127.0.0.1:8881/x", None, false),
            ("http://127.0.0.1:8881/?x", None, false),
            ("ftp://127.0.0.1", None, false),
            ("127.0.0.1:8881", None, false),
        ] {
            let made = PilotIssuer::new(url, "0123456789", pin, IssuerLimits::default());
            assert_eq!(made.is_ok(), good, "{url}");
        }
        assert!(PilotIssuer::new("http://127.0.0.1", "a\nb", None, IssuerLimits::default()).is_err());
    }
}
