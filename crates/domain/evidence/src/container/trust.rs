//! The trust checks of protocol P3, made again for the moment of sending and from what the container carries.

use std::sync::Arc;

use bytes::Bytes;
use truc_directory::{Directory, Usage};
use truc_message::{CALL_LIFE, SKEW};
use truc_model::{MemberId, Timestamp};
use truc_trust::cms::SignedMessage;
use truc_trust::{Certificate, StatusPolicy, SubjectAttribute, Verdict as Standing, find_path, ocsp};

use super::names;
use super::notes::RecordNote;
use super::read::Opened;
use super::report::{CheckName, State};
use super::verify::{Message, Outcomes};
use crate::record::LocalPart;

/// The trust checks of protocol P3 as far as a container can show them, for the moment of sending.
pub(super) fn check_trust(
    opened: &Opened,
    message: &Message,
    record: &RecordNote,
    local: &LocalPart,
    directory: Result<Arc<Directory>, Option<String>>,
) -> Outcomes {
    let directory = match directory {
        Ok(directory) => directory,
        Err(None) => {
            return vec![(
                CheckName::Directory,
                State::NotShown,
                "the directory of the time is not in this container".into(),
            )];
        }
        Err(Some(why)) => return vec![(CheckName::Directory, State::Failed, why)],
    };
    let mut found = vec![check_head(message, local, &directory)];
    found.push(check_node(message, &directory));
    let Ok(signature) = &message.signature else { return found };
    found.push(check_registered(message, signature.certificate(), &directory));
    found.extend(check_path_and_status(opened, message, signature, record, &directory));
    found
}

fn check_head(message: &Message, local: &LocalPart, directory: &Directory) -> (CheckName, State, String) {
    let name = CheckName::Directory;
    let sent = message.header.sent;
    let (issued, expires) = (directory.issued(), directory.expires());
    let detail = format!(
        "version {}.{}, issued {issued}, expires {expires}; the sender used {}.{}",
        directory.epoch(),
        directory.version(),
        message.header.directory.epoch,
        message.header.directory.version
    );
    if message.header.instance != directory.instance() {
        return (name, State::Failed, "the message is of another instance".into());
    }
    if sent > expires.plus(SKEW) {
        return (name, State::Failed, format!("expired before the message was sent: {detail}"));
    }
    if issued <= sent.plus(CALL_LIFE).plus(SKEW) {
        (name, State::Ok, detail)
    } else if issued <= local.at.plus(SKEW) {
        // A late answer, recorded under the directory of then; but nobody signs when a record was made, so that this
        // directory shows nothing of the time of sending, whatever the record says.
        (name, State::NotShown, format!("issued only after the message was sent: {detail}"))
    } else {
        (name, State::Failed, format!("issued after the message was recorded: {detail}"))
    }
}

/// Whether the container carries neither the member's part nor the proof that there is none.
fn not_carried(directory: &Directory, member: &MemberId) -> bool {
    directory.lacks(member)
}

fn check_node(message: &Message, directory: &Directory) -> (CheckName, State, String) {
    let name = CheckName::Node;
    let (from, (_, subsystem)) = (&message.header.from, message.sender());
    if directory.speaks_for(from, &subsystem) {
        (name, State::Ok, format!("{from} speaks for {subsystem}"))
    } else if not_carried(directory, &from.owner()) {
        (
            name,
            State::NotShown,
            format!("{from} belongs to {}, whose part is not in this container", from.owner()),
        )
    } else {
        (name, State::Failed, format!("{from} is not registered to speak for {subsystem}"))
    }
}

