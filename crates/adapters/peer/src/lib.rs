//! Node to node: gRPC over mutually authenticated TLS 1.3 (protocol P3, P9).
//!
//! One connection and one multiplexed stream for each pair of nodes; own acceptor, so that certificates are renewed
//! without a restart and connections of a certificate that stops being trusted are closed. This crate must not judge a
//! message: the handshake proves possession and a path to an approved CA, everything else is the flow's to decide.

mod acceptor;
mod bodies;
mod body_calls;
mod comparing;
mod connections;
mod conversation;
mod convert;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod heads;
mod identity;
mod intake;
mod link;
mod log;
mod net;
mod parts;
mod reader;
mod server;
mod shares;
mod stream;
mod tls;

pub use connections::Connections;
pub use heads::{HeadConflict, HeadWitness, Heads};
pub use identity::{Identity, IdentityError};
pub use link::PeerLinks;
pub use log::{LEAVES_AT_ONCE, LogAnswer, LogBook, LogQuestion, LogRefusal};
pub use net::{ByteStream, Listener, Network, Tcp};
pub use server::{PeerDoor, PeerDoorConfig, PeerDoorError};

/// Largest body that travels on the shared stream (protocol P9.2).
pub const SMALL_BODY: usize = 64 * 1024;

/// Size of a chunk of a bigger body.
pub const CHUNK: usize = 256 * 1024;

/// Streams of one connection: the shared one, and one for each big body on its way. Bodies beyond memory take at most
/// [`body_calls::FLOWS`] of them each way, so that smaller ones always find one.
const MAX_STREAMS: u32 = 160;

/// Bytes of one stream that the receiver may leave unread.
const STREAM_WINDOW: u32 = 512 * 1024;

/// The same for a connection: every stream's, and the shared stream's besides. Bodies that nobody reads yet must never keep
/// the frame that says what they are from getting through.
const CONNECTION_WINDOW: u32 = (MAX_STREAMS + 8) * STREAM_WINDOW;

/// Largest gRPC message: a header, a small body, a signature and two statuses, with room to spare.
const MESSAGE_LIMIT: usize = 512 * 1024;

/// Frames waiting for one exchange; a well-behaved peer never has more under way.
const EXCHANGE_QUEUE: usize = 16;

/// Frames waiting to be written to one stream.
const STREAM_QUEUE: usize = 1024;

/// Longest wait for a peer that does not read.
const SAY_DEADLINE: std::time::Duration = std::time::Duration::from_secs(30);
