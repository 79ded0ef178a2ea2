//! One exchange, step by step (design §3, protocol P4).
//!
//! [`Consumer`] and [`Provider`] read as the list of steps; everything they touch in the world is a port in [`ports`].
//! This crate must not own a socket, a file or a wall clock, and never sees a protobuf type.

mod answer;
mod call;
mod closing;
mod consumer;
pub mod contract;
mod deadline;
mod ground;
mod moment;
pub mod ports;
mod provider;
mod refusal;
mod refusal_rate;
mod request;
mod routing;
mod sealing;
mod stamping;
mod standing;

pub use call::{CallContext, Draft, DraftBody, Failed, Reply};
pub use consumer::{CALL_DEADLINE, Consumer};
pub use ground::Ground;
pub use provider::Provider;
pub use sealing::{Pen, Seal, Sealing};
