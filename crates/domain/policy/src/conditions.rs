//! What a right asks beside who, how and where: statements of the caller, hours of the week, an end.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use truc_model::Timestamp;

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const MINUTES_A_DAY: u16 = 24 * 60;
/// Asia/Ho_Chi_Minh is UTC+7 the whole year, since 1975; fixed here, so that no machine's time zone data can change a right.
const OFFSET_MINUTES: i64 = 7 * 60;

/// Hours of the week, in the time of Việt Nam (UTC+7): `mon-fri 07:30-17:00`. From the first minute on, up to and
/// without the last; a window does not cross midnight (two rights do).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hours {
    /// Bit 0 is Monday.
    days: u8,
    from: u16,
    to: u16,
}

/// A text that names no hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "hours are days and a time of day in UTC+7, like \"mon-fri 07:30-17:00\" or \"mon,wed,sat-sun 00:00-24:00\"; a window that \
     crosses midnight is written as two rights"
)]
pub struct InvalidHours;

impl Hours {
    /// Whether `at` lies within them.
    pub fn hold(self, at: Timestamp) -> bool {
        let minutes = at.seconds().div_euclid(60) + OFFSET_MINUTES;
        let day = minutes.div_euclid(i64::from(MINUTES_A_DAY));
        let minute = minutes.rem_euclid(i64::from(MINUTES_A_DAY));
        // 1970-01-01 was a Thursday.
        let weekday = (day + 3).rem_euclid(7);
        self.days & (1 << weekday) != 0 && (i64::from(self.from)..i64::from(self.to)).contains(&minute)
    }
}

fn day(text: &str) -> Option<usize> {
    DAYS.iter().position(|name| *name == text)
}

fn days(text: &str) -> Option<u8> {
    text.split(',').try_fold(0, |all, item| {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        let (first, last) = (day(first)?, day(last)?);
        (first <= last).then(|| (first..=last).fold(all, |days, d| days | 1 << d))
    })
}

fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let two = |t: &str| {
        (t.len() == 2 && t.bytes().all(|b| b.is_ascii_digit())).then(|| t.parse::<u16>().ok()).flatten()
    };
    let (hour, minute) = (two(hour)?, two(minute)?);
    let whole = hour * 60 + minute;
    (minute < 60 && whole <= MINUTES_A_DAY).then_some(whole)
}

impl FromStr for Hours {
    type Err = InvalidHours;
    fn from_str(text: &str) -> Result<Self, InvalidHours> {
        let (named, span) = text.split_once(' ').ok_or(InvalidHours)?;
        let (from, to) = span.split_once('-').ok_or(InvalidHours)?;
        let days = days(named).ok_or(InvalidHours)?;
        let (from, to) = (minute(from).ok_or(InvalidHours)?, minute(to).ok_or(InvalidHours)?);
        if from < to { Ok(Self { days, from, to }) } else { Err(InvalidHours) }
    }
}

impl TryFrom<String> for Hours {
    type Error = InvalidHours;
    fn try_from(text: String) -> Result<Self, InvalidHours> {
        text.parse()
    }
}

impl From<Hours> for String {
    fn from(hours: Hours) -> Self {
        hours.to_string()
    }
}

impl fmt::Display for Hours {
    /// One window has one spelling: neighbouring days are written as a range.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on = |d: usize| self.days & (1 << d) != 0;
        let mut first = true;
        let mut d = 0;
        while d < DAYS.len() {
            if !on(d) {
                d += 1;
                continue;
            }
            let last = (d..DAYS.len()).take_while(|d| on(*d)).last().unwrap_or(d);
            let comma = if first { "" } else { "," };
            match last == d {
                true => write!(f, "{comma}{}", DAYS[d])?,
                false => write!(f, "{comma}{}-{}", DAYS[d], DAYS[last])?,
            }
            first = false;
            d = last + 1;
        }
        let (from, to) = (self.from, self.to);
        write!(f, " {:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60)
    }
}

impl fmt::Debug for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The conditions of one right; all must hold. Without any, the right holds always.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Conditions {
    /// A call must name the officer (`X-Road-UserId`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub require_officer: bool,
    /// A call must state its purpose (`Truc-Purpose`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub require_purpose: bool,
    /// A call must state its legal basis (`Truc-Legal-Basis`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub require_legal_basis: bool,
    /// Only in these hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hours: Option<Hours>,
    /// Only before this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
}

