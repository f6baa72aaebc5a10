//! A queue of waiters, in the order of coming. Under its object's lock.

use super::root::Root;
use super::waiter::Waiter;
use crate::host::Host;
use crate::pipe::Ctx;
use crate::sync::atomic::{AtomicU32, Ordering::*};

/// The longest queue that is believed.
pub const MANY: usize = 1 << 15;

/// The first and the last waiter, by their numbers; 0 for none.
#[repr(C)]
pub struct Queue {
    pub head: AtomicU32,
    pub tail: AtomicU32,
}

/// A waiter that is in a queue. `None`: the end, or the link can not be believed.
#[inline(always)]
pub fn get<H: Host>(k: &Ctx<'_, H>, root: &'static Root, index: u32) -> Option<&'static Waiter> {
    let w = root.waiters.get(k.arena, index).filter(|_| index != 0);
    w.filter(|w| w.waits())
}

impl Queue {
    pub fn clear(&self) {
        self.head.store(0, Relaxed);
        self.tail.store(0, Relaxed);
    }

    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.head.load(Relaxed) == 0
    }

    pub fn append<H: Host>(&self, k: &Ctx<'_, H>, root: &'static Root, index: u32, w: &Waiter) {
        w.next.store(0, Relaxed);
        let tail = self.tail.load(Relaxed);
        match root.waiters.get(k.arena, tail).filter(|_| tail != 0) {
            Some(last) => last.next.store(index, Relaxed),
            None => self.head.store(index, Relaxed),
        }
        self.tail.store(index, Relaxed);
    }

    /// All of them. One that the iterator has given may be taken out.
    pub fn each<'a, H: Host>(
        &self,
        k: &'a Ctx<'_, H>,
        root: &'static Root,
    ) -> impl Iterator<Item = (u32, &'static Waiter)> + 'a {
        let mut at = self.head.load(Relaxed);
        core::iter::from_fn(move || {
            let index = at;
            let w = get(k, root, index)?;
            at = w.next.load(Relaxed);
            Some((index, w))
        })
        .take(MANY)
    }

    /// Takes one out. `false`: it is not in.
    pub fn unlink<H: Host>(
        &self,
        k: &Ctx<'_, H>,
        root: &'static Root,
        index: u32,
        w: &Waiter,
    ) -> bool {
        let mut before = 0;
        let found = self.each(k, root).any(|(i, _)| {
            if i == index {
                return true;
            }
            before = i;
            false
        });
        if !found {
            return false;
        }
        let next = w.next.load(Relaxed);
        match root.waiters.get(k.arena, before).filter(|_| before != 0) {
            Some(b) => b.next.store(next, Relaxed),
            None => self.head.store(next, Relaxed),
        }
        if self.tail.load(Relaxed) == index {
            self.tail.store(before, Relaxed);
        }
        true
    }

    /// Takes all of them out, one after the other.
    pub fn drain<'a, H: Host>(
        &self,
        k: &'a Ctx<'_, H>,
        root: &'static Root,
    ) -> impl Iterator<Item = (u32, &'static Waiter)> + 'a {
        let all = self.each(k, root);
        self.clear();
        all
    }
}

/// The waiters of `object`, oldest first, from what they say themselves: a queue whose
/// links can not be believed is made anew from these.
pub fn from_waiters<H: Host>(
    k: &Ctx<'_, H>,
    root: &'static Root,
    object: u32,
    mut f: impl FnMut(u32, &'static Waiter),
) {
    let used = k.arena.header().tasks_used.load(Relaxed);
    let mut after = None;
    for _ in 0..MANY {
        let next = (1..used)
            .filter_map(|i| Some((i, root.waiters.get(k.arena, i)?)))
            .filter(|(_, w)| w.object.load(Acquire) == object && w.waits())
            .map(|(i, w)| (w.ticket.load(Relaxed), i, w))
            .filter(|(ticket, ..)| after.is_none_or(|a| *ticket > a))
            .min_by_key(|(ticket, ..)| *ticket);
        let Some((ticket, i, w)) = next else { return };
        after = Some(ticket);
        f(i, w);
    }
}
