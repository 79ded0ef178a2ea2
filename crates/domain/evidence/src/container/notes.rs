//! `records.json`: what the exporting node recorded, and which supporting files lie in the container.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use truc_log::MAX_PROOF;
use truc_message::{Kind, manifest};
use truc_model::{Digest, MemberId, MessageId, Timestamp};

use super::ENTRIES_LIMIT;
use super::names::{self, EvidenceRecordNames};
use crate::ers::GROUP_LIMIT;
use crate::record::RecordKind;

/// The version of the notes, of README.txt and of the names in META-INF together. The golden container of each version
/// stays in the tests: a change to any of them is a new version beside the old one.
pub(super) const VERSION: u32 = 3;
/// Longest local part, in bytes; nodes write less than half of it.
const LOCAL_LIMIT: usize = 8 * 1024;
/// Most statuses that all records of one container name together; an exchange has a handful.
const STATUSES_LIMIT: usize = 4 * ENTRIES_LIMIT;
/// The first version with time-stamps, later statuses and the log.
pub(super) const SINCE_TIME: u32 = 3;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Notes {
    pub(super) v: u32,
    pub(super) request: MessageId,
    pub(super) records: Vec<RecordNote>,
    /// The batches that the records were stamped in, each with the log's head at its end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) heads: Vec<HeadNote>,
    /// Supporting files, in the order of their names.
    pub(super) files: Vec<FileNote>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RecordNote {
    pub(super) sequence: u64,
    pub(super) kind: RecordKind,
    pub(super) owner: MemberId,
    /// The signed message; none for an unsigned fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<MessageNote>,
    pub(super) manifest_digest: Digest,
    pub(super) statuses: Vec<Digest>,
    /// The local part's exact text, as digested into the leaf.
    pub(super) local: String,
    /// The leaf's hash as the node has it.
    pub(super) leaf: Digest,
    /// Digests of statuses made after the time-stamp.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) statuses_after: Vec<Digest>,
    /// How the record hangs on a head; absent while it was not stamped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) stamped: Option<StampNote>,
}

/// A record's place under a head of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct StampNote {
    /// SHA-256 of the head's text: which of [`Notes::heads`].
    pub(super) head: Digest,
    /// The inclusion proof of the record's leaf in the tree of the head's size (RFC 6962 §2.1.1).
    pub(super) inclusion: Vec<Digest>,
}

