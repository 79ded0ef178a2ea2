//! `[evidence]`: what is kept.

use std::fmt::Display;
use std::path::Path;
use std::str::FromStr;

use super::super::EvidenceSettings;
use super::super::mistakes::Mistakes;
use super::super::raw::{Opt, RawConfig};
use super::keeping::keeping;

pub(super) fn evidence(raw: &RawConfig, base: &Path, m: &mut Mistakes) -> EvidenceSettings {
    EvidenceSettings {
        consumer_bodies: word(&raw.consumer_bodies, m),
        consumer_retention: word(&raw.consumer_retention, m),
        keeping: keeping(raw, base, m),
    }
}

/// A word whose own type says what may be written.
fn word<T: FromStr<Err: Display> + Default>(opt: &Opt<String>, m: &mut Mistakes) -> T {
    let Some(text) = opt.get() else { return T::default() };
    text.parse().unwrap_or_else(|e| {
        m.add(&opt.key, format!("{text:?} is not understood: {e}"));
        T::default()
    })
}
