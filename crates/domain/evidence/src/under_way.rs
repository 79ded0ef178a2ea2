//! Which exchanges somebody is carrying out right now: big bodies may take hours, and an exchange that is only slow must not
//! be closed as one that nobody carries out any more.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use truc_model::MessageId;

use crate::record::Role;

type Key = (Role, MessageId);

/// The exchanges under way on this node.
#[derive(Debug, Clone, Default)]
pub(crate) struct Exchanges(Arc<Mutex<HashSet<Key>>>);

impl Exchanges {
    fn keys(&self) -> MutexGuard<'_, HashSet<Key>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn begin(&self, role: Role, request: MessageId) -> UnderWay {
        self.keys().insert((role, request));
        UnderWay { exchanges: self.clone(), key: (role, request) }
    }

    /// Those under way at this moment.
    pub(crate) fn now(&self) -> HashSet<Key> {
        self.keys().clone()
    }
}

/// Somebody carries this exchange out, until it is dropped.
#[derive(Debug)]
#[must_use = "the exchange counts as given up when this is dropped"]
pub struct UnderWay {
    exchanges: Exchanges,
    key: Key,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.exchanges.keys().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exchange_is_under_way_until_it_is_let_go() {
        let (exchanges, id) = (Exchanges::default(), "019c5b1a-0000-7000-8000-000000000001".parse().unwrap());
        let ours = exchanges.begin(Role::Consumer, id);
        // A node may be both ends of one exchange.
        let theirs = exchanges.begin(Role::Provider, id);
        drop(ours);
        assert_eq!(exchanges.now(), HashSet::from([(Role::Provider, id)]));
        drop(theirs);
        assert!(exchanges.now().is_empty());
    }
}
