//! Ways in for the fuzz targets (`tests/fuzz`): parsers that nobody else outside this crate needs. Only with the feature
//! `fuzzing`, and no part of this crate's interface.

use http::{HeaderMap, Method, Uri};
use truc_exchange::CallContext;
use truc_message::{CanonicalPath, CanonicalQuery};
use truc_model::{Fault, NodeId, ServiceId, SubsystemId};

use crate::target::Target;
use crate::{ext_value, fields, target};

/// What a request line asks for.
pub type Call = (ServiceId, CanonicalPath, Option<CanonicalQuery>);

/// A request's fields, sorted out.
#[derive(Debug)]
pub struct Sorted {
    /// The calling subsystem.
    pub client: SubsystemId,
    /// The words around the call.
    pub context: CallContext,
    /// The body's media type.
    pub media_type: Option<String>,
    /// What travels on in the list.
    pub forwarded: Vec<(String, Vec<u8>)>,
    /// Everything that was not removed.
    pub surviving: Vec<(String, Vec<u8>)>,
}

/// Reads a request line; `None` when it asks for something else than a service.
///
/// # Errors
/// MALFORMED.
pub fn call(method: &Method, uri: &Uri) -> Result<Option<Call>, Fault> {
    Ok(match target::parse(method, uri)? {
        Target::Call { service, path, query } => Some((service, path, query)),
        _ => None,
    })
}

/// An identifier as X-Road writes it in addresses.
pub fn written(id: &ServiceId) -> String {
    target::encode(id.as_str())
}

/// The node that `X-Road-Security-Server` names.
///
/// # Errors
/// MALFORMED.
pub fn node(text: &str) -> Result<NodeId, Fault> {
    target::node(text, "X-Road-Security-Server")
}

/// Sorts out a request's fields.
///
/// # Errors
/// MALFORMED.
pub fn sort(headers: &HeaderMap, split_cookies: bool) -> Result<Sorted, Fault> {
    let fields::Taken { client, context, media_type, forwarded, surviving, .. } =
        fields::take(headers, split_cookies)?;
    Ok(Sorted { client, context, media_type, forwarded, surviving })
}

/// Reads ASCII or an RFC 8187 value.
pub fn ext_value(raw: &[u8]) -> Option<String> {
    ext_value::decode(raw).ok()
}
