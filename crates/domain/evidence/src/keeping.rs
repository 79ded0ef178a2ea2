//! What becomes of closed segments and of bodies whose time is over: the words, the rules, and the port of the disk they
//! lie on (`docs/evidence.md` §6).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use truc_model::{Digest, MessageId, Timestamp};
use truc_policy::BodyClass;

use crate::proof::{Archived, Hold, Proof};
use crate::store::StoreError;

/// A month of the calendar, UTC; written as `202611`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct YearMonth {
    year: u16,
    month: u8,
}

/// A text that is no month, or no span of keeping.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not understood: write {1}")]
pub struct NotUnderstood(String, &'static str);

impl YearMonth {
    /// The month in which a moment lies.
    pub fn of(at: Timestamp) -> Self {
        at.year_month().parse().unwrap_or(Self { year: 1970, month: 1 })
    }

    /// The first moment after it, so many years later.
    fn end(self, years: u16) -> Timestamp {
        let (year, month) = if self.month == 12 { (self.year + 1, 1) } else { (self.year, self.month + 1) };
        let text = format!("{:04}-{month:02}-01T00:00:00.000Z", year.saturating_add(years));
        // Past the year 9999 nothing ends.
        text.parse().unwrap_or(Timestamp::from_millis(i64::MAX))
    }
}

impl FromStr for YearMonth {
    type Err = NotUnderstood;
    fn from_str(text: &str) -> Result<Self, NotUnderstood> {
        let read = || {
            let digits = text.len() == 6 && text.bytes().all(|b| b.is_ascii_digit());
            let number: u32 = text.parse().ok().filter(|_| digits)?;
            let (year, month) = (u16::try_from(number / 100).ok()?, u8::try_from(number % 100).ok()?);
            (1..=12).contains(&month).then_some(Self { year, month })
        };
        read().ok_or_else(|| NotUnderstood(text.chars().take(40).collect(), "a month like 202611"))
    }
}

impl TryFrom<String> for YearMonth {
    type Error = NotUnderstood;
    fn try_from(text: String) -> Result<Self, NotUnderstood> {
        text.parse()
    }
}

impl From<YearMonth> for String {
    fn from(month: YearMonth) -> Self {
        month.to_string()
    }
}

impl fmt::Display for YearMonth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}{:02}", self.year, self.month)
    }
}

/// How long bodies of a class are kept, counted from the end of their month: `10y`, `90d`, `forever`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// Years of the calendar.
    Years(u16),
    /// Days of 24 hours.
    Days(u32),
    /// They do not expire.
    Forever,
}

impl Retention {
    /// When bodies of `month` have expired; `None` when they never do.
    pub fn expires(self, month: YearMonth) -> Option<Timestamp> {
        let day = std::time::Duration::from_secs(24 * 3600);
        match self {
            Self::Years(years) => Some(month.end(years)),
            Self::Days(days) => Some(month.end(0).plus(day.saturating_mul(days))),
            Self::Forever => None,
        }
    }
}

impl FromStr for Retention {
    type Err = NotUnderstood;
    fn from_str(text: &str) -> Result<Self, NotUnderstood> {
        let read = || {
            if text == "forever" {
                return Some(Self::Forever);
            }
            let number = text.get(..text.len().checked_sub(1)?)?;
            let plain = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
            match text.chars().last().filter(|_| plain)? {
                'y' => number.parse().ok().filter(|n| (1..=1000).contains(n)).map(Self::Years),
                'd' => number.parse().ok().filter(|n| (1..=365_000).contains(n)).map(Self::Days),
                _ => None,
            }
        };
        let like = "years, days or forever, like 10y, 90d or forever";
        read().ok_or_else(|| NotUnderstood(text.chars().take(40).collect(), like))
    }
}

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Years(n) => write!(f, "{n}y"),
            Self::Days(n) => write!(f, "{n}d"),
            Self::Forever => f.write_str("forever"),
        }
    }
}

/// The bodies that are kept and forgotten together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassMonth {
    /// Their class.
    pub class: BodyClass,
    /// The month in which their records were made.
    pub month: YearMonth,
}

impl ClassMonth {
    /// The folder of their segments below `bodies/`.
    pub fn folder(&self) -> String {
        format!("{}/{}", self.class, self.month)
    }
    /// The folder of their segments in the archive.
    pub fn archive_folder(&self) -> String {
        format!("{BODIES}/{}", self.folder())
    }
    /// Whether a segment is one of theirs.
    pub fn holds(&self, file: &str) -> bool {
        file.rsplit_once('/').is_some_and(|(folder, _)| folder == self.folder())
    }
}

const BODIES: &str = "bodies";
const JOURNAL: &str = "journal";
/// So many hexadecimal digits of its digest stand in an object's name.
const DIGEST_DIGITS: usize = 16;

