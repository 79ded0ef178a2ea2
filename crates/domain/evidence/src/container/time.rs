//! Time and log: from a record to the token over its batch, and to the signed head of the node's log (`docs/evidence.md` §4).

use std::collections::HashMap;
use std::sync::Arc;

use truc_directory::Directory;
use truc_log::{Checkpoint, Head, NoteKey, SignedNote, log_origin, verify_inclusion};
use truc_message::{CALL_LIFE, SKEW};
use truc_model::{Digest, NodeId, Timestamp};
use truc_trust::timestamp::{TimeStamp, TimeStampAuthority, judge_token};

use super::names;
use super::notes::{HeadNote, RecordNote};
use super::read::Opened;
use super::report::{CheckName, State};
use super::stamped::Group;
use super::verify::{Message, Outcomes};
use crate::ers::{ErsError, EvidenceRecord};

type Outcome = (CheckName, State, String);

/// One record, and what its time and place are judged by.
pub(super) struct Timed<'a> {
    pub(super) opened: &'a Opened,
    pub(super) record: &'a RecordNote,
    /// None for an unsigned fault.
    pub(super) message: Option<&'a Message>,
    /// Whose log it is.
    pub(super) node: Option<NodeId>,
    pub(super) known: &'a mut Known,
}

/// What the records of one container share: each token and each head is judged once, however many hang on it.
pub(super) struct Known {
    /// The directories of the container, all of them led back to the anchor.
    directories: Vec<Arc<Directory>>,
    tokens: HashMap<Digest, Result<TimeStamp, Outcome>>,
    heads: HashMap<(Digest, NodeId), Result<Checkpoint, Outcome>>,
}

impl Known {
    pub(super) fn new(directories: Vec<Arc<Directory>>) -> Self {
        Self { directories, tokens: HashMap::new(), heads: HashMap::new() }
    }
}

