//! How an information system must be connected to speak for a subsystem (X-Road's IS connection mode, ug-ss 9.1).
//!
//! A certificate is pinned: it must equal, byte for byte, one of those listed for the subsystem. No CA, name or status is
//! looked at, and its period of validity is not enforced, as X-Road does by default: withdrawing one is taking it off the list.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::Extensions;
use truc_model::{Fault, FaultCode, SubsystemId};

/// What a subsystem's information system must show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connection {
    /// Nothing: plain HTTP or HTTPS, from this machine, or from the network where that is allowed for plain HTTP.
    Http,
    /// HTTPS; who calls is not asked.
    Https,
    /// HTTPS with one of these certificates (DER).
    Certificate(Vec<Bytes>),
}

/// The connections of this node's subsystems. One that is not in here is [`Connection::Http`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientConnections {
    stated: HashMap<SubsystemId, Connection>,
    http_from_network: bool,
}

impl ClientConnections {
    /// The stated ones; `http_from_network` says that [`Connection::Http`] reaches beyond this machine.
    pub fn new(stated: impl IntoIterator<Item = (SubsystemId, Connection)>, http_from_network: bool) -> Self {
        Self { stated: stated.into_iter().collect(), http_from_network }
    }

    /// Whether `caller` may speak for `client`.
    ///
    /// # Errors
    /// CLIENT_NOT_AUTHENTICATED says what is missing.
    pub(crate) fn judge(&self, client: &SubsystemId, caller: &Caller) -> Result<(), Fault> {
        let refused = |what: &str| {
            Err(Fault::consumer(FaultCode::ClientNotAuthenticated, format!("{client} {what} at this node")))
        };
        match self.stated.get(client).unwrap_or(&Connection::Http) {
            Connection::Http if caller.local || self.http_from_network => Ok(()),
            Connection::Http => refused(
                "may be used from the node's own machine only, unless its operator sets another connection for it",
            ),
            Connection::Https if caller.tls => Ok(()),
            Connection::Https => refused("must be used over HTTPS, and this is plain HTTP"),
            Connection::Certificate(pinned) => match &caller.certificate {
                Some(shown) if pinned.contains(shown) => Ok(()),
                Some(_) => refused("does not have the TLS client certificate that was presented"),
                None if caller.tls => {
                    refused("must be used with its TLS client certificate, and none was presented")
                }
                None => {
                    refused("must be used over HTTPS with its TLS client certificate, and this is plain HTTP")
                }
            },
        }
    }
}

/// What a connection says of who is at its other end.
#[derive(Debug, Default)]
pub(crate) struct Caller {
    tls: bool,
    /// The client certificate (DER); the handshake proved possession of its key.
    certificate: Option<Bytes>,
    /// From this machine.
    local: bool,
}

impl Caller {
    pub(crate) const fn plain(from: IpAddr) -> Self {
        Self { tls: false, certificate: None, local: from.to_canonical().is_loopback() }
    }
    pub(crate) const fn secured(from: IpAddr, certificate: Option<Bytes>) -> Self {
        Self { tls: true, certificate, local: from.to_canonical().is_loopback() }
    }

    /// The one that the connection's request brought along; one of whom nothing is known otherwise.
    pub(crate) fn of(extensions: &Extensions) -> Arc<Self> {
        extensions.get::<Arc<Self>>().cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_connection_takes_what_it_must_and_no_more() {
        let id = |code: &str| format!("VN/GOV/H26/{code}").parse::<SubsystemId>().unwrap();
        let (pinned, other) = (Bytes::from_static(b"one"), Bytes::from_static(b"other"));
        let all = ClientConnections::new(
            [
                (id("open"), Connection::Http),
                (id("secret"), Connection::Https),
                (id("pinned"), Connection::Certificate(vec![Bytes::from_static(b"zero"), pinned.clone()])),
            ],
            false,
        );
        let here: IpAddr = [127, 0, 0, 1].into();
        let mapped: IpAddr = "::ffff:127.0.0.1".parse().unwrap();
        let there: IpAddr = [10, 0, 0, 5].into();
        for (code, caller, fine) in [
            ("open", Caller::plain(here), true),
            ("open", Caller::plain(mapped), true),
            ("open", Caller::plain(there), false),
            ("open", Caller::secured(there, Some(pinned.clone())), false),
            ("not-stated", Caller::secured(here, None), true),
            ("not-stated", Caller::secured(there, None), false),
            ("secret", Caller::plain(here), false),
            ("secret", Caller::secured(there, None), true),
            ("pinned", Caller::plain(here), false),
            ("pinned", Caller::secured(here, None), false),
            ("pinned", Caller::secured(here, Some(other)), false),
            ("pinned", Caller::secured(there, Some(pinned)), true),
        ] {
            let judged = all.judge(&id(code), &caller);
            assert_eq!(judged.is_ok(), fine, "{code} {caller:?}: {judged:?}");
            if let Err(fault) = judged {
                assert_eq!(fault.code, FaultCode::ClientNotAuthenticated);
                assert!(fault.detail.contains(code), "{}", fault.detail);
            }
        }
        let closed_network = ClientConnections::new([], true);
        assert!(closed_network.judge(&id("open"), &Caller::plain(there)).is_ok());
    }
}
