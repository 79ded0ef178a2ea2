//! The JSON of the API. Identifiers are in plain form; subjects and group members, whose kind varies, carry their type.

mod access;
mod declared;
mod directory;
mod evidence;
mod keeping;
mod log;
mod service;

pub use self::access::*;
pub use self::declared::*;
pub use self::directory::*;
pub use self::evidence::*;
pub use self::keeping::*;
pub use self::log::*;
pub use self::service::*;
