//! The word that keeps sleepers in order: who came first, and who is to be woken next.
//!
//! ```text
//! 63..32  NEXT   number of the place that the next newcomer gets, modulo PLACES
//! 31..16  TAKEN  a bit for each place that somebody has
//! 15..0   WAITS  a bit for each place whose sleeper is to be woken
//!
//! TAKEN | WAITS | meaning of a place's bits
//!   0   |   0   | free
//!   1   |   0   | its sleeper is awake, or has been chosen: its bed's word was changed, or is about to be
//!   1   |   1   | its sleeper sleeps, is about to, or has just looked and sleeps on. Or it was killed.
//! ```
//!
//! A futex alone has an order, too, but a sleeper that looks up now and then (every sleep has a
//! deadline) would queue again at its end. A place is kept from the first sleep of a call to its
//! last, so who waits longest is served first, as by `__wait_queue_head` in Linux.
//!
//! # Invariants
//!
//! - Q1. A place's bed is read *before* its WAITS is set: so whoever takes that off changes a bed that was read.
//! - Q2. NEXT only grows. The oldest place is the first one taken from NEXT on.
//!
//! # Crash points
//!
//! - C1. A sleeper killed: whoever chooses it sees that it is dead, gives its place back, and chooses another one. If it
//!   is killed only then, who should have been woken instead looks up by itself (`wait_queue::RECHECK_NS`), and its place
//!   stays TAKEN until the object is used anew; when all are, everybody is served, but in no order.
//! - C2. A waker killed between [`choose`] or [`choose_all`] and the wake-up: those who were chosen set WAITS again
//!   when they look up.

use super::atomic::{AtomicU64, Ordering::*};

/// Sleepers that are kept in order; more than these are served after them, in any order. (The model
/// is checked with one place, too: then the second sleeper has none.)
pub const PLACES: usize = if cfg!(one_place) { 1 } else { 16 };

const WAITS: u64 = (1 << PLACES) - 1;
const TAKEN_SHIFT: usize = 16;

const _: () = assert!(PLACES <= TAKEN_SHIFT);

/// A place in the order: 0..PLACES.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place(usize);

impl Place {
    fn of(number: u32) -> Place {
        Place(number as usize % PLACES)
    }

    pub fn index(self) -> usize {
        self.0
    }

    fn waits(self) -> u64 {
        1 << self.0
    }

    fn taken(self) -> u64 {
        1 << (self.0 + TAKEN_SHIFT)
    }
}

fn next_of(word: u64) -> u32 {
    (word >> 32) as u32
}

/// A newcomer's place, not waiting yet. `None`: it is somebody's, and the newcomer has none.
pub fn enter(word: &AtomicU64) -> Option<Place> {
    let mut seen = word.load(Relaxed);
    loop {
        let place = Place::of(next_of(seen));
        let free = seen & place.taken() == 0;
        let next = seen.wrapping_add(1 << 32) | place.taken();
        match word.compare_exchange_weak(seen, next, Relaxed, Relaxed) {
            Ok(_) => return free.then_some(place),
            Err(now) => seen = now,
        }
    }
}

/// Its sleeper is about to sleep, and wants to be woken. After its bed was read (Q1).
pub fn wait(word: &AtomicU64, place: Place) {
    word.fetch_or(place.waits(), AcqRel);
}

/// Its sleeper has what it wanted, or gave up. (AcqRel: it may have been chosen meanwhile, and is
/// then to see all that its waker saw.)
pub fn leave(word: &AtomicU64, place: Place) {
    word.fetch_and(!(place.waits() | place.taken()), AcqRel);
}

/// Whether there is somebody to choose.
pub fn anybody(word: &AtomicU64) -> bool {
    word.load(Relaxed) & WAITS != 0
}

