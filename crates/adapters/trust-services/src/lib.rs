//! Trust services over the network: certificate status by OCSP (RFC 6960) and revocation lists (RFC 5280).
//!
//! This crate fetches bytes within deadlines and size limits. It must not judge them: whether a status is authentic, fresh and good is
//! for `truc-trust` to say. Plain HTTP only, as usual for OCSP and lists: what comes back is signed.

mod http_client;
mod status;

pub use http_client::FetchLimits;
pub use status::OcspHttp;
