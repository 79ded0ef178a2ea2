//! Judges a container offline: from its bytes and an anchor, for the moment at which each message was sent.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use truc_directory::{Anchor, Directory};
use truc_message::{Body, Header, Kind, Sealed, manifest};
use truc_model::{Digest, MemberId, SubsystemId, Timestamp, visible};
use truc_trust::Certificate;
use truc_trust::cms::{self, SignedMessage};

use super::ending::{self, Told};
use super::notes::{MessageNote, RecordNote, SINCE_TIME};
use super::read::{ContainerError, Opened, open};
use super::report::{Check, CheckName, Report, State, Summary, header_alone};
use super::time::{Known, Timed};
use super::trust::check_trust;
use super::{directories, names, readme};
use crate::leaf::leaf_over;
use crate::record::{LocalPart, RecordKind, Role};

/// Judges a container. CAs, members and certificates are believed only as far as the container's directory leads back to
/// `anchor`; no clock and no network is asked.
///
/// # Errors
/// [`ContainerError`] when the file is not a container as `truc` writes one: changed, damaged, or from a later version.
pub fn verify(bytes: &[u8], anchor: &Anchor) -> Result<Report, ContainerError> {
    let opened = open(bytes)?;
    let messages = opened
        .notes
        .messages()
        .into_iter()
        .map(|m| read_message(&opened, m))
        .collect::<Result<Vec<_>, _>>()?;
    let locals: Vec<_> = opened.notes.records.iter().map(|r| (r, read_local(&r.local))).collect();
    let of_provider = |(r, local): &&(&RecordNote, Result<LocalPart, String>)| {
        r.kind == RecordKind::Request && local.as_ref().is_ok_and(|l| l.role == Role::Provider)
    };
    let mut judging = Judging {
        opened: &opened,
        anchor,
        messages,
        provider: locals.iter().find(of_provider).map(|(record, _)| *record),
        directories: HashMap::new(),
        known: None,
        checks: vec![],
        about: None,
    };
    judging.notes();
    for index in 0..judging.messages.len() {
        judging.message(index);
    }
    for (record, local) in &locals {
        judging.record(record, local.as_ref());
    }
    judging.about = None;
    if opened.notes.heads.is_empty() {
        judging.untimed();
    }
    let summary = judging.summary();
    Ok(Report::new(summary, judging.checks))
}

/// One message as it lies in the container.
pub(super) struct Message {
    note: MessageNote,
    pub(super) header: Header,
    header_bytes: Bytes,
    body: Option<Bytes>,
    manifest: Bytes,
    /// Of the manifest, and of the signature: many records may be of one message.
    digest: Digest,
    cms_digest: Digest,
    pub(super) signature: Result<SignedMessage, String>,
    /// Manifest, body and signature hold together.
    sound: bool,
}

impl Message {
    pub(super) fn digest(&self) -> Digest {
        self.digest
    }

    pub(super) fn cms_digest(&self) -> Digest {
        self.cms_digest
    }

    /// The names of manifest and signature.
    pub(super) fn signed_names(&self) -> (String, String) {
        let names = self.note.names();
        (names.manifest, names.signature)
    }

    /// The body's digest, as the manifest states it.
    fn stated_body(&self) -> Option<Digest> {
        self.note.stated_body(&self.header_bytes, &self.manifest)
    }

    /// Who must have signed and sent it (protocol P3.2, P3.4).
    pub(super) fn sender(&self) -> (MemberId, SubsystemId) {
        let subsystem = if self.header.kind.is_answer() {
            self.header.service.subsystem()
        } else {
            self.header.client.clone()
        };
        (subsystem.member(), subsystem)
    }
}

