//! What the index holds of proofs, and up to where the files of the tree are durable. Keys beside those of `index.rs`:
//!
//! ```text
//! B first                              -> next, place            batches
//! S certificate thisUpdate             -> place                  the first such status
//! K peer 0 own leaf's index and hash                             acknowledged leaves
//! M place                                                        tombstones, holds, releases, archived segments, in order
//! L                                    -> point up to which the files of the tree are on stable storage
//! ```

use truc_evidence::{AcknowledgedLeaf, Proof};
use truc_message::Leaf;
use truc_model::{Digest, Fingerprint, NodeId, Timestamp};

use super::index::{
    BAD_ENTRY, Index, decode_place, decode_point, encode_place, encode_point, guarded, key, text, time_bytes,
};
use super::tail::ToProve;
use crate::journal::format::Reader;
use crate::journal::scan::{Place, Point};

/// Adds one proof to a step of the index.
pub(super) fn add(batch: &mut sled::Batch, proof: &ToProve) {
    let place = encode_place(proof.place);
    match &proof.proof {
        Proof::Batch(of) => {
            let value = [of.next.to_be_bytes().as_slice(), &place].concat();
            batch.insert(key(b'B', &[&of.first.to_be_bytes()]), value);
        }
        Proof::Status(status) => {
            let parts = [status.certificate.0.as_slice(), &time_bytes(status.this_update)];
            batch.insert(key(b'S', &parts), place);
        }
        Proof::Acknowledged(of) => {
            for AcknowledgedLeaf { own, leaf } in &of.leaves {
                let (own, index) = (own.to_be_bytes(), leaf.index.to_be_bytes());
                let tail = [own.as_slice(), &index, leaf.hash.as_bytes()].concat();
                batch.insert([peer_prefix(&of.peer), tail].concat(), &[]);
            }
        }
        Proof::Tombstone(_) | Proof::Hold(_) | Proof::Release(_) | Proof::Archived(_) => {
            batch.insert(key(b'M', &[&place]), &[]);
        }
        // Only a check of the whole journal asks for these.
        Proof::Decisions(_) => {}
    }
}

fn peer_prefix(peer: &NodeId) -> Vec<u8> {
    key(b'K', &[peer.as_str().as_bytes(), &[0]])
}

fn leaf_of(tail: &[u8]) -> Option<AcknowledgedLeaf> {
    let mut r = Reader(tail);
    let (own, index, hash) = (r.u64()?, r.u64()?, r.digest()?);
    r.0.is_empty().then_some(AcknowledgedLeaf { own, leaf: Leaf { index, hash } })
}

type Found<T> = Result<Option<T>, String>;

impl Index {
    /// Where the batch lies that holds the record `sequence`.
    pub(crate) fn batch_of(&self, sequence: u64) -> Found<Place> {
        guarded(|| {
            let to = key(b'B', &[&sequence.to_be_bytes()]);
            let found = self.db.range(vec![b'B']..=to).next_back().transpose().map_err(text)?;
            let Some((_, value)) = found else { return Ok(None) };
            let (next, place) = batch_value(&value).ok_or(BAD_ENTRY)?;
            Ok((sequence < next).then_some(place))
        })
    }

    /// Where the newest batch lies.
    pub(crate) fn last_batch(&self) -> Found<Place> {
        guarded(|| {
            let found = self.db.scan_prefix([b'B']).next_back().transpose().map_err(text)?;
            found.map(|(_, value)| Ok(batch_value(&value).ok_or(BAD_ENTRY)?.1)).transpose()
        })
    }

    /// Where the first status of `certificate` made at or after `since` lies.
    pub(crate) fn status_after(&self, certificate: &Fingerprint, since: Timestamp) -> Found<Place> {
        guarded(|| {
            let prefix = key(b'S', &[certificate.0.as_slice()]);
            let from = [prefix.as_slice(), &time_bytes(since)].concat();
            let found = self.db.range(from..).next().transpose().map_err(text)?;
            let Some((found, value)) = found else { return Ok(None) };
            if !found.starts_with(&prefix) {
                return Ok(None);
            }
            Ok(Some(decode_place(&mut Reader(&value)).ok_or(BAD_ENTRY)?))
        })
    }

    /// What `peer` acknowledged of the records from `from` on.
    pub(crate) fn acknowledged(
        &self,
        peer: &NodeId,
        from: u64,
        limit: usize,
    ) -> Result<Vec<AcknowledgedLeaf>, String> {
        guarded(|| {
            let prefix = peer_prefix(peer);
            let begin = [prefix.as_slice(), &from.to_be_bytes()].concat();
            let mut found = Vec::new();
            for entry in self.db.range(begin..).keys() {
                let entry = entry.map_err(text)?;
                let Some(tail) = entry.strip_prefix(prefix.as_slice()).filter(|_| found.len() < limit) else {
                    break;
                };
                found.push(leaf_of(tail).ok_or(BAD_ENTRY)?);
            }
            Ok(found)
        })
    }

    /// Where the marks lie, in order.
    pub(crate) fn marks(&self) -> Result<Vec<Place>, String> {
        guarded(|| {
            let keys = self.db.scan_prefix([b'M']).keys();
            keys.map(|k| {
                let k = k.map_err(text)?;
                decode_place(&mut Reader(k.get(1..).unwrap_or_default())).ok_or_else(|| BAD_ENTRY.to_owned())
            })
            .collect()
        })
    }

    /// The point up to which all that is indexed is in sled's hands.
    pub(crate) fn told(&self) -> Found<Point> {
        // Nothing more; only what waited.
        self.apply(&[])?;
        guarded(|| {
            let bytes = self.db.get([b'm']).map_err(text)?;
            bytes.map(|b| decode_point(&b).ok_or_else(|| BAD_ENTRY.to_owned())).transpose()
        })
    }

    /// Puts what sled has on stable storage; sled itself only has the system begin to write.
    pub(crate) fn sync(&self) -> Result<(), String> {
        guarded(|| {
            self.db.flush().map_err(text)?;
            for entry in std::fs::read_dir(self.dir()).map_err(text)? {
                let entry = entry.map_err(text)?;
                if !entry.file_type().map_err(text)?.is_file() {
                    continue;
                }
                match std::fs::File::open(entry.path()).and_then(|file| file.sync_all()) {
                    // sled replaces its snapshots.
                    Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                    synced => synced.map_err(text)?,
                }
            }
            crate::files::sync_folder(self.dir()).map_err(text)
        })
    }

    /// Up to where the files of the tree are on stable storage.
    pub(crate) fn tree_point(&self) -> Found<Point> {
        guarded(|| {
            let bytes = self.db.get([b'L']).map_err(text)?;
            bytes.map(|b| decode_point(&b).ok_or_else(|| BAD_ENTRY.to_owned())).transpose()
        })
    }

    /// Says so. Whatever is said later reaches the disk later too.
    pub(crate) fn set_tree_point(&self, point: &Point) -> Result<(), String> {
        guarded(|| self.db.insert([b'L'], encode_point(point)).map(drop).map_err(text))
    }
}

fn batch_value(value: &[u8]) -> Option<(u64, Place)> {
    let mut r = Reader(value);
    Some((r.u64()?, decode_place(&mut r)?))
}

/// Every digest of 32 zero bytes stands for none.
pub(crate) const NONE: Digest = Digest([0; 32]);
