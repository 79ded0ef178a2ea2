//! The hash tree of one batch (RFC 4998 §4.2.1).

use truc_model::Digest;

use super::{ErsError, hash_sorted};

/// A tree over leaves in order: pairs are hashed in ascending binary order, an odd one goes up as it is.
#[derive(Debug, Clone)]
pub struct Tree {
    /// From the leaves to the root; none is empty and the last has one.
    levels: Vec<Vec<Digest>>,
    root: Digest,
}

impl Tree {
    /// The tree over `leaves`.
    ///
    /// # Errors
    /// [`ErsError::NoLeaves`].
    pub fn new(leaves: Vec<Digest>) -> Result<Self, ErsError> {
        let mut levels = vec![leaves];
        loop {
            match levels.last().map(Vec::as_slice) {
                None | Some([]) => return Err(ErsError::NoLeaves),
                Some([root]) => {
                    let root = *root;
                    return Ok(Self { levels, root });
                }
                Some(level) => {
                    let above = level.chunks(2).map(node).collect();
                    levels.push(above);
                }
            }
        }
    }

    /// The root: the imprint of the batch's token.
    pub fn root(&self) -> Digest {
        self.root
    }

    /// The siblings that leaf `index` meets on its way to the root, lowest first; `None` when there is no such leaf.
    pub fn path(&self, index: usize) -> Option<Vec<Digest>> {
        self.levels.first()?.get(index)?;
        let mut path = Vec::new();
        for (height, level) in self.levels.iter().enumerate() {
            // Where it is the odd one there is no sibling, and the step is left out.
            path.extend(level.get((index >> height) ^ 1));
        }
        Some(path)
    }
}

fn node(pair: &[Digest]) -> Digest {
    match pair {
        [left, right] => hash_sorted(&mut [*left, *right]),
        [odd] => *odd,
        // Chunks of two hold one or two.
        _ => Digest([0; 32]),
    }
}
