//! A hash map in shards that are copied when written: a snapshot and the next one share all that did not change.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::Arc;

/// How many shards; a change copies one of them, about a thousandth of the map.
const SHARDS: usize = 1024;

type Shard<K, V> = HashMap<K, V, RandomState>;

/// Cloning costs one pointer per shard; inserting and removing copy the shard they touch, if another snapshot holds it too.
/// Keys and values should be cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Shards<K, V> {
    hasher: RandomState,
    shards: Vec<Arc<Shard<K, V>>>,
}

impl<K: Hash + Eq + Clone, V: Clone> Shards<K, V> {
    pub(crate) fn new() -> Self {
        let hasher = RandomState::new();
        let empty = Arc::new(HashMap::with_hasher(hasher.clone()));
        Self { hasher, shards: vec![empty; SHARDS] }
    }

    fn place<Q: Hash + ?Sized>(&self, key: &Q) -> usize {
        // The upper bits: the shard's own table chooses by the lower ones.
        (self.hasher.hash_one(key) >> 48) as usize % SHARDS
    }

    pub(crate) fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.shards.get(self.place(key))?.get(key)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let place = self.place(&key);
        Arc::make_mut(self.shards.get_mut(place)?).insert(key, value)
    }

    pub(crate) fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let place = self.place(key);
        let shard = self.shards.get_mut(place)?;
        if !shard.contains_key(key) {
            return None;
        }
        Arc::make_mut(shard).remove(key)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.shards.iter().flat_map(|shard| shard.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::Shards;

    #[test]
    fn a_copy_goes_its_own_way_and_shares_the_rest() {
        let mut first: Shards<u32, u32> = Shards::new();
        for n in 0..5000 {
            assert_eq!(first.insert(n, n), None);
        }
        let mut second = first.clone();
        assert_eq!((second.insert(7, 8), second.remove(&9)), (Some(7), Some(9)));
        assert_eq!((first.get(&7), first.get(&9)), (Some(&7), Some(&9)));
        assert_eq!((second.remove(&9), second.get(&7), second.get(&9)), (None, Some(&8), None));
        assert_eq!((first.iter().count(), second.iter().count()), (5000, 4999));
        let shared = first.shards.iter().zip(&second.shards).filter(|(a, b)| std::sync::Arc::ptr_eq(a, b));
        assert!(shared.count() >= 1022);
    }
}
