//! Durations and sizes with their units, as configuration files write them (protocol P10.5).

use std::time::Duration;

const SPANS: [(&str, u64); 3] = [("m", 60_000), ("s", 1000), ("ms", 1)];
const SIZES: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

fn read(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor = units.iter().find(|(name, _)| *name == unit.trim_start())?.1;
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// The number in the largest unit that it is a whole number of; `units` run from large to small.
fn write(value: u64, units: &[(&'static str, u64)]) -> (u64, &'static str) {
    let fits = units.iter().find(|(_, factor)| value > 0 && value.is_multiple_of(*factor));
    let (unit, factor) = fits.or(units.last()).copied().unwrap_or(("", 1));
    (value / factor, unit)
}

pub(super) fn read_span(text: &str) -> Option<Duration> {
    read(text, &SPANS).map(Duration::from_millis)
}

pub(super) fn write_span(span: Duration) -> String {
    let (number, unit) = write(u64::try_from(span.as_millis()).unwrap_or(u64::MAX), &SPANS);
    format!("{number}{unit}")
}

pub(super) fn read_size(text: &str) -> Option<u64> {
    read(text, &SIZES)
}

pub(super) fn write_size(bytes: u64) -> String {
    let (number, unit) = write(bytes, &SIZES);
    format!("{number} {unit}")
}
