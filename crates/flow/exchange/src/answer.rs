//! Makes the provider's answer: from the service, from the bus itself (metaservices), or a signed refusal.

use std::time::Duration;

use bytes::Bytes;
use ring::rand::{SecureRandom, SystemRandom};
use truc_directory::Directory;
use truc_evidence::{Ending, Recorded};
use truc_message::{
    Body, BodyInfo, DirectoryRef, Header, HeaderField, InReplyTo, Kind, Leaf, Secret, Signed, VERSION, hide,
    is_secret,
};
use truc_model::{Digest, Fault, FaultCode, MessageId, Side};
use truc_policy::{Admitted, Metaservice, Policy, ServiceTarget};
use truc_trust::{Request, Verified};

use crate::ground::Ground;
use crate::ports::{ServiceAnswer, ServiceDoor, ServiceFailure};
use crate::refusal;

/// An answer may be verified this long after it was sealed.
const ANSWER_LIFE: Duration = Duration::from_secs(300);

/// What became of an admitted request.
pub(crate) enum Replied {
    /// The service, or the bus for a metaservice, answered; with the names of the headers that are secret besides.
    Answered(ServiceAnswer, Vec<String>),
    /// It ended in a fault that is told signed.
    Refused(Fault),
}

/// The request that is answered.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) header: &'a Header,
    pub(crate) digest: Digest,
    /// Where the request's record lies in this node's log.
    pub(crate) leaf: Leaf,
}

/// Calls what the request was admitted to.
pub(crate) async fn from_target(
    services: &dyn ServiceDoor,
    policy: &Policy,
    recorded: &Recorded<Admitted<Verified<Request>>>,
    directory: &Directory,
) -> Replied {
    let admitted = recorded.inner();
    let header = admitted.request().header();
    let subsystem = header.service.subsystem();
    let outcome = match admitted.target() {
        ServiceTarget::Service(_) => services.call(recorded).await,
        ServiceTarget::Metaservice(Metaservice::ListMethods) => {
            Ok(json_answer(&policy.list_methods(&subsystem)))
        }
        ServiceTarget::Metaservice(Metaservice::AllowedMethods) => {
            Ok(json_answer(&policy.allowed_methods(&subsystem, &header.client, directory)))
        }
        ServiceTarget::Metaservice(Metaservice::GetOpenApi(service)) => services.description(service).await,
    };
    match outcome {
        Ok(answer) => Replied::Answered(answer, secrets_of(admitted.target())),
        Err(failure) => Replied::Refused(failure_fault(&failure)),
    }
}

/// The headers that the service's operator calls secret, beyond those that always are (protocol P1.3).
fn secrets_of(target: &ServiceTarget) -> Vec<String> {
    match target {
        ServiceTarget::Service(service) => service.secret_headers.clone(),
        ServiceTarget::Metaservice(_) => Vec::new(),
    }
}

fn json_answer(value: &serde_json::Value) -> ServiceAnswer {
    ServiceAnswer {
        status: 200,
        headers: Vec::new(),
        media_type: Some("application/json".to_owned()),
        body: Bytes::from(value.to_string()),
    }
}

fn failure_fault(failure: &ServiceFailure) -> Fault {
    let code = match failure {
        ServiceFailure::Timeout(_) => FaultCode::Timeout,
        ServiceFailure::Unreachable(_)
        | ServiceFailure::Broken(_)
        | ServiceFailure::TooLarge(_)
        | ServiceFailure::Description(_) => FaultCode::ServiceFailed,
    };
    Fault::provider(code, failure.to_string())
}

