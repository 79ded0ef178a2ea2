//! The provider door: HTTP out, to the information systems behind this node (design §3, step 10).
//!
//! It takes only `Recorded<Admitted<Verified<Request>>>`, calls the service once, and gives back what it answered. It must
//! not retry, follow a redirect, cache, or decide who may call; and it tells apart what was never sent from what may have
//! been acted on, because the caller is told so (protocol P4.5).

mod answer;
mod client;
mod connector;
mod door;
mod ext_value;
mod fields;
mod outgoing;
mod tls;

pub use door::{ClientIdentity, HttpServiceDoor, ProviderConfig, ProviderError};
