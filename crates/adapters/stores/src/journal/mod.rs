//! The one journal: append-only segments, one writer thread, group commit (design §5, protocol P4.3–4, P5.1–2, P10.4).
//!
//! Segments are never rewritten. After every start and every failed write a new one is begun, whose header says at which
//! sequence and chain hash it goes on: the torn tail of a crash stays where it is and is known as such; what a failed write
//! left behind the acknowledged frames is cut off, and so is, at a start, room that was never written (`unused.rs`).

pub(crate) mod cipher;
pub(crate) mod content;
pub(crate) mod format;
mod handle;
pub(crate) mod pause;
pub(crate) mod scan;
pub(crate) mod segment;
mod space;
pub(crate) mod unused;
mod writer;

pub(crate) use handle::{Entry, EntryBody, Journal, Setup, Sink, Written};
