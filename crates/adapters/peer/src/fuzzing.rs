//! Ways in for the fuzz targets (`tests/fuzz`): conversions that nobody else outside this crate needs. Only with the
//! feature `fuzzing`, and no part of this crate's interface.

use truc_message::{Leaf, Parts};
use truc_model::Fault;
use truc_wire::peer as wire;

use crate::convert;

/// A whole message, as refusals and recorded answers travel.
pub fn message(refusal: wire::Refusal) -> Option<Parts> {
    convert::whole_from_wire(refusal).ok()
}

/// The same, written.
pub fn message_to_wire(parts: &Parts) -> wire::Refusal {
    convert::whole_to_wire(parts)
}

/// A fault of the peer.
pub fn fault(fault: wire::Fault) -> Fault {
    convert::fault_from_wire(fault)
}

/// The same, written.
pub fn fault_to_wire(fault: &Fault) -> wire::Fault {
    convert::fault_to_wire(fault)
}

/// Where the peer recorded.
pub fn leaf(recorded: &wire::Recorded) -> Option<Leaf> {
    convert::leaf_from_wire(recorded).ok()
}

/// The same, written.
pub fn leaf_to_wire(leaf: Leaf) -> wire::Recorded {
    convert::leaf_to_wire(leaf)
}
