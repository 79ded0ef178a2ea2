//! Makes the consumer's request header from a draft.

use ring::rand::{SecureRandom, SystemRandom};
use truc_directory::{Directory, NodeEntry};
use truc_message::{
    BodyInfo, DirectoryRef, Header, HeaderField, Kind, Opening, Secret, VERSION, hide, is_secret,
};
use truc_model::{Fault, FaultCode, MessageId, Side};

use crate::call::{Draft, DraftBody};
use crate::consumer::CALL_DEADLINE;
use crate::ground::Ground;

/// Writes the header of the request for `node`; gives the body back.
///
/// # Errors
/// MALFORMED when the header's fields break protocol P1.2.
pub(crate) fn open(
    ground: &Ground,
    draft: Draft,
    node: &NodeEntry,
    directory: &Directory,
) -> Result<(Opening, DraftBody), Fault> {
    let (headers, secrets) = split_secrets(&draft.headers)?;
    let now = ground.clock.now();
    let context = draft.context;
    let header = Header {
        v: VERSION,
        kind: Kind::Request,
        id: MessageId::new(now, random()?),
        instance: directory.instance().to_owned(),
        client: draft.client,
        service: draft.service,
        from: ground.me.clone(),
        to: node.id.clone(),
        directory: DirectoryRef { epoch: directory.epoch(), version: directory.version() },
        sent: now,
        expires: now.plus(CALL_DEADLINE),
        method: Some(draft.method),
        path: Some(draft.path.as_str().to_owned()),
        query: draft.query.map(|query| query.as_str().to_owned()),
        headers,
        user_id: context.user_id,
        agency: context.agency,
        purpose: context.purpose,
        legal_basis: context.legal_basis,
        consent: context.consent,
        represented_party: context.represented_party,
        issue: context.issue,
        client_message_id: context.client_message_id,
        idempotency_key: context.idempotency_key,
        trace: context.trace,
        body: Some(BodyInfo { media_type: draft.media_type, length: draft.body.announced() }),
        status: None,
        in_reply_to: None,
        leaf: None,
    };
    let opening = Opening::new(header, secrets)
        .map_err(|error| Fault::at(Side::Client, FaultCode::Malformed, error.to_string()))?;
    Ok((opening, draft.body))
}

fn split_secrets(headers: &[(String, Vec<u8>)]) -> Result<(Vec<HeaderField>, Vec<Secret>), Fault> {
    let mut fields = Vec::with_capacity(headers.len());
    let mut secrets = Vec::new();
    for (name, value) in headers {
        if is_secret(name) {
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
    let failed = |_| Fault::consumer(FaultCode::Internal, "the system's random numbers are not to be had");
    SystemRandom::new().fill(&mut bytes).map_err(failed)?;
    Ok(bytes)
}
