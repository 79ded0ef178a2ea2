//! A hash map in shards that are copied when written: a snapshot and the next one share all that did not change.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::Arc;

/// How many shards a row has, and how many rows there are; a change copies one shard, about a thousandth of the map.
const WIDTH: usize = 32;

type Shard<K, V> = HashMap<K, V, RandomState>;
type Row<K, V> = [Arc<Shard<K, V>>; WIDTH];

/// Cloning costs one pointer per row; inserting and removing copy the row and the shard that they touch, if another snapshot
/// holds them too. Keys and values should be cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Shards<K, V> {
    hasher: RandomState,
    rows: Vec<Arc<Row<K, V>>>,
}

impl<K: Hash + Eq + Clone, V: Clone> Shards<K, V> {
    pub(crate) fn new() -> Self {
        let hasher = RandomState::new();
        let empty = Arc::new(HashMap::with_hasher(hasher.clone()));
        let row = Arc::new(std::array::from_fn(|_| Arc::clone(&empty)));
        Self { hasher, rows: vec![row; WIDTH] }
    }

    /// Row, and shard in it.
    fn place<Q: Hash + ?Sized>(&self, key: &Q) -> (usize, usize) {
        // The upper bits: the shard's own table chooses by the lower ones.
        let upper = (self.hasher.hash_one(key) >> 48) as usize;
        (upper / WIDTH % WIDTH, upper % WIDTH)
    }

    fn shard(&self, (row, at): (usize, usize)) -> Option<&Arc<Shard<K, V>>> {
        self.rows.get(row)?.get(at)
    }

    fn own_shard(&mut self, (row, at): (usize, usize)) -> Option<&mut Shard<K, V>> {
        Arc::make_mut(self.rows.get_mut(row)?).get_mut(at).map(Arc::make_mut)
    }

    pub(crate) fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.shard(self.place(key))?.get(key)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let place = self.place(&key);
        self.own_shard(place)?.insert(key, value)
    }

    pub(crate) fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let place = self.place(key);
        if !self.shard(place)?.contains_key(key) {
            return None;
        }
        self.own_shard(place)?.remove(key)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.rows.iter().flat_map(|row| row.iter()).flat_map(|shard| shard.iter())
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
        let all =
            |map: &Shards<u32, u32>| map.rows.iter().flat_map(|row| row.iter().cloned()).collect::<Vec<_>>();
        let (first, second) = (all(&first), all(&second));
        let shared = first.iter().zip(&second).filter(|(a, b)| std::sync::Arc::ptr_eq(a, b));
        assert!(shared.count() >= 1022);
    }
}
