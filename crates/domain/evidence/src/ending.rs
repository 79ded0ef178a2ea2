//! What a fault means for the outcome of its exchange.

use truc_model::FaultCode;

use crate::record::Outcome;

/// How an exchange ended, as its last record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    /// The outcome.
    pub outcome: Outcome,
    /// The fault's code, if it ended in one.
    pub fault: Option<FaultCode>,
}

impl Ending {
    /// The service answered.
    pub const OK: Self = Self { outcome: Outcome::Ok, fault: None };

    /// What a fault means for the outcome: whether the service acted is known, or it is not.
    pub const fn of(code: FaultCode) -> Self {
        let outcome = match code {
            FaultCode::OutcomeUnknown | FaultCode::Timeout => Outcome::Unknown,
            FaultCode::ServiceFailed
            | FaultCode::InconsistentResponse
            | FaultCode::Internal
            | FaultCode::Unavailable => Outcome::Failed,
            _ => Outcome::Refused,
        };
        Self { outcome, fault: Some(code) }
    }
}
