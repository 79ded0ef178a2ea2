//! The tree, the batches and the heads against the records that were read (`docs/evidence.md` §7).

use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use truc_evidence::ers::Tree;
use truc_evidence::{Archived, Batch, StoreError};
use truc_log::{Checkpoint, Head, SignedNote, root};
use truc_model::{Digest, Timestamp};

use super::{FsckOptions, FsckReport, Problem};
use crate::evidence::tree_files::{LEVELS, TreeFiles, nodes_at};
use crate::files::{io, open_plain};

/// Records gathered before they go into the tree.
const PART: usize = 4096;
const HASH: u64 = 32;
/// What a file has where a block of it never reached the disk: after a power cut that is nothing yet, as behind its end.
const UNWRITTEN: Digest = Digest([0; 32]);
/// How far the clocks of two authorities may be apart: each is within 60 s of the node's (`docs/evidence.md` §3.3).
const CLOCKS: Duration = Duration::from_secs(120);

/// A batch, and where its frame lies.
struct Found {
    path: PathBuf,
    offset: u64,
    batch: Batch,
}

/// Builds the tree anew, beside the folder that is checked.
pub(super) struct LogCheck {
    tree: TreeFiles,
    _place: tempfile::TempDir,
    /// The files that the node made.
    kept: PathBuf,
    leaves: Option<File>,
    groups: Option<File>,
    pending: Vec<(Digest, Option<Digest>)>,
    /// The chain after each record, 32 bytes each; nothing where it is not known.
    chains: File,
    pending_chains: Vec<Digest>,
    /// The record that comes next; none any more behind one that could not be read.
    next: u64,
    broken: bool,
    batches: Vec<Found>,
    /// Records that no batch was found for yet, and when they say that they were made.
    waiting: VecDeque<(u64, Timestamp)>,
    waited: Option<(u64, Duration)>,
    /// The first record here; those before it, and their batches, lie in the archive.
    begin: u64,
    pub(super) archived: Vec<Archived>,
    /// The first record whose leaf is not the one that the tree file has.
    differs: Option<u64>,
}

impl LogCheck {
    pub(super) fn new(folder: &Path) -> Result<Self, StoreError> {
        let place = tempfile::tempdir().map_err(|e| io(&std::env::temp_dir(), e))?;
        let tree = TreeFiles::open(place.path()).map_err(|e| io(place.path(), e))?;
        let kept = folder.join("index/log");
        let chains = place.path().join("chains");
        let chains = File::options().read(true).write(true).create_new(true).open(&chains);
        let chains = chains.map_err(|e| io(place.path(), e))?;
        let (leaves, groups) = (open_plain(&kept.join("leaves")).ok(), open_plain(&kept.join("groups")).ok());
        let (pending, batches, archived) = (Vec::new(), Vec::new(), Vec::new());
        let (next, begin, broken, differs) = (0, 0, false, None);
        Ok(Self {
            tree,
            _place: place,
            kept,
            leaves,
            groups,
            pending,
            chains,
            pending_chains: Vec::new(),
            next,
            broken,
            batches,
            waiting: VecDeque::new(),
            waited: None,
            begin,
            archived,
            differs,
        })
    }

    /// The journal here begins with record `first`: what lies in the archive is taken from the node's own files, which the
    /// heads must confirm. False when those lack it.
    pub(super) fn begin_at(&mut self, first: u64) -> Result<bool, StoreError> {
        self.begin = first;
        while self.next < first {
            let count = usize::try_from(first - self.next).unwrap_or(PART).min(PART);
            let (Some(leaves), Some(groups)) =
                (read(self.leaves.as_ref(), self.next, count), read(self.groups.as_ref(), self.next, count))
            else {
                self.broken = true;
                return Ok(false);
            };
            if leaves.contains(&UNWRITTEN) {
                self.broken = true;
                return Ok(false);
            }
            let group = |hash: Digest| (hash != UNWRITTEN).then_some(hash);
            self.pending_chains.extend(leaves.iter().map(|_| UNWRITTEN));
            self.pending.extend(leaves.into_iter().zip(groups.into_iter().map(group)));
            self.next += count as u64;
            self.flush()?;
        }
        Ok(true)
    }

