//! What a response or a token is worth (`docs/evidence.md` §3.3).

use std::fmt::Write as _;

use truc_model::{Digest, Timestamp};

use super::{CLOCK_LIMIT, SIZE_LIMIT, TimeStampAuthority, TimeStampError, TimeStampRequest, TimeStampToken};
use crate::asn1::{BIT_STRING, Malformed, Read, SEQUENCE, Tlv};
use crate::{Certificate, Purpose, check_path};

/// UTF8String.
const UTF8: u8 = 0x0c;
/// Characters of an authority's own words that are passed on.
const TEXT_LIMIT: usize = 200;

/// What a token proves: that data with this digest existed at this time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeStamp {
    /// The SHA-256 digest it is over.
    pub imprint: Digest,
    /// When it was made, by the authority's clock; cut to milliseconds.
    pub gen_time: Timestamp,
    /// The policy it was made under, as a dotted object identifier.
    pub policy: String,
    /// The token's serial number at its authority, in hexadecimal.
    pub serial: String,
    /// Whose key signed it.
    pub signer: Certificate,
}

/// Judges what an authority just answered to `request`, and gives the token to keep.
///
/// # Errors
/// [`TimeStampError`]; then nothing is to be kept.
pub fn judge_response(
    response: &[u8],
    request: &TimeStampRequest,
    authority: &TimeStampAuthority,
    now: Timestamp,
) -> Result<(TimeStamp, TimeStampToken), TimeStampError> {
    let token = TimeStampToken::read(granted(response)?)?;
    if token.info.nonce.as_deref() != Some(request.nonce()) {
        return Err(TimeStampError::OtherNonce);
    }
    if request.policy().is_some_and(|policy| policy != token.info.policy) {
        return Err(TimeStampError::OtherPolicy(token.info.policy.to_string()));
    }
    let at = token.info.gen_time;
    let apart = if at > now { at.since(now) } else { now.since(at) };
    if apart > CLOCK_LIMIT {
        return Err(TimeStampError::Clock { seconds: apart.as_secs() });
    }
    let stamp = judge(&token, request.imprint(), authority)?;
    Ok((stamp, token))
}

/// Judges a token that was kept: over `imprint`, by this authority, at the token's own time. The clock plays no part.
///
/// # Errors
/// [`TimeStampError`]; then the token proves nothing.
pub fn judge_token(
    token: &[u8],
    imprint: Digest,
    authority: &TimeStampAuthority,
) -> Result<TimeStamp, TimeStampError> {
    judge(&TimeStampToken::read(token)?, imprint, authority)
}

fn judge(
    token: &TimeStampToken,
    imprint: Digest,
    authority: &TimeStampAuthority,
) -> Result<TimeStamp, TimeStampError> {
    if token.info.imprint != Some(imprint) {
        return Err(TimeStampError::OtherImprint);
    }
    let signer = token.signer(authority)?;
    let gen_time = token.info.gen_time;
    check_signer(&signer, token.certificates(), authority, gen_time)?;
    Ok(TimeStamp {
        imprint,
        gen_time,
        policy: token.info.policy.to_string(),
        serial: hex::encode(&token.info.serial),
        signer,
    })
}

/// The signer is the directory's certificate, or leads to it where that is a CA; it may stamp, and might at that time.
fn check_signer(
    signer: &Certificate,
    carried: &[Certificate],
    authority: &TimeStampAuthority,
    at: Timestamp,
) -> Result<(), TimeStampError> {
    let listed = &authority.certificate;
    if signer != listed && !listed.is_ca() {
        return Err(TimeStampError::OtherSigner(authority.name.clone()));
    }
    if !signer.for_time_stamping() || !signer.may_sign() || signer.has_unknown_critical() {
        return Err(TimeStampError::WrongUsage);
    }
    if !signer.valid_at(at) {
        return Err(TimeStampError::NotValidThen);
    }
    if signer != listed {
        let between: Vec<Certificate> =
            carried.iter().filter(|other| *other != signer && *other != listed).cloned().collect();
        check_path(signer, &between, std::slice::from_ref(listed), Purpose::TimeStamping, at)?;
    }
    Ok(())
}

/// The token of a TimeStampResp that grants (RFC 3161 §2.4.2).
fn granted(response: &[u8]) -> Result<&[u8], TimeStampError> {
    if response.len() > SIZE_LIMIT {
        return Err(TimeStampError::TooLong(response.len()));
    }
    let mut outer = Tlv::only(response, SEQUENCE, "time-stamp response")?.open();
    let status_info = outer.take(SEQUENCE, "status")?;
    let token = outer.take_if(SEQUENCE, "token")?;
    outer.end("bytes after the token")?;
    let (status, reason) = read_status(status_info)?;
    match (status, token) {
        (0, Some(token)) => Ok(token.raw),
        (0, None) => Err(TimeStampError::NoToken),
        _ => Err(TimeStampError::Refused { status, reason }),
    }
}

/// PKIStatusInfo: the status, and why in words.
fn read_status(info: Tlv<'_>) -> Read<(u8, String)> {
    let mut inside = info.open();
    let status = inside.small("status")?;
    let mut reason = String::new();
    if let Some(texts) = inside.take_if(SEQUENCE, "status text")? {
        let mut texts = texts.open();
        while !texts.is_empty() {
            let text = texts.take(UTF8, "status text")?.value;
            let text = std::str::from_utf8(text).map_err(|_| Malformed("status text"))?;
            reason.extend(text.chars().filter(|c| !c.is_control()).take(TEXT_LIMIT));
            reason.push(' ');
        }
    }
    if let Some(bits) = inside.take_if(BIT_STRING, "failure")? {
        let _ = write!(reason, "({})", failure(bits.value));
    }
    inside.end("bytes after the status")?;
    let reason: String = reason.trim().chars().take(TEXT_LIMIT).collect();
    Ok((status, if reason.is_empty() { "it gives no reason".to_owned() } else { reason }))
}

/// PKIFailureInfo (RFC 3161 §2.4.2).
fn failure(bits: &[u8]) -> &'static str {
    const NAMES: [(usize, &str); 8] = [
        (0, "badAlg"),
        (2, "badRequest"),
        (5, "badDataFormat"),
        (14, "timeNotAvailable"),
        (15, "unacceptedPolicy"),
        (16, "unacceptedExtension"),
        (17, "addInfoNotAvailable"),
        (25, "systemFailure"),
    ];
    // The first octet counts the unused bits of the last.
    let set = |bit: usize| bits.get(1 + bit / 8).is_some_and(|octet| octet & (0x80 >> (bit % 8)) != 0);
    NAMES.iter().find(|(bit, _)| set(*bit)).map_or("another failure", |(_, name)| *name)
}
