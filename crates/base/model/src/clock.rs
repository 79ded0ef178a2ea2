//! The time of day as a port, so that tests own it (protocol P10.6).

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

/// A moment in UTC with millisecond precision; written as RFC 3339, `2026-11-21T03:04:05.678Z`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(i64);

/// A text that is not RFC 3339 in UTC with exactly three fractional digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a time is written in UTC with milliseconds, like 2026-11-21T03:04:05.678Z")]
pub struct InvalidTimestamp;

/// Asia/Ho_Chi_Minh is seven hours ahead of UTC the whole year, since 1975.
const VIETNAM: Duration = Duration::from_secs(7 * 3600);

/// Year 9999, the last that RFC 3339 can write.
const LAST_MILLIS: i64 = 253_402_300_799_999;

impl Timestamp {
    /// From milliseconds since 1970-01-01T00:00:00Z; clamped to the years RFC 3339 can write.
    pub fn from_millis(millis: i64) -> Self {
        Self(millis.clamp(0, LAST_MILLIS))
    }
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub const fn millis(self) -> i64 {
        self.0
    }
    /// Whole seconds since 1970-01-01T00:00:00Z.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }
    /// This moment without its milliseconds, as X.509 times have none.
    pub fn whole_second(self) -> Self {
        Self(self.0 - self.0.rem_euclid(1000))
    }
    /// `self` + `d`, clamped.
    pub fn plus(self, d: Duration) -> Self {
        Self::from_millis(self.0.saturating_add(i64::try_from(d.as_millis()).unwrap_or(i64::MAX)))
    }
    /// `self` − `d`, clamped.
    pub fn minus(self, d: Duration) -> Self {
        Self::from_millis(self.0.saturating_sub(i64::try_from(d.as_millis()).unwrap_or(i64::MAX)))
    }
    /// Time from `earlier` to `self`; zero when `earlier` is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
    fn date_time(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }
    /// Date and time of day in Việt Nam, for people: `22/11/2026 16:02:03`.
    pub fn in_vietnam(self) -> String {
        let t = self.plus(VIETNAM).date_time();
        let (day, month) = (t.day(), u8::from(t.month()));
        format!("{day:02}/{month:02}/{:04} {:02}:{:02}:{:02}", t.year(), t.hour(), t.minute(), t.second())
    }
    /// Year and month, e.g. `202611`, as body segments are named.
    pub fn year_month(self) -> String {
        let t = self.date_time();
        format!("{:04}{:02}", t.year(), u8::from(t.month()))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shape =
            format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
        f.write_str(&self.date_time().format(&shape).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;
    fn from_str(text: &str) -> Result<Self, InvalidTimestamp> {
        let b = text.as_bytes();
        if b.len() != 24 || b.get(19) != Some(&b'.') || b.get(23) != Some(&b'Z') || b.get(10) != Some(&b'T') {
            return Err(InvalidTimestamp);
        }
        let t = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| InvalidTimestamp)?;
        let millis = i64::try_from(t.unix_timestamp_nanos() / 1_000_000).map_err(|_| InvalidTimestamp)?;
        if !(0..=LAST_MILLIS).contains(&millis) {
            return Err(InvalidTimestamp);
        }
        let read = Self(millis);
        // One moment has one spelling: RFC 3339 also knows a leap second, 23:59:60, which would be read as 23:59:59.999.
        if read.to_string() == text { Ok(read) } else { Err(InvalidTimestamp) }
    }
}

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Where wall time comes from; the only such place (protocol P10.6). Deadlines use tokio's time instead.
pub trait Clock: Send + Sync {
    /// The present moment.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "the one place where the machine's clock is read")]
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(LAST_MILLIS))
    }
}

/// A clock that stands still until it is moved; for tests and simulation.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `start`.
    pub const fn new(start: Timestamp) -> Self {
        Self(AtomicI64::new(start.0))
    }
    /// Moves the clock forward.
    pub fn advance(&self, d: Duration) {
        let now = Timestamp(self.0.load(Ordering::SeqCst));
        self.set(now.plus(d));
    }
    /// Sets the clock, backwards too.
    pub fn set(&self, to: Timestamp) {
        self.0.store(to.0, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_one_spelling() {
        let t: Timestamp = "2026-11-21T03:04:05.678Z".parse().unwrap();
        assert_eq!(t.to_string(), "2026-11-21T03:04:05.678Z");
        assert_eq!(t.year_month(), "202611");
        assert_eq!(t.in_vietnam(), "21/11/2026 10:04:05");
        for bad in [
            "2026-11-21T03:04:05Z",
            "2026-11-21T03:04:05.678+00:00",
            "2026-11-21 03:04:05.678Z",
            "2026-13-21T03:04:05.678Z",
            "2016-12-31T23:59:60.000Z",
            "",
        ] {
            assert!(bad.parse::<Timestamp>().is_err(), "{bad}");
        }
    }
}
