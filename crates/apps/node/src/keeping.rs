//! Wires the keeper (`docs/evidence.md` §6): the archive, the classes, the space of the disk, and what operators ask of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use truc_admin::{
    AdminCode, AdminFault, DiskView, HoldAnswer, HoldRelease, HoldView, KeepingView, MonthView, NewHold,
};
use truc_archives::{FolderArchive, OpenError, S3Archive};
use truc_evidence::{
    ArchiveStore, BodyClass, EvidenceStore, Hold, ProofStore, Retention, SegmentStore, StoreError,
};
use truc_keeping::{Keeper, KeeperState, KeepingError, NoteSigner, Threshold};
use truc_model::Clock;
use truc_policy::Policy;
use truc_stores::{ArchiveReader, JournalOptions};

use crate::config::{ArchiveSettings, KeepingSettings, NodeConfig};
use crate::error::NodeError;
use crate::log_head::OwnLog;

/// Records younger than this stay here whatever the archive does: more than requests are remembered for, and stay open.
const YOUNG: Duration = Duration::from_secs(3600);
/// How often the disk is looked at.
const LOOK: Duration = Duration::from_secs(30);

/// The archive that the configuration names. One that is away is no reason not to start. Blocks.
///
/// # Errors
/// [`NodeError`] when a file that the settings name cannot be used.
pub(crate) fn archive(config: &NodeConfig) -> Result<Option<Arc<dyn ArchiveStore>>, NodeError> {
    let store: Arc<dyn ArchiveStore> = match &config.evidence.keeping.archive {
        None => return Ok(None),
        Some(ArchiveSettings::S3(settings)) => {
            Arc::new(S3Archive::open(settings).map_err(|e| unusable(&settings.endpoint, &e))?)
        }
        Some(ArchiveSettings::Folder(folder)) => {
            // Once something lies there, an empty folder is a disk that is not mounted.
            let begin = !truc_stores::archived_anything(&config.data_folder);
            match FolderArchive::open(folder, begin) {
                Ok(archive) => Arc::new(archive),
                Err(OpenError::Archive(error)) => {
                    tracing::warn!(%error, "the archive is away; what lies there cannot be read until it is back");
                    Arc::new(FolderArchive::at(folder))
                }
                Err(error) => return Err(unusable(&folder.display().to_string(), &error)),
            }
        }
    };
    Ok(Some(store))
}

fn unusable(place: &str, error: &OpenError) -> NodeError {
    NodeError::file(std::path::Path::new(place), error)
}

/// How the evidence journal is opened: with the archive behind it, and leaving free what the configuration says.
pub(crate) fn options(
    keeping: &KeepingSettings,
    archive: Option<&Arc<dyn ArchiveStore>>,
    runtime: Option<Handle>,
) -> JournalOptions {
    let options = JournalOptions::default().spare(keeping.refuse_free);
    match archive.zip(runtime) {
        Some((archive, runtime)) => options.archive(ArchiveReader::new(Arc::clone(archive), runtime)),
        None => options,
    }
}

/// Signs tombstones as it signs heads.
struct LogNotes(Arc<OwnLog>);

#[async_trait]
impl NoteSigner for LogNotes {
    async fn note(&self, text: String) -> Result<String, String> {
        let note = self.0.signer().note(text).await;
        note.map(|note| note.to_string()).map_err(|e| e.to_string())
    }
}

/// What the keeper of a node is put together from.
pub(crate) struct Parts<'a> {
    pub(crate) settings: &'a KeepingSettings,
    pub(crate) archive: Option<Arc<dyn ArchiveStore>>,
    pub(crate) segments: Arc<dyn SegmentStore>,
    pub(crate) evidence: Arc<dyn EvidenceStore>,
    pub(crate) proofs: Arc<dyn ProofStore>,
    pub(crate) log: Arc<OwnLog>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Parts<'_> {
    pub(crate) fn keeper(self) -> Arc<Keeper> {
        let notes = Arc::new(LogNotes(self.log));
        let classes = self.settings.retention.clone();
        let keeper = Keeper::new(self.segments, self.evidence, self.proofs, notes, self.clock, classes);
        Arc::new(match self.archive {
            Some(archive) => keeper.with_archive(archive).leaving(YOUNG),
            None => keeper,
        })
    }
}

