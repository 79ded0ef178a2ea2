//! Which node serves a call (step 1 of the consumer).

use std::sync::Arc;

use truc_directory::{Directory, NodeEntry};
use truc_model::{Fault, FaultCode, Side, SubsystemId, Timestamp};

use crate::call::Draft;
use crate::standing::{Standing, in_maintenance};

/// The nodes that serve the draft's service, in the order to try; those in maintenance are passed over.
///
/// # Errors
/// UNKNOWN_MEMBER, MOVED, SUSPENDED, UNSUPPORTED_VERSION, UNKNOWN_NODE for a targeted node that does not serve it, or
/// MAINTENANCE when no other node is left.
pub(crate) fn candidates(
    directory: &Directory,
    draft: &Draft,
    now: Timestamp,
) -> Result<Vec<Arc<NodeEntry>>, Fault> {
    let subsystem = draft.service.subsystem();
    let standing = Standing::new(directory, now, Side::ClientProxy);
    is_there(directory, &subsystem, now)?;
    standing.subsystem(&subsystem)?;
    let mut nodes = serving(directory, &subsystem, standing)?;
    if let Some(target) = &draft.context.target {
        nodes.retain(|node| node.id == *target);
        if nodes.is_empty() {
            if directory.node(target).is_some_and(|node| node.serves.contains(&subsystem)) {
                standing.node(target)?;
            }
            let detail = format!("node {target} (X-Road-Security-Server) does not serve {subsystem}");
            return Err(Fault::consumer(FaultCode::UnknownNode, detail));
        }
    }
    nodes.retain(|node| node.versions.contains(&truc_message::VERSION));
    if nodes.is_empty() {
        let detail = format!("no node of {subsystem} accepts message version {}", truc_message::VERSION);
        return Err(Fault::consumer(FaultCode::UnsupportedVersion, detail));
    }
    at_work(nodes)
}

/// The member is in the directory, and its time has begun.
fn is_there(directory: &Directory, subsystem: &SubsystemId, now: Timestamp) -> Result<(), Fault> {
    let member = subsystem.member();
    let unknown = |what: String| Fault::consumer(FaultCode::UnknownMember, what);
    let entry =
        directory.member(&member).ok_or_else(|| unknown(format!("{member} is not in the directory")))?;
    if now < entry.valid_from {
        let detail = format!(
            "{member} is a member from {} on, this node's clock says {now}: check the clock",
            entry.valid_from
        );
        return Err(unknown(detail));
    }
    Ok(())
}

/// The nodes that speak for the subsystem. Where there is none, one that would but for its own standing says why.
fn serving(
    directory: &Directory,
    subsystem: &SubsystemId,
    standing: Standing<'_>,
) -> Result<Vec<Arc<NodeEntry>>, Fault> {
    let nodes = directory.nodes_serving(subsystem);
    if !nodes.is_empty() {
        return Ok(nodes.to_vec());
    }
    let mut registered: Vec<&NodeEntry> =
        directory.nodes().filter(|node| node.serves.contains(subsystem)).collect();
    registered.sort_by(|a, b| a.id.cmp(&b.id));
    registered.into_iter().try_for_each(|node| standing.node(&node.id))?;
    Err(Fault::consumer(FaultCode::UnknownMember, format!("no node serves {subsystem}")))
}

/// Those that are not in maintenance; when all are, the first one's word.
fn at_work(nodes: Vec<Arc<NodeEntry>>) -> Result<Vec<Arc<NodeEntry>>, Fault> {
    let (ready, paused): (Vec<_>, Vec<_>) = nodes.into_iter().partition(|node| node.maintenance.is_none());
    match paused.first() {
        Some(first) if ready.is_empty() => {
            let told =
                paused.iter().find(|node| node.maintenance.as_ref().is_some_and(|m| !m.message.is_empty()));
            in_maintenance(told.unwrap_or(first), Side::ClientProxy)?;
            Ok(ready)
        }
        _ => Ok(ready),
    }
}