/// Takes the oldest sleeper off the list: its bed is to be changed, and it to be woken. `None`:
/// there is none in a place.
#[must_use]
pub fn choose(word: &AtomicU64) -> Option<Place> {
    let mut seen = word.load(Acquire);
    while seen & WAITS != 0 {
        let oldest = oldest_first(seen).find(|p| seen & p.waits() != 0)?;
        // AcqRel pairs with `wait`: the change of the bed comes after the sleeper's look at it.
        let cleared = seen & !oldest.waits();
        match word.compare_exchange_weak(seen, cleared, AcqRel, Acquire) {
            Ok(_) => return Some(oldest),
            Err(now) => seen = now,
        }
    }
    None
}

/// Takes everybody off the list, in their order. At once: one by one, who finds nothing and comes back would be chosen
/// again before those behind him.
pub fn choose_all(word: &AtomicU64) -> impl Iterator<Item = Place> {
    let seen = word.fetch_and(!WAITS, AcqRel); // as in `choose`
    oldest_first(seen).filter(move |place| seen & place.waits() != 0)
}

/// The oldest is [`PLACES`] before the next (Q2).
fn oldest_first(seen: u64) -> impl Iterator<Item = Place> {
    (0..PLACES as u32).map(move |i| Place::of(next_of(seen).wrapping_add(i)))
}

/// All places are free, whoever had them; they are not to be left any more.
pub fn clear(word: &AtomicU64) {
    word.store(0, Relaxed);
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn sleeper(word: &AtomicU64) -> Option<Place> {
        let place = enter(word)?;
        wait(word, place);
        Some(place)
    }

    #[test]
    fn the_oldest_is_chosen_first() {
        let word = AtomicU64::new(0);
        for round in 0..100 {
            let places: Vec<_> = (0..3).map(|_| sleeper(&word).unwrap()).collect();
            for place in places {
                assert_eq!(choose(&word), Some(place), "round {round}");
                leave(&word, place);
            }
            assert_eq!(choose(&word), None);
        }
    }

    #[test]
    fn who_looks_up_and_sleeps_on_keeps_its_place() {
        let word = AtomicU64::new(0);
        let (first, second) = (sleeper(&word).unwrap(), sleeper(&word).unwrap());
        wait(&word, first);
        assert_eq!(choose(&word), Some(first));
        wait(&word, first); // chosen in vain: somebody else was quicker
        assert_eq!(choose(&word), Some(first));
        assert_eq!(choose(&word), Some(second));
    }

    #[test]
    fn all_are_chosen_in_their_order_and_nobody_twice() {
        let word = AtomicU64::new(0);
        let places: Vec<_> = (0..3).map(|_| sleeper(&word).unwrap()).collect();
        leave(&word, places[1]);
        let mut chosen = choose_all(&word);
        assert_eq!(chosen.next(), Some(places[0]));
        wait(&word, places[0]); // it found nothing, and came back
        assert_eq!(chosen.next(), Some(places[2]));
        assert_eq!(chosen.next(), None);
        assert_eq!(choose_all(&word).collect::<Vec<_>>(), [places[0]]);
    }

    #[test]
    fn who_leaves_is_not_chosen() {
        let word = AtomicU64::new(0);
        let (first, second) = (sleeper(&word).unwrap(), sleeper(&word).unwrap());
        leave(&word, first);
        assert_eq!(choose(&word), Some(second));
        assert_eq!(choose(&word), None);
    }

    #[test]
    fn a_full_list_takes_no_newcomers_until_one_leaves() {
        let word = AtomicU64::new(0);
        let places: Vec<_> = (0..PLACES).map(|_| sleeper(&word).unwrap()).collect();
        assert_eq!(enter(&word), None);
        // The newcomer was turned away from the first place, so the next one is the second.
        leave(&word, places[1]);
        assert_eq!(enter(&word).map(Place::index), Some(1));
    }

    #[test]
    fn any_word_is_put_up_with() {
        for garbage in [u64::MAX, WAITS, 1 << 63, 0xffff_ffff_0000_8001] {
            let word = AtomicU64::new(garbage);
            let mut n = 0;
            while choose(&word).is_some() {
                n += 1;
            }
            assert_eq!(n, (garbage & WAITS).count_ones());
            let _ = enter(&word);
        }
    }
}
