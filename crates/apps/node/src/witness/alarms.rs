//! What is wrong with logs, this node's own or others', for whoever shows how the node is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use truc_log::{Alarm, HeadStore, HeadStoreError, Why};
use truc_model::Timestamp;

/// The alarms that stand, and what the registry confirmed last. One sentence a log: the first says where it went wrong.
#[derive(Clone, Default)]
pub(crate) struct LogAlarms(Arc<Mutex<Told>>);

#[derive(Default)]
struct Told {
    alarms: BTreeMap<String, String>,
    confirmed: Option<(u64, Timestamp)>,
}

impl LogAlarms {
    /// Alarms over what was held when the node ended last.
    pub(crate) async fn load(&self, heads: &dyn HeadStore) -> Result<(), HeadStoreError> {
        for log in heads.logs(None).await? {
            let view = heads.view(&log).await?;
            if let Some(alarm) = view.as_ref().and_then(|view| view.alarms.first()) {
                self.raise(&log, sentence(&log, alarm));
            }
        }
        Ok(())
    }

    /// Raises an alarm about a log, and says so once.
    pub(crate) fn raise(&self, log: &str, what: String) {
        let mut told = self.told();
        if !told.alarms.contains_key(log) {
            tracing::error!(log, "ALARM: {what}");
            told.alarms.insert(log.to_owned(), what);
        }
    }

    /// The registry holds the head of this size now.
    pub(crate) fn confirm(&self, size: u64, at: Timestamp) {
        self.told().confirmed = Some((size, at));
    }

    /// The size of the newest head that the registry confirmed, and when.
    pub(crate) fn confirmed(&self) -> Option<(u64, Timestamp)> {
        self.told().confirmed
    }

    /// The sentences that stand, by log.
    pub(crate) fn standing(&self) -> Vec<String> {
        self.told().alarms.values().cloned().collect()
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an alarm about another node's log says.
pub(crate) fn sentence(log: &str, alarm: &Alarm) -> String {
    let (held, shown) = (&alarm.held, &alarm.shown);
    let what = match alarm.why {
        Why::Fork if held.root == shown.root => format!("two hash chains after {} records", held.size),
        Why::Fork => format!("two roots of {} records", held.size),
        Why::Shrunk => format!("{} records, and it had {}", shown.size, held.size),
        Why::Inconsistent => {
            format!("{} records that do not continue the {} it had", shown.size, held.size)
        }
    };
    format!("the log {log} was changed: it shows {what}; ask its operator, and run `truc evidence audit`")
}
