//! The trust checks of protocol P3, made again for the moment of sending and from what the container carries.

use std::sync::Arc;

use bytes::Bytes;
use truc_directory::{Directory, Usage};
use truc_message::{CALL_LIFE, SKEW};
use truc_model::{Digest, MemberId, Timestamp};
use truc_trust::cms::SignedMessage;
use truc_trust::{Certificate, find_path};

use super::names;
use super::notes::RecordNote;
use super::read::Opened;
use super::report::{CheckName, State};
use super::status::Carried;
use super::verify::{Message, Outcomes};
use crate::record::LocalPart;

/// The trust checks of protocol P3 as far as a container can show them, for the moment of sending; `stamped` is the time that
/// a token shows the signature to have existed.
pub(super) fn check_trust(
    opened: &Opened,
    message: &Message,
    record: &RecordNote,
    local: &LocalPart,
    directory: Result<Arc<Directory>, Option<String>>,
    stamped: Option<Timestamp>,
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
    found.push(check_registered(message, signature, &directory));
    found.extend(check_path_and_status(opened, message, signature, record, local, &directory, stamped));
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
    signature: &SignedMessage,
    directory: &Directory,
) -> (CheckName, State, String) {
    let (name, signer) = (CheckName::Registered, signature.certificate());
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
    if !names_member(message, signature, directory, &member) {
        return (name, State::Failed, format!("the certificate does not name {member}"));
    }
    (name, State::Ok, format!("{member} ({} / {}), {}", entry.name_vi, entry.name_en, signer.fingerprint()))
}

/// Whether the profile of the certificate's own CA maps it to the member (protocol P3.2). Where it leads to no CA, that is what
/// [`CheckName::Path`] says.
fn names_member(
    message: &Message,
    signature: &SignedMessage,
    directory: &Directory,
    member: &MemberId,
) -> bool {
    let signer: &Certificate = signature.certificate();
    let sent = message.header.sent;
    let Ok((_, authority)) = find_path(signer, signature.intermediates(), Usage::Sign, directory, sent)
    else {
        return true;
    };
    let profile = directory.authorities().get(authority).map(|a| a.profile);
    profile.is_some_and(|profile| signer.named(profile, Usage::Sign).is_ok_and(|n| n.member == *member))
}

fn check_path_and_status(
    opened: &Opened,
    message: &Message,
    signature: &SignedMessage,
    record: &RecordNote,
    local: &LocalPart,
    directory: &Directory,
    stamped: Option<Timestamp>,
) -> Outcomes {
    let (signer, sent) = (signature.certificate(), message.header.sent);
    let path = match find_path(signer, signature.intermediates(), Usage::Sign, directory, sent) {
        Ok((path, authority)) => {
            (path, directory.authorities().get(authority).map_or("", |a| a.name.as_str()))
        }
        Err(why) => return vec![(CheckName::Path, State::Failed, why.to_string())],
    };
    let (path, authority) = path;
    let mut found = vec![(CheckName::Path, State::Ok, format!("{authority}: {}", path.anchor.subject()))];
    if let Some(at) = stamped.filter(|at| *at > signer.not_after()) {
        // Good when it was sent, but nothing shows that it was sent before the certificate ended.
        let why = format!("the certificate ended {}, before the time-stamp of {at}", signer.not_after());
        found = vec![(CheckName::Path, State::NotShown, why)];
    }
    let files = |digests: &[Digest], name: fn(Digest) -> String| -> Vec<&Bytes> {
        digests.iter().filter_map(|d| opened.files.get(&name(*d))).collect()
    };
    let noted = local.trust.iter().flat_map(|t| &t.revocation_lists).map(|list| list.digest);
    let lists: Vec<Digest> = noted.collect();
    let carried = Carried {
        before: files(&record.statuses, names::status),
        lists: files(&lists, names::list),
        lists_named: lists.len(),
        after: files(&record.statuses_after, names::status),
        signer,
        issuer: &path.issuer,
    };
    found.extend(carried.judge(sent, stamped));
    found
}