impl Timed<'_> {
    /// The checks, and the token's time where all that it needs holds.
    pub(super) fn check(mut self) -> (Outcomes, Option<Timestamp>) {
        let (notes, record) = (&self.opened.notes, self.record);
        let (Some(head), Some(stamp)) = (notes.head_of(record), &record.stamped) else {
            let why = "the record was not under a time-stamp yet when it was exported: export it again later";
            let log = "no head of the log that follows this record is in this container";
            let found = vec![
                (CheckName::Timestamp, State::NotShown, why.into()),
                (CheckName::Log, State::NotShown, log.into()),
            ];
            return (found, None);
        };
        let (mut found, mut time) = (Vec::new(), None);
        match self.token(head) {
            Err(failed) => found.push(failed),
            Ok(token) => {
                found.push((CheckName::Authority, State::Ok, authority(head, &token)));
                let at = self.check_time(head, &token);
                let ers = self.message.map(|message| self.check_ers(message, head, token.imprint));
                let holds = at.1 == State::Ok && ers.as_ref().is_none_or(|(_, state, _)| *state == State::Ok);
                time = holds.then_some(token.gen_time);
                found.push(at);
                found.extend(ers);
            }
        }
        found.push(self.check_log(head, &stamp.inclusion));
        (found, time)
    }

    /// The token over the batch, judged by the authority that the directory lists under its name.
    fn token(&mut self, head: &HeadNote) -> Result<TimeStamp, Outcome> {
        if let Some(judged) = self.known.tokens.get(&head.head) {
            return judged.clone();
        }
        let judged = self.judge_token(head);
        self.known.tokens.insert(head.head, judged.clone());
        judged
    }

    fn judge_token(&self, head: &HeadNote) -> Result<TimeStamp, Outcome> {
        let name = CheckName::Authority;
        let mut listed = Vec::new();
        for entry in self.known.directories.iter().flat_map(|d| d.timestamp_authorities()) {
            if entry.name == head.authority && !listed.contains(&entry) {
                listed.push(entry);
            }
        }
        if listed.is_empty() {
            let why = format!("no directory in this container lists {:?}", head.authority);
            return Err((name, State::NotShown, why));
        }
        let failed = |why: String| (CheckName::Timestamp, State::Failed, why);
        let imprint = imprint(head).map_err(|why| failed(why.to_string()))?;
        let token = self.opened.get(&names::token(head.head)).map_err(|why| failed(why.to_string()))?;
        let mut last = String::new();
        for entry in listed {
            let judged = TimeStampAuthority::read(entry).map_err(|why| why.to_string());
            match judged.and_then(|a| judge_token(token, imprint, &a).map_err(|why| why.to_string())) {
                Ok(stamp) => return Ok(stamp),
                Err(why) => last = why,
            }
        }
        Err(failed(last))
    }

    fn check_time(&self, head: &HeadNote, token: &TimeStamp) -> Outcome {
        let (name, at) = (CheckName::Timestamp, token.gen_time);
        if at != head.gen_time {
            return (name, State::Failed, format!("the token says {at}, the notes {}", head.gen_time));
        }
        let Some(sent) = self.message.map(|m| m.header.sent) else {
            return (name, State::Ok, format!("{at}, over the head of the log"));
        };
        // As far as the clock of a node may be ahead of those that take its messages.
        if at.plus(CALL_LIFE).plus(SKEW) < sent {
            return (name, State::Failed, format!("{at}, before the message was sent ({sent})"));
        }
        let later = if at > sent { at.since(sent) } else { std::time::Duration::ZERO };
        (
            name,
            State::Ok,
            format!("{at}, {} s after the sending; before that nothing is proved", later.as_secs()),
        )
    }

    fn check_ers(&self, message: &Message, head: &HeadNote, imprint: Digest) -> Outcome {
        let name = CheckName::EvidenceRecord;
        match self.read_ers(message, head, imprint) {
            Ok(detail) => (name, State::Ok, detail),
            Err(why) => (name, State::Failed, why),
        }
    }

    fn read_ers(&self, message: &Message, head: &HeadNote, imprint: Digest) -> Result<String, String> {
        let named = self.opened.notes.evidence_record(self.record).ok_or("it is not in this container")?;
        let file = |name: &str| self.opened.get(name).map_err(|why| why.to_string());
        let (manifest, signature) = message.signed_names();
        let group = Group {
            manifest: (&manifest, message.digest()),
            signature: (&signature, message.cms_digest()),
            statuses: &self.record.statuses,
        };
        if group.manifest_of(&named.record) != file(&named.manifest)?[..] {
            return Err(format!("{} does not name exactly this record's files", named.manifest));
        }
        let ers = EvidenceRecord::from_der(file(&named.record)?).map_err(|why| why.to_string())?;
        if ers.verify(&group.digests()).map_err(|why| why.to_string())? != imprint {
            return Err("it leads to another digest than the one that is time-stamped".into());
        }
        if ers.token() != &file(&names::token(head.head))?[..] {
            return Err("it holds another token than the batch".into());
        }
        let (objects, steps) = (ers.group().len(), ers.siblings().count());
        Ok(format!("{objects} data objects, {steps} steps up to {imprint}"))
    }

    /// The head is signed with the key that the directory registers for the node, and the record's leaf is in its tree.
    fn check_log(&mut self, head: &HeadNote, inclusion: &[Digest]) -> Outcome {
        let name = CheckName::Log;
        let Some(node) = &self.node else {
            return (name, State::NotShown, "nothing here tells whose log it is".into());
        };
        let place = (head.head, node.clone());
        let signed = match self.known.heads.get(&place) {
            Some(judged) => judged.clone(),
            None => {
                let judged = self.signed_head(head, node);
                self.known.heads.insert(place, judged.clone());
                judged
            }
        };
        let signed = match signed {
            Ok(signed) => signed,
            Err(failed) => return failed,
        };
        let proved = (|| {
            let (at, leaf) = (self.record.sequence, self.record.leaf);
            if signed.size != head.next {
                return Err("the head is of another size than the notes say".into());
            }
            verify_inclusion(leaf, at, signed.size, inclusion, signed.root).map_err(|why| why.to_string())?;
            Ok(format!("record {at} of {} under the head that {node} signed", signed.size))
        })();
        match proved {
            Ok(detail) => (name, State::Ok, detail),
            Err(why) => (name, State::Failed, why),
        }
    }

    /// The head as a key signed it that a directory lists for the node.
    fn signed_head(&self, head: &HeadNote, node: &NodeId) -> Result<Checkpoint, Outcome> {
        let name = CheckName::Log;
        let mut keys = Vec::new();
        for key in self.known.directories.iter().filter_map(|d| d.node(node)).map(|n| n.log_key) {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        if keys.is_empty() {
            let why = format!(
                "the part of {}, which would list the log key of {node}, is not in this container, or does not lead back to the anchor",
                node.owner()
            );
            return Err((name, State::NotShown, why));
        }
        let keys = keys.iter().map(|key| &key.0[..]);
        self.verified_head(head, node, keys).map_err(|why| (name, State::Failed, why))
    }

    fn verified_head<'k>(
        &self,
        head: &HeadNote,
        node: &NodeId,
        keys: impl Iterator<Item = &'k [u8]>,
    ) -> Result<Checkpoint, String> {
        let file = self.opened.get(&names::log_head(head.head)).map_err(|why| why.to_string())?;
        let text = std::str::from_utf8(file).map_err(|why| why.to_string())?;
        let note = SignedNote::parse(text).map_err(|why| why.to_string())?;
        let origin = Checkpoint::parse(note.text()).map_err(|why| why.to_string())?.origin;
        let own = log_origin(node, None);
        // A restored node opens a new log under the same key (docs/evidence.md §2.2).
        if origin != own && !origin.strip_prefix(&own).is_some_and(|rest| rest.starts_with("/log-")) {
            return Err(format!("the head is of the log of {origin}, not of {node}"));
        }
        let mut last = String::new();
        for key in keys {
            let verified = NoteKey::new(&origin, key).map_err(|why| why.to_string());
            match verified.and_then(|key| Head::verify(text, &key).map_err(|why| why.to_string())) {
                Ok(head) => return Ok(head.checkpoint().clone()),
                Err(why) => last = why,
            }
        }
        Err(last)
    }
}

fn authority(head: &HeadNote, token: &TimeStamp) -> String {
    format!("{}: {}, serial {}", head.authority, token.signer.subject(), token.serial)
}

/// The digest that the token must name, from the head's own place in the batch.
fn imprint(head: &HeadNote) -> Result<Digest, ErsError> {
    if head.path.is_empty() {
        return Ok(head.head);
    }
    // The walk is that of an evidence record over one object; only its token is not looked at here.
    const NO_TOKEN: &[u8] = &[0x05, 0x00];
    EvidenceRecord::new(&[head.head], &head.path, NO_TOKEN)?.verify(&[head.head])
}