fn check_registered(
    message: &Message,
    signer: &Certificate,
    directory: &Directory,
) -> (CheckName, State, String) {
    let name = CheckName::Registered;
    let (member, _) = message.sender();
    if not_carried(directory, &member) {
        return (name, State::NotShown, format!("the part of {member} is not in this container"));
    }
    let Some(entry) = directory.member(&member) else {
        return (name, State::Failed, format!("{member} is not in the directory"));
    };
    if !entry.is_active(message.header.sent) {
        return (name, State::Failed, format!("{member} was not an active member"));
    }
    if !directory.has_sign_certificate(&member, &signer.fingerprint()) {
        return (name, State::Failed, format!("{} is not registered to {member}", signer.fingerprint()));
    }
    if signer.subject_attribute(SubjectAttribute::OrganizationIdentifier) != Some(member.as_str()) {
        return (name, State::Failed, format!("the certificate does not name {member}"));
    }
    (name, State::Ok, format!("{member} ({} / {}), {}", entry.name_vi, entry.name_en, signer.fingerprint()))
}

fn check_path_and_status(
    opened: &Opened,
    message: &Message,
    signature: &SignedMessage,
    record: &RecordNote,
    directory: &Directory,
) -> Outcomes {
    let (signer, sent) = (signature.certificate(), message.header.sent);
    let path = match find_path(signer, signature.intermediates(), Usage::Sign, directory, sent) {
        Ok((path, authority)) => {
            (path, directory.authorities().get(authority).map_or("", |a| a.name.as_str()))
        }
        Err(why) => return vec![(CheckName::Path, State::Failed, why.to_string())],
    };
    let (path, authority) = path;
    let carried = record.statuses.iter().filter_map(|d| opened.files.get(&names::status(*d)));
    let status = check_status(carried, signer, &path.issuer, sent);
    vec![(CheckName::Path, State::Ok, format!("{authority}: {}", path.anchor.subject())), status]
}

/// The newest response about the signer decides; it is fresh for an hour and graced for twelve (protocol P3.5). One made
/// later than any call lives says nothing of the time of sending; when the record was made is nobody's signed word.
fn check_status<'a>(
    carried: impl Iterator<Item = &'a Bytes>,
    signer: &Certificate,
    issuer: &Certificate,
    sent: Timestamp,
) -> (CheckName, State, String) {
    let name = CheckName::Status;
    let at = sent.plus(CALL_LIFE);
    let (mut newest, mut later) = (None, false);
    for bytes in carried {
        match ocsp::read(bytes).and_then(|response| response.judge(signer, issuer, at)) {
            Ok(status)
                if newest
                    .is_none_or(|n: truc_trust::CertificateStatus| n.this_update <= status.this_update) =>
            {
                newest = Some(status);
            }
            // Statuses of several certificates lie together: one that is of another is no failure.
            Ok(_) | Err(ocsp::OcspError::OtherCertificate) => {}
            Err(ocsp::OcspError::Times) => later = true,
            Err(why) => return (name, State::Failed, why.to_string()),
        }
    }
    let Some(status) = newest else {
        let why = if later {
            "the OCSP responses in this record are of a later time than the sending, or of impossible times"
        } else {
            "no OCSP response about the signer's certificate is in this record"
        };
        return (name, State::NotShown, why.into());
    };
    let policy = StatusPolicy::default();
    let since = status.this_update;
    match status.verdict {
        Standing::Revoked { at } if at <= sent => (name, State::Failed, format!("revoked {at}")),
        Standing::Revoked { at } => (
            name,
            State::NotShown,
            format!("revoked {at}, after the time of sending: only a time-stamp could tell"),
        ),
        Standing::Unknown => (name, State::Failed, "the responder does not know the certificate".into()),
        Standing::Good if sent <= since.plus(policy.freshness) => {
            (name, State::Ok, format!("good and fresh, as of {since}"))
        }
        Standing::Good if sent <= since.plus(policy.grace) => {
            (name, State::Ok, format!("good, as of {since}: past 1 h, accepted by grace of up to 12 h"))
        }
        Standing::Good => {
            (name, State::Failed, format!("too old, as of {since}: more than 12 h before the sending"))
        }
    }
}
