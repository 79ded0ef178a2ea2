//! Parts of the directory between nodes: for a node that has a newer head from a peer and does not reach the registry
//! (protocol P6.2). Parts are content-addressed, so nothing is believed that does not have its digest.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::timeout;
use tonic::{Status, Streaming};
use truc_directory::{Directory, PART_LIMIT_BYTES};
use truc_exchange::ports::LinkError;
use truc_model::Digest;
use truc_wire::peer as wire;

use crate::CHUNK;
use crate::link::status_text;

/// Digests asked for at once.
pub(crate) const AT_ONCE: usize = 1024;
/// Longest wait for the next piece.
const PIECE_DEADLINE: Duration = Duration::from_secs(30);

/// The digests of a request.
pub(crate) fn wanted(request: &wire::PeerPartsRequest) -> Result<HashSet<Digest>, Status> {
    if request.digests.len() > AT_ONCE {
        return Err(Status::invalid_argument("at most 1024 digests are asked for at once"));
    }
    let digests = request.digests.iter().map(|digest| Digest::from_slice(digest)).collect::<Option<_>>();
    digests.ok_or_else(|| Status::invalid_argument("a digest has 32 bytes"))
}

/// Those of the wanted parts that the directory has.
pub(crate) fn found(directory: &Directory, wanted: &HashSet<Digest>) -> Vec<(Digest, Bytes)> {
    let raw = directory.raw();
    let parts = raw.parts().filter(|(_, digest, _)| wanted.contains(digest));
    let parts = parts.map(|(_, digest, bytes)| (*digest, bytes.clone()));
    let roots = raw.root_chain().iter().map(|bytes| (Digest::of(bytes), bytes.clone()));
    parts.chain(roots.filter(|(digest, _)| wanted.contains(digest))).collect()
}

/// One part in pieces.
pub(crate) fn pieces((digest, bytes): (Digest, Bytes)) -> impl Iterator<Item = wire::PeerPart> {
    let digest = Bytes::copy_from_slice(digest.as_bytes());
    let mut left = Some(bytes);
    std::iter::from_fn(move || {
        let mut bytes = left.take()?;
        if bytes.len() > CHUNK {
            left = Some(bytes.split_off(CHUNK));
        }
        Some(wire::PeerPart { digest: digest.clone(), bytes, last: left.is_none() })
    })
}

/// Puts the pieces together; what was not asked for, is too long, or has not its digest ends it.
pub(crate) async fn collect(
    mut incoming: Streaming<wire::PeerPart>,
    wanted: &HashSet<Digest>,
) -> Result<HashMap<Digest, Bytes>, LinkError> {
    let broken = |what: &str| LinkError::Broken(what.to_owned());
    let mut parts = HashMap::new();
    let mut coming = BytesMut::new();
    loop {
        let next = timeout(PIECE_DEADLINE, incoming.message()).await;
        let next = next.map_err(|_| broken("the parts stopped coming"))?;
        let Some(piece) = next.map_err(|s| LinkError::Broken(status_text(&s)))? else { return Ok(parts) };
        coming.extend_from_slice(&piece.bytes);
        if coming.len() as u64 > PART_LIMIT_BYTES {
            return Err(broken("a part of the directory is longer than 4 MiB"));
        }
        if !piece.last {
            continue;
        }
        let bytes = coming.split().freeze();
        let digest = Digest::of(&bytes);
        if Some(digest) != Digest::from_slice(&piece.digest) || !wanted.contains(&digest) {
            return Err(broken("a part of the directory is not the one that was asked for"));
        }
        parts.insert(digest, bytes);
    }
}
