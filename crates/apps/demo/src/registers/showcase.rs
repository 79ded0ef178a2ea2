//! The citizen whom the demo's story asks for.

use super::citizen::Citizen;

/// Whom a story can ask for: known under every seed, adult, living, not restricted, and the owner
/// of at least two parcels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Showcase {
    /// `SoDinhDanh`, twelve digits.
    pub id: String,
    /// `HoVaTen` as callers send it: `NGUYENTHIMINHANH`.
    pub match_name: String,
    /// `NgayThangNamSinh`, `yyyyMMdd`.
    pub birth: String,
    /// The name as written, for people to read.
    pub display_name: String,
}

/// Place of the showcase among the named citizens; parcels 0 and 1 are made hers.
pub(super) const SHOWCASE: u32 = 1;

/// The showcase citizen of `seed`, made without the rest of the population.
pub fn showcase(seed: u64) -> Showcase {
    let c = Citizen::of(seed, SHOWCASE);
    Showcase {
        id: c.id.map(|id| id.to_string()).unwrap_or_default(),
        match_name: c.name.key(),
        birth: c.birth.to_string(),
        display_name: c.name.display(),
    }
}