fn read_message(opened: &Opened, note: MessageNote) -> Result<Message, ContainerError> {
    let names = note.names();
    let header_bytes = opened.get(&names.header)?.clone();
    let header = Header::parse(&header_bytes).map_err(|e| ContainerError::malformed(&names.header, e))?;
    if (header.kind, header.id) != (note.kind, note.id) {
        return Err(ContainerError::malformed(&names.header, "it is of another message than its place says"));
    }
    let (manifest, cms) = (opened.get(&names.manifest)?.clone(), opened.get(&names.signature)?);
    Ok(Message {
        header,
        header_bytes,
        body: if note.body { Some(opened.get(&names.body)?.clone()) } else { None },
        digest: Digest::of(&manifest),
        manifest,
        signature: cms::read(cms).map_err(|e| e.to_string()),
        cms_digest: Digest::of(cms),
        sound: false,
        note,
    })
}

struct Judging<'a> {
    opened: &'a Opened,
    anchor: &'a Anchor,
    messages: Vec<Message>,
    /// The provider's own record of the request, where it is here.
    provider: Option<&'a RecordNote>,
    directories: HashMap<Digest, Result<Arc<Directory>, Option<String>>>,
    /// What is known of time and log, from the first record on that hangs on a head.
    known: Option<Known>,
    checks: Vec<Check>,
    /// The message and the record under judgement.
    about: Option<(String, Option<u64>)>,
}

pub(super) type Outcomes = Vec<(CheckName, State, String)>;

