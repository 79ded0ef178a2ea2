//! Trust services over the network: certificate status by OCSP (RFC 6960), revocation lists (RFC 5280) and time-stamps (RFC 3161).
//!
//! This crate fetches bytes from the URL it is told, within a deadline and a size limit. It must not judge them or choose whom to ask: whether a
//! status is authentic, fresh and good, which responder comes first and which has a rest is for `truc-trust` to say. Plain HTTP only, as usual for OCSP and lists: what comes back is signed.

mod http_client;
mod issuing;
mod status;
mod time_stamp;

pub use http_client::FetchLimits;
pub use issuing::{IssuedChain, IssuerError, IssuerLimits, PilotIssuer};
pub use status::OcspHttp;
pub use time_stamp::TimeStampHttp;
