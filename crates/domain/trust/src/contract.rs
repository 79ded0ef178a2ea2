//! The contract every [`StatusSource`] keeps; each adapter's tests run it.

use truc_model::Timestamp;

use crate::certificate::Certificate;
use crate::ocsp;
use crate::statuses::StatusSource;

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