impl Judging<'_> {
    fn note(&mut self, name: CheckName, state: State, detail: impl Into<String>) {
        let (message, record) = match &self.about {
            Some((message, record)) => (Some(message.clone()), *record),
            None => (None, None),
        };
        self.checks.push(Check {
            name,
            message,
            record,
            what: name.what(),
            state,
            detail: visible(&detail.into()),
        });
    }

    fn notes(&mut self) {
        let written = readme::text(&self.opened.notes, &self.opened.files);
        let (state, detail) = match (written, self.opened.files.get(names::README)) {
            (Ok(text), Some(found)) if text.as_bytes() == &found[..] => (State::Ok, String::new()),
            (Ok(_), _) => (State::Failed, format!("{} was changed: do not run its commands", names::README)),
            (Err(why), _) => (State::Failed, why),
        };
        let misnamed =
            self.opened.notes.files.iter().find(|f| !name_fits(&f.name, &self.opened.files[&f.name]));
        match misnamed {
            Some(file) => {
                self.note(CheckName::Notes, State::Failed, format!("{} is not what its name says", file.name))
            }
            None => self.note(CheckName::Notes, state, detail),
        }
    }

    /// What holds of a message whatever the directory says: manifest, signature, signing time.
    fn message(&mut self, index: usize) {
        let Some(message) = self.messages.get(index) else { return };
        let mut found: Outcomes = Vec::new();
        found.push(check_manifest(message));
        found.push(match &message.body {
            Some(body) => {
                (CheckName::Body, State::Ok, format!("{} bytes, sha256 {}", body.len(), Digest::of(body)))
            }
            None => {
                let digest = message.stated_body().map_or_else(String::new, |digest| digest.to_string());
                let detail = format!("digest only: whoever has the body compares its sha256 with {digest}");
                (CheckName::Body, State::NotShown, detail)
            }
        });
        match &message.signature {
            Err(why) => found.push((CheckName::Signature, State::Failed, why.clone())),
            Ok(signature) => {
                found.push(match signature.verify(&message.manifest) {
                    Ok(()) => {
                        let signer = signature.certificate();
                        (
                            CheckName::Signature,
                            State::Ok,
                            format!("{}, fingerprint {}", signer.subject(), signer.fingerprint()),
                        )
                    }
                    Err(why) => (CheckName::Signature, State::Failed, why.to_string()),
                });
                let (signed, sent) = (signature.signing_time(), message.header.sent);
                let state = if signed == sent.whole_second() { State::Ok } else { State::Failed };
                found.push((CheckName::SigningTime, state, format!("signed {signed}, sent {sent}")));
            }
        }
        if message.header.kind.is_answer() {
            found.push(self.check_answer(message));
        }
        let (stem, bare) = (message.note.stem(), message.body.is_none());
        let sound = found.iter().all(|(_, state, _)| *state != State::Failed);
        if let Some(message) = self.messages.get_mut(index) {
            message.sound = sound;
        }
        let before = self.checks.len();
        self.push(stem, None, found);
        let ours = self.checks.iter_mut().skip(before);
        ours.filter(|c| bare && c.name == CheckName::Manifest).for_each(|c| c.what = header_alone());
    }

    fn push(&mut self, stem: String, record: Option<u64>, found: Outcomes) {
        self.about = Some((stem, record));
        for (name, state, detail) in found {
            self.note(name, state, detail);
        }
    }

    fn check_answer(&self, answer: &Message) -> (CheckName, State, String) {
        let name = CheckName::Answer;
        let Some(reply) = answer.header.in_reply_to else {
            return (name, State::Failed, "it names no request".into());
        };
        let Some(request) = self.messages.iter().find(|m| m.header.kind == Kind::Request) else {
            return (name, State::NotShown, format!("the request {} is not in this container", reply.id));
        };
        let (a, r) = (&answer.header, &request.header);
        let pairs = [
            ("inReplyTo.id", reply.id == r.id),
            ("inReplyTo.digest", reply.digest == request.digest()),
            ("instance", a.instance == r.instance),
            ("client", a.client == r.client),
            ("service", a.service == r.service),
            ("from", a.from == r.to),
            ("to", a.to == r.from),
        ];
        match pairs.into_iter().find(|(_, same)| !same) {
            Some((field, _)) => (name, State::Failed, format!("{field} is another one")),
            None if self.other_answer(answer) => {
                (name, State::NotShown, "another answer to the same request is signed too".into())
            }
            None => (name, State::Ok, format!("answers {} with digest {}", reply.id, reply.digest)),
        }
    }

    fn other_answer(&self, answer: &Message) -> bool {
        self.messages.iter().any(|m| m.header.kind.is_answer() && m.note.stem() != answer.note.stem())
    }

    fn record(&mut self, record: &RecordNote, local: Result<&LocalPart, &String>) {
        let index = self.messages.iter().position(|m| Some(m.note) == record.message);
        let stem = record.message.map_or_else(|| "unsigned".to_owned(), |m| m.stem());
        let local = match local {
            Ok(local) => local,
            Err(why) => {
                let found = vec![(CheckName::Record, State::Failed, why.clone())];
                return self.push(stem, Some(record.sequence), found);
            }
        };
        let mut found = vec![self.check_record(record, local, index)];
        match index {
            None => {
                let code = local.fault.as_deref().unwrap_or("unnamed");
                let outcome = local.outcome.map_or("", |o| o.as_str());
                let detail = format!("{code} ({outcome}), noted {}", local.at);
                found.push((CheckName::Fault, State::NotShown, detail));
                found.extend(self.time(record, local, None).0);
            }
            Some(index) => {
                let directory = self.directory(local.directory);
                let (time, stamped) = self.time(record, local, Some(index));
                if let Some(message) = self.messages.get(index) {
                    found.extend(check_trust(self.opened, message, record, local, directory, stamped));
                    found.extend(self.check_provider_leaf(message));
                }
                found.extend(time);
            }
        }
        self.push(stem, Some(record.sequence), found);
    }

    /// The local part is this node's word; the leaf binds it to the message and to a place in the log.
    fn check_record(
        &self,
        record: &RecordNote,
        local: &LocalPart,
        index: Option<usize>,
    ) -> (CheckName, State, String) {
        let message = index.and_then(|i| self.messages.get(i));
        let empty = Digest::of(b"");
        let (digest, cms) = message.map_or((empty, empty), |m| (m.digest(), m.cms_digest()));
        let local_bytes = record.local.as_bytes();
        let leaf = leaf_over(record.sequence, record.kind, digest, cms, &record.statuses, local_bytes);
        let kind = record.message.map(|m| m.kind);
        let names_fit = message.is_none_or(|m| {
            local.client == m.header.client
                && local.service == m.header.service
                && (m.header.kind != Kind::Request || m.header.id == local.request)
        });
        let ending_fits = message.is_none_or(|m| ending::note_fits(m.header.kind, m.body.as_ref(), local));
        let owner = if local.role == Role::Provider { local.service.member() } else { local.client.member() };
        let carried = record
            .statuses
            .iter()
            .chain(&record.statuses_after)
            .all(|d| self.opened.files.contains_key(&names::status(*d)));
        let pairs = [
            ("the version of the local part", local.v == 1),
            (
                "the kind",
                kind == record.kind.message_kind() && (kind.is_some() || record.kind == RecordKind::Unsigned),
            ),
            ("the request", local.request == self.opened.notes.request),
            ("client or service", names_fit),
            ("the outcome or the fault, beside what is signed,", ending_fits),
            ("the owner", owner == record.owner),
            ("the manifest's digest", record.manifest_digest == digest),
            ("a certificate status", carried),
            ("the leaf hash", record.leaf == leaf),
        ];
        match pairs.into_iter().find(|(_, fits)| !fits) {
            Some((what, _)) => (CheckName::Record, State::Failed, format!("{what} does not fit")),
            None => (CheckName::Record, State::Ok, format!("recorded {}, leaf {leaf}", local.at)),
        }
    }

    /// A signed answer names the provider's record of the request; only the provider's own export carries that record.
    fn check_provider_leaf(&self, message: &Message) -> Option<(CheckName, State, String)> {
        let claimed = message.header.leaf?;
        let name = CheckName::ProviderLeaf;
        Some(match self.provider {
            None => (
                name,
                State::NotShown,
                format!("leaf {} at {}: in the provider's export", claimed.hash, claimed.index),
            ),
            Some(r) if r.sequence == claimed.index && r.leaf == claimed.hash => {
                (name, State::Ok, format!("leaf {} at {}", claimed.hash, claimed.index))
            }
            Some(_) => (name, State::Failed, "the answer names another record of the request".into()),
        })
    }

    /// What shows when the record was there, and that it is in the node's log.
    fn time(
        &mut self,
        record: &RecordNote,
        local: &LocalPart,
        index: Option<usize>,
    ) -> (Outcomes, Option<Timestamp>) {
        if self.opened.notes.heads.is_empty() {
            return (vec![], None);
        }
        if self.known.is_none() {
            // An authority may have been approved after the record was made: any directory of the anchor may list it.
            let heads = directories::heads(self.opened).into_iter();
            self.known = Some(Known::new(heads.filter_map(|head| self.directory(head).ok()).collect()));
        }
        let Some(known) = &mut self.known else { return (vec![], None) };
        let message = index.and_then(|i| self.messages.get(i));
        let request = self.messages.iter().find(|m| m.header.kind == Kind::Request);
        // Its log is that of the node that recorded it: the consumer's sent the request, the provider's received it.
        let node = request.map(|m| &m.header).map(|header| match local.role {
            Role::Consumer => header.from.clone(),
            Role::Provider => header.to.clone(),
        });
        Timed { opened: self.opened, record, message, node, known }.check()
    }

    /// An exchange that was not stamped when it was exported, or was exported before there were time-stamps.
    fn untimed(&mut self) {
        let again = if self.opened.notes.v < SINCE_TIME { "" } else { "; export the exchange again later" };
        self.note(CheckName::Log, State::NotShown, format!("no head of the log is in this container{again}"));
        let why = format!("no time-stamp is in this container: the times are the signers' own word{again}");
        self.note(CheckName::Timestamp, State::NotShown, why);
    }

    fn directory(&mut self, head: Digest) -> Result<Arc<Directory>, Option<String>> {
        let (opened, anchor) = (self.opened, self.anchor);
        let assembled = || directories::assemble(opened, anchor, head).map(Arc::new);
        self.directories.entry(head).or_insert_with(assembled).clone()
    }

    fn summary(&self) -> Option<Summary> {
        let request = &self.messages.iter().find(|m| m.header.kind == Kind::Request)?.header;
        let answer = self.messages.iter().rfind(|m| m.header.kind.is_answer());
        // Of an answer that is not whole, or that another one contradicts, nothing is told on.
        let told = answer.filter(|a| a.sound && !self.other_answer(a));
        let told = told.and_then(|a| Told::by(a.header.kind, a.body.as_ref())).unwrap_or(Told::NOTHING);
        let answer = answer.map(|m| &m.header);
        let path = request.path.clone().unwrap_or_default();
        Some(Summary {
            id: request.id,
            client: request.client.clone(),
            service: request.service.clone(),
            method: request.method.clone().unwrap_or_default(),
            path: request.query.as_ref().map_or_else(|| path.clone(), |q| format!("{path}?{q}")),
            officer: request.user_id.clone(),
            agency: request.agency.clone(),
            purpose: request.purpose.clone(),
            legal_basis: request.legal_basis.clone(),
            sent: request.sent,
            answered: answer.map(|a| a.sent),
            status: answer.and_then(|a| a.status),
            outcome: told.outcome,
            fault: told.fault.map(|code| visible(&code)),
        })
    }
}

