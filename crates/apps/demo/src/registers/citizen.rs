//! What a synthetic citizen is: number, sex, birth, name, relatives (vietnam reference §3.1).

use std::fmt;
use std::str::FromStr;

use super::family::{BLOCK, block};
use super::names::Name;

/// The year the synthetic population is seen from: ages are counted to its end.
pub(super) const AS_OF_YEAR: u16 = 2026;
/// How many communes the demo province has; their codes are 99001, 99002 …
pub(super) const COMMUNES: u32 = 40;
/// How many citizens can have serials of their own.
pub(super) const SERIALS: u64 = 499_500;
/// A relative who is not in the block.
pub(super) const NONE: u8 = u8::MAX;

/// Domains of the random streams.
pub(super) mod domain {
    pub(in super::super) const BLOCK: u64 = 1;
    pub(in super::super) const SERIAL: u64 = 2;
    pub(in super::super) const CMND: u64 = 3;
    pub(in super::super) const HOUSEHOLD: u64 = 4;
    pub(in super::super) const PARCEL: u64 = 5;
    pub(in super::super) const ADDRESS: u64 = 6;
}

/// As the id's digit and `GioiTinh` know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sex {
    /// Nam.
    Male,
    /// Nữ.
    Female,
}

impl Sex {
    pub(super) const fn other(self) -> Self {
        match self {
            Self::Male => Self::Female,
            Self::Female => Self::Male,
        }
    }
    /// `Nam` or `Nữ`.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Male => "Nam",
            Self::Female => "Nữ",
        }
    }
}

/// A date of birth; a month or day of 0 is not known, as in old records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Birth {
    /// Four digits.
    pub year: u16,
    /// 1–12, or 0.
    pub month: u8,
    /// 1–31, or 0.
    pub day: u8,
}

impl fmt::Display for Birth {
    /// `yyyyMMdd`, or `yyyy` when neither month nor day is known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.month == 0 && self.day == 0 {
            write!(f, "{:04}", self.year)
        } else {
            write!(f, "{:04}{:02}{:02}", self.year, self.month, self.day)
        }
    }
}

impl FromStr for Birth {
    type Err = ();
    /// Reads `yyyy` or `yyyyMMdd`; month and day may be `00`.
    fn from_str(text: &str) -> Result<Self, ()> {
        if !matches!(text.len(), 4 | 8) || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(());
        }
        let part = |range| text.get(range).map_or(Ok(0), |t: &str| t.parse::<u16>().map_err(|_| ()));
        let (year, month, day) = (part(0..4)?, part(4..6)?, part(6..8)?);
        if !(1850..=2200).contains(&year) || month > 12 || day > 31 {
            return Err(());
        }
        Ok(Self { year, month: month as u8, day: day as u8 })
    }
}

/// A twelve-digit personal id (số định danh cá nhân): `PPP G YY NNNNNN`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CitizenId(u64);

impl CitizenId {
    /// Under the demo province 099, consistent with sex and year of birth.
    pub(super) const fn demo(sex: Sex, year: u16, serial: u32) -> Self {
        let century = (year as u64).saturating_sub(1900) / 100;
        let digit = century * 2 + matches!(sex, Sex::Female) as u64;
        Self(
            99_000_000_000
                + digit * 100_000_000
                + (year as u64 % 100) * 1_000_000
                + serial as u64 % 1_000_000,
        )
    }
}

impl fmt::Display for CitizenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012}", self.0)
    }
}

impl fmt::Debug for CitizenId {
    /// The province only: an id is personal data wherever it is printed by habit.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CitizenId({:03}…)", self.0 / 1_000_000_000)
    }
}

impl FromStr for CitizenId {
    type Err = ();
    /// Twelve digits, the first of them 0: `^0[0-9]{11}$`.
    fn from_str(text: &str) -> Result<Self, ()> {
        if text.len() == 12 && text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit()) {
            text.parse().map(Self).map_err(|_| ())
        } else {
            Err(())
        }
    }
}

/// Tình trạng: whether the person lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LifeState {
    /// Đang sống.
    Living,
    /// Đã chết.
    Deceased,
    /// Mất tích.
    Missing,
}

/// Relation to the head of the household (`QuanHe`); the codes are the demo's own list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// Chủ hộ.
    Head,
    /// Vợ or chồng.
    Spouse,
    /// Con.
    Child,
    /// Bố or mẹ.
    Parent,
    /// Anh, chị, em.
    Sibling,
    /// Người được giám hộ.
    Ward,
}

impl Relation {
    /// Code and words.
    pub const fn code(self) -> (&'static str, &'static str) {
        match self {
            Self::Head => ("01", "Chủ hộ"),
            Self::Spouse => ("02", "Vợ/chồng"),
            Self::Child => ("03", "Con"),
            Self::Parent => ("04", "Bố/mẹ"),
            Self::Sibling => ("05", "Anh/chị/em"),
            Self::Ward => ("06", "Người được giám hộ"),
        }
    }
}

/// A citizen in some sixty bytes; the record is written out only when asked for.
#[derive(Debug, Clone, Copy)]
pub struct Citizen {
    /// Place in the population.
    pub index: u32,
    /// Absent for an elder who only has a CMND.
    pub id: Option<CitizenId>,
    /// The id before it was changed.
    pub old_id: Option<CitizenId>,
    /// Old nine-digit card number, always in the unassigned range 99…
    pub cmnd: Option<u32>,
    /// Name; carries the people (dân tộc) too.
    pub name: Name,
    /// Nam, Nữ.
    pub sex: Sex,
    /// Date of birth, perhaps partly unknown.
    pub birth: Birth,
    /// Living, deceased, missing.
    pub life: LifeState,
    /// "Hạn chế khai thác": nothing of this person is disclosed to a desk.
    pub restricted: bool,
    /// To the head of the household.
    pub relation: Relation,
    /// 1–40.
    pub commune: u8,
    pub(super) household: u8,
    pub(super) father: u8,
    pub(super) mother: u8,
    pub(super) spouse: u8,
    pub(super) guardian: u8,
}

impl Citizen {
    /// Citizen `index` of `seed`, without making any other block.
    pub fn of(seed: u64, index: u32) -> Self {
        block(seed, index / BLOCK)[(index % BLOCK) as usize]
    }
    fn place(&self, slot: u8) -> Option<u32> {
        (slot != NONE).then(|| self.index - self.index % BLOCK + u32::from(slot))
    }
    /// Index of the household's head.
    pub fn head(&self) -> u32 {
        self.place(self.household).unwrap_or(self.index)
    }
    /// Index of the father, where he is in the same block.
    pub fn father(&self) -> Option<u32> {
        self.place(self.father)
    }
    /// Index of the mother, where she is in the same block.
    pub fn mother(&self) -> Option<u32> {
        self.place(self.mother)
    }
    /// Index of wife or husband.
    pub fn spouse(&self) -> Option<u32> {
        self.place(self.spouse)
    }
    /// Index of the person who acts for a minor.
    pub fn guardian(&self) -> Option<u32> {
        self.place(self.guardian)
    }
    /// At least eighteen by the end of the year the population is seen from.
    pub const fn is_adult(&self) -> bool {
        self.birth.year + 18 <= AS_OF_YEAR
    }
    /// May appear as an owner and as the showcase: adult, living, not restricted, with an id.
    pub const fn is_plain_adult(&self) -> bool {
        self.is_adult() && matches!(self.life, LifeState::Living) && !self.restricted && self.id.is_some()
    }
}
