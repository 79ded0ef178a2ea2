//! Where things lie in a container.

use truc_model::{Digest, Fingerprint};

pub(super) const MIMETYPE: &str = "mimetype";
/// The content of `mimetype` (EN 319 162-1 §A.1).
pub(super) const MEDIA_TYPE: &str = "application/vnd.etsi.asic-e+zip";
pub(super) const RECORDS: &str = "META-INF/notes/records.json";
pub(super) const README: &str = "META-INF/notes/README.txt";
pub(super) const CERTIFICATES: &str = "META-INF/certs/";
pub(super) const STATUSES: &str = "META-INF/ocsp/";
pub(super) const DIRECTORIES: &str = "META-INF/directory/";

/// Reserved for RFC 4998 evidence records (protocol P5.4); this version neither writes nor checks them.
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