/// How keeping stands, for health and metrics; nothing before there is a keeper.
#[derive(Clone, Default)]
pub(crate) struct KeepingWatch {
    keeper: Option<Arc<Keeper>>,
    low: Arc<AtomicBool>,
    /// Who names retention classes.
    named: Option<Named>,
}

/// The services, and what `[evidence] consumer-retention` says.
#[derive(Clone)]
struct Named {
    policy: Arc<ArcSwap<Policy>>,
    consumer: BodyClass,
}

/// So many services are named of one class.
const TOLD: usize = 5;

impl Named {
    /// One sentence for each class that is named and not in `declared`.
    fn undeclared(&self, declared: &BTreeSet<BodyClass>) -> Vec<String> {
        let classes = self.policy.load().undeclared_classes(declared).into_iter();
        let mut classes: BTreeMap<BodyClass, Vec<String>> = classes
            .map(|(class, ids)| (class, ids.iter().map(|id| format!("service {id}")).collect()))
            .collect();
        if self.consumer != BodyClass::default() && !declared.contains(&self.consumer) {
            let named = classes.entry(self.consumer.clone()).or_default();
            named.insert(0, "[evidence] consumer-retention".to_owned());
        }
        let sentence = |(class, by): (BodyClass, Vec<String>)| {
            let more = by.len().saturating_sub(TOLD);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let by = by.into_iter().take(TOLD).collect::<Vec<_>>().join(", ");
            format!(
                "the retention class \"{class}\" is not declared in node.toml, so its bodies are kept for ever; add [[evidence.retention]] \
                 for it, or name another; named by {by}{more}"
            )
        };
        classes.into_iter().map(sentence).collect()
    }
}

impl KeepingWatch {
    /// `consumer` is the class of the consumer's half.
    pub(crate) fn of(keeper: Arc<Keeper>, policy: Arc<ArcSwap<Policy>>, consumer: BodyClass) -> Self {
        Self { keeper: Some(keeper), low: Arc::default(), named: Some(Named { policy, consumer }) }
    }

    /// Retention classes that are named and not declared, one sentence each.
    fn undeclared(&self) -> Vec<String> {
        let Some((keeper, named)) = self.keeper.as_ref().zip(self.named.as_ref()) else { return Vec::new() };
        named.undeclared(&keeper.classes().keys().cloned().collect())
    }

    /// The keeper's own words.
    pub(crate) fn state(&self) -> Option<KeeperState> {
        self.keeper.as_ref().map(|keeper| keeper.state())
    }

    /// Whether the disk is nearly full.
    pub(crate) fn low(&self) -> bool {
        self.low.load(Ordering::SeqCst)
    }

    /// What an operator should look at.
    pub(crate) fn alarms(&self) -> Vec<String> {
        let low = self.low().then(|| "the data folder's disk is nearly full".to_owned());
        low.into_iter().chain(self.state().and_then(|state| state.failing)).chain(self.undeclared()).collect()
    }

    /// Tells what is not declared, then looks at the disk of `folder` until `shutdown`.
    pub(crate) async fn run(self, folder: PathBuf, alarm: Threshold, shutdown: CancellationToken) {
        for why in self.undeclared() {
            tracing::warn!(why, "bodies are kept for ever");
        }
        loop {
            let place = folder.clone();
            let asked = tokio::task::spawn_blocking(move || rustix::fs::statvfs(&place)).await;
            if let Ok(Ok(disk)) = asked {
                let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
                let (free, total) = (bytes(disk.f_bavail), bytes(disk.f_blocks));
                let low = alarm.undercut(free, total);
                match (self.low.swap(low, Ordering::SeqCst), low) {
                    (false, true) => tracing::warn!(free, %alarm, "the data folder's disk is nearly full"),
                    (true, false) => tracing::info!(free, "the data folder's disk has room again"),
                    _ => {}
                }
            }
            if shutdown.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_none() {
                return;
            }
        }
    }
}

fn fault(error: KeepingError) -> AdminFault {
    let code = match &error {
        KeepingError::Store(store) => return AdminFault::from(StoreError::clone(store)),
        KeepingError::UnknownRequests(_) | KeepingError::NoSuchCase(_) => AdminCode::NotFound,
        KeepingError::Invalid(_) => AdminCode::Malformed,
        KeepingError::Archive(_) => AdminCode::Busy,
        KeepingError::Note(_)
        | KeepingError::Plan(_)
        | KeepingError::Early(_)
        | KeepingError::HeldLost(..)
        | KeepingError::KeyLost(_)
        | KeepingError::NoArchive(_) => AdminCode::Internal,
    };
    AdminFault::new(code, error.to_string())
}

