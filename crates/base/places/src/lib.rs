//! Places at a listening door, shared fairly between the addresses that knock (`docs/limits.md`).
//!
//! A door has so many places in all, and one address at most half of them. When there is none left, whoever knocks takes the
//! place of a connection that is doing nothing: the one that has done nothing for longest, of the address that has most. So
//! silent and slow connections crowd out each other and nobody else, and an honest caller behind the same address as they
//! gets in too. Only places where work is being done are never taken away.
//!
//! This crate must not own a socket or read a clock: a door closes its connection when it is told that the place has gone.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

/// The places of one door.
#[derive(Debug, Clone)]
pub struct Places(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    all: usize,
    each: usize,
    held: Mutex<Held>,
    /// Counts beginnings and ends of work, so that it can be told who has done nothing for longest.
    moments: AtomicU64,
}

#[derive(Debug, Default)]
struct Held {
    next: u64,
    by_number: HashMap<u64, Arc<Holder>>,
    by_address: HashMap<IpAddr, usize>,
}

#[derive(Debug)]
struct Holder {
    address: IpAddr,
    work: AtomicUsize,
    last: AtomicU64,
    gone: CancellationToken,
}

/// One place; given back when dropped.
#[derive(Debug)]
pub struct Place {
    places: Places,
    number: u64,
    holder: Arc<Holder>,
}

/// Held while work is done at a place.
#[derive(Debug)]
pub struct AtWork {
    places: Places,
    holder: Arc<Holder>,
}

/// What counts as one address: an IPv4 address, or the /64 of an IPv6 address, of which one machine has every address.
fn counted(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

impl Places {
    /// A door with `all` places, half of them for one address.
    pub fn new(all: usize) -> Self {
        let inner = Inner { all, each: all.div_ceil(2), held: Mutex::default(), moments: AtomicU64::new(0) };
        Self(Arc::new(inner))
    }

    /// A place for a connection from this address; `None` when there is none and nobody idle to take one from.
    pub fn enter(&self, from: IpAddr) -> Option<Place> {
        let address = counted(from);
        let mut held = self.0.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.by_address.get(&address).copied().unwrap_or(0) >= self.0.each {
            held.make_room(Some(address))?;
        } else if held.by_number.len() >= self.0.all {
            held.make_room(None)?;
        }
        let number = held.next;
        held.next += 1;
        *held.by_address.entry(address).or_default() += 1;
        let holder = Arc::new(Holder {
            address,
            work: AtomicUsize::new(0),
            last: AtomicU64::new(self.moment()),
            gone: CancellationToken::new(),
        });
        held.by_number.insert(number, Arc::clone(&holder));
        drop(held);
        Some(Place { places: self.clone(), number, holder })
    }

    /// How many are held.
    pub fn count(&self) -> usize {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner).by_number.len()
    }

    fn moment(&self) -> u64 {
        self.0.moments.fetch_add(1, Ordering::Relaxed)
    }
}

impl Held {
    /// Takes a place from who has done nothing for longest: of this address, or of the one that has most places.
    fn make_room(&mut self, of: Option<IpAddr>) -> Option<()> {
        let idle = |holder: &Holder| {
            holder.work.load(Ordering::Acquire) == 0 && of.is_none_or(|address| address == holder.address)
        };
        let share = |holder: &Holder| self.by_address.get(&holder.address).copied().unwrap_or(0);
        let last = |holder: &Holder| holder.last.load(Ordering::Relaxed);
        let (&number, holder) =
            self.by_number.iter().filter(|(_, holder)| idle(holder)).max_by(|(_, one), (_, other)| {
                share(one).cmp(&share(other)).then_with(|| last(other).cmp(&last(one)))
            })?;
        holder.gone.cancel();
        self.remove(number);
        Some(())
    }

