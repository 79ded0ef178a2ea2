//! Why a call would be permitted or not: the dry run of a decision, for operators.

use std::fmt;

use truc_model::{Fault, SubsystemId};

use crate::judge::{Call, Judgement, Lack, lacking};
use crate::policy::Policy;
use crate::right::Right;

/// Most rights told about one call.
const TOLD: usize = 50;

/// What keeps a right from permitting a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Miss {
    /// It is for another method.
    Method,
    /// Its pattern does not match the path.
    Path,
    /// A condition is not met.
    Condition(Lack),
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Method => f.write_str("it is for another method"),
            Self::Path => f.write_str("its pattern does not match this path"),
            Self::Condition(lack) => fmt::Display::fmt(lack, f),
        }
    }
}

/// A right that was given to the caller, and all that keeps it from permitting the call: nothing when it permits it.
#[derive(Debug, Clone)]
pub struct Considered {
    /// The right.
    pub right: Right,
    /// What is amiss.
    pub misses: Vec<Miss>,
}

/// The decision over a call, and how every right that was given to the caller stands to it.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// As [`Policy::judge`] decides.
    pub judged: Result<Judgement, Fault>,
    /// The rights to this service that the caller has, nearest first, at most 50.
    pub considered: Vec<Considered>,
}

impl Policy {
    /// Judges a call as [`Policy::judge`] does, and says how each right of the caller stands to it. `in_group` tells
    /// whether a global group holds a subsystem. It grants nothing.
    pub fn explain(&self, call: &Call<'_>, in_group: &dyn Fn(&str, &SubsystemId) -> bool) -> Explanation {
        let segments = call.path.segments();
        let misses = |right: &Right| {
            let mut misses = Vec::new();
            misses.extend((!right.method().matches(call.method)).then_some(Miss::Method));
            misses.extend((!right.path().matches(&segments)).then_some(Miss::Path));
            misses.extend(lacking(right.conditions(), call).into_iter().map(Miss::Condition));
            misses
        };
        let rights = self.rights_on(call.service).iter();
        let mut considered: Vec<Considered> = rights
            .filter(|right| self.means(right.subject(), call.service, call.client, in_group))
            .map(|right| Considered { right: right.clone(), misses: misses(right) })
            .collect();
        considered.sort_by_key(|c| c.misses.len());
        considered.truncate(TOLD);
        Explanation { judged: self.judge_with(call, in_group), considered }
    }
}
