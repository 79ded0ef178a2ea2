//! The contracts every [`StatusSource`] and every [`TimeStampSource`] keeps; each adapter's tests run them.

use std::time::Duration;

use truc_model::{Digest, Timestamp};

use crate::certificate::Certificate;
use crate::ocsp;
use crate::statuses::StatusSource;
use crate::timestamp::{TimeStampAuthority, TimeStampRequest, TimeStampSource, judge_response};

/// What the contract is tried on: a certificate, its issuer, the URL of a responder that answers for it, and one where nobody is.
pub struct Answering<'a> {
    /// The certificate asked about.
    pub certificate: &'a Certificate,
    /// Its issuer.
    pub issuer: &'a Certificate,
    /// A responder that answers.
    pub up: &'a str,
    /// Nobody answers.
    pub down: &'a str,
}

/// Runs the contract at the moment `now`.
///
/// # Errors
/// The sentence names the clause that does not hold.
pub async fn status_source(
    source: &dyn StatusSource,
    on: Answering<'_>,
    now: Timestamp,
) -> Result<(), String> {
    let Answering { certificate, issuer, up, down } = on;
    let response =
        source.ocsp(up, certificate, issuer).await.map_err(|e| format!("a responder answers, yet: {e}"))?;
    let read = ocsp::read(&response).map_err(|e| format!("what a source gives is an OCSP response: {e}"))?;
    read.judge(certificate, issuer, now)
        .map_err(|e| format!("it is about the certificate asked for: {e}"))?;
    match source.ocsp(down, certificate, issuer).await {
        Ok(_) => return Err("without a responder there is no status to be had".into()),
        Err(error) if error.0.is_empty() => return Err("a failure says why".into()),
        Err(_) => {}
    }
    match source.revocation_list("http://127.0.0.1:9/none.crl").await {
        Ok(_) => Err("a list that is nowhere is not to be had".into()),
        Err(error) if error.0.is_empty() => Err("a failure says why".into()),
        Err(_) => Ok(()),
    }
}

/// What the contract of time-stamp sources is tried on.
pub struct StampingAuthorities<'a> {
    /// An authority that answers at its URL.
    pub up: &'a TimeStampAuthority,
    /// Nobody answers.
    pub down: &'a str,
    /// Somebody takes the request and never answers.
    pub silent: &'a str,
}

/// Runs the contract of time-stamp sources at the moment `now`.
///
/// # Errors
/// The sentence names the clause that does not hold.
pub async fn time_stamp_source(
    source: &dyn TimeStampSource,
    on: StampingAuthorities<'_>,
    now: Timestamp,
) -> Result<(), String> {
    const LONG: Duration = Duration::from_secs(10);
    let StampingAuthorities { up, down, silent } = on;
    for nonce in [1, u64::MAX] {
        let request = TimeStampRequest::new(Digest::of(&nonce.to_be_bytes()), nonce);
        let answer = source.fetch(&up.url, request.to_der().into(), LONG).await;
        let answer = answer.map_err(|e| format!("an authority answers, yet: {e}"))?;
        judge_response(&answer, &request, up, now)
            .map_err(|e| format!("what a source gives is the answer to the request sent: {e}"))?;
    }
    let request = TimeStampRequest::new(Digest::of(b"contract"), 2).to_der();
    match source.fetch(down, request.clone().into(), LONG).await {
        Ok(_) => return Err("without an authority there is no answer to be had".into()),
        Err(error) if error.0.is_empty() => return Err("a failure says why".into()),
        Err(_) => {}
    }
    match source.fetch(silent, request.into(), Duration::from_millis(50)).await {
        Ok(_) => Err("who does not answer gives no answer".into()),
        Err(error) if error.0.is_empty() => Err("a failure says why".into()),
        Err(_) => Ok(()),
    }
}