impl Conditions {
    /// True when there is none.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the right has ended at `at`, for good.
    pub fn has_expired(&self, at: Timestamp) -> bool {
        self.expires.is_some_and(|end| at >= end)
    }
}

impl fmt::Display for Conditions {
    /// One line, nothing when there is none: `officer, purpose, mon-fri 07:30-17:00, until 2027-01-01T00:00:00.000Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [
            (self.require_officer, "officer"),
            (self.require_purpose, "purpose"),
            (self.require_legal_basis, "legal-basis"),
        ];
        let mut parts: Vec<String> =
            words.into_iter().filter(|(is, _)| *is).map(|(_, word)| word.to_owned()).collect();
        parts.extend(self.hours.map(|hours| hours.to_string()));
        parts.extend(self.expires.map(|end| format!("until {end}")));
        f.write_str(&parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(text: &str) -> Hours {
        text.parse().unwrap()
    }

    #[test]
    fn hours_are_those_of_viet_nam() {
        let office = hours("mon-fri 07:30-17:00");
        // 2026-11-23 is a Monday; 00:30Z is 07:30 in Hà Nội.
        for (at, holds) in [
            ("2026-11-23T00:29:59.999Z", false),
            ("2026-11-23T00:30:00.000Z", true),
            ("2026-11-23T09:59:59.999Z", true),
            ("2026-11-23T10:00:00.000Z", false),
            ("2026-11-21T03:00:00.000Z", false),
            ("2026-11-22T03:00:00.000Z", false),
            ("2026-11-27T03:00:00.000Z", true),
        ] {
            assert_eq!(office.hold(at.parse().unwrap()), holds, "{at}");
        }
        // Sunday 18:00Z is Monday 01:00 there.
        assert!(hours("mon 00:00-24:00").hold("2026-11-22T18:00:00.000Z".parse().unwrap()));
        assert!(!hours("sun 00:00-24:00").hold("2026-11-22T18:00:00.000Z".parse().unwrap()));
        assert!(hours("thu 07:00-07:01").hold(Timestamp::from_millis(0)));
    }

    #[test]
    fn one_window_has_one_spelling() {
        for (written, told) in [
            ("mon-fri 07:30-17:00", "mon-fri 07:30-17:00"),
            ("sun,mon,tue,sat 00:00-24:00", "mon-tue,sat-sun 00:00-24:00"),
            ("wed 08:05-08:06", "wed 08:05-08:06"),
            ("mon-sun 00:00-24:00", "mon-sun 00:00-24:00"),
        ] {
            assert_eq!(hours(written).to_string(), told);
            assert_eq!(hours(told), hours(written));
        }
        for bad in [
            "",
            "mon-fri",
            "mon-fri 7:30-17:00",
            "mon-fri 17:00-07:30",
            "mon 08:00-08:00",
            "fri-mon 08:00-09:00",
            "mon 08:00-24:01",
            "mon 08:60-09:00",
            "Mon 08:00-09:00",
            "t2 08:00-09:00",
            "mon,,tue 08:00-09:00",
        ] {
            assert!(bad.parse::<Hours>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn no_conditions_leave_no_trace() {
        assert_eq!(serde_json::to_string(&Conditions::default()).unwrap(), "{}");
        let all = Conditions {
            require_officer: true,
            require_purpose: true,
            require_legal_basis: true,
            hours: Some(hours("mon-fri 07:30-17:00")),
            expires: Some("2027-01-01T00:00:00.000Z".parse().unwrap()),
        };
        let json = serde_json::to_string(&all).unwrap();
        assert_eq!(
            json,
            r#"{"requireOfficer":true,"requirePurpose":true,"requireLegalBasis":true,"hours":"mon-fri 07:30-17:00","expires":"2027-01-01T00:00:00.000Z"}"#
        );
        assert_eq!(serde_json::from_str::<Conditions>(&json).unwrap(), all);
        assert!(serde_json::from_str::<Conditions>(r#"{"weekdays":1}"#).is_err());
    }
}
