//! A descriptor that is closed while another thread waits on it. In Linux the waiting call holds
//! the file: the end stays open until the call is over. Here each such call is given a duplicate of
//! the twin, under a number that the program hardly looks at, and a reference of the description;
//! it closes both when it is done.
//!
//! Neither side can miss the other:
//!
//! ```text
//!   waiter                                  closer
//!   1 holds = (description, number)         a the number's entry is taken out of the table
//!   2 is the entry still there?             b whose `holds` says so? his `linger` = duplicate
//!       no: EBADF, as if closed before      c does it still say so? else the duplicate is taken back
//!   3 waits                                 d the real descriptor is closed
//!   4 holds = 0; takes `linger`
//! ```
//!
//! Either 1 comes before b, or 2 comes after a. Either 4 finds the duplicate, or c does.

use core::sync::atomic::{fence, AtomicU32, Ordering::*};

use ringer_kernel::file::{self, FileRef};
use ringer_kernel::pipe::Ctx;
use ringer_kernel::task::reap::{about_to_close, forget_descriptor};
use ringer_kernel::task::{self, Task};

use crate::attach;
use crate::borrow::Borrowing;
use crate::entry::Entry;
use crate::gate::sys;
use crate::host::Shim;
use crate::tls::tls;

/// Where the numbers begin that a program hardly looks at; below only if it may not go so high.
const HIGH: usize = 800;

/// Threads of this process that wait, and duplicates that are open for them.
static WAITING: AtomicU32 = AtomicU32::new(0);
static HIDDEN: AtomicU32 = AtomicU32::new(0);

/// The duplicates' numbers plus one, 0 for none: a forked child finds what it has inherited in its
/// copy. They change together with the descriptors, under [`Borrowing`]. (Of more than these the
/// child keeps some, until it ends.)
static NUMBERS: [AtomicU32; 64] = [const { AtomicU32::new(0) }; 64];

fn open_hidden(fd: i32) -> Option<i32> {
    let _no_fork = Borrowing::begin();
    let duplicate = |from: usize| sys!(libc::SYS_fcntl, fd, libc::F_DUPFD_CLOEXEC, from);
    let hidden = match duplicate(HIGH) {
        n if n < 0 => duplicate(3),
        n => n,
    };
    let hidden = i32::try_from(hidden).ok().filter(|&n| n >= 0)?;
    HIDDEN.fetch_add(1, SeqCst);
    replace_number(0, hidden as u32 + 1);
    Some(hidden)
}

fn close_hidden(hidden: i32) {
    let _no_fork = Borrowing::begin();
    sys!(libc::SYS_close, hidden);
    HIDDEN.fetch_sub(1, SeqCst);
    replace_number(hidden as u32 + 1, 0);
}

fn replace_number(from: u32, to: u32) {
    let _ = NUMBERS
        .iter()
        .find(|n| n.compare_exchange(from, to, Relaxed, Relaxed).is_ok());
}

fn holding(file_slot: u32, fd: i32) -> u64 {
    u64::from(file_slot) << 32 | u64::from(fd as u32 + 1)
}

/// 1: this thread is about to wait on `fd`.
pub fn hold(task: &Task, file_slot: u32, fd: i32) {
    WAITING.fetch_add(1, SeqCst);
    task.holds.store(holding(file_slot, fd), SeqCst);
    fence(SeqCst);
}

/// 4: it waits no more. What it was given meanwhile, [`done`] closes.
pub fn let_go(task: &Task) {
    task.holds.store(0, SeqCst);
    fence(SeqCst);
    WAITING.fetch_sub(1, SeqCst);
}

/// To be called when `fd`, which named `file_slot`, is about to be closed: b and c.
pub fn keep(k: &Ctx<'_, Shim>, entry: &Entry, file_slot: u32, fd: i32) {
    fence(SeqCst);
    if file_slot == 0 || WAITING.load(SeqCst) == 0 {
        return;
    }
    let wanted = holding(file_slot, fd);
    for task in mine(k, attach::process_slot(entry.tls)) {
        if task.holds.load(SeqCst) == wanted && task.surely_alive() {
            keep_for(k, task, file_slot, fd, wanted);
        }
    }
}

