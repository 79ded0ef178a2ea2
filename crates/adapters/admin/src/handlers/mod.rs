//! What answers each route.

pub(crate) mod access;
pub(crate) mod declared;
pub(crate) mod evidence;
pub(crate) mod general;
pub(crate) mod groups;
pub(crate) mod keeping;
pub(crate) mod log;
pub(crate) mod services;
pub(crate) mod successions;
