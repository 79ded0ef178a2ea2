//! The tamper-evident log (protocol P5.3, `docs/evidence.md` §2): the tree of RFC 6962 over leaves that are already hashed,
//! its inclusion and consistency proofs, and its heads as C2SP checkpoints in signed notes.
//!
//! This crate must not know what a leaf stands for, hold a private key or own a file: who keeps a tree hands it in as
//! [`Subtrees`], and who keeps other logs' heads does so behind [`HeadStore`].

mod checkpoint;
pub mod contract;
mod head;
mod heads;
mod note;
mod presentation;
mod proof;
mod tree;
mod view;

pub use checkpoint::{CHAIN, Checkpoint, CheckpointError, RESTORED_FROM, chain_line, log_of, log_origin};
pub use head::{Head, HeadError, MAX_HEAD};
pub use heads::{HeadStore, HeadStoreError, LOGS_OF_A_NODE, take_in};
pub use note::{MAX_NOTE, NoteError, NoteKey, NoteSignature, SignedNote};
pub use presentation::{Presentation, PresentationError};
pub use proof::{MAX_PROOF, ProofError, verify_consistency, verify_inclusion};
pub use tree::{MemoryTree, NoSubtree, Subtrees, consistency, inclusion, node_hash, root};
pub use view::{Alarm, Held, LogView, NewHead, Noted, Why};