fn shown(hold: Hold) -> HoldView {
    let Hold { case, reason, by, at, requests } = hold;
    HoldView { case, reason, by, at, requests }
}

/// The holds in force.
pub(crate) async fn holds(keeper: &Keeper) -> Result<Vec<HoldView>, AdminFault> {
    Ok(keeper.holds().await.map_err(fault)?.into_iter().map(shown).collect())
}

/// Takes a hold.
pub(crate) async fn hold(keeper: &Keeper, new: NewHold, by: &str) -> Result<HoldAnswer, AdminFault> {
    let taken = keeper.hold(&new.case, &new.reason, by, &new.requests).await.map_err(fault)?;
    Ok(HoldAnswer { hold: shown(taken.hold), gone: taken.gone })
}

/// Releases one.
pub(crate) async fn release(keeper: &Keeper, release: HoldRelease, by: &str) -> Result<(), AdminFault> {
    keeper.release(&release.case, &release.reason, by).await.map(drop).map_err(fault)
}

/// What is kept where.
pub(crate) async fn state(keeper: &Keeper) -> Result<KeepingView, AdminFault> {
    let state = keeper.state();
    let mut view = view(keeper.segments(), keeper.classes()).await?;
    (view.waiting, view.failing) = (state.waiting, state.failing);
    Ok(view)
}

/// What is kept where, as far as a folder tells.
pub(crate) async fn view(
    segments: &dyn SegmentStore,
    classes: &BTreeMap<BodyClass, Retention>,
) -> Result<KeepingView, StoreError> {
    let months = segments.class_months().await?.into_iter().map(|state| {
        let retention = classes.get(&state.of.class);
        MonthView {
            retention: retention.map(ToString::to_string),
            expires: retention.and_then(|retention| retention.expires(state.of.month)),
            class: state.of.class.to_string(),
            month: state.of.month.to_string(),
            bytes: state.bytes,
            archived_bytes: state.archived_bytes,
            expiring: state.plan.is_some(),
        }
    });
    let months = months.collect();
    let disk = segments.disk().await?;
    let disk = DiskView {
        free: disk.free,
        total: disk.total,
        journal: disk.journal,
        bodies: disk.bodies,
        index: disk.index,
        archived: disk.archived,
        records: disk.records,
    };
    Ok(KeepingView { months, disk, waiting: 0, failing: None })
}

#[cfg(test)]
mod tests {
    use truc_policy::{PolicyEvent, ServiceDefinition};

    use super::*;

    #[test]
    fn a_class_that_nobody_declares_is_told_with_who_names_it() {
        let mut policy = Policy::empty(["VN/GOV/G01/csdl".parse().unwrap()]);
        for n in 0..7 {
            let id = format!("VN/GOV/G01/csdl/s{n}").parse().unwrap();
            let mut service = ServiceDefinition::rest(id, "http://127.0.0.1:9000".parse().unwrap());
            service.evidence.retention = if n == 6 { "ngan" } else { "ho-tich" }.parse().unwrap();
            policy = policy.apply(&PolicyEvent::ServiceAdded(service)).unwrap();
        }
        let policy = Arc::new(ArcSwap::from_pointee(policy));
        let named =
            |consumer: &str| Named { policy: Arc::clone(&policy), consumer: consumer.parse().unwrap() };
        let declared = |classes: &[&str]| classes.iter().map(|class| class.parse().unwrap()).collect();
        assert_eq!(named("default").undeclared(&declared(&["ho-tich", "ngan"])), Vec::<String>::new());
        let told = named("default").undeclared(&declared(&["ngan"]));
        assert_eq!(told.len(), 1);
        assert!(
            told[0].contains("\"ho-tich\"") && told[0].contains("service VN/GOV/G01/csdl/s0"),
            "{told:?}"
        );
        assert!(told[0].ends_with("s4 and 1 more"), "{told:?}");
        let told = named("rieng").undeclared(&declared(&["ngan", "ho-tich"]));
        assert!(told.len() == 1 && told[0].contains("[evidence] consumer-retention"), "{told:?}");
    }
}
