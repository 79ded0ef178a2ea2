//! The tree and the proofs it makes (RFC 6962 §2.1).

use truc_model::{Digest, Digester};

/// `SHA-256(0x01 ‖ left ‖ right)` (RFC 6962 §2.1).
pub fn node_hash(left: Digest, right: Digest) -> Digest {
    let mut node = Digester::default();
    node.update(&[0x01]);
    node.update(left.as_bytes());
    node.update(right.as_bytes());
    node.finish()
}

/// A tree as its keeper stores it. Nothing but complete subtrees within the size asked about is ever read, so that a keeper may go on
/// appending while a root or a proof of an earlier size is made.
pub trait Subtrees {
    /// Why a subtree cannot be had.
    type Error;

    /// Root of the complete subtree over the leaves `index * 2^level` up to `(index + 1) * 2^level`; level 0 is the leaves.
    ///
    /// # Errors
    /// What the keeper says.
    fn subtree(&self, level: u32, index: u64) -> Result<Digest, Self::Error>;
}

/// The root over the first `size` leaves; SHA-256 of nothing for none.
///
/// # Errors
/// What the keeper of the tree says.
pub fn root<T: Subtrees + ?Sized>(tree: &T, size: u64) -> Result<Digest, T::Error> {
    range(tree, 0, size)
}

/// The audit path of leaf `index` in the tree of `size` leaves, from the leaf up (RFC 6962 §2.1.1); empty where there is no such leaf.
///
/// # Errors
/// What the keeper of the tree says.
pub fn inclusion<T: Subtrees + ?Sized>(tree: &T, index: u64, size: u64) -> Result<Vec<Digest>, T::Error> {
    if index >= size {
        return Ok(Vec::new());
    }
    let (mut start, mut length, mut path) = (0, size, Vec::new());
    while length > 1 {
        let left = split(length);
        if index - start < left {
            path.push(range(tree, start + left, length - left)?);
            length = left;
        } else {
            path.push(range(tree, start, left)?);
            start += left;
            length -= left;
        }
    }
    path.reverse();
    Ok(path)
}

/// That the tree of `from` leaves is the beginning of the tree of `to` leaves (RFC 6962 §2.1.2); empty where there is nothing to
/// prove: for `from` 0, for `from` not less than `to`.
///
/// # Errors
/// What the keeper of the tree says.
pub fn consistency<T: Subtrees + ?Sized>(tree: &T, from: u64, to: u64) -> Result<Vec<Digest>, T::Error> {
    if from == 0 || from >= to {
        return Ok(Vec::new());
    }
    let (mut start, mut length, mut old, mut proof) = (0, to, from, Vec::new());
    // The old tree is a subtree of the new one as long as only left halves were taken; then its root needs no telling.
    let mut known = true;
    while old < length {
        let left = split(length);
        if old <= left {
            proof.push(range(tree, start + left, length - left)?);
            length = left;
        } else {
            proof.push(range(tree, start, left)?);
            start += left;
            length -= left;
            old -= left;
            known = false;
        }
    }
    if !known {
        proof.push(range(tree, start, length)?);
    }
    proof.reverse();
    Ok(proof)
}

/// The largest power of two below `length`, which is at least 2.
const fn split(length: u64) -> u64 {
    1 << (63 - (length - 1).leading_zeros())
}

/// The root over `length` leaves from `start`, a multiple of the power of two at or above `length`.
fn range<T: Subtrees + ?Sized>(tree: &T, start: u64, length: u64) -> Result<Digest, T::Error> {
    let (mut end, mut left, mut root) = (start + length, length, None);
    // The complete subtrees from the right, the smallest first: one for each bit of the length.
    while left > 0 {
        let level = left.trailing_zeros();
        let size = 1 << level;
        end -= size;
        left -= size;
        let subtree = tree.subtree(level, end >> level)?;
        root = Some(root.map_or(subtree, |right| node_hash(subtree, right)));
    }
    Ok(root.unwrap_or_else(|| Digest::of(b"")))
}

/// A tree in memory, for tests and small batches: every complete subtree, 64 bytes a leaf.
#[derive(Debug, Clone, Default)]
pub struct MemoryTree {
    levels: Vec<Vec<Digest>>,
}

impl MemoryTree {
    /// Appends one leaf, already hashed.
    pub fn push(&mut self, leaf: Digest) {
        let mut node = leaf;
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            let nodes = &mut self.levels[level];
            let left = nodes.last().copied().filter(|_| !nodes.len().is_multiple_of(2));
            nodes.push(node);
            match left {
                Some(left) => node = node_hash(left, node),
                None => break,
            }
        }
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.levels.first().map_or(0, Vec::len) as u64
    }

    /// The root over all leaves.
    pub fn root(&self) -> Digest {
        root(self, self.size()).unwrap_or_else(|_| Digest::of(b""))
    }
}

impl FromIterator<Digest> for MemoryTree {
    fn from_iter<I: IntoIterator<Item = Digest>>(leaves: I) -> Self {
        let mut tree = Self::default();
        leaves.into_iter().for_each(|leaf| tree.push(leaf));
        tree
    }
}

/// A subtree that reaches beyond the leaves there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the tree has no complete subtree {index} of level {level}: ask for sizes up to its own")]
pub struct NoSubtree {
    level: u32,
    index: u64,
}

impl Subtrees for MemoryTree {
    type Error = NoSubtree;

    fn subtree(&self, level: u32, index: u64) -> Result<Digest, NoSubtree> {
        let place = usize::try_from(level).ok().zip(usize::try_from(index).ok());
        let node = place.and_then(|(level, index)| self.levels.get(level)?.get(index).copied());
        node.ok_or(NoSubtree { level, index })
    }
}
