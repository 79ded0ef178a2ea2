//! Issuing and revoking over HTTP, for the registry during an approval (protocol P7, `docs/operate/certificates.md`).
//!
//! On an address of its own, off unless configured: what is public (status, time-stamps) never shares a door with what costs a token.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::json;
use truc_directory::Usage as Purpose;
use truc_model::{Digest, Fingerprint, Timestamp};
use truc_trust::CertificateRequest;
use zeroize::Zeroizing;

use crate::config::duration;
use crate::error::{PkiError, blocking};
use crate::ledger::{RevocationReason, Serial};
use crate::pki::{Pki, Wish};
use crate::server::{App, deadline};

/// A request has at most 16 KiB, in base64 and with the rest of the body.
const BODY_LIMIT: usize = 64 * 1024;
/// Shortest token; 32 random characters cannot be guessed.
const TOKEN: std::ops::RangeInclusive<usize> = 32..=256;
/// What a certificate's validity may be.
const VALIDITY: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(86_400)..=Duration::from_secs(5 * 365 * 86_400);
const USUAL_VALIDITY: Duration = Duration::from_secs(365 * 86_400);

/// What `POST /issue` takes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct IssueBody {
    /// PKCS#10: PEM, or DER in base64.
    csr: String,
    usage: Purpose,
    holder: String,
    organisation: String,
    /// Like `365d`, which it is unless given.
    #[serde(default)]
    validity: Option<String>,
}

/// What it answers.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct IssuedBody {
    /// DER in base64.
    certificate: String,
    /// None: the pilot CA issues directly.
    intermediates: [String; 0],
    serial: Serial,
    fingerprint: Fingerprint,
    not_after: Timestamp,
}

/// What `POST /revoke` takes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RevokeBody {
    fingerprint: Fingerprint,
    #[serde(default)]
    reason: RevocationReason,
}

/// Only its digest is kept.
#[derive(Clone, Copy)]
pub(crate) struct Token(Digest);

impl Token {
    /// Reads the one line of a token file that nobody else can read.
    pub(crate) async fn read(path: &Path) -> Result<Self, PkiError> {
        use std::os::unix::fs::PermissionsExt as _;
        let path = path.to_owned();
        blocking(move || {
            let mode = std::fs::metadata(&path).map_err(|e| PkiError::io(&path, e))?.permissions().mode();
            let text = Zeroizing::new(std::fs::read_to_string(&path).map_err(|e| PkiError::io(&path, e))?);
            let token = text.trim_end();
            let visible = TOKEN.contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic());
            if truc_keystores::exposed(&path, mode) || !visible {
                return Err(PkiError::BadToken(path));
            }
            Ok(Self(Digest::of(token.as_bytes())))
        })
        .await
    }
}

#[derive(Clone)]
struct Desk {
    app: Arc<App>,
    token: Token,
}

pub(crate) fn router(app: Arc<App>, token: Token) -> Router {
    let desk = Desk { app, token };
    Router::new()
        .route("/issue", post(issue))
        .route("/revoke", post(revoke))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(middleware::from_fn_with_state(desk.clone(), authenticate))
        .layer(middleware::from_fn(deadline))
        .with_state(desk)
}

/// Digests are compared, so that the time taken says nothing about the token.
async fn authenticate(State(desk): State<Desk>, request: Request, next: Next) -> Response {
    let given = request.headers().get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
    let given = given.and_then(|v| v.strip_prefix("Bearer ")).map(|t| Digest::of(t.as_bytes()));
    if given == Some(desk.token.0) {
        return next.run(request).await;
    }
    let sentence = "cần token của [issuing] token-file / send the token of [issuing] token-file as Authorization: Bearer";
    refusal(StatusCode::UNAUTHORIZED, sentence)
}

async fn issue(State(desk): State<Desk>, body: Bytes) -> Response {
    match issued(&desk.app.pki, &body).await {
        Ok(answer) => Json(answer).into_response(),
        Err(error) => told(&error),
    }
}

async fn issued(pki: &Pki, body: &[u8]) -> Result<IssuedBody, PkiError> {
    let body: IssueBody = serde_json::from_slice(body).map_err(|e| PkiError::BadBody(e.to_string()))?;
    let validity = body.validity.as_deref().map_or(Some(USUAL_VALIDITY), duration);
    let validity = validity.filter(|v| VALIDITY.contains(v));
    let validity =
        validity.ok_or_else(|| PkiError::BadBody("validity is from \"1d\" to \"1825d\"".to_owned()))?;
    let request = if body.csr.trim_start().starts_with("-----") {
        CertificateRequest::from_pem(body.csr.as_bytes())?
    } else {
        let der = STANDARD.decode(body.csr.trim().as_bytes());
        CertificateRequest::from_der(
            &der.map_err(|_| PkiError::BadBody("csr is neither PEM nor base64".into()))?,
        )?
    };
    let wish = Wish {
        request: &request,
        usage: body.usage,
        holder: &body.holder,
        organisation: &body.organisation,
        validity,
    };
    let certificate = pki.certificate_for_request(&wish).await?;
    Ok(IssuedBody {
        certificate: STANDARD.encode(certificate.der()),
        intermediates: [],
        serial: Serial::from_bytes(certificate.serial()),
        fingerprint: certificate.fingerprint(),
        not_after: certificate.not_after(),
    })
}

async fn revoke(State(desk): State<Desk>, body: Bytes) -> Response {
    let body: RevokeBody = match serde_json::from_slice(&body) {
        Ok(body) => body,
        Err(error) => return told(&PkiError::BadBody(error.to_string())),
    };
    match desk.app.pki.revoke_fingerprint(&body.fingerprint, body.reason).await {
        Ok(revoked) => Json(json!({ "at": revoked.at, "reason": revoked.reason })).into_response(),
        Err(error) => told(&error),
    }
}

fn told(error: &PkiError) -> Response {
    let status = match error {
        PkiError::BadBody(_) | PkiError::Request(_) | PkiError::UnusableKey => StatusCode::BAD_REQUEST,
        PkiError::WrongSubject { .. } | PkiError::NobodyNamed(_) | PkiError::NoHolder(_) => {
            StatusCode::UNPROCESSABLE_ENTITY
        }
        PkiError::KeyOfAnother | PkiError::Over => StatusCode::CONFLICT,
        PkiError::UnknownFingerprint(_) => StatusCode::NOT_FOUND,
        _ => {
            tracing::error!(%error, "nothing was issued or revoked");
            // Files and keys are nobody's business but the operator's.
            let sentence =
                "CA thử nghiệm gặp lỗi; xem nhật ký của nó / the pilot CA failed; its log says why";
            return refusal(StatusCode::INTERNAL_SERVER_ERROR, sentence);
        }
    };
    refusal(status, &error.to_string())
}

fn refusal(status: StatusCode, sentence: &str) -> Response {
    (status, Json(json!({ "error": sentence }))).into_response()
}
