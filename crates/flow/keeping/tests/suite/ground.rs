//! A keeper over stores in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use truc_evidence::contract::Sample;
use truc_evidence::{
    ArchiveStore, ClassMonth, EvidenceStore as _, Proof, ProofStore, SegmentStore, archived, object_name,
};
use truc_keeping::{Keeper, NoteSigner};
use truc_model::{ManualClock, MessageId, Timestamp};
use truc_testkit::memory_store::MemoryStore;
use truc_testkit::{Crash, MemoryArchive, MemorySegments};

pub(crate) struct Ground {
    pub(crate) crash: Arc<Crash>,
    pub(crate) segments: Arc<MemorySegments>,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) archive: Arc<MemoryArchive>,
    pub(crate) clock: Arc<ManualClock>,
}

/// Signs with a fixed line; the real one is checked where it is.
struct Notes(Arc<Crash>);

#[async_trait]
impl NoteSigner for Notes {
    async fn note(&self, text: String) -> Result<String, String> {
        let dead = || "the power is off".to_owned();
        self.0.step(dead, || Ok(format!("{text}\n\u{2014} NODE:VN/GOV/H26/ss1 c2lnbmF0dXJl\n")))
    }
}

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(crate) fn of(class: &str, month: &str) -> ClassMonth {
    ClassMonth { class: class.parse().unwrap(), month: month.parse().unwrap() }
}

pub(crate) const JOURNAL: [&str; 3] = [
    "evidence-00000000000000000000-1.seg",
    "evidence-00000000000000000070-1.seg",
    "evidence-00000000000000000090-1.seg",
];
pub(crate) const BODIES: [&str; 3] =
    ["default/202611/00000001.seg", "default/202611/00000002.seg", "default/202612/00000001.seg"];

impl Ground {
    /// Six segments, and two exchanges of which the bodies lie in November; the power goes after so many counts, 0 for never.
    pub(crate) async fn new(crash_after: usize) -> Self {
        let crash = Crash::at(0);
        let ground = Self {
            segments: Arc::new(MemorySegments::crashing(&crash)),
            archive: Arc::new(MemoryArchive::crashing(&crash)),
            store: Arc::default(),
            clock: Arc::new(ManualClock::new(at("2026-12-24T03:00:00.000Z"))),
            crash,
        };
        for file in JOURNAL.iter().chain(&BODIES) {
            ground.segments.add(file, file.repeat(100).as_bytes());
        }
        for number in [0, 1] {
            let sample = Sample::new(number).unwrap();
            for record in [sample.request(b"who").unwrap(), sample.response(b"she").unwrap()] {
                let sequence = ground.store.append(record, None).await.unwrap().sequence;
                ground.segments.add_body(sequence, &of("default", "202611"));
            }
        }
        ground.segments.add_body(99, &of("default", "202612"));
        if crash_after > 0 {
            ground.crash.crash_after(crash_after);
        }
        ground
    }

    /// A keeper of a process that has just started.
    pub(crate) fn keeper(&self, retention: &str) -> Keeper {
        self.keeper_without_archive(retention)
            .with_archive(Arc::clone(&self.archive) as Arc<dyn ArchiveStore>)
    }

    pub(crate) fn keeper_without_archive(&self, retention: &str) -> Keeper {
        let classes = BTreeMap::from([("default".parse().unwrap(), retention.parse().unwrap())]);
        Keeper::new(
            Arc::clone(&self.segments) as Arc<dyn SegmentStore>,
            Arc::clone(&self.store) as _,
            Arc::clone(&self.store) as _,
            Arc::new(Notes(Arc::clone(&self.crash))),
            Arc::clone(&self.clock) as _,
            classes,
        )
    }

    pub(crate) fn request(number: u64) -> MessageId {
        Sample::new(number).unwrap().request
    }

    pub(crate) async fn marks(&self) -> Vec<Proof> {
        self.store.marks().await.unwrap()
    }

    /// Every segment is here, or in the archive as it was and proved to be.
    pub(crate) async fn nothing_is_lost(&self) {
        let proved = archived(&self.marks().await);
        let (here, there) = (self.segments.files(), self.archive.objects());
        for file in JOURNAL.iter().chain(&BODIES).map(ToString::to_string) {
            let bytes = file.repeat(100);
            if !here.contains(&file) {
                let archived = proved.get(&file).unwrap_or_else(|| panic!("{file} is gone without a proof"));
                let object = there.get(&object_name(&file, archived.sha256));
                assert_eq!(object.unwrap(), bytes.as_bytes(), "{file}");
            }
        }
    }
}
