//! Agency codes: the forms that are alive on the bus, their one canonical form, and the member that a code names.
//!
//! Sources: QCVN 102:2016 (old form, read right to left), Decision 20/2020/QĐ-TTg (new form, read left to right).
//!
//! ```text
//! new        H29.14.02.001      level 1 first; groups of 2 to 5 characters, at most 35 characters in all
//! old        001.02.14.H29      level 1 last; groups of 3, 2 and 2 digits, zeros where a level is not used
//! old local  02.14.H29          the same without its level 4
//! ```
//!
//! A code is looked up in the directory's alias table first and only then read by the rule, since a table can say what
//! the rule cannot. Nothing here follows a succession: a closed code names the member that it always named (protocol P6.4).

use std::fmt;
use std::str::FromStr;

use truc_model::MemberId;

use crate::Directory;

/// Longest code, in characters (Decision 20/2020/QĐ-TTg).
pub const AGENCY_CODE_LIMIT: usize = 35;

/// Most groups below level 1 that the new form has room for.
const GROUPS: usize = 6;

/// How a code was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeForm {
    /// `H29.14.02.001`: the canonical form.
    New,
    /// `001.02.14.H29`.
    Old,
    /// `02.14.H29`, as agencies write it at home.
    OldLocal,
}

/// Why a text is not an agency code, or not one that the rule can read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAgencyCode {
    /// None of the three forms.
    #[error(
        "{0:?} is not an agency code: write it like H29.14.02 (at most 35 characters), or in the old form 000.02.14.H29"
    )]
    Form(String),
    /// An old code that uses a level below one that it leaves out: two such codes would become the same new one.
    #[error(
        "{0}: a level is used below one that is 000 or 00, so the rule cannot say which unit it is; it needs an alias of its own"
    )]
    Gap(String),
}

/// An agency code in its canonical, new form.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AgencyCode(String);

impl AgencyCode {
    /// Reads any of the three forms; the code is canonical, the form says how it was written.
    ///
    /// A new-form code is taken as it stands, also one whose level 2 has 3 digits (`H55.242`).
    ///
    /// # Errors
    /// [`InvalidAgencyCode`].
    pub fn read(text: &str) -> Result<(Self, CodeForm), InvalidAgencyCode> {
        let shown = || text.chars().take(80).collect();
        if text.len() > AGENCY_CODE_LIMIT {
            return Err(InvalidAgencyCode::Form(shown()));
        }
        let groups: Vec<&str> = text.split('.').collect();
        match groups.as_slice() {
            [first, rest @ ..] if is_level1(first) => {
                let fits = rest.len() <= GROUPS && rest.iter().all(|g| is_group(g));
                if fits { Ok((Self(text.to_owned()), CodeForm::New)) } else { Err(shown()) }
            }
            [v, z, y, m] if digits(v, 3) && digits(z, 2) && digits(y, 2) && is_level1(m) => {
                return Self::from_old(text, m, [y, z, v]).map(|code| (code, CodeForm::Old));
            }
            [z, y, m] if digits(z, 2) && digits(y, 2) && is_level1(m) => {
                return Self::from_old(text, m, [y, z, "000"]).map(|code| (code, CodeForm::OldLocal));
            }
            _ => Err(shown()),
        }
        .map_err(InvalidAgencyCode::Form)
    }

    /// The rule: level 1 first, then the levels in use.
    fn from_old(text: &str, level1: &str, levels: [&str; 3]) -> Result<Self, InvalidAgencyCode> {
        let used: Vec<&str> = levels.into_iter().take_while(|level| !is_zero(level)).collect();
        if levels.into_iter().skip(used.len()).any(|level| !is_zero(level)) {
            return Err(InvalidAgencyCode::Gap(text.to_owned()));
        }
        Ok(Self([&[level1], used.as_slice()].concat().join(".")))
    }

    /// The code as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its level 1, `H29` of `H29.14.02`.
    pub fn level1(&self) -> &str {
        self.0.split('.').next().unwrap_or_default()
    }

    /// How deep it is: 1 for `H29`, 3 for `H29.14.02`.
    pub fn level(&self) -> usize {
        self.0.split('.').count()
    }

    /// The code one level up; none above level 1.
    pub fn parent(&self) -> Option<Self> {
        self.0.rsplit_once('.').map(|(above, _)| Self(above.to_owned()))
    }

