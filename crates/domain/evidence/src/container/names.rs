//! Where things lie in a container.

use truc_message::Kind;
use truc_model::{Digest, Fingerprint, MessageId};

pub(super) const MIMETYPE: &str = "mimetype";
/// The content of `mimetype` (EN 319 162-1 §A.1).
pub(super) const MEDIA_TYPE: &str = "application/vnd.etsi.asic-e+zip";
pub(super) const RECORDS: &str = "META-INF/notes/records.json";
pub(super) const README: &str = "META-INF/notes/README.txt";
pub(super) const CERTIFICATES: &str = "META-INF/certs/";
pub(super) const STATUSES: &str = "META-INF/ocsp/";
pub(super) const LISTS: &str = "META-INF/crl/";
pub(super) const DIRECTORIES: &str = "META-INF/directory/";
/// Heads of the node's log and the tokens over their batches. Names here avoid the words by which readers of ASiC sort.
pub(super) const HEADS: &str = "META-INF/notes/heads/";

/// Names of RFC 4998 evidence records and their manifests (EN 319 162-1 §4.4): nothing else may bear such a one.
pub(super) fn is_reserved(name: &str) -> bool {
    let Some(file) = name.strip_prefix("META-INF/") else { return false };
    (file.starts_with("evidencerecord-") && file.ends_with(".ers"))
        || (file.starts_with("ASiCEvidenceRecordManifest-") && file.ends_with(".xml"))
}

pub(super) fn certificate(fingerprint: Fingerprint) -> String {
    format!("{CERTIFICATES}{fingerprint}.pem")
}

pub(super) fn status(digest: Digest) -> String {
    format!("{STATUSES}{digest}.der")
}

/// A revocation list that was relied on.
pub(super) fn list(digest: Digest) -> String {
    format!("{LISTS}{digest}.crl")
}

/// The head of the log with this digest of its bytes, a signed note.
pub(super) fn log_head(digest: Digest) -> String {
    format!("{HEADS}{digest}.txt")
}

/// The time-stamp token over the batch that ends with this head.
pub(super) fn token(head: Digest) -> String {
    format!("{HEADS}{head}.der")
}

/// Where the evidence record over one record's message lies, and the manifest that belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EvidenceRecordNames {
    pub(super) record: String,
    pub(super) manifest: String,
}

/// Of the message `<kind>-<id>`; where both halves of one node recorded it, the later record's names end in its sequence.
pub(super) fn evidence_record(kind: Kind, id: MessageId, sequence: Option<u64>) -> EvidenceRecordNames {
    let stem = format!("{}-{id}{}", kind.as_str(), sequence.map_or_else(String::new, |s| format!("-{s}")));
    EvidenceRecordNames {
        record: format!("META-INF/evidencerecord-{stem}.ers"),
        manifest: format!("META-INF/ASiCEvidenceRecordManifest-{stem}.xml"),
    }
}

/// The folder of what the head with this digest of its bytes names.
pub(super) fn directory(head: Digest) -> String {
    format!("{DIRECTORIES}{head}/")
}

pub(super) const HEAD: &str = "head.json";
pub(super) const TRUST: &str = "trust.json";

pub(super) fn root(version: u64) -> String {
    format!("root-{version}.json")
}

/// An index part, which lists members' parts.
pub(super) fn index(digest: Digest) -> String {
    format!("index-{digest}.json")
}

/// Member parts are named by digest: an identifier may hold characters that are awkward in file names and shells.
pub(super) fn member(digest: Digest) -> String {
    format!("member-{digest}.json")
}