/// Seals and signs the answer for the service's member.
///
/// # Errors
/// SIGNING_FAILED for a refusal; OUTCOME_UNKNOWN for an answer, since the service has acted.
pub(crate) async fn seal(
    ground: &Ground,
    asked: Asked<'_>,
    replied: Replied,
    directory: &Directory,
) -> Result<(Signed, Ending), Fault> {
    let (answer, secret) = match replied {
        Replied::Refused(fault) => {
            let sealed = seal_refusal(ground, asked, &fault, directory).await;
            // Where the service may have acted, a refusal that cannot be signed is no "not carried out".
            return match fault.code {
                FaultCode::Timeout | FaultCode::ServiceFailed | FaultCode::OutcomeUnknown => {
                    sealed.map_err(|error| Fault { code: FaultCode::OutcomeUnknown, ..error })
                }
                _ => sealed,
            };
        }
        Replied::Answered(answer, secret) => (answer, secret),
    };
    match seal_response(ground, asked, answer, &secret, directory).await {
        Ok(signed) => Ok((signed, Ending::OK)),
        // The service's own header fields can break the rules of a header: then its answer cannot be passed on.
        Err(fault) if fault.code == FaultCode::Malformed => {
            let told =
                Fault::provider(FaultCode::ServiceFailed, format!("the service's answer: {}", fault.detail));
            seal_refusal(ground, asked, &told, directory).await
        }
        Err(fault) => Err(Fault { code: FaultCode::OutcomeUnknown, ..fault }),
    }
}

async fn seal_response(
    ground: &Ground,
    asked: Asked<'_>,
    answer: ServiceAnswer,
    secret: &[String],
    directory: &Directory,
) -> Result<Signed, Fault> {
    let (headers, secrets) = split_secrets(&answer.headers, secret)?;
    let body = Body::new(answer.body);
    let mut header = frame(ground, asked, Kind::Response, answer.status, directory)?;
    header.headers = headers;
    header.body = Some(BodyInfo { media_type: answer.media_type, length: Some(body.len() as u64) });
    let member = asked.header.service.member();
    ground.sealing.sign(&member, header, body, secrets, Side::ServerProxy).await
}

async fn seal_refusal(
    ground: &Ground,
    asked: Asked<'_>,
    fault: &Fault,
    directory: &Directory,
) -> Result<(Signed, Ending), Fault> {
    let body = refusal::body_of(fault);
    let mut header = frame(ground, asked, Kind::Refusal, fault.code.http_status(), directory)?;
    header.body = Some(refusal::body_info(&body));
    let member = asked.header.service.member();
    let signed = ground.sealing.sign(&member, header, body, Vec::new(), Side::ServerProxy).await?;
    Ok((signed, Ending::of(fault.code)))
}

/// The fields that every answer has.
fn frame(
    ground: &Ground,
    asked: Asked<'_>,
    kind: Kind,
    status: u16,
    directory: &Directory,
) -> Result<Header, Fault> {
    let now = ground.clock.now();
    let request = asked.header;
    Ok(Header {
        v: VERSION,
        kind,
        id: MessageId::new(now, random()?),
        instance: request.instance.clone(),
        client: request.client.clone(),
        service: request.service.clone(),
        from: ground.me.clone(),
        to: request.from.clone(),
        directory: DirectoryRef { epoch: directory.epoch(), version: directory.version() },
        sent: now,
        expires: now.plus(ANSWER_LIFE),
        method: None,
        path: None,
        query: None,
        headers: Vec::new(),
        user_id: request.user_id.clone(),
        agency: None,
        purpose: None,
        legal_basis: None,
        consent: None,
        represented_party: request.represented_party.clone(),
        issue: request.issue.clone(),
        client_message_id: request.client_message_id.clone(),
        idempotency_key: None,
        trace: request.trace.clone(),
        body: None,
        status: Some(status),
        in_reply_to: Some(InReplyTo { id: request.id, digest: asked.digest }),
        leaf: Some(asked.leaf),
    })
}

fn split_secrets(
    headers: &[(String, Vec<u8>)],
    secret: &[String],
) -> Result<(Vec<HeaderField>, Vec<Secret>), Fault> {
    let mut fields = Vec::with_capacity(headers.len());
    let mut secrets = Vec::new();
    for (name, value) in headers {
        if is_secret(name) || secret.contains(name) {
            let (field, secret) = hide(name, value, random()?);
            fields.push(field);
            secrets.push(secret);
        } else {
            fields.push(HeaderField::plain(name, value));
        }
    }
    Ok((fields, secrets))
}

fn random<const N: usize>() -> Result<[u8; N], Fault> {
    let mut bytes = [0; N];
    let failed = |_| Fault::provider(FaultCode::Internal, "the system's random numbers are not to be had");
    SystemRandom::new().fill(&mut bytes).map_err(failed)?;
    Ok(bytes)
}
