//! Whether a batch's token is what a time-stamp authority made: for the check of a stopped node, whose files may all have been written by
//! somebody who has every key of the node and none of an authority.

use std::cell::RefCell;
use std::collections::BTreeMap;

use bytes::Bytes;
use truc_directory::{Anchor, Endorsed, Root, TimestampAuthority, TrustServices, verify_root_chain};
use truc_directory_sync::DirectoryFolder;
use truc_evidence::Batch;
use truc_model::Digest;
use truc_trust::timestamp::{TimeStampAuthority, TimeStampToken, judge_token};

use crate::config::NodeConfig;
use crate::error::NodeError;

/// What every document that root keys signed begins with.
const ENDORSED: &[u8] = b"{\"v\":1,\"payload\":";

/// The time-stamp authorities that the root keys ever approved, as far as the directory in force and the artifacts of the journal show:
/// one that was replaced since has stamped the batches of its time.
pub(crate) struct Authorities {
    anchor: Option<Anchor>,
    /// Documents that say to be signed by root keys, by digest; judged when all are there.
    papers: RefCell<BTreeMap<Digest, Bytes>>,
    listed: RefCell<Option<Vec<TimestampAuthority>>>,
}

impl Authorities {
    /// Those of the directory in force. Blocks.
    ///
    /// # Errors
    /// [`NodeError`] when the anchor cannot be read.
    pub(crate) fn of(config: &NodeConfig) -> Result<Self, NodeError> {
        let file = &config.anchor_file;
        let anchor = match std::fs::read(file) {
            Ok(bytes) => Some(Anchor::parse(&bytes).map_err(|e| NodeError::file(file, e))?),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            Err(e) => return Err(NodeError::file(file, e)),
        };
        let known = Self::under(anchor);
        let folder = config.data_folder.join("directory");
        if let Some(anchor) = known.anchor.as_ref().filter(|_| folder.is_dir()) {
            // A cache: where it is broken the journal's artifacts are left to say who was approved.
            let directory = DirectoryFolder::open(&folder).and_then(|folder| folder.load(anchor));
            if let Ok(Some(directory)) = directory {
                let raw = directory.raw();
                raw.root_chain().iter().for_each(|root| known.look_into(root));
                raw.part(truc_directory::part::TRUST).into_iter().for_each(|part| known.look_into(part));
            }
        }
        Ok(known)
    }

    fn under(anchor: Option<Anchor>) -> Self {
        // What is led back to it may be of an earlier epoch.
        let anchor = anchor.map(|anchor| Anchor { epoch: None, ..anchor });
        Self { anchor, papers: RefCell::default(), listed: RefCell::default() }
    }

    /// Remembers an artifact of the journal that may be a root document or a trust part.
    pub(crate) fn look_into(&self, bytes: &[u8]) {
        if bytes.starts_with(ENDORSED) {
            self.papers.borrow_mut().insert(Digest::of(bytes), Bytes::copy_from_slice(bytes));
        }
    }

    /// What a batch's token is over, once an authority of the batch's name is found to have made it.
    ///
    /// # Errors
    /// A sentence.
    pub(crate) fn imprint(&self, batch: &Batch) -> Result<Digest, String> {
        let token = TimeStampToken::read(&batch.token).map_err(|e| e.to_string())?;
        if token.gen_time() != batch.gen_time {
            return Err(format!("it was made at {}, not at {}", token.gen_time(), batch.gen_time));
        }
        let imprint = token.imprint().ok_or("it is not over a SHA-256 digest")?;
        let mut listed = self.listed.borrow_mut();
        let listed = listed.get_or_insert_with(|| self.approved());
        let mut why = format!(
            "no directory that can be read here lists {:?}; are segments in the archive? try --archive",
            batch.authority
        );
        for entry in listed.iter().filter(|entry| entry.name == batch.authority) {
            let authority = TimeStampAuthority::read(entry).map_err(|e| e.to_string());
            match authority.and_then(|a| judge_token(&batch.token, imprint, &a).map_err(|e| e.to_string())) {
                Ok(stamp) => return Ok(stamp.imprint),
                Err(other) => why = other,
            }
        }
        Err(why)
    }