    fn remove(&mut self, number: u64) {
        let Some(holder) = self.by_number.remove(&number) else { return };
        if let Some(count) = self.by_address.get_mut(&holder.address) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&holder.address);
            }
        }
    }
}

impl Place {
    /// Who holds it: an IPv4 address, or the /64 of an IPv6 address.
    pub fn address(&self) -> IpAddr {
        self.holder.address
    }

    /// Cancelled when the place has been taken away: its connection is closed then.
    pub fn gone(&self) -> CancellationToken {
        self.holder.gone.clone()
    }

    /// Work begins here; it lasts until what is returned is dropped.
    pub fn work(&self) -> AtWork {
        self.holder.work.fetch_add(1, Ordering::AcqRel);
        self.holder.last.store(self.places.moment(), Ordering::Relaxed);
        AtWork { places: self.places.clone(), holder: Arc::clone(&self.holder) }
    }

    /// True when no work is being done here.
    pub fn is_idle(&self) -> bool {
        self.holder.work.load(Ordering::Acquire) == 0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.0.held.lock().unwrap_or_else(PoisonError::into_inner).remove(self.number);
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.holder.last.store(self.places.moment(), Ordering::Relaxed);
        self.holder.work.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn gone(places: &[Place]) -> Vec<usize> {
        (0..places.len()).filter(|&at| places[at].gone().is_cancelled()).collect()
    }

    #[test]
    fn one_address_has_half_and_crowds_out_only_itself() {
        let door = Places::new(8);
        let greedy: Vec<_> = (0..9).map(|_| door.enter(ip("10.0.0.1")).unwrap()).collect();
        assert_eq!(gone(&greedy), [0, 1, 2, 3, 4]);
        assert_eq!(door.count(), 4);
        let others: Vec<_> = (2..6).map(|n| door.enter(ip(&format!("10.0.0.{n}"))).unwrap()).collect();
        assert_eq!(door.count(), 8);
        let late = door.enter(ip("10.0.0.9")).unwrap();
        assert_eq!((gone(&greedy), gone(&others)), (vec![0, 1, 2, 3, 4, 5], vec![]));
        drop((greedy, others, late));
        assert_eq!(door.count(), 0);
        assert!(door.0.held.lock().unwrap().by_address.is_empty());
    }

    #[test]
    fn whoever_works_keeps_the_place_and_whoever_worked_last_goes_last() {
        let door = Places::new(4);
        let (first, second) = (door.enter(ip("10.0.0.1")).unwrap(), door.enter(ip("10.0.0.1")).unwrap());
        let (work, done) = (first.work(), second.work());
        assert!(door.enter(ip("10.0.0.1")).is_none(), "both work");
        drop(done);
        assert!(second.is_idle() && !first.is_idle());
        let third = door.enter(ip("10.0.0.1")).unwrap();
        assert!(second.gone().is_cancelled() && !first.gone().is_cancelled());
        drop(work);
        drop(third.work());
        let _fourth = door.enter(ip("10.0.0.1")).unwrap();
        assert!(first.gone().is_cancelled() && !third.gone().is_cancelled());
    }

    #[test]
    fn a_full_door_without_anybody_idle_turns_away() {
        let door = Places::new(2);
        let places = [door.enter(ip("10.0.0.1")).unwrap(), door.enter(ip("10.0.0.2")).unwrap()];
        let work = places.each_ref().map(Place::work);
        assert!(door.enter(ip("10.0.0.3")).is_none());
        drop(work);
        assert!(door.enter(ip("10.0.0.3")).is_some());
    }

    #[test]
    fn a_machine_with_many_ipv6_addresses_is_one() {
        assert_eq!(counted(ip("2001:db8::1:2:3:4")), counted(ip("2001:db8::4:3:2:1")));
        assert_ne!(counted(ip("2001:db8:0:1::1")), counted(ip("2001:db8:0:2::1")));
        assert_eq!(counted(ip("::ffff:10.0.0.1")), ip("10.0.0.1"));
    }
}