/// The name of a segment in the archive: that of its file with the first digits of its digest, so that a name never stands for two
/// contents, not even after a node was restored from a backup and wrote other segments under the same names.
pub fn object_name(file: &str, sha256: Digest) -> String {
    // Segments of bodies lie in folders, those of the journal do not.
    let folder = if file.contains('/') { BODIES } else { JOURNAL };
    let digest = sha256.to_string();
    let digits = digest.get(..DIGEST_DIGITS).unwrap_or(&digest);
    format!("{folder}/{}.{digits}.seg", file.strip_suffix(".seg").unwrap_or(file))
}

/// A segment on this disk that is never written again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosedSegment {
    /// Its name below `journal/` or `bodies/`.
    pub file: String,
    /// Its first record; of a body segment 0.
    pub first: u64,
    /// The first record after it; of a body segment 0.
    pub next: u64,
    /// The chain after its last frame; of a body segment none.
    pub chain: Option<Digest>,
    /// Its length in bytes.
    pub length: u64,
}

/// How a class and month stands on this disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassMonthState {
    /// Which.
    pub of: ClassMonth,
    /// Whether its key is there; without it the bodies are gone for ever.
    pub key: bool,
    /// Its segments that lie here, by name.
    pub segments: Vec<String>,
    /// Bytes of those segments.
    pub bytes: u64,
    /// Bytes of its segments that lie only in the archive.
    pub archived_bytes: u64,
    /// What [`SegmentStore::begin_expiry`] kept, if its expiry was begun.
    pub plan: Option<Bytes>,
}

impl ClassMonthState {
    /// Whether its bodies cannot be read any more though nothing says that they expired.
    pub fn is_lost(&self) -> bool {
        !self.key && self.plan.is_none() && (!self.segments.is_empty() || self.archived_bytes > 0)
    }
}

/// What lies where on the data folder's disk, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DiskUse {
    /// Free for this process.
    pub free: u64,
    /// Of the whole disk.
    pub total: u64,
    /// Journal segments of evidence.
    pub journal: u64,
    /// Body segments and held bodies.
    pub bodies: u64,
    /// The index and the tree.
    pub index: u64,
    /// Records in the journal, archived ones included.
    pub records: u64,
    /// Bytes of segments that lie only in the archive.
    pub archived: u64,
}

/// The segments of one data folder. Each call is durable when it returns, and may be made again after a crash.
#[async_trait]
pub trait SegmentStore: Send + Sync {
    /// The closed segments that lie here: those of the journal in order, then those of bodies by name.
    ///
    /// # Errors
    /// [`StoreError`] when the disk refuses.
    async fn closed(&self) -> Result<Vec<ClosedSegment>, StoreError>;

    /// All bytes of a segment that lies here.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when it does not.
    async fn bytes(&self, file: &str) -> Result<Bytes, StoreError>;

    /// Removes a segment that is safe in the archive. What is needed to find it there stays; reading fetches it. Whatever the store makes
    /// from its segments is durable as far as this one before it makes way: a power cut must not make the archive needed.
    ///
    /// # Errors
    /// [`StoreError`] when the disk refuses; then it is still there.
    async fn remove(&self, archived: &Archived) -> Result<(), StoreError>;

    /// Every class and month of which something is here, in order.
    ///
    /// # Errors
    /// [`StoreError`] when the disk refuses.
    async fn class_months(&self) -> Result<Vec<ClassMonthState>, StoreError>;

    /// Keeps what the tombstone will say, before anything is destroyed; a plan that is there already stays.
    ///
    /// # Errors
    /// [`StoreError`] when the disk refuses.
    async fn begin_expiry(&self, of: &ClassMonth, plan: Bytes) -> Result<(), StoreError>;

    /// Destroys the key: from here on the bodies are gone.
    ///
    /// # Errors
    /// [`StoreError`] when the disk refuses.
    async fn destroy_key(&self, of: &ClassMonth) -> Result<(), StoreError>;

    /// Removes the segments that lie here, and what stayed of archived ones.
    ///
    /// # Errors
    /// [`StoreError`] when the disk refuses.
    async fn remove_segments(&self, of: &ClassMonth) -> Result<(), StoreError>;

    /// Forgets the plan and the month's folder; the tombstone is durable.
    ///
    /// # Errors
    /// [`StoreError`] when the disk refuses.
    async fn end_expiry(&self, of: &ClassMonth) -> Result<(), StoreError>;

    /// Where the body of a record lies; `None` when none was stored, or it has no bytes.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is no such record.
    async fn body_place(&self, sequence: u64) -> Result<Option<ClassMonth>, StoreError>;

    /// Copies a record's body under a key of its own; false when it is gone already.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read or kept.
    async fn hold_body(&self, sequence: u64) -> Result<bool, StoreError>;