fn keep_for(k: &Ctx<'_, Shim>, task: &Task, file_slot: u32, fd: i32, wanted: u64) {
    if !file::get_ref(k.arena, file_slot) {
        return;
    }
    let Some(hidden) = open_hidden(fd) else {
        // No number is left: the call loses its end, as if it had begun later.
        file::close_ref(k.arena, k.me, k.host, file_slot);
        return;
    };
    let linger = (hidden as u64 + 1) << 32 | u64::from(file_slot);
    let given = task
        .linger
        .compare_exchange(0, linger, SeqCst, Relaxed)
        .is_ok();
    fence(SeqCst);
    let unwanted = !given
        || (task.holds.load(SeqCst) != wanted
            && task
                .linger
                .compare_exchange(linger, 0, SeqCst, Relaxed)
                .is_ok());
    if unwanted {
        close_hidden(hidden);
        file::close_ref(k.arena, k.me, k.host, file_slot); // the table's is there still
    }
}

/// Threads of the process in `slot`.
fn mine<'k>(k: &Ctx<'k, Shim>, slot: u32) -> impl Iterator<Item = &'static Task> + 'k {
    let arena = k.arena;
    let used = arena.header().tasks_used.load(Relaxed);
    (1..used)
        .map_while(move |i| task::task(arena, i))
        .filter(move |t| t.process.load(Relaxed) == slot)
}

/// What is kept open for calls of the process in `slot`: descriptions, and the numbers of the duplicates.
pub fn kept<'k>(k: &Ctx<'k, Shim>, slot: u32) -> impl Iterator<Item = (u32, i32)> + 'k {
    mine(k, slot).filter_map(|t| {
        let linger = t.linger.load(Acquire);
        Some((linger as u32, number(linger)?))
    })
}

/// The number under which this thread's twin is kept open. `None`: it never was closed.
pub fn stand_in() -> Option<i32> {
    // SAFETY: null, or this thread's slot in the arena, which stays mapped.
    let task = unsafe { tls().task.get().as_ref() }?;
    known(task.linger.load(Acquire))
}

/// A word in a damaged arena may say anything: this process knows whether it keeps one open.
fn known(linger: u64) -> Option<i32> {
    number(linger).filter(|_| HIDDEN.load(Relaxed) != 0)
}

fn number(linger: u64) -> Option<i32> {
    (linger != 0).then_some((linger >> 32) as i32 - 1)
}

/// A waiting call is over: what was kept for it is closed now.
#[cold]
pub fn done(k: &Ctx<'_, Shim>, task: &Task) {
    let linger = task.linger.swap(0, SeqCst);
    if let Some(hidden) = known(linger) {
        if let Some(f) = FileRef::of(k.arena, linger as u32) {
            crate::demotion::before_close(k, hidden, &f);
        }
        about_to_close(k.arena, linger as u32);
        close_hidden(hidden);
        forget_descriptor(k, linger as u32, |_| true);
    }
}

/// As [`done`], after the kernel has served the rest of the call by [`stand_in`].
#[cold]
pub fn done_by_kernel() {
    let entry = Entry::enter();
    if let (Some(task), Some(k)) = (entry.task(), entry.ctx(-1)) {
        done(&k, task);
    }
    let _ = entry.leave();
}

/// The lowest number from `from` on that is one of ours and not the program's. `None`: none is.
pub fn next_hidden(entry: &Entry, from: i32) -> Option<i32> {
    if HIDDEN.load(Relaxed) == 0 {
        return None;
    }
    let k = entry.ctx(-1)?;
    mine(&k, attach::process_slot(entry.tls))
        .filter_map(|t| number(t.linger.load(Acquire)))
        .filter(|&n| n >= from)
        .min()
}

/// Whether `fd` is such a number. To the program it is not open.
pub fn is_hidden(entry: &Entry, fd: i32) -> bool {
    next_hidden(entry, fd) == Some(fd)
}

pub fn any_hidden() -> bool {
    HIDDEN.load(Relaxed) != 0
}

/// A forked child has none of its parent's other threads, and so nobody waits in it.
pub fn forget_in_child() {
    WAITING.store(0, SeqCst);
    if HIDDEN.swap(0, SeqCst) == 0 {
        return;
    }
    for number in &NUMBERS {
        if let Some(fd) = number.swap(0, Relaxed).checked_sub(1) {
            sys!(libc::SYS_close, fd);
        }
    }
}
