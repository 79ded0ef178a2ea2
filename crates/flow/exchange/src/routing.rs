//! Which node serves a call (step 1 of the consumer).

use std::sync::Arc;

use truc_directory::{Directory, NodeEntry};
use truc_model::{Fault, FaultCode, Timestamp};

use crate::call::Draft;

/// The nodes that serve the draft's service, in the order to try.
///
/// # Errors
/// UNKNOWN_MEMBER, MOVED, UNSUPPORTED_VERSION, or UNKNOWN_NODE for a targeted node that does not serve it.
pub(crate) fn candidates(
    directory: &Directory,
    draft: &Draft,
    now: Timestamp,
) -> Result<Vec<Arc<NodeEntry>>, Fault> {
    let subsystem = draft.service.subsystem();
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
    if !entry.is_active(now) {
        let successor = directory.successor(&member).map(|succession| succession.member.clone());
        let detail = match &successor {
            Some(next) => format!("{member} is closed; its successor is {next}"),
            None => format!("{member} is closed and has no successor"),
        };
        return Err(Fault::consumer(FaultCode::Moved, detail).with_successor(successor));
    }
    let mut nodes: Vec<Arc<NodeEntry>> = directory.nodes_serving(&subsystem).to_vec();
    if nodes.is_empty() {
        return Err(unknown(format!("no node serves {subsystem}")));
    }
    if let Some(target) = &draft.context.target {
        nodes.retain(|node| node.id == *target);
        if nodes.is_empty() {
            let detail = format!("node {target} (X-Road-Security-Server) does not serve {subsystem}");
            return Err(Fault::consumer(FaultCode::UnknownNode, detail));
        }
    }
    nodes.retain(|node| node.versions.contains(&truc_message::VERSION));
    if nodes.is_empty() {
        let detail = format!("no node of {subsystem} accepts message version {}", truc_message::VERSION);
        return Err(Fault::consumer(FaultCode::UnsupportedVersion, detail));
    }
    Ok(nodes)
}