    /// The old form, where there is one that leads back here: at most 4 levels, of 2, 2 and 3 digits that are not all zeros.
    /// A code with a 3-digit level 2 (`H55.242`) has none.
    pub fn old_form(&self) -> Option<String> {
        let mut groups = self.0.split('.');
        let level1 = groups.next()?;
        let mut level = |width: usize| match groups.next() {
            None => Some("0".repeat(width)),
            Some(group) => (digits(group, width) && !is_zero(group)).then(|| group.to_owned()),
        };
        let (y, z, v) = (level(2)?, level(2)?, level(3)?);
        groups.next().is_none().then(|| format!("{v}.{z}.{y}.{level1}"))
    }
}

fn is_level1(group: &str) -> bool {
    matches!(group.as_bytes(), [letter, a, b] if letter.is_ascii_uppercase() && a.is_ascii_digit() && b.is_ascii_digit())
}

fn is_group(group: &str) -> bool {
    (2..=5).contains(&group.len()) && group.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase())
}

fn digits(group: &str, width: usize) -> bool {
    group.len() == width && group.bytes().all(|b| b.is_ascii_digit())
}

fn is_zero(group: &str) -> bool {
    group.bytes().all(|b| b == b'0')
}

impl FromStr for AgencyCode {
    type Err = InvalidAgencyCode;
    fn from_str(text: &str) -> Result<Self, InvalidAgencyCode> {
        Self::read(text).map(|(code, _)| code)
    }
}

impl fmt::Display for AgencyCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AgencyCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A code that names nobody, or more than one. The sentences go to the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnresolvedCode {
    /// The alias table has no such row, and what the rule makes of it is no member.
    #[error(
        "{given} is an old agency code: no alias of this name is in the directory, and {canonical}, which it means by the rule of QCVN 102:2016, is no member"
    )]
    Unknown {
        /// The code asked for.
        given: String,
        /// What the rule makes of it.
        canonical: AgencyCode,
    },
    /// Only an alias could name it, and there is none.
    #[error("{0}, and none is in the directory: use the unit's new code")]
    NoAlias(InvalidAgencyCode),
    /// A member is registered under this very code, and an alias gives the code to another.
    #[error(
        "{given} is ambiguous: it is a member's own code and also an alias of {alias}; use {alias} or ask the registry"
    )]
    Ambiguous {
        /// The code asked for.
        given: String,
        /// The member that the alias names.
        alias: MemberId,
    },
    /// The alias names a member of another class.
    #[error("{given} is an alias of {alias}, which is of another class: use {alias}")]
    OtherClass {
        /// The code asked for.
        given: String,
        /// The member that the alias names.
        alias: MemberId,
    },
}

/// The member that `given` names: the alias table first, then the member registered under this very code, then the rule.
/// What is none of them and no old code either is given back as it came, for whoever looks it up next to judge.
///
/// A closed member is answered like any other, and never its successor.
///
/// # Errors
/// [`UnresolvedCode`].
pub fn resolve_member(
    given: &MemberId,
    alias: impl FnOnce(&str) -> Option<MemberId>,
    is_member: impl Fn(&MemberId) -> bool,
) -> Result<MemberId, UnresolvedCode> {
    let code = given.code();
    if let Some(named) = alias(code).filter(|named| named.instance() == given.instance()) {
        return if named == *given {
            Ok(named)
        } else if is_member(given) {
            Err(UnresolvedCode::Ambiguous { given: code.to_owned(), alias: named })
        } else if named.class() != given.class() {
            Err(UnresolvedCode::OtherClass { given: code.to_owned(), alias: named })
        } else {
            Ok(named)
        };
    }
    let read = AgencyCode::read(code);
    if matches!(read, Ok((_, CodeForm::New)) | Err(InvalidAgencyCode::Form(_))) || is_member(given) {
        return Ok(given.clone());
    }
    let (canonical, _) = read.map_err(UnresolvedCode::NoAlias)?;
    match MemberId::new(given.instance(), given.class(), canonical.as_str()) {
        Ok(member) if is_member(&member) => Ok(member),
        _ => Err(UnresolvedCode::Unknown { given: code.to_owned(), canonical }),
    }
}

impl Directory {
    /// The member that `given` names in this directory, whatever form its code is written in; see [`resolve_member`].
    ///
    /// # Errors
    /// [`UnresolvedCode`].
    pub fn resolve_member(&self, given: &MemberId) -> Result<MemberId, UnresolvedCode> {
        resolve_member(given, |code| self.alias(code).cloned(), |id| self.member(id).is_some())
    }
}

#[cfg(test)]
mod tests;
