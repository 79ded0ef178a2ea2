//! Makes the provider's answer: from the service, from the bus itself (metaservices), or a signed refusal.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use ring::rand::{SecureRandom, SystemRandom};
use truc_directory::Directory;
use truc_evidence::{Ending, Recorded};
use truc_message::{
    Body, BodyInfo, BodyStream, DirectoryRef, Header, HeaderField, InReplyTo, Kind, Leaf, Opening, Sealed,
    Secret, Signed, VERSION, hide, is_secret,
};
use truc_model::{Digest, Fault, FaultCode, MessageId, Side};
use truc_policy::{Admitted, Metaservice, Policy, ServiceTarget, SideEffectFree};
use truc_trust::{Request, Verified};

use crate::ground::Ground;
use crate::moment::Moment;
use crate::ports::{
    AnswerBody, Beginning, Conversation, Interrupted, ServiceAnswer, ServiceDoor, ServiceFailure,
};
use crate::refusal;
use crate::sealing::Pen;

/// An answer may be verified this long after it was sealed.
const ANSWER_LIFE: Duration = Duration::from_secs(300);

/// What became of an admitted request.
pub(crate) enum Replied {
    /// The service, or the bus for a metaservice, answered.
    Answered(Answer, Bytes),
    /// The service is answering with a body that flows; its length, when it is known.
    Coming(Answer, Option<u64>, BodyStream),
    /// It ended in a fault that is told signed.
    Refused(Fault),
}

/// An answer without its body.
pub(crate) struct Answer {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    media_type: Option<String>,
    /// Names of the headers that the service's operator calls secret, beyond those that always are (protocol P1.3).
    secret: Vec<String>,
}

/// An answer that this node has signed.
pub(crate) struct Made {
    pub(crate) message: Signed,
    /// What vouches for the seal that signed it.
    pub(crate) statuses: Vec<Bytes>,
    pub(crate) ending: Ending,
    /// Header and body are with the peer already: only the signature is still to be sent.
    pub(crate) begun: bool,
}

impl Made {
    const fn whole(message: Signed, statuses: Vec<Bytes>, ending: Ending) -> Self {
        Self { message, statuses, ending, begun: false }
    }
}

/// The request that is answered.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) header: &'a Header,
    pub(crate) digest: Digest,
    /// Where the request's record lies in this node's log.
    pub(crate) leaf: Leaf,
    /// When the request was judged to be of now; none for one that a crash left open.
    pub(crate) heard: Option<Moment>,
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
        ServiceTarget::Metaservice(Metaservice::AllowedMethods) => Ok(json_answer(&policy.allowed_methods(
            &subsystem,
            &header.client,
            directory,
            admitted.request().at(),
        ))),
        ServiceTarget::Metaservice(Metaservice::GetOpenApi(service)) => services.description(service).await,
    };
    match outcome {
        Ok(answer) => replied(answer, secrets_of(admitted.target())),
        Err(failure) => Replied::Refused(failure_fault(&failure)),
    }
}

/// Calls a service that is declared free of side effects.
pub(crate) async fn from_early_look(
    services: &dyn ServiceDoor,
    request: &SideEffectFree<Verified<Request>>,
) -> Replied {
    match services.look(request).await {
        Ok(answer) => replied(answer, secrets_of(request.admitted().target())),
        Err(failure) => Replied::Refused(failure_fault(&failure)),
    }
}

