//! Leaves of the log: RFC 6962 hashes over what a record stands for (protocol P5.3).

use truc_model::Digest;

use crate::record::RecordKind;

/// `SHA-256(0x00 ‖ leaf)`, where the leaf is, each part at a fixed place: the format byte 1, the sequence as 8 bytes big-endian,
/// the kind's number, manifest digest, CMS digest, number of statuses as 2 bytes big-endian and their digests, digest of the local part.
pub fn leaf_hash(
    sequence: u64,
    kind: RecordKind,
    manifest: Digest,
    cms: &[u8],
    statuses: &[Digest],
    local_bytes: &[u8],
) -> Digest {
    leaf_over(sequence, kind, manifest, Digest::of(cms), statuses, local_bytes)
}

/// [`leaf_hash`] where the CMS is known by its digest.
pub(crate) fn leaf_over(
    sequence: u64,
    kind: RecordKind,
    manifest: Digest,
    cms: Digest,
    statuses: &[Digest],
    local_bytes: &[u8],
) -> Digest {
    let mut leaf = vec![0x00, 1];
    leaf.extend_from_slice(&sequence.to_be_bytes());
    leaf.push(kind.number());
    leaf.extend_from_slice(manifest.as_bytes());
    leaf.extend_from_slice(cms.as_bytes());
    leaf.extend_from_slice(&u16::try_from(statuses.len()).unwrap_or(u16::MAX).to_be_bytes());
    for status in statuses {
        leaf.extend_from_slice(status.as_bytes());
    }
    leaf.extend_from_slice(Digest::of(local_bytes).as_bytes());
    Digest::of(&leaf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_counts() {
        let d = Digest::of(b"x");
        let base = leaf_hash(3, RecordKind::Request, d, b"cms", &[d], b"{}");
        assert_eq!(base.to_string(), "6d382fa8b79e90dafc02d6cbe44c62ccdcd8b9b32a41e6cb7d7a011d541ab29d");
        for other in [
            leaf_hash(4, RecordKind::Request, d, b"cms", &[d], b"{}"),
            leaf_hash(3, RecordKind::Response, d, b"cms", &[d], b"{}"),
            leaf_hash(3, RecordKind::Request, Digest::of(b"y"), b"cms", &[d], b"{}"),
            leaf_hash(3, RecordKind::Request, d, b"cmt", &[d], b"{}"),
            leaf_hash(3, RecordKind::Request, d, b"cms", &[], b"{}"),
            leaf_hash(3, RecordKind::Request, d, b"cms", &[d], b"{ }"),
        ] {
            assert_ne!(base, other);
        }
    }
}
