//! What a record keeps of the directory in force, so that an export shows who the members were (protocol P5.5).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use truc_directory::{Directory, part};
use truc_message::Header;
use truc_model::{Digest, MemberId, Timestamp};

use crate::record::Artifact;

/// A signed head is stored again after this time at the latest, so that evidence shows a head of its own day.
const HEAD_RENEWAL: Duration = Duration::from_secs(3600);

/// The directory artifacts of one head and the members of one exchange.
#[derive(Clone)]
pub(crate) struct DirectoryProof {
    /// The signed head, by its digest.
    pub(crate) head: Digest,
    /// The head, the root documents, the trust part, the members' parts and the index parts that list them.
    pub(crate) artifacts: Vec<Artifact>,
}

#[derive(Default)]
struct HeadInUse {
    content: Option<Digest>,
    taken: Option<Timestamp>,
    signed: Bytes,
    by_members: HashMap<Vec<MemberId>, DirectoryProof>,
}

/// The proofs of the head in use, each digested once.
#[derive(Default)]
pub(crate) struct DirectoryProofs {
    head: Mutex<HeadInUse>,
}

impl DirectoryProofs {
    /// The head in force and the parts that show who the members of `header` were.
    pub(crate) fn of(&self, directory: &Directory, header: &Header, now: Timestamp) -> DirectoryProof {
        let mut head = self.head.lock().unwrap_or_else(PoisonError::into_inner);
        let content = directory.head().content_digest();
        let stale = head.taken.is_none_or(|taken| now.since(taken) > HEAD_RENEWAL);
        if head.content != Some(content) || stale {
            *head = HeadInUse {
                content: Some(content),
                taken: Some(now),
                signed: directory.raw().signed_head().clone(),
                by_members: HashMap::new(),
            };
        }
        // Client, service and the owners of both nodes, mostly two members in all.
        let mut key =
            vec![header.client.member(), header.service.member(), header.from.owner(), header.to.owner()];
        key.sort_unstable();
        key.dedup();
        if let Some(known) = head.by_members.get(&key) {
            return known.clone();
        }
        let signed = Artifact::new(head.signed.clone());
        let raw = directory.raw();
        // A member's part hangs on the head through the index part that lists it, where heads have those.
        let members = key.iter().flat_map(|member| [raw.index_part(member), raw.member_part(member)]);
        let parts = std::iter::once(raw.part(part::TRUST)).chain(members);
        let mut artifacts = vec![signed.clone()];
        artifacts.extend(raw.root_chain().iter().cloned().map(Artifact::new));
        artifacts.extend(parts.flatten().cloned().map(Artifact::new));
        // Two members may share an index part.
        let mut seen = std::collections::HashSet::new();
        artifacts.retain(|artifact| seen.insert(artifact.digest));
        let proof = DirectoryProof { head: signed.digest, artifacts };
        head.by_members.insert(key, proof.clone());
        proof
    }
}
