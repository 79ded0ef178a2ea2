//! The directories that a container carries, believed only from the anchor on.

use std::collections::HashMap;

use bytes::Bytes;
use truc_directory::{Anchor, Directory, SignedHead};
use truc_model::Digest;

use super::names;
use super::read::Opened;

/// Assembles the directory whose signed head has this digest, from the files of its folder.
///
/// # Errors
/// The reason why it is not believed; `None` when the container does not carry it.
pub(super) fn assemble(opened: &Opened, anchor: &Anchor, head: Digest) -> Result<Directory, Option<String>> {
    let folder = names::directory(head);
    let file = |name: &str| opened.files.get(&format!("{folder}{name}"));
    let envelope = file(names::HEAD).ok_or(None)?;
    if Digest::of(envelope) != head {
        return Err(Some(format!("{folder}{} is not the head that the record names", names::HEAD)));
    }
    let roots: Vec<Bytes> = (1u64..).map_while(|n| file(&names::root(n))).cloned().collect();
    let parts: HashMap<Digest, Bytes> = opened
        .files
        .iter()
        .filter(|(name, _)| name.starts_with(&folder))
        .map(|(_, bytes)| (Digest::of(bytes), bytes.clone()))
        .collect();
    let told = |e: String| Some(e);
    let signed = SignedHead::parse(envelope).map_err(|e| told(e.to_string()))?;
    Directory::assemble_partial(anchor, &roots, &signed, |d| parts.get(d).cloned())
        .map_err(|e| told(e.to_string()))
}

/// The digests of all signed heads of directories in the container.
pub(super) fn heads(opened: &Opened) -> Vec<Digest> {
    let folder = |name: &String| {
        let (head, file) = name.strip_prefix(names::DIRECTORIES)?.split_once('/')?;
        head.parse().ok().filter(|_| file == names::HEAD)
    };
    opened.files.keys().filter_map(folder).collect()
}