fn replied(answer: ServiceAnswer, secret: Vec<String>) -> Replied {
    let ServiceAnswer { status, headers, media_type, body } = answer;
    let answer = Answer { status, headers, media_type, secret };
    match body {
        AnswerBody::Whole(bytes) => Replied::Answered(answer, bytes),
        AnswerBody::Coming { announced, pieces } => {
            let pieces = pieces.map(|piece| piece.map_err(|failure| failure_fault(&failure)));
            Replied::Coming(answer, announced, pieces.boxed())
        }
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
        body: Bytes::from(value.to_string()).into(),
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

/// Seals and signs an answer that is here whole, for the service's member.
///
/// # Errors
/// SIGNING_FAILED for a refusal; OUTCOME_UNKNOWN for an answer, since the service has acted.
pub(crate) async fn seal(
    ground: &Ground,
    asked: Asked<'_>,
    (answer, body): (Answer, Bytes),
    directory: &Directory,
) -> Result<Made, Fault> {
    let body = Body::new(body);
    let opening = match open(ground, asked, answer, Some(body.len()), directory) {
        Ok(opening) => opening,
        Err(fault) => return refuse(ground, asked, &fault, directory).await,
    };
    let pen = pen(ground, asked).map_err(unknown)?;
    let message = sign(&pen, opening, body).await?;
    Ok(Made::whole(message, pen.statuses(ground.clock.now()), Ending::OK))
}

/// Passes an answer on while it comes, and signs it when it is whole. One that does not become whole ends in a refusal.
///
/// # Errors
/// As [`seal`].
pub(crate) async fn pass_on(
    ground: &Ground,
    asked: Asked<'_>,
    c: &mut dyn Conversation,
    (answer, announced, pieces): (Answer, Option<u64>, BodyStream),
    directory: &Directory,
) -> Result<Made, Fault> {
    let opening = match open(ground, asked, answer, announced, directory) {
        Ok(opening) => opening,
        Err(fault) => return refuse(ground, asked, &fault, directory).await,
    };
    let pen = pen(ground, asked).map_err(unknown)?;
    let statuses = pen.statuses(ground.clock.now());
    let lost = |why: String| {
        let detail = format!("the service answered, and its answer could not be handed over whole: {why}");
        Fault::provider(FaultCode::OutcomeUnknown, detail)
    };
    let fault = match c.begin(Beginning::of(&opening, statuses.clone()), pieces).await {
        Ok(Some(body)) => {
            let message = sign(&pen, opening, body).await?;
            return Ok(Made { message, statuses, ending: Ending::OK, begun: true });
        }
        Ok(None) => lost("the consumer's node gave up".to_owned()),
        Err(Interrupted::Link(error)) => lost(error.to_string()),
        Err(Interrupted::Source(fault)) => fault,
    };
    refuse(ground, asked, &fault, directory).await
}

/// Seals and signs a refusal.
///
/// # Errors
/// SIGNING_FAILED; OUTCOME_UNKNOWN where the service may have acted: then a refusal that cannot be signed is no "not
/// carried out".
pub(crate) async fn refuse(
    ground: &Ground,
    asked: Asked<'_>,
    fault: &Fault,
    directory: &Directory,
) -> Result<Made, Fault> {
    let sealed = seal_refusal(ground, asked, fault, directory).await;
    match fault.code {
        FaultCode::Timeout | FaultCode::ServiceFailed | FaultCode::OutcomeUnknown => {
            sealed.map_err(|error| Fault { code: FaultCode::OutcomeUnknown, ..error })
        }
        _ => sealed,
    }
}

/// The header of the service's answer. Its own header fields can break the rules of a header: then its answer cannot be
/// passed on.
fn open(
    ground: &Ground,
    asked: Asked<'_>,
    answer: Answer,
    length: Option<u64>,
    directory: &Directory,
) -> Result<Opening, Fault> {
    let (headers, secrets) = split_secrets(&answer.headers, &answer.secret).map_err(unknown)?;
    let mut header = frame(ground, asked, Kind::Response, answer.status, directory).map_err(unknown)?;
    header.headers = headers;
    header.body = Some(BodyInfo { media_type: answer.media_type, length });
    Opening::new(header, secrets)
        .map_err(|error| Fault::provider(FaultCode::ServiceFailed, format!("the service's answer: {error}")))
}

/// The service has acted: what fails on this node's side leaves the outcome untold.
fn unknown(fault: Fault) -> Fault {
    Fault { code: FaultCode::OutcomeUnknown, ..fault }
}

/// The seal of the service's member.
fn pen<'g>(ground: &'g Ground, asked: Asked<'_>) -> Result<Pen<'g>, Fault> {
    ground.sealing.pen(&asked.header.service.member(), Side::ServerProxy)
}

async fn sign(pen: &Pen<'_>, opening: Opening, body: Body) -> Result<Signed, Fault> {
    let sealed = opening.seal(body);
    let sealed = sealed.map_err(|error| Fault::provider(FaultCode::OutcomeUnknown, error.to_string()))?;
    pen.sign(sealed).await.map_err(unknown)
}

async fn seal_refusal(
    ground: &Ground,
    asked: Asked<'_>,
    fault: &Fault,
    directory: &Directory,
) -> Result<Made, Fault> {
    let body = refusal::body_of(fault);
    let mut header = frame(ground, asked, Kind::Refusal, fault.code.http_status(), directory)?;
    header.body = Some(refusal::body_info(&body));
    let sealed = Sealed::seal(header, body, Vec::new())
        .map_err(|error| Fault::provider(FaultCode::Internal, error.to_string()))?;
    let pen = pen(ground, asked)?;
    let signed = pen.sign(sealed).await?;
    Ok(Made::whole(signed, pen.statuses(ground.clock.now()), Ending::of(fault.code)))
}

/// The fields that every answer has.
fn frame(
    ground: &Ground,
    asked: Asked<'_>,
    kind: Kind,
    status: u16,
    directory: &Directory,
) -> Result<Header, Fault> {
    let request = asked.header;
    // Never before its question: a signature from before the directory and the statuses that it rests on convinces nobody.
    let now = asked.heard.map_or_else(|| ground.clock.now(), |heard| heard.now()).max(request.sent);
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
