//! Which threads block which forced signals, as the program believes, and which of them wait for
//! one: asked when such a signal is sent to the process and came to a thread that blocks it.

use core::sync::atomic::{AtomicU64, Ordering::*};

use crate::gate::sys;
use crate::tls::Tls;
use crate::{host, procfs};

/// A thread that blocks some: its number in the upper half; then what it waits for, and what it
/// blocks, as bits of `packed`. 0: nobody.
const THREADS: usize = 512;
static TABLE: [AtomicU64; THREADS] = [const { AtomicU64::new(0) }; THREADS];

/// SIGBUS, SIGSEGV and SIGSYS in three bits.
fn packed(mask: u64) -> u64 {
    mask >> (libc::SIGBUS - 1) & 1
        | (mask >> (libc::SIGSEGV - 1) & 1) << 1
        | (mask >> (libc::SIGSYS - 1) & 1) << 2
}

fn tid_of(entry: u64) -> u32 {
    (entry >> 32) as u32
}

/// The thread's view of the forced signals is this from now on.
pub fn set_masked(tls: &Tls, masked: u64) {
    tls.masked.set(masked);
    tell(tls, 0);
}

/// This thread is about to wait for these, which it blocks; or no longer.
pub fn set_waiting(tls: &Tls, waiting: u64) {
    tell(tls, waiting);
}

fn tell(tls: &Tls, waiting: u64) {
    if tls.in_vfork.get() != 0 {
        return; // the table is its parent's
    }
    let masked = tls.masked.get();
    if masked == 0 && tls.blocker.get() == 0 {
        return;
    }
    let tid = host::gettid();
    let entry = if masked | waiting == 0 {
        0
    } else {
        u64::from(tid) << 32 | packed(waiting) << 8 | packed(masked)
    };
    if let Some(slot) = slot_of(tls, tid) {
        slot.store(entry, SeqCst);
    }
    if entry == 0 {
        tls.blocker.set(0);
    }
}

/// This thread's place; a new one if it has none. `None`: the table is full, and the thread counts
/// as one that blocks nothing. What is passed on to it is then kept there.
fn slot_of(tls: &Tls, tid: u32) -> Option<&'static AtomicU64> {
    if let Some(slot) = (tls.blocker.get() as usize)
        .checked_sub(1)
        .and_then(|i| TABLE.get(i))
    {
        return Some(slot);
    }
    let claim = |(i, slot): (usize, &'static AtomicU64)| {
        let claimed = slot
            .compare_exchange(0, u64::from(tid) << 32, SeqCst, Relaxed)
            .is_ok();
        claimed.then(|| {
            tls.blocker.set(i as u32 + 1);
            slot
        })
    };
    let found = TABLE.iter().enumerate().find_map(claim);
    if found.is_some() {
        return found;
    }
    let pid = host::getpid();
    for slot in &TABLE {
        let entry = slot.load(SeqCst);
        if entry != 0 && sys!(libc::SYS_tgkill, pid, tid_of(entry), 0) < 0 {
            let _ = slot.compare_exchange(entry, 0, SeqCst, Relaxed);
        }
    }
    TABLE.iter().enumerate().find_map(claim)
}

/// A thread begins with this view. Its number may have been another's, who did not say good-bye.
pub fn thread_starts(tls: &Tls, masked: u64) {
    let tid = host::gettid();
    for slot in &TABLE {
        let entry = slot.load(Relaxed);
        if entry != 0 && tid_of(entry) == tid {
            let _ = slot.compare_exchange(entry, 0, SeqCst, Relaxed);
        }
    }
    tls.blocker.set(0);
    set_masked(tls, masked);
}

pub fn thread_ends(tls: &Tls) {
    let index = tls.blocker.replace(0) as usize;
    if let Some(slot) = index.checked_sub(1).and_then(|i| TABLE.get(i)) {
        slot.store(0, SeqCst);
    }
}

/// In a forked child, this is the only thread.
pub fn after_fork(tls: &Tls) {
    for slot in &TABLE {
        slot.store(0, Relaxed);
    }
    tls.blocker.set(0);
    set_masked(tls, tls.masked.get());
}

/// Another thread that the kernel would have given this signal to: one that does not block it, or
/// else one that waits for it.
pub fn taker(tls: &Tls, bit: u64) -> Option<u32> {
    let me = host::gettid();
    let blocks = |tid: u32| {
        TABLE.iter().any(|slot| {
            let entry = slot.load(SeqCst);
            tid_of(entry) == tid && entry & packed(bit) != 0
        })
    };
    let free = find_thread(|tid| tid != me && !blocks(tid));
    let waits = || {
        TABLE.iter().find_map(|slot| {
            let entry = slot.load(SeqCst);
            let waits = entry >> 8 & packed(bit) != 0 && tid_of(entry) != me;
            waits.then(|| tid_of(entry))
        })
    };
    // In a vfork child the table is another process's.
    free.or_else(waits).filter(|_| tls.in_vfork.get() == 0)
}

/// The first thread of this process that will do.
fn find_thread(will_do: impl Fn(u32) -> bool) -> Option<u32> {
    let mut found = None;
    procfs::each_thread(|tid| {
        if found.is_none() && will_do(tid) {
            found = Some(tid);
        }
    });
    found
}
