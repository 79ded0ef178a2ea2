//! `[time-stamping]`: whom to ask for time-stamps, how often, and how long without.

use std::collections::BTreeSet;

use super::super::TimeStampingSettings;
use super::super::mistakes::Mistakes;
use super::super::raw::RawConfig;
use super::{HOUR, span};

pub(super) fn time_stamping(raw: &RawConfig, m: &mut Mistakes) -> TimeStampingSettings {
    let authorities = raw.stamping_authorities.get().cloned().unwrap_or_default();
    let mut names = BTreeSet::new();
    for name in &authorities {
        if name.is_empty() || !names.insert(name) {
            let problem = format!(
                "{name:?} is empty or named twice; write each authority once, as the directory calls it"
            );
            m.add(&raw.stamping_authorities.key, problem);
        }
    }
    let for_ever = raw.stamping_grace.get().is_some_and(|text| text == "off");
    TimeStampingSettings {
        authorities,
        every: span(&raw.stamping_every, 60, 1..=600, m),
        grace: (!for_ever).then(|| span(&raw.stamping_grace, 48 * HOUR, 600..=366 * 24 * HOUR, m)),
    }
}