/// Most revocation lists of one record; nodes name two.
const LISTS_LIMIT: usize = 8;

/// The local part, in the one form in which nodes write it: nobody signs it, so nothing may be read into it twice.
fn read_local(text: &str) -> Result<LocalPart, String> {
    let local: LocalPart = serde_json::from_str(text).map_err(|e| e.to_string())?;
    if local.trust.as_ref().is_some_and(|trust| trust.revocation_lists.len() > LISTS_LIMIT) {
        return Err("it names more revocation lists than any record relies on".into());
    }
    match serde_json::to_string(&local) {
        Ok(written) if written == text => Ok(local),
        _ => Err("the local part is not written as truc writes it".into()),
    }
}

/// A supporting file whose name states what it is must be it.
fn name_fits(name: &str, bytes: &Bytes) -> bool {
    let digest = |stem: &str| stem.parse::<Digest>().is_ok_and(|d| d == Digest::of(bytes));
    if let Some(stem) = name.strip_prefix(names::CERTIFICATES).and_then(|n| n.strip_suffix(".pem")) {
        let certificate = Certificate::from_pem(bytes);
        return certificate.is_ok_and(|c| {
            c.fingerprint().to_string() == stem && super::write::pem(c.der()).as_bytes() == &bytes[..]
        });
    }
    for (place, ending) in [(names::STATUSES, ".der"), (names::LISTS, ".crl"), (names::HEADS, ".txt")] {
        if let Some(stem) = name.strip_prefix(place).and_then(|n| n.strip_suffix(ending)) {
            return digest(stem);
        }
    }
    let Some((head, file)) = name.strip_prefix(names::DIRECTORIES).and_then(|n| n.split_once('/')) else {
        return true;
    };
    match file.strip_prefix("member-").and_then(|n| n.strip_suffix(".json")) {
        Some(stem) => digest(stem),
        None => file != names::HEAD || digest(head),
    }
}

fn check_manifest(message: &Message) -> (CheckName, State, String) {
    let name = CheckName::Manifest;
    let written = match &message.body {
        Some(body) => {
            let sealed = Sealed::open(message.header_bytes.clone(), Body::new(body.clone()), vec![]);
            sealed.map(|s| s.manifest().clone()).map_err(|e| e.to_string())
        }
        None => without_body(message).ok_or_else(|| "it is not a manifest of this message".to_owned()),
    };
    match written {
        Ok(written) if written == message.manifest => {
            (name, State::Ok, format!("digest {}", message.digest()))
        }
        Ok(_) => (name, State::Failed, "the manifest names another header or body".into()),
        Err(why) => (name, State::Failed, why),
    }
}

/// Writes the manifest again with the body digest that it states itself.
fn without_body(message: &Message) -> Option<Bytes> {
    let header = Digest::of(&message.header_bytes);
    let written = manifest::write(message.note.kind, message.note.id, header, message.stated_body()?);
    Some(written.into())
}
