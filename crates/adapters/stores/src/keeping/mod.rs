//! What becomes of closed segments and expired bodies on this disk (`docs/evidence.md` §6).
//!
//! A segment that was archived leaves a **stub** in its place, `<name>.away` instead of `<name>.seg`: what is needed to find it in
//! the archive and to know it again. So the folder of the journal always tells which segments there are, without index and archive.

mod folder;
mod held;
mod shelf;
mod stub;

pub use folder::archived_anything;
pub(crate) use folder::{Folder, PLAN};
pub(crate) use held::{keep as keep_held, read as read_held};
pub use shelf::ArchiveReader;
pub(crate) use shelf::Shelf;
pub(crate) use stub::{Stub, name_of};
