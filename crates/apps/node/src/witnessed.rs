//! What the registry holds of a node's log, asked of the registry itself: for whoever checks a node without trusting its operator.

use truc_admin::{HeadsDocument, WitnessHeads};
use truc_directory::Anchor;
use truc_directory_sync::{WitnessClient, WitnessRefusal};
use truc_model::{NodeId, Timestamp};

/// The heads that the registry of `anchor` holds of the logs of `node`, as a document for `truc evidence fsck --heads`; made `now`.
/// Nothing in it rests on the registry's word either: each head is signed with the node's own key.
///
/// # Errors
/// [`WitnessRefusal`] when the registry cannot be reached or does not tell.
pub async fn witnessed(
    anchor: &Anchor,
    node: NodeId,
    now: Timestamp,
) -> Result<HeadsDocument, WitnessRefusal> {
    let views = WitnessClient::new(anchor).witnessed(&node).await?;
    let read = views.iter().map(|view| serde_json::from_slice(view));
    let logs =
        read.collect::<Result<_, _>>().map_err(|error| WitnessRefusal::Malformed(error.to_string()))?;
    let registry = WitnessHeads { witness: "registry".to_owned(), logs, failed: None };
    Ok(HeadsDocument { v: 1, node, made: now, witnesses: vec![registry] })
}
