//! Searching: what may be asked of a store, and what it answers (design §5, docs/evidence.md §5).

use serde::Deserialize;
use truc_model::{MemberId, MessageId, ServiceId, SubsystemId, Timestamp};

use crate::record::{KeyedHash, Outcome, RecordKind, Role};

/// Most exchanges that one page holds.
pub const PAGE_LIMIT: usize = 1000;

/// What to look for; every set field must match.
///
/// A person is looked for by hashes, which whoever has the keys makes: one for each hosted member and generation of its index
/// key. Any of them will do; none at all finds nothing.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// The exchange that this message belongs to: its request or its answer.
    pub message: Option<MessageId>,
    /// Requests to which the caller itself gave this id (`X-Road-Id`); it may have used it more than once.
    pub caller_id: Option<String>,
    /// Exchanges of which this hosted member has a record of its own.
    pub owner: Option<MemberId>,
    /// This client only.
    pub client: Option<SubsystemId>,
    /// This service only.
    pub service: Option<ServiceId>,
    /// Requested by this officer.
    pub officer: Option<Vec<KeyedHash>>,
    /// About this person.
    pub subject: Option<Vec<KeyedHash>>,
    /// For this dossier (the header's `issue`).
    pub dossier: Option<Vec<KeyedHash>>,
    /// For this agency, as the request's header writes it.
    pub agency: Option<String>,
    /// For this purpose, as the request's header writes it.
    pub purpose: Option<String>,
    /// Ended by this fault.
    pub fault: Option<String>,
    /// Ended like this; [`Outcome::Unknown`] also finds what has no answer yet.
    pub outcome: Option<Outcome>,
    /// This half of the node took part.
    pub role: Option<Role>,
    /// Requests recorded at or after this moment.
    pub since: Option<Timestamp>,
    /// Requests recorded before this moment.
    pub until: Option<Timestamp>,
    /// Goes on where a page ended: its [`Found::next`].
    pub after: Option<u64>,
    /// At most so many, newest first; 0 and anything above mean [`PAGE_LIMIT`].
    pub limit: usize,
}

impl Query {
    /// How many exchanges a page holds at most.
    pub fn page(&self) -> usize {
        if self.limit == 0 { PAGE_LIMIT } else { self.limit.min(PAGE_LIMIT) }
    }
}

/// A page of what was found, newest first (in the order in which the requests were recorded).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The exchanges.
    pub exchanges: Vec<ExchangeSummary>,
    /// Where to go on ([`Query::after`]); `None` when there is nothing more. A page may hold few exchanges or none and yet have
    /// a next one: a store looks at a bounded number of records for each.
    pub next: Option<u64>,
}

/// One exchange, as `truc evidence list` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExchangeSummary {
    /// The request's id.
    pub id: MessageId,
    /// When the request was recorded.
    pub time: Timestamp,
    /// Which half of this node took part; of both the one that recorded first.
    pub role: Role,
    /// The calling subsystem.
    pub client: SubsystemId,
    /// The called service.
    pub service: ServiceId,
    /// How it ended.
    pub outcome: Outcome,
    /// The fault's code, if it ended in one.
    pub fault: Option<String>,
    /// The sequences of its records, in order.
    pub records: Vec<u64>,
}

/// What an index takes from a message's header.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Indexed {
    /// The message's own id.
    pub id: Option<MessageId>,
    /// The id that the caller itself gave to a request.
    pub caller_id: Option<String>,
    /// The officer's agency.
    pub agency: Option<String>,
    /// Why the data is asked for.
    pub purpose: Option<String>,
}

impl Indexed {
    /// From the header's bytes; nothing from those of a record without a message.
    pub fn of(kind: RecordKind, header: &[u8]) -> Self {
        /// The keys wanted; the header as a whole was parsed and judged long before.
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Named {
            id: MessageId,
            client_message_id: Option<String>,
            agency: Option<String>,
            purpose: Option<String>,
        }
        if kind == RecordKind::Unsigned {
            return Self::default();
        }
        let Ok(named) = serde_json::from_slice::<Named>(header) else { return Self::default() };
        let request = kind == RecordKind::Request;
        Self {
            id: Some(named.id),
            caller_id: named.client_message_id.filter(|_| request),
            agency: named.agency.filter(|_| request),
            purpose: named.purpose.filter(|_| request),
        }
    }
}