/// A batch of records under one time-stamp token, and the head that follows them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct HeadNote {
    /// SHA-256 of the head's text.
    pub(super) head: Digest,
    /// The first record of the batch.
    pub(super) first: u64,
    /// The record after its last one: the size of the log that the head speaks of.
    pub(super) next: u64,
    /// What the time-stamp authority is called in the directory.
    pub(super) authority: String,
    /// The token's time.
    pub(super) gen_time: Timestamp,
    /// The head's siblings on the way up to the token's imprint (`docs/evidence.md` §3.1); empty when it is alone.
    pub(super) path: Vec<Digest>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct MessageNote {
    pub(super) kind: Kind,
    pub(super) id: MessageId,
    /// False when the node no longer held the body, or never stored it: then only its digest is here.
    pub(super) body: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct FileNote {
    pub(super) name: String,
    pub(super) sha256: Digest,
}

impl MessageNote {
    pub(super) fn names(&self) -> manifest::Names {
        manifest::names(self.kind, self.id)
    }
    /// The body's digest, as the message's manifest states it; `None` when that is not a manifest of this message.
    pub(super) fn stated_body(&self, header: &[u8], text: &[u8]) -> Option<Digest> {
        // Written with a digest whose base64 can stand nowhere else, the manifest shows the place.
        let blank = Digest([0; 32]);
        let coded = STANDARD.encode(blank.as_bytes());
        let template = manifest::write(self.kind, self.id, Digest::of(header), blank);
        let at = std::str::from_utf8(&template).ok()?.rfind(&coded)?;
        Digest::from_slice(&STANDARD.decode(text.get(at..at + coded.len())?).ok()?)
    }
    /// `<kind>-<id>`, as people are shown it.
    pub(super) fn stem(&self) -> String {
        format!("{}-{}", self.kind.as_str(), self.id)
    }
}

impl Notes {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        // String keys and no failing Serialize: this cannot fail.
        let mut text = serde_json::to_vec_pretty(self).unwrap_or_default();
        text.push(b'\n');
        text
    }

    /// Reads exactly what [`Notes::to_bytes`] writes and nothing else.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Probe {
            v: u64,
        }
        let Probe { v } = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        if v == 0 || v > u64::from(VERSION) {
            return Err(format!(
                "notes of version {v}; this version of truc knows 1 to {VERSION}, so use a newer one"
            ));
        }
        let notes: Self = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        if notes.to_bytes() != bytes {
            return Err("not written as truc writes it".into());
        }
        let in_order = notes.files.is_sorted_by(|a, b| a.name < b.name);
        let rising = notes.records.is_sorted_by(|a, b| a.sequence < b.sequence);
        if notes.records.is_empty() || !in_order || !rising {
            return Err("no records, or records or files out of order".into());
        }
        notes.check_numbers()?;
        notes.check_heads()?;
        Ok(notes)
    }

    /// Each record is looked at more than once: so many that nobody could have written them are not looked at at all.
    fn check_numbers(&self) -> Result<(), String> {
        let statuses =
            |r: &RecordNote| r.statuses.len() <= GROUP_LIMIT - 2 && r.statuses_after.len() <= GROUP_LIMIT;
        let steps = |r: &RecordNote| r.stamped.as_ref().is_none_or(|s| s.inclusion.len() <= MAX_PROOF);
        let few = self.records.len() <= ENTRIES_LIMIT && self.heads.len() <= ENTRIES_LIMIT;
        let all = self.records.iter().map(|r| r.statuses.len() + r.statuses_after.len()).sum::<usize>();
        if !few || all > STATUSES_LIMIT || !self.records.iter().all(|r| statuses(r) && steps(r)) {
            return Err("more records, heads, statuses or steps than any exchange has".into());
        }
        match self.records.iter().find(|r| r.local.len() > LOCAL_LIMIT) {
            Some(r) => Err(format!("the local part of record {} is longer than any node writes", r.sequence)),
            None => Ok(()),
        }
    }

    /// Every stamp leads to a head that is noted once, and every head is some record's.
    fn check_heads(&self) -> Result<(), String> {
        let stamps = || self.records.iter().filter_map(|r| r.stamped.as_ref());
        let later = self.records.iter().any(|r| !r.statuses_after.is_empty());
        if self.v < SINCE_TIME && (later || !self.heads.is_empty() || stamps().next().is_some()) {
            return Err(format!("notes of version {} know no time-stamps", self.v));
        }
        let once = self.heads.is_sorted_by(|a, b| a.next < b.next);
        let known = |stamp: &StampNote| self.heads.iter().any(|h| h.head == stamp.head);
        let used = |head: &HeadNote| stamps().any(|s| s.head == head.head);
        if !once || !stamps().all(known) || !self.heads.iter().all(used) {
            return Err("the heads are not exactly those that the records name".into());
        }
        let within = |r: &RecordNote| self.head_of(r).is_none_or(|h| (h.first..h.next).contains(&r.sequence));
        if self.records.iter().all(within) {
            return Ok(());
        }
        Err("a record is not among those of its batch".into())
    }

    /// The head under which the record was stamped.
    pub(super) fn head_of(&self, record: &RecordNote) -> Option<&HeadNote> {
        let stamp = record.stamped.as_ref()?;
        self.heads.iter().find(|head| head.head == stamp.head)
    }

    /// Where the evidence record over this record's message lies; `None` without a message or a time-stamp.
    pub(super) fn evidence_record(&self, record: &RecordNote) -> Option<EvidenceRecordNames> {
        let message = record.message.filter(|_| record.stamped.is_some())?;
        let same = |r: &&RecordNote| {
            r.stamped.is_some() && r.message.is_some_and(|m| (m.kind, m.id) == (message.kind, message.id))
        };
        let first = self.records.iter().find(same)?.sequence;
        let again = (first != record.sequence).then_some(record.sequence);
        Some(names::evidence_record(message.kind, message.id, again))
    }

    /// Each message once, in the order of the records.
    pub(super) fn messages(&self) -> Vec<MessageNote> {
        let mut seen: Vec<MessageNote> = Vec::new();
        for note in self.records.iter().filter_map(|record| record.message) {
            if !seen.contains(&note) {
                seen.push(note);
            }
        }
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Direction, KeyedHash, ListNote, LocalPart, Outcome, Role, TrustNote};

    /// Two lists are the most that a record relies on: the seal's authority's, and the node's (protocol P3.5).
    #[test]
    fn what_a_node_writes_is_far_shorter_than_what_is_read() {
        let part = "x".repeat(truc_model::PART_LIMIT);
        let owner = format!("{part}/{part}/{part}");
        let at: Timestamp = "2026-11-21T03:04:05.678Z".parse().unwrap();
        let hash = || Some(KeyedHash { key_id: "k".repeat(255), hash: Digest([255; 32]) });
        let list = || ListNote { digest: Digest([255; 32]), this_update: at, next_update: at };
        let longest =
            truc_model::FaultCode::ALL.iter().map(|code| code.as_str()).max_by_key(|name| name.len());
        let local = LocalPart {
            v: 1,
            at,
            role: Role::Provider,
            direction: Direction::Received,
            request: MessageId::new(at, [255; 10]),
            client: format!("{owner}/{part}").parse().unwrap(),
            service: format!("{owner}/{part}/{part}").parse().unwrap(),
            peer: format!("{owner}/{part}").parse().unwrap(),
            directory: Digest([255; 32]),
            trust: Some(TrustNote {
                signer: truc_model::Fingerprint::of(b"x"),
                status_this_update: Some(at),
                status_graced: true,
                directory_degraded: true,
                revocation_lists: vec![list(), list()],
            }),
            officer: hash(),
            subject: hash(),
            dossier: hash(),
            outcome: Some(Outcome::Refused),
            fault: longest.map(str::to_owned),
        };
        let written = serde_json::to_string(&local).unwrap();
        assert!(written.len() < LOCAL_LIMIT / 2, "{}", written.len());
    }
}
