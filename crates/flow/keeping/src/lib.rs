//! Keeping: closed segments move to the archive, bodies whose time is over are destroyed, held ones are not
//! (`docs/evidence.md` §6).
//!
//! Every step may be the last before a crash: what is destroyed was planned durably, what is removed here was read back from the
//! archive, and a restart goes on where it stopped. This crate must not own a disk, a socket or a clock, and must not hold a key.

mod error;
mod expiry;
mod holds;
mod keeper;
mod mover;
mod plan;
mod space;

pub use error::KeepingError;
pub use holds::HoldTaken;
pub use keeper::{Keeper, KeeperState, NoteSigner};
pub use mover::Moved;
pub use plan::{TOMBSTONE, TombstoneSegment, TombstoneText};
pub use space::Threshold;