    /// The records whose bodies have a copy, in order.
    ///
    /// # Errors
    /// [`StoreError`] when the disk refuses.
    async fn held(&self) -> Result<Vec<u64>, StoreError>;

    /// Destroys a copy and its key.
    ///
    /// # Errors
    /// [`StoreError`] when the disk refuses.
    async fn release_body(&self, sequence: u64) -> Result<(), StoreError>;

    /// What lies where.
    ///
    /// # Errors
    /// [`StoreError`] when the disk refuses.
    async fn disk(&self) -> Result<DiskUse, StoreError>;
}

/// The holds in force after these proofs: by case, each with all requests that were named since it began.
pub fn holds_in_force(marks: &[Proof]) -> BTreeMap<String, Hold> {
    let mut holds: BTreeMap<String, Hold> = BTreeMap::new();
    for mark in marks {
        match mark {
            Proof::Hold(hold) => {
                let known = holds.entry(hold.case.clone());
                let held = known.or_insert_with(|| Hold { requests: Vec::new(), ..hold.clone() });
                let mut requests: BTreeSet<MessageId> = held.requests.drain(..).collect();
                requests.extend(&hold.requests);
                held.requests = requests.into_iter().collect();
            }
            Proof::Release(release) => {
                holds.remove(&release.case);
            }
            _ => {}
        }
    }
    holds
}

/// What stands in the archive after these proofs, by file; of one that was archived twice the last. Expiry removes more.
pub fn archived(marks: &[Proof]) -> BTreeMap<String, Archived> {
    let mut found = BTreeMap::new();
    for mark in marks {
        if let Proof::Archived(archived) = mark {
            found.insert(archived.file.clone(), archived.clone());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::Release;

    #[test]
    fn a_month_is_kept_from_its_end() {
        let expires = |retention: &str, month: &str| {
            let retention: Retention = retention.parse().unwrap();
            retention.expires(month.parse().unwrap()).map(|at| at.to_string())
        };
        assert_eq!(expires("10y", "202611").as_deref(), Some("2036-12-01T00:00:00.000Z"));
        assert_eq!(expires("1y", "202612").as_deref(), Some("2028-01-01T00:00:00.000Z"));
        assert_eq!(expires("1d", "202602").as_deref(), Some("2026-03-02T00:00:00.000Z"));
        assert_eq!(expires("forever", "202602"), None);
        for bad in ["", "y", "0y", "10", "10 y", "-1d", "10m", "đ", "1001y"] {
            assert!(bad.parse::<Retention>().is_err(), "{bad}");
        }
        for bad in ["", "202613", "202600", "2026-1", "26111", "+02611"] {
            assert!(bad.parse::<YearMonth>().is_err(), "{bad}");
        }
        for good in ["10y", "90d", "forever"] {
            assert_eq!(good.parse::<Retention>().unwrap().to_string(), good);
        }
        assert_eq!(YearMonth::of("2026-11-30T23:59:59.999Z".parse().unwrap()).to_string(), "202611");
    }

    #[test]
    fn an_object_is_named_by_file_and_content() {
        let digest = Digest::of(b"");
        let name = object_name("evidence-00000000000000000000-1.seg", digest);
        assert_eq!(name, "journal/evidence-00000000000000000000-1.e3b0c44298fc1c14.seg");
        assert_eq!(
            object_name("default/202611/00000001.seg", digest),
            "bodies/default/202611/00000001.e3b0c44298fc1c14.seg"
        );
        let of = ClassMonth { class: BodyClass::default(), month: "202611".parse().unwrap() };
        assert!(of.holds("default/202611/00000001.seg") && !of.holds("default/202612/00000001.seg"));
        assert!(crate::check_name(&name).is_ok());
    }

    #[test]
    fn a_case_holds_until_it_is_released() {
        let at = Timestamp::from_millis(1_800_000_000_000);
        let id = |n: u8| MessageId::new(at, [n; 10]);
        let hold = |case: &str, requests: Vec<MessageId>| {
            let (case, reason, by) = (case.to_owned(), "điều tra".to_owned(), "ops".to_owned());
            Proof::Hold(Hold { case, reason, by, at, requests })
        };
        let release = |case: &str| {
            let (case, reason, by) = (case.to_owned(), "xong".to_owned(), "ops".to_owned());
            Proof::Release(Release { case, reason, by, at })
        };
        let mut marks = vec![hold("a", vec![id(1)]), hold("b", vec![id(2)]), hold("a", vec![id(3), id(1)])];
        assert_eq!(holds_in_force(&marks).get("a").unwrap().requests, [id(1), id(3)]);
        marks.push(release("a"));
        assert_eq!(holds_in_force(&marks).keys().collect::<Vec<_>>(), ["b"]);
        marks.push(hold("a", vec![id(4)]));
        assert_eq!(holds_in_force(&marks).get("a").unwrap().requests, [id(4)], "a case begun anew");
    }
}
