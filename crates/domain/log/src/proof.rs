//! Checking proofs (RFC 9162 §2.1.3.2 and §2.1.4.2, whose trees are those of RFC 6962). A proof comes from whoever keeps the log,
//! so nothing about it is taken for granted: its length is bounded by the sizes, and every number may be any number.

use truc_model::Digest;

use crate::tree::node_hash;

/// The most digests that a proof of any tree can hold, by the width of its sizes; longer ones need not be read.
pub const MAX_PROOF: usize = 65;

/// What a proof does not prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The leaf lies beyond the tree, or the older tree is larger than the newer.
    #[error("the proof is about leaf or size {0}, and the tree has only {1} leaves")]
    OutOfRange(u64, u64),
    /// Too few or too many digests for these sizes.
    #[error("the proof has not the number of digests that these sizes need")]
    Length,
    /// The digests lead to another root.
    #[error("the proof leads to another root: the log is not the one that was signed")]
    Root,
}

/// Checks that `leaf` is number `index` of the tree of `size` leaves under `root`.
///
/// # Errors
/// [`ProofError`]: it is not proved.
pub fn verify_inclusion(
    leaf: Digest,
    index: u64,
    size: u64,
    path: &[Digest],
    root: Digest,
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::OutOfRange(index, size));
    }
    let (mut at, mut last, mut node) = (index, size - 1, leaf);
    for beside in path {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if at & 1 == 1 || at == last {
            node = node_hash(*beside, node);
            // A last node without a neighbour went up as it was.
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            node = node_hash(node, *beside);
        }
        at >>= 1;
        last >>= 1;
    }
    finish(last, node == root)
}

/// Checks that the tree of `from` leaves under `from_root` is the beginning of the tree of `to` leaves under `to_root`. The empty
/// tree is the beginning of every tree.
///
/// # Errors
/// [`ProofError`]: it is not proved.
pub fn verify_consistency(
    from: u64,
    from_root: Digest,
    to: u64,
    to_root: Digest,
    proof: &[Digest],
) -> Result<(), ProofError> {
    if from > to {
        return Err(ProofError::OutOfRange(from, to));
    }
    if from == 0 || from == to {
        let beginning = if from == 0 { Digest::of(b"") } else { to_root };
        return if proof.is_empty() { finish(0, from_root == beginning) } else { Err(ProofError::Length) };
    }
    let (mut at, mut last) = (from - 1, to - 1);
    while at & 1 == 1 {
        at >>= 1;
        last >>= 1;
    }
    // Where the old tree is a subtree of the new one, its root begins the proof without being told.
    let (begin, rest) = match proof.split_first() {
        _ if from.is_power_of_two() => (from_root, proof),
        Some((first, rest)) => (*first, rest),
        None => return Err(ProofError::Length),
    };
    let (mut old, mut new) = (begin, begin);
    for beside in rest {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if at & 1 == 1 || at == last {
            old = node_hash(*beside, old);
            new = node_hash(*beside, new);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            new = node_hash(new, *beside);
        }
        at >>= 1;
        last >>= 1;
    }
    finish(last, old == from_root && new == to_root)
}

const fn finish(last: u64, same: bool) -> Result<(), ProofError> {
    match (last, same) {
        (0, true) => Ok(()),
        (0, false) => Err(ProofError::Root),
        _ => Err(ProofError::Length),
    }
}
