//! A [`SegmentStore`] in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use truc_evidence::{
    Archived, ClassMonth, ClassMonthState, ClosedSegment, DiskUse, SegmentStore, StoreError,
};

use crate::crash::Crash;

#[derive(Default)]
struct Kept {
    /// By name; those of the journal have no slash in theirs.
    files: BTreeMap<String, Bytes>,
    away: BTreeMap<String, Archived>,
    keys: BTreeSet<ClassMonth>,
    plans: BTreeMap<ClassMonth, Bytes>,
    bodies: BTreeMap<u64, ClassMonth>,
    copies: BTreeSet<u64>,
    refuses_copies: bool,
}

/// Closed segments of made-up bytes, and where bodies of records are said to lie.
#[derive(Default)]
pub struct MemorySegments {
    kept: Mutex<Kept>,
    crash: Arc<Crash>,
}

impl MemorySegments {
    /// One that stops with everything else that shares `crash`.
    pub fn crashing(crash: &Arc<Crash>) -> Self {
        Self { crash: Arc::clone(crash), ..Self::default() }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn step<T>(&self, work: impl FnOnce(&mut Kept) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.crash.step(|| StoreError::Failed("the power is off".into()), || work(&mut self.kept()))
    }

    /// Adds a closed segment.
    pub fn add(&self, file: &str, bytes: &[u8]) {
        self.kept().files.insert(file.to_owned(), Bytes::copy_from_slice(bytes));
    }

    /// Says that the body of record `sequence` lies there; makes the month with its key.
    pub fn add_body(&self, sequence: u64, of: &ClassMonth) {
        let mut kept = self.kept();
        kept.keys.insert(of.clone());
        kept.bodies.insert(sequence, of.clone());
    }

    /// From now on (or no longer) no body can be copied.
    pub fn refuse_copies(&self, refuse: bool) {
        self.kept().refuses_copies = refuse;
    }

    /// The names of the segments that lie here.
    pub fn files(&self) -> Vec<String> {
        self.kept().files.keys().cloned().collect()
    }

    /// Whether the body of a record can be read, from its month or from its copy.
    pub fn readable(&self, sequence: u64) -> bool {
        let kept = self.kept();
        let month = kept.bodies.get(&sequence);
        kept.copies.contains(&sequence) || month.is_some_and(|of| kept.keys.contains(of))
    }
}

#[async_trait]
impl SegmentStore for MemorySegments {
    async fn closed(&self) -> Result<Vec<ClosedSegment>, StoreError> {
        self.step(|kept| {
            let (bodies, journal): (Vec<_>, Vec<_>) = kept.files.iter().partition(|(f, _)| f.contains('/'));
            let closed = journal.into_iter().chain(bodies).map(|(file, bytes)| ClosedSegment {
                file: file.clone(),
                first: 0,
                next: 0,
                chain: None,
                length: bytes.len() as u64,
            });
            Ok(closed.collect())
        })
    }

    async fn bytes(&self, file: &str) -> Result<Bytes, StoreError> {
        self.step(|kept| kept.files.get(file).cloned().ok_or(StoreError::NotFound))
    }

    async fn remove(&self, archived: &Archived) -> Result<(), StoreError> {
        self.step(|kept| {
            kept.away.insert(archived.file.clone(), archived.clone());
            kept.files.remove(&archived.file);
            Ok(())
        })
    }

    async fn class_months(&self) -> Result<Vec<ClassMonthState>, StoreError> {
        self.step(|kept| {
            let mut all: BTreeSet<_> = kept.keys.iter().chain(kept.plans.keys()).cloned().collect();
            all.extend(kept.files.keys().filter_map(|file| month_of(file)));
            Ok(all
                .into_iter()
                .map(|of| {
                    let here: Vec<_> = kept.files.iter().filter(|(f, _)| of.holds(f)).collect();
                    let away = kept.away.values().filter(|a| of.holds(&a.file)).map(|a| a.length);
                    ClassMonthState {
                        key: kept.keys.contains(&of),
                        bytes: here.iter().map(|(_, b)| b.len() as u64).sum(),
                        segments: here.into_iter().map(|(f, _)| f.clone()).collect(),
                        archived_bytes: away.sum(),
                        plan: kept.plans.get(&of).cloned(),
                        of,
                    }
                })
                .collect())
        })
    }

    async fn begin_expiry(&self, of: &ClassMonth, plan: Bytes) -> Result<(), StoreError> {
        self.step(|kept| {
            kept.plans.entry(of.clone()).or_insert(plan);
            Ok(())
        })
    }

    async fn destroy_key(&self, of: &ClassMonth) -> Result<(), StoreError> {
        self.step(|kept| {
            kept.keys.remove(of);
            Ok(())
        })
    }

    async fn remove_segments(&self, of: &ClassMonth) -> Result<(), StoreError> {
        self.step(|kept| {
            kept.files.retain(|file, _| !of.holds(file));
            kept.away.retain(|file, _| !of.holds(file));
            Ok(())
        })
    }

    async fn end_expiry(&self, of: &ClassMonth) -> Result<(), StoreError> {
        self.step(|kept| {
            kept.plans.remove(of);
            Ok(())
        })
    }

    async fn body_place(&self, sequence: u64) -> Result<Option<ClassMonth>, StoreError> {
        self.step(|kept| Ok(kept.bodies.get(&sequence).cloned()))
    }

    async fn hold_body(&self, sequence: u64) -> Result<bool, StoreError> {
        self.step(|kept| {
            if kept.refuses_copies {
                return Err(StoreError::Full);
            }
            let of = kept.bodies.get(&sequence);
            let there = of.is_some_and(|of| kept.keys.contains(of));
            if there {
                kept.copies.insert(sequence);
            }
            Ok(there || kept.copies.contains(&sequence))
        })
    }

    async fn held(&self) -> Result<Vec<u64>, StoreError> {
        self.step(|kept| Ok(kept.copies.iter().copied().collect()))
    }

    async fn release_body(&self, sequence: u64) -> Result<(), StoreError> {
        self.step(|kept| {
            kept.copies.remove(&sequence);
            Ok(())
        })
    }

    async fn disk(&self) -> Result<DiskUse, StoreError> {
        Ok(DiskUse::default())
    }
}

/// Where a body segment lies, by its name; none of the journal's.
fn month_of(file: &str) -> Option<ClassMonth> {
    let mut parts = file.split('/');
    Some(ClassMonth { class: parts.next()?.parse().ok()?, month: parts.next()?.parse().ok()? })
}
