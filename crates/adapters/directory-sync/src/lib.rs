//! Carries the directory from the registry to the nodes (protocol P6), and the heads of their logs to the registry (P5.3): the client
//! with its cache on disk, and the registry's gRPC door.
//!
//! Nothing received is believed by itself: every head and part is judged by `truc-directory` against the anchor, and the
//! highest version ever seen ([`HighestSeen`], kept in the node's journal) is never undercut. While the registry is away
//! the node goes on with what it has, and takes newer heads from other nodes, judged just so. This crate must not decide what is in a directory.

mod announce;
mod backoff;
mod client;
mod connect;
mod folder;
mod handle;
mod litter;
mod peers;
mod rates;
mod remote;
mod server;
mod submit;
mod update;
mod witness;

pub use client::{DirectorySync, SyncConfig, SyncError};
pub use folder::{DirectoryFolder, FolderError};
pub use handle::{DirectoryHandle, SyncStatus};
pub use peers::{PeerOffers, PeerParts};
pub use server::{Publication, RegistryServer, ServeError};
pub use submit::{DOCUMENT_LIMIT, RequestDesk, SubmitClient, SubmitRefusal};
pub use update::{HighestSeen, Refused};
pub use witness::{HeadAnswer, WitnessClient, WitnessDesk, WitnessRefusal};
