//! Decisions: what an operator or the registry decided, as events in a journal of their own.
//!
//! Rights, services, directory versions seen, members, certificates: whatever is acknowledged is first an event here
//! (design §5). The state anyone works with is a fold over these events.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use truc_model::Timestamp;

use crate::proof::Decisions;
use crate::store::{Receipt, StoreError};

/// One decision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// What was decided, e.g. `access.granted`; lower case, dotted.
    pub kind: String,
    /// Who decided: a token's name, `init`, or `node` itself.
    pub actor: String,
    /// When.
    pub at: Timestamp,
    /// The event's content; its shape belongs to the kind.
    pub payload: serde_json::Value,
}

/// An append-only, hash-chained log of decisions; durable when `append` returns.
#[async_trait]
pub trait DecisionLog: Send + Sync {
    /// Appends one decision.
    ///
    /// # Errors
    /// [`StoreError`]; then the decision was not taken.
    async fn append(&self, decision: Decision) -> Result<Receipt, StoreError>;

    /// All decisions, in order.
    ///
    /// # Errors
    /// [`StoreError`] when the log cannot be read in full.
    async fn replay(&self) -> Result<Vec<Decision>, StoreError>;

    /// How many decisions are durable, and the chain after them; `None` while there are none. Reads nothing.
    ///
    /// # Errors
    /// [`StoreError`] when the log cannot tell.
    async fn end(&self) -> Result<Option<Decisions>, StoreError>;
}