    pub(super) fn record(
        &mut self,
        sequence: u64,
        leaf: Digest,
        group: Option<Digest>,
        (at, chain): (Timestamp, Option<Digest>),
    ) -> Result<(), StoreError> {
        self.waiting.push_back((sequence, at));
        if self.broken || sequence != self.next {
            self.broken = true;
            return Ok(());
        }
        self.pending.push((leaf, group));
        self.pending_chains.push(chain.unwrap_or(UNWRITTEN));
        self.next += 1;
        if self.pending.len() >= PART { self.flush() } else { Ok(()) }
    }

    pub(super) fn batch(&mut self, path: &Path, offset: u64, batch: Batch) {
        while let Some((sequence, at)) = self.waiting.pop_front_if(|(sequence, _)| *sequence < batch.next) {
            let waited = if batch.gen_time > at { batch.gen_time.since(at) } else { Duration::ZERO };
            if self.waited.is_none_or(|(_, longest)| longest < waited) {
                self.waited = Some((sequence, waited));
            }
        }
        self.batches.push(Found { path: path.to_owned(), offset, batch });
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        let first = self.next - self.pending.len() as u64;
        if self.differs.is_none() {
            self.differs = self.compare(first);
        }
        let failed = |e| io(self.tree.dir(), e);
        self.tree.append(first, &self.pending).map_err(failed)?;
        self.pending.clear();
        let chains: Vec<u8> = self.pending_chains.drain(..).flat_map(|chain| chain.0).collect();
        self.chains.write_all_at(&chains, first * HASH).map_err(failed)
    }

    /// The chain after the first `size` records, where they were read.
    fn chain(&self, size: u64) -> Option<Digest> {
        let read = read(Some(&self.chains), size.checked_sub(1)?, 1)?;
        read.first().copied().filter(|chain| *chain != UNWRITTEN)
    }

    /// The first of the pending records that the tree files have otherwise.
    fn compare(&self, first: u64) -> Option<u64> {
        let length = |file: &Option<File>| file.as_ref()?.metadata().ok().map(|m| m.len() / HASH);
        let there = length(&self.leaves)?.min(length(&self.groups)?).saturating_sub(first);
        let count = usize::try_from(there).unwrap_or(usize::MAX).min(self.pending.len());
        let leaves = read(self.leaves.as_ref(), first, count)?;
        let groups = read(self.groups.as_ref(), first, count)?;
        let kept = leaves.into_iter().zip(groups);
        let ours = self.pending.iter().map(|(leaf, group)| (*leaf, group.unwrap_or(UNWRITTEN)));
        let other = |ours: Digest, theirs: Digest| theirs != UNWRITTEN && ours != theirs;
        let differing =
            ours.zip(kept).position(|(ours, theirs)| other(ours.0, theirs.0) || other(ours.1, theirs.1));
        Some(first + differing? as u64)
    }

    /// Judges everything that needs the whole tree.
    pub(super) fn finish(
        mut self,
        options: &FsckOptions<'_>,
        report: &mut FsckReport,
    ) -> Result<(), StoreError> {
        self.flush()?;
        report.waited = self.waited;
        let mut judge = Judge { check: &self, options, report, sure: 0, told: false };
        judge.files()?;
        judge.batches()?;
        judge.outside()
    }
}

fn read(file: Option<&File>, first: u64, count: usize) -> Option<Vec<Digest>> {
    let mut bytes = vec![0; count * 32];
    file?.read_exact_at(&mut bytes, first * HASH).ok()?;
    Some(bytes.as_chunks::<32>().0.iter().map(|hash| Digest(*hash)).collect())
}

struct Judge<'a> {
    check: &'a LogCheck,
    options: &'a FsckOptions<'a>,
    report: &'a mut FsckReport,
    /// So many records are those that something signed elsewhere speaks of.
    sure: u64,
    /// It was said that a batch's head speaks of another chain: so does every later one.
    told: bool,
}

