//! Durations and sizes as people write them: `90s`, `12h`, `16 MiB` (protocol P10.5).

use std::str::FromStr;
use std::time::Duration;

/// A duration with its unit: `250ms`, `90s`, `10m`, `1h`, `3d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span(pub(super) Duration);

/// A size with its unit: `512 KiB`, `16 MiB`, `1 GiB`, `1500 B`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size(pub(super) u64);

/// The number and the factor of its unit.
fn number_and_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor = units.iter().find(|(name, _)| *name == unit.trim_start())?.1;
    number.parse::<u64>().ok()?.checked_mul(factor)
}

impl FromStr for Span {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        const UNITS: [(&str, u64); 5] =
            [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
        number_and_unit(text, &UNITS).map(|millis| Self(Duration::from_millis(millis))).ok_or(())
    }
}

impl FromStr for Size {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        const UNITS: [(&str, u64); 4] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
        number_and_unit(text, &UNITS).map(Self).ok_or(())
    }
}

impl std::fmt::Display for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let millis = self.0.as_millis();
        let exact = [(3_600_000, "h"), (60_000, "m"), (1000, "s")];
        match exact.into_iter().find(|(factor, _)| millis > 0 && millis.is_multiple_of(*factor)) {
            Some((factor, unit)) => write!(f, "{}{unit}", millis / factor),
            None => write!(f, "{millis}ms"),
        }
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let exact = [(1_u64 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        match exact.into_iter().find(|(factor, _)| self.0 > 0 && self.0.is_multiple_of(*factor)) {
            Some((factor, unit)) => write!(f, "{} {unit}", self.0 / factor),
            None => write!(f, "{} B", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_needs_its_unit() {
        for (text, seconds) in [("90s", 90), ("10m", 600), ("1h", 3600), ("72 h", 259_200), ("3d", 259_200)] {
            assert_eq!(text.parse(), Ok(Span(Duration::from_secs(seconds))), "{text}");
        }
        for bad in ["", "90", "s", "1.5h", "-1s", "1 hour", "1H", "99999999999999999999s", "1h30m", " 1h"] {
            assert!(bad.parse::<Span>().is_err(), "{bad:?}");
        }
        for (text, bytes) in [("16 MiB", 16 << 20), ("16MiB", 16 << 20), ("512 KiB", 512 << 10), ("7 B", 7)] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for bad in ["16", "16 MB", "16 mib", "MiB", "1e3 B"] {
            assert!(bad.parse::<Size>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_shown_is_read_back() {
        for seconds in [1, 90, 600, 3600, 43_200, 259_200] {
            let span = Span(Duration::from_secs(seconds));
            assert_eq!(span.to_string().parse(), Ok(span));
        }
        for bytes in [1, 1500, 1 << 10, 16 << 20, 3 << 30] {
            assert_eq!(Size(bytes).to_string().parse(), Ok(Size(bytes)));
        }
    }
}
