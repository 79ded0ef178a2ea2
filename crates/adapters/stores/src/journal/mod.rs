//! The one journal: append-only segments, one writer thread, group commit (design §5, protocol P4.3–4, P5.1–2, P10.4).
//!
//! Segments are never rewritten. Every start and every failed write begins a new one, whose header says at which
//! sequence and chain hash it goes on: a torn tail stays where it is and is known as such.

pub(crate) mod cipher;
pub(crate) mod format;
mod handle;
pub(crate) mod scan;
pub(crate) mod segment;
mod space;
mod writer;

pub(crate) use handle::{Entry, EntryBody, Journal, Setup, Sink, Written};
