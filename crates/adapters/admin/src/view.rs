//! The JSON of the API. Identifiers are in plain form; subjects and group members, whose kind varies, carry their type.

mod access;
mod declared;
mod directory;
mod evidence;
mod service;

pub use self::access::*;
pub use self::declared::*;
pub use self::directory::*;
pub use self::evidence::*;
pub use self::service::*;
