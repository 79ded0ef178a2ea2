//! An [`ArchiveStore`] in memory that fails as it is told.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use truc_evidence::{ArchiveError, ArchiveStore, ArchivedObject, check_name};

use crate::crash::Crash;

/// What goes wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveFault {
    /// Nothing.
    None,
    /// It is away; nothing is done.
    Away,
    /// It does what was asked, and the answer is lost.
    AnswerLost,
    /// A put keeps, or a get gives, only half of the bytes.
    Truncates,
    /// A put keeps, or a get gives, other bytes.
    Lies,
    /// It says no.
    Refuses,
}

#[derive(Default)]
struct Kept {
    objects: BTreeMap<String, Bytes>,
    faults: VecDeque<ArchiveFault>,
    always: Option<ArchiveFault>,
}

/// Keeps objects in memory.
#[derive(Default)]
pub struct MemoryArchive {
    kept: Mutex<Kept>,
    crash: Arc<Crash>,
}

impl MemoryArchive {
    /// One that stops with everything else that shares `crash`.
    pub fn crashing(crash: &Arc<Crash>) -> Self {
        Self { crash: Arc::clone(crash), ..Self::default() }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next calls go wrong like this, one each.
    pub fn next(&self, faults: impl IntoIterator<Item = ArchiveFault>) {
        self.kept().faults.extend(faults);
    }

    /// Every call goes wrong like this; `None` ends it.
    pub fn always(&self, fault: Option<ArchiveFault>) {
        self.kept().always = fault;
    }

    /// Everything in it, by name.
    pub fn objects(&self) -> BTreeMap<String, Bytes> {
        self.kept().objects.clone()
    }

    /// Puts other bytes under a name, as a broken disk does.
    pub fn spoil(&self, name: &str) {
        if let Some(object) = self.kept().objects.get_mut(name) {
            *object = other(object);
        }
    }

    fn call<T>(
        &self,
        name: &str,
        work: impl FnOnce(&mut BTreeMap<String, Bytes>, ArchiveFault) -> Result<T, ArchiveError>,
    ) -> Result<T, ArchiveError> {
        let away = || ArchiveError::Away("for a test".into());
        self.crash.step(away, || {
            let mut kept = self.kept();
            let fault = kept.always.or_else(|| kept.faults.pop_front()).unwrap_or(ArchiveFault::None);
            match fault {
                ArchiveFault::Away => return Err(away()),
                ArchiveFault::Refuses => return Err(ArchiveError::Refused("for a test".into())),
                _ => {}
            }
            if !name.is_empty() {
                check_name(name)?;
            }
            let done = work(&mut kept.objects, fault);
            if fault == ArchiveFault::AnswerLost { Err(away()) } else { done }
        })
    }
}

/// Other bytes, and others again when it is done to them twice.
fn other(bytes: &Bytes) -> Bytes {
    bytes.iter().map(|b| b.wrapping_add(1)).chain(bytes.is_empty().then_some(0)).collect()
}

fn spoilt(bytes: &Bytes, fault: ArchiveFault) -> Bytes {
    match fault {
        ArchiveFault::Truncates => bytes.slice(..bytes.len() / 2),
        ArchiveFault::Lies => other(bytes),
        _ => bytes.clone(),
    }
}

#[async_trait]
impl ArchiveStore for MemoryArchive {
    async fn put(&self, name: &str, bytes: Bytes) -> Result<(), ArchiveError> {
        check_name(name)?;
        self.call(name, |objects, fault| match objects.get(name) {
            Some(there) if *there == bytes => Ok(()),
            Some(_) => Err(ArchiveError::Refused(format!("{name} is there already with other bytes"))),
            None => {
                objects.insert(name.to_owned(), spoilt(&bytes, fault));
                Ok(())
            }
        })
    }

    async fn get(&self, name: &str) -> Result<Bytes, ArchiveError> {
        self.call(name, |objects, fault| {
            let found = objects.get(name).map(|bytes| spoilt(bytes, fault));
            found.ok_or_else(|| ArchiveError::Missing(name.to_owned()))
        })
    }

    async fn delete(&self, name: &str) -> Result<(), ArchiveError> {
        self.call(name, |objects, _| {
            objects.remove(name);
            Ok(())
        })
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ArchivedObject>, ArchiveError> {
        self.call(prefix, |objects, _| {
            let below = |name: &str| prefix.is_empty() || name.starts_with(&format!("{prefix}/"));
            let found = objects.iter().filter(|(name, _)| below(name));
            Ok(found.map(|(n, b)| ArchivedObject { name: n.clone(), length: b.len() as u64 }).collect())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_contract() {
        truc_evidence::contract::archive(&MemoryArchive::default()).await.unwrap();
    }
}
