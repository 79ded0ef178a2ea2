//! Checkpoints (<https://c2sp.org/tlog-checkpoint>): what a log's head says.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use truc_model::{Digest, NodeId};

/// The extension line of a log that a restored node began: `restored-from <size> <base64 root>` or `restored-from unknown`.
pub const RESTORED_FROM: &str = "restored-from";

/// The extension line `chain <base64 of 32 bytes>`: the hash chain of the journal right after the last of the records, so that a head speaks
/// of everything that lies before that record, in the tree or not. It is a function of the size, and stands last; a log without records
/// has none, and older heads have none.
pub const CHAIN: &str = "chain";

/// The longest checkpoint that is read, in bytes: ours are below 400.
const MAX_CHECKPOINT: usize = 4096;

/// A text that is not a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a checkpoint: {0}")]
pub struct CheckpointError(&'static str);

/// What a log's head says. `Display` writes the text that is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log: see [`log_origin`].
    pub origin: String,
    /// Number of leaves.
    pub size: u64,
    /// Root over them.
    pub root: Digest,
    /// Further lines, each not empty; at most one of them is a [`CHAIN`].
    pub extensions: Vec<String>,
}

/// The extension line [`CHAIN`] for this chain hash.
pub fn chain_line(chain: Digest) -> String {
    format!("{CHAIN} {}", STANDARD.encode(chain.as_bytes()))
}

impl Checkpoint {
    /// What the line [`CHAIN`] says, where there is one.
    pub fn chain(&self) -> Option<Digest> {
        self.extensions.iter().find_map(|line| chain_of(line)?)
    }

    /// Reads the text of a checkpoint, in its one form.
    ///
    /// # Errors
    /// [`CheckpointError`] with what is wrong.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        if text.len() > MAX_CHECKPOINT {
            return Err(CheckpointError("longer than 4 KiB"));
        }
        let body = text.strip_suffix('\n').ok_or(CheckpointError("it must end with a newline"))?;
        let mut lines = body.split('\n');
        let origin = lines.next().filter(|l| is_line(l)).ok_or(CheckpointError("no origin"))?;
        let size = lines.next().and_then(decimal).ok_or(CheckpointError("no size in plain decimal"))?;
        let root = lines.next().and_then(|l| STANDARD.decode(l).ok());
        let root = root.and_then(|bytes| Digest::from_slice(&bytes));
        let root = root.ok_or(CheckpointError("no root of 32 bytes in base64"))?;
        let extensions: Vec<_> = lines.map(str::to_owned).collect();
        if !extensions.iter().all(|line| is_line(line)) {
            return Err(CheckpointError("an extension line is empty or has control characters"));
        }
        let chains: Vec<_> = extensions.iter().filter_map(|line| chain_of(line)).collect();
        if chains.len() > 1 || chains.contains(&None) {
            return Err(CheckpointError("its chain is not one line with 32 bytes in base64"));
        }
        Ok(Self { origin: origin.to_owned(), size, root, extensions })
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, STANDARD.encode(self.root.as_bytes()))?;
        self.extensions.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// The origin of a node's log: its tagged id, with `+` written `%2B`; of one that a restored node began, `/log-` and its id behind.
/// The key that signs its heads has the same name.
pub fn log_origin(node: &NodeId, restored: Option<&str>) -> String {
    let node = node.tagged().replace('+', "%2B");
    match restored {
        Some(log) => format!("{node}/log-{log}"),
        None => node,
    }
}

/// The node of an origin, and the id of the log where it is not the node's first: [`log_origin`] undone. `None` for what is no origin
/// of a node's log.
pub fn log_of(origin: &str) -> Option<(NodeId, Option<&str>)> {
    let slash = origin.match_indices('/').nth(3).map(|(at, _)| at);
    let (node, log) = match slash {
        Some(at) => (origin.get(..at)?, Some(origin.get(at..)?.strip_prefix("/log-")?)),
        None => (origin, None),
    };
    let id = NodeId::from_tagged(&node.replace("%2B", "+")).ok()?;
    let hex = |log: &str| log.len() == 32 && log.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    (log.is_none_or(hex) && log_origin(&id, log) == origin).then_some((id, log))
}

/// The chain hash of a line [`CHAIN`], if it has one; nothing for any other line.
fn chain_of(line: &str) -> Option<Option<Digest>> {
    let hash = line.strip_prefix(CHAIN)?.strip_prefix(' ')?;
    Some(STANDARD.decode(hash).ok().and_then(|bytes| Digest::from_slice(&bytes)))
}

fn is_line(line: &str) -> bool {
    !line.is_empty() && !line.chars().any(char::is_control)
}

/// A number in its one form: digits without a leading zero.
fn decimal(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let plain = text == "0" || !text.starts_with('0');
    text.parse().ok().filter(|_| digits && plain)
}
