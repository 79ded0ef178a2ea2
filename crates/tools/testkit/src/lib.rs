//! What tests share: stand-ins that keep the same contracts as the real adapters, and whole nodes in a few lines. Never shipped.
//!
//! [`Federation`] builds a bus of real nodes in one process: real consumer and provider sides, signatures, directory,
//! evidence and, when asked for, real TLS between them. Only the network of trust services is pretended. This crate must not
//! hold a rule of the bus; what it pretends keeps the contract of the port it stands for.
//!
//! ```
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! use truc_testkit::{Federation, draft};
//! let bus = Federation::new()
//!     .member("VN/GOV/G01").subsystem("csdl-dancu").service("tra-cuu")
//!     .member("VN/GOV/H26").subsystem("mot-cua")
//!     .right("VN/GOV/H26/mot-cua", "VN/GOV/G01/csdl-dancu/tra-cuu")
//!     .start().await;
//! let reply = bus.node("VN/GOV/H26/ss1").call(draft("VN/GOV/H26/mot-cua", "VN/GOV/G01/csdl-dancu/tra-cuu")).await.unwrap();
//! assert_eq!(reply.status, 200);
//! # });
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop where it stands")]

mod anybody;
pub mod authority;
mod bus;
mod crash;
pub mod direct_link;
mod federation;
pub mod gated_stamps;
pub mod gated_store;
mod irregular;
mod memory_archive;
mod memory_heads;
pub mod memory_proofs;
mod memory_search;
mod memory_segments;
pub mod memory_signer;
mod memory_spool;
pub mod memory_store;
mod node;
pub mod registry;
pub mod services;
pub mod tsa;

pub use anybody::Anybody;
pub use bus::Bus;
pub use crash::Crash;
pub use federation::Federation;
pub use memory_archive::{ArchiveFault, MemoryArchive};
pub use memory_heads::MemoryHeads;
pub use memory_segments::MemorySegments;
pub use memory_spool::MemorySpool;
pub use node::{TestNode, draft};
