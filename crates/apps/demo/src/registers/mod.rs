//! The two registers' own systems of the demo: `csdl-dancu` (population) and `csdl-datdai` (land).
//!
//! Small HTTP services as an agency would have them behind its node: they know nothing of the bus
//! but the header `X-Road-Client`. All data is made from a seed, marked "DỮ LIỆU GIẢ LẬP", and
//! numbered in ranges that no living person or real parcel can have (province 099, CMND 99…,
//! communes 99xxx, `ZZ` certificates). They must not read or log real personal data.

mod answers;
mod cap;
mod citizen;
mod config;
mod dancu;
mod datdai;
mod family;
mod names;
mod parcel;
mod population;
mod record;
mod rng;
mod server;
mod showcase;
#[cfg(test)]
mod tests;

pub use citizen::{Birth, Citizen, CitizenId, LifeState, Relation, Sex};
pub use config::{MAX_CITIZENS, MAX_PARCELS, MIN_CITIZENS, MIN_PARCELS, RegisterConfig, RegisterKind};
pub use names::{Name, match_key};
pub use population::{Number, Population, Question};
pub use server::{RegisterError, run};
pub use showcase::{Showcase, showcase};

/// Stands on every record and answer: this is not a real person's data (safety rule).
pub const WATERMARK: &str = "DỮ LIỆU GIẢ LẬP";