impl Judge<'_> {
    fn problem(&mut self, path: &Path, offset: u64, what: String) {
        self.report.problems.push(Problem { path: path.to_owned(), offset, what });
    }

    fn affected(&mut self, record: u64) {
        let first = self.report.first_affected.unwrap_or(u64::MAX);
        self.report.first_affected = Some(first.min(record));
    }

    /// One of these is affected; a record among them that is known already says it better.
    fn affected_in(&mut self, records: std::ops::Range<u64>) {
        if !self.report.first_affected.is_some_and(|known| records.contains(&known)) {
            self.affected(records.start);
        }
    }

    fn root(&self, size: u64) -> Result<Digest, StoreError> {
        root(&self.check.tree, size).map_err(|e| io(self.check.tree.dir(), e))
    }

    /// The files of the tree: what they lack is made again at the next start; what they have more or otherwise is a finding.
    fn files(&mut self) -> Result<(), StoreError> {
        let (check, size) = (self.check, self.check.tree.size());
        let leaves = check.kept.join("leaves");
        if let Some(record) = check.differs {
            self.affected(record);
            let what = format!(
                "record {record} is not the one whose leaf was kept: the record was changed, or this file"
            );
            self.problem(&leaves, record * HASH, what);
        }
        let kept = check.leaves.as_ref().and_then(|file| file.metadata().ok()).map_or(0, |m| m.len() / HASH);
        if kept > size && !check.broken {
            self.affected(size);
            let what =
                format!("the tree has {kept} records and the journal only {size}: the last ones are missing");
            self.problem(&leaves, size * HASH, what);
        }
        for level in 1..=LEVELS {
            let path = check.kept.join(format!("level-{level}"));
            let Ok(file) = open_plain(&path) else { continue };
            if let Some(node) = self.level_differs(level, &file, size)? {
                let what = format!(
                    "subtree {node} is not that of the records below it; remove index/log, it is made again"
                );
                self.problem(&path, node * HASH, what);
            }
        }
        Ok(())
    }

    fn level_differs(&self, level: usize, file: &File, size: u64) -> Result<Option<u64>, StoreError> {
        let there = file.metadata().map_err(|e| io(&self.check.kept, e))?.len() / HASH;
        let nodes = nodes_at(level, size).min(there);
        let mut at = 0;
        while at < nodes {
            let count = usize::try_from(nodes - at).unwrap_or(PART).min(PART);
            let ours = self.check.tree.read(level, at, count).map_err(|e| io(self.check.tree.dir(), e))?;
            let theirs = read(Some(file), at, count).unwrap_or_default();
            if let Some(place) = ours.iter().zip(&theirs).position(|(a, b)| *b != UNWRITTEN && a != b) {
                return Ok(Some(at + place as u64));
            }
            at += count as u64;
        }
        Ok(None)
    }

    /// Every batch: one after the other without a gap, each as its token and its head say.
    fn batches(&mut self) -> Result<(), StoreError> {
        let earlier = self.check.batches.first().map(|found| found.batch.first);
        let mut stamped = earlier.filter(|first| *first <= self.check.begin).unwrap_or(0);
        let mut before: Option<Timestamp> = None;
        for found in &self.check.batches {
            let Batch { first, next, .. } = found.batch;
            let said = format!("the batch of the records {first} to {}", next.saturating_sub(1));
            if first != stamped || next < first {
                self.affected(stamped.min(first));
                let what =
                    format!("{said} does not follow the one before, which ends before record {stamped}");
                self.problem(&found.path, found.offset, what);
            }
            let at = found.batch.gen_time;
            if let Some(before) = before.filter(|before| at.plus(CLOCKS) < *before) {
                self.affected_in(first..next);
                let what = format!("{said} has a time-stamp of {at}, and the one before it {before}");
                self.problem(&found.path, found.offset, what);
            }
            before = before.max(Some(at));
            if next > self.check.tree.size() {
                self.affected(self.check.tree.size());
                let what =
                    format!("{said} is about more records than can be read here: {}", self.check.tree.size());
                self.problem(&found.path, found.offset, what);
                break;
            }
            match self.batch(&found.batch)? {
                Err(why) => {
                    self.affected_in(first..next);
                    self.problem(&found.path, found.offset, format!("{said}: {why}"));
                }
                Ok(line) => match self.other_chain(next, line) {
                    None => self.report.batches += 1,
                    Some(_) if self.told => {}
                    Some(why) => {
                        self.told = true;
                        self.problem(&found.path, found.offset, format!("{said}: its head knew {why}"));
                    }
                },
            }
            stamped = next;
        }
        self.report.stamped = stamped;
        Ok(())
    }

    /// Compares what a head says of the chain after `size` records with the journal; says what it knew that is not so here. Of what was
    /// not read nothing is said.
    fn other_chain(&mut self, size: u64, line: Option<Digest>) -> Option<String> {
        let (said, here) = line.zip(self.check.chain(size))?;
        let begin = self.check.begin;
        let from = if self.report.chained < size { self.report.chained.max(begin) } else { begin };
        if said == here {
            self.report.chained = self.report.chained.max(size);
            return None;
        }
        self.affected_in(from..size);
        let beginning = if from == begin && begin > 0 {
            "; or the segments before the first one here are not those that were archived"
        } else {
            ""
        };
        Some(format!(
            "another journal: between the records {from} and {} a hold, a release, a tombstone, what was said of the archive or of              decisions, or another proof was changed, removed or added{beginning}",
            size - 1
        ))
    }

    /// What is wrong with a batch, or what its head says of the chain.
    fn batch(&self, batch: &Batch) -> Result<Result<Option<Digest>, String>, StoreError> {
        let head = match self.head(batch) {
            Ok(head) => head,
            Err(why) => return Ok(Err(format!("its head: {why}"))),
        };
        if head.size != batch.next {
            return Ok(Err(format!("its head is of {} records", head.size)));
        }
        if head.root != self.root(batch.next)? {
            return Ok(Err(
                "its head is that of other records: one of these or an earlier one was changed".into()
            ));
        }
        let Some(imprint) = self.options.imprint else { return Ok(Ok(head.chain())) };
        let groups = self.check.tree.groups(batch.first, batch.next);
        let groups = groups.map_err(|e| io(self.check.tree.dir(), e))?;
        let leaves = groups.into_iter().flatten().chain([Digest::of(batch.head.as_bytes())]).collect();
        let tree = match Tree::new(leaves) {
            Ok(tree) => tree,
            Err(why) => return Ok(Err(why.to_string())),
        };
        Ok(match imprint(batch) {
            Err(why) => Err(format!("its token: {why}")),
            Ok(imprint) if imprint != tree.root() => {
                Err("its token is over other records or another head: one of these was changed, or the head was made anew".into())
            }
            Ok(_) => Ok(head.chain()),
        })
    }

    /// What a batch's head says, if the log's own key signed it.
    fn head(&self, batch: &Batch) -> Result<Checkpoint, String> {
        let mut refused = None;
        for key in &self.options.log_keys {
            match Head::verify(&batch.head, key) {
                Ok(head) => return Ok(head.checkpoint().clone()),
                Err(error) => refused = refused.or(Some(error.to_string())),
            }
        }
        match refused {
            Some(refused) => Err(refused),
            None => {
                let note = SignedNote::parse(&batch.head).map_err(|e| e.to_string())?;
                Checkpoint::parse(note.text()).map_err(|e| e.to_string())
            }
        }
    }

    /// Heads that others hold: what neither keys nor time on this machine can change.
    fn outside(&mut self) -> Result<(), StoreError> {
        let mut heads: Vec<_> = self.options.heads.iter().collect();
        heads.sort_by_key(|head| head.size);
        let in_force = self.options.log_keys.last();
        let told = heads.len();
        heads.retain(|head| in_force.is_none_or(|key| key.name() == head.origin));
        let (leaves, size) = (self.check.kept.join("leaves"), self.check.tree.size());
        if heads.is_empty() && told > 0 {
            // Whoever has the keys can write down that a new log was opened: then the heads of the old one are all there is.
            let what = format!(
                "none of the {told} heads from outside speaks of the log in force: if the node was restored from a backup, take heads \
                 again once it has run; if it was not, somebody wrote that it was"
            );
            self.problem(&leaves, 0, what);
        }
        let mut told = false;
        for head in heads {
            let source = &head.source;
            if head.size > size {
                self.affected(size);
                let what = format!(
                    "{source} saw {} records, and only {size} can be read here: record {size} and later ones are missing",
                    head.size
                );
                self.problem(&leaves, size * HASH, what);
            } else if head.root == self.root(head.size)? {
                if let Some(why) = self.other_chain(head.size, head.chain) {
                    if !std::mem::replace(&mut told, true) {
                        self.problem(&leaves, 0, format!("{source} knew {why}"));
                    }
                    continue;
                }
                self.sure = self.sure.max(head.size);
                self.report.anchored = self.sure;
                self.report.anchored_by = Some(source.clone());
            } else {
                self.affected_in(self.sure..head.size);
                let first = self.report.first_affected.filter(|r| (self.sure..head.size).contains(r));
                let last = head.size - 1;
                let what = match first.filter(|first| *first > self.sure) {
                    Some(record) => format!(
                        "{source} saw other records up to {last}: the first affected is record {record}"
                    ),
                    None => format!(
                        "{source} saw other records: among {} to {last} one was changed, removed or moved",
                        self.sure
                    ),
                };
                self.problem(&leaves, self.sure * HASH, what);
                break;
            }
        }
        Ok(())
    }
}