    fn approved(&self) -> Vec<TimestampAuthority> {
        let Some(anchor) = &self.anchor else { return Vec::new() };
        let papers = self.papers.borrow();
        let read = |bytes: &Bytes| Endorsed::parse(bytes).ok();
        let (mut chain, mut roots) = (Vec::<Bytes>::new(), Vec::<Root>::new());
        loop {
            let next = papers.values().find_map(|bytes| {
                let root = Root::parse(&read(bytes)?.payload).ok()?;
                let longer: Vec<Bytes> = chain.iter().chain([bytes]).cloned().collect();
                (root.version == longer.len() as u64 && verify_root_chain(anchor, &longer).is_ok())
                    .then_some((longer, root))
            });
            let Some((longer, root)) = next else { break };
            chain = longer;
            roots.push(root);
        }
        let trusted = papers.values().filter_map(|bytes| {
            let endorsed = read(bytes)?;
            let part = TrustServices::parse(&endorsed.payload).ok()?;
            let signed = roots.iter().any(|root| endorsed.meets(root.threshold, &root.root_keys));
            (signed && part.instance == anchor.instance).then_some(part.timestamp_authorities)
        });
        trusted.flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const GOLDEN: &[u8] = include_bytes!("../../../domain/evidence/tests/golden/container-v3.asice");
    const ANCHOR: &[u8] = include_bytes!("../../../domain/evidence/tests/golden/anchor-v3.json");

    /// The entries of the golden container, which are stored.
    fn files() -> BTreeMap<String, Bytes> {
        let mut files = BTreeMap::new();
        let mut rest = GOLDEN;
        while rest.starts_with(b"PK\x03\x04") {
            let number = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().unwrap()) as usize;
            let (size, name) = (number(18), number(26) & 0xffff);
            let text = String::from_utf8(rest[30..30 + name].to_vec()).unwrap();
            files.insert(text, Bytes::copy_from_slice(&rest[30 + name..30 + name + size]));
            rest = &rest[30 + name + size..];
        }
        files
    }

    fn find<'a>(files: &'a BTreeMap<String, Bytes>, start: &str, end: &str) -> &'a Bytes {
        files.iter().find(|(name, _)| name.starts_with(start) && name.ends_with(end)).unwrap().1
    }

    fn known(files: &BTreeMap<String, Bytes>, anchor: &[u8]) -> Authorities {
        let known = Authorities::under(Some(Anchor::parse(anchor).unwrap()));
        files.values().for_each(|bytes| known.look_into(bytes));
        known
    }

    #[test]
    fn only_a_token_that_a_listed_authority_signed_is_believed() {
        let files = files();
        let token = find(&files, "META-INF/notes/heads/", ".der");
        let read = TimeStampToken::read(token).unwrap();
        let batch = Batch {
            first: 0,
            next: 7,
            head: String::new(),
            authority: "Trục Pilot TSA".into(),
            gen_time: read.gen_time(),
            token: token.clone(),
        };
        assert_eq!(known(&files, ANCHOR).imprint(&batch), Ok(read.imprint().unwrap()));
        // Whoever has the node's keys alone can write another imprint into an old token, and no signature over it.
        let (imprint, mut forged) = (read.imprint().unwrap(), token.to_vec());
        let place = forged.windows(32).position(|w| w == imprint.as_bytes()).unwrap();
        forged[place] ^= 1;
        let forged = Batch { token: forged.into(), ..batch.clone() };
        assert!(known(&files, ANCHOR).imprint(&forged).is_err());
        let later = Batch { gen_time: batch.gen_time.plus(Duration::from_secs(1)), ..batch.clone() };
        assert!(known(&files, ANCHOR).imprint(&later).is_err());
        let unlisted = Batch { authority: "Một TSA khác".into(), ..batch.clone() };
        assert!(known(&files, ANCHOR).imprint(&unlisted).unwrap_err().contains("lists"));
        assert!(known(&BTreeMap::new(), ANCHOR).imprint(&batch).is_err());
        let other = String::from_utf8(ANCHOR.to_vec()).unwrap();
        let other = other.replace("8a88e3dd", "8a88e3de");
        assert!(known(&files, other.as_bytes()).imprint(&batch).is_err(), "another anchor");
    }
}
