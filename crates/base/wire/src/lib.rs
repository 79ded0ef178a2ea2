//! The messages on the wire, generated from `proto/*.proto` (protocol P9.3). Only adapters may see them: domain and flow
//! speak their own words.
#![allow(missing_docs, clippy::all, unreachable_pub, reason = "generated code")]

/// Between nodes and the registry.
pub mod registry {
    tonic::include_proto!("truc.registry.v1");
}

/// Between nodes.
pub mod peer {
    tonic::include_proto!("truc.peer.v1");
}
