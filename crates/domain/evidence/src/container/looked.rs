//! What the text for people looks up in the container's directories again and again, each file read once: a message costs no more
//! for lying beside many others.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use truc_directory::{Endorsed, MemberEntry, PublicKey, TrustServices};
use truc_model::{Digest, MemberId, NodeId};
use truc_trust::Certificate;

use super::names;
use super::readme::Files;

/// A member's part, as far as the text needs it.
struct Part<'a> {
    file: &'a str,
    member: MemberId,
    nodes: Vec<(NodeId, PublicKey)>,
}

/// Files of one container, and what was read of them.
pub(super) struct Looked<'a> {
    pub(super) files: &'a Files,
    authorities: RefCell<HashMap<Digest, Rc<Vec<Certificate>>>>,
    intermediates: OnceCell<Vec<&'a str>>,
    parts: OnceCell<Vec<Part<'a>>>,
}

impl<'a> Looked<'a> {
    pub(super) fn new(files: &'a Files) -> Self {
        let (authorities, intermediates, parts) = (RefCell::default(), OnceCell::new(), OnceCell::new());
        Self { files, authorities, intermediates, parts }
    }

    /// The certificates of the CAs that the directory with this head approves, as its trust part lists them.
    pub(super) fn authorities(&self, head: Digest) -> Rc<Vec<Certificate>> {
        let mut known = self.authorities.borrow_mut();
        Rc::clone(known.entry(head).or_insert_with(|| Rc::new(self.read_authorities(head))))
    }

    fn read_authorities(&self, head: Digest) -> Vec<Certificate> {
        let trust = self.files.get(&format!("{}{}", names::directory(head), names::TRUST));
        let services =
            trust.and_then(|t| Endorsed::parse(t).and_then(|e| TrustServices::parse(&e.payload)).ok());
        let authorities = services.into_iter().flat_map(|s| s.authorities);
        let ders = authorities.flat_map(|a| std::iter::once(a.certificate).chain(a.intermediates));
        ders.filter_map(|der| Certificate::from_der(der.as_bytes()).ok()).collect()
    }

    /// The files with certificates of CAs, which lie beside the seals.
    pub(super) fn intermediates(&self) -> &[&'a str] {
        self.intermediates.get_or_init(|| {
            let is_ca = |(name, bytes): &(&'a String, &bytes::Bytes)| {
                name.starts_with(names::CERTIFICATES) && Certificate::from_pem(bytes).is_ok_and(|c| c.is_ca())
            };
            self.files.iter().filter(is_ca).map(|(name, _)| name.as_str()).collect()
        })
    }

    fn parts(&self) -> &[Part<'a>] {
        self.parts.get_or_init(|| {
            let part = |(name, bytes): (&'a String, &bytes::Bytes)| {
                let file = name.strip_prefix(names::DIRECTORIES)?.rsplit('/').next()?;
                let entry = file.starts_with("member-").then(|| MemberEntry::parse(bytes).ok()).flatten()?;
                let nodes = entry.nodes.into_iter().map(|node| (node.id, node.log_key)).collect();
                Some(Part { file: name.as_str(), member: entry.id, nodes })
            };
            self.files.iter().filter_map(part).collect()
        })
    }

    /// The files with this member's part in the directory with this head.
    pub(super) fn parts_of(&self, head: Digest, member: &MemberId) -> impl Iterator<Item = &'a str> {
        let place = names::directory(head);
        self.parts()
            .iter()
            .filter(move |part| part.file.starts_with(&place) && part.member == *member)
            .map(|part| part.file)
    }

    /// The log keys that the directories list for the node, and where.
    pub(super) fn log_keys(&self, node: &NodeId) -> Vec<(&'a str, PublicKey)> {
        let listed = |part: &Part<'a>| {
            let (_, key) = part.nodes.iter().find(|(id, _)| id == node)?;
            Some((part.file, *key))
        };
        self.parts().iter().filter_map(listed).collect()
    }
}
