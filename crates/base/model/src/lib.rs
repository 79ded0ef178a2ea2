//! The words of Trục: identifiers, digests, time, and faults.
//!
//! Every other crate speaks these words and no synonyms (design §1). This crate must not know a
//! socket, a file, a wire format or a rule of the bus: only what things are called and how their
//! text is read and written.

mod clock;
mod digest;
pub mod fault;
mod id;
mod message_id;
mod text;

pub use clock::{Clock, InvalidTimestamp, ManualClock, SystemClock, Timestamp};
pub use digest::{Digest, Digester, Fingerprint, InvalidDigest};
pub use fault::{Blame, Fault, FaultCode, Lang, Retry, Side};
pub use id::{InvalidId, MemberId, NodeId, PART_LIMIT, ServiceId, SubsystemId};
pub use message_id::{InvalidMessageId, MessageId};
pub use text::{is_unseen, visible, visible_lines};
