//! The edge: HTTP in, for the information systems of this node's members (design §3, protocol P10.1).
//!
//! It takes a request apart (address, headers, body, limits), hands a [`truc_exchange::Draft`] to the consumer side, and
//! writes what comes back: the service's own answer, or a fault with its true status. It must not decide who may call,
//! sign, record, or talk to another node; and it must not change a byte of what the service answered.
//!
//! What an information system sees:
//!
//! - `{METHOD} /r1/{instance}/{class}/{member}/{subsystem}/{service}[/path][?query]` with `X-Road-Client`. The
//!   metaservices `listMethods`, `allowedMethods` and `getOpenAPI` are calls like any other.
//!   Members may be written with an old agency code (`000.00.00.H26`); the canonical one goes on and is answered.
//! - `GET /listClients[?xRoadInstance=]`, answered from this node's directory, unsigned.
//! - `GET /asic` and `GET /verificationconf`: the signed documents of a subsystem's own exchanges, and what checks them.
//!
//! It comes over plain HTTP or over TLS, and must be connected as its subsystem's [`Connection`] says.
//!
//! A caller that hangs up does not cancel its call: the exchange runs to its stated end, so that the evidence says what
//! happened.

mod body;
mod codes;
mod config;
mod connection;
mod edge;
mod ext_value;
mod fault_response;
mod fields;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod list_clients;
mod reply;
pub mod request_hash;
mod served;
mod server;
mod signed_documents;
mod target;
mod tls;
mod watched;

pub use config::{EdgeConfig, ExposedPlainHttp, check_plain_http};
pub use connection::{ClientConnections, Connection};
pub use edge::EdgeDirectory;
pub use server::{EdgeDoors, EdgePorts, serve};
pub use signed_documents::{Document, DocumentError, DocumentQuestion, EdgeEvidence, Wanted, file_name};
pub use tls::{EdgeIdentity, EdgeIdentityError};
