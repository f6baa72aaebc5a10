//! Stop signals that this process sends: those of the session whom they stop are told, since their waits in
//! the arena end by it. See `ringer_kernel::task::stops`.

use core::sync::atomic::Ordering::*;

use ringer_kernel::arena::Arena;
use ringer_kernel::signal::bit;
use ringer_kernel::task::{self, alive, Process};

use crate::gate::sys;
use crate::host::{self, Shim};
use crate::procfs::{self, Path};
use crate::{attach, env};

const STOPS: u64 =
    bit(libc::SIGSTOP) | bit(libc::SIGTSTP) | bit(libc::SIGTTIN) | bit(libc::SIGTTOU);

/// So many of a group are told in time; the others a little too early.
const AT_ONCE: usize = 32;

/// Those whom a signal on its way will stop.
pub struct Told {
    list: [Option<&'static Process>; AT_ONCE],
    n: usize,
}

impl Told {
    fn tell(&mut self, p: &'static Process) {
        p.stops.begin();
        match self.list.get_mut(self.n) {
            Some(place) => *place = Some(p),
            None => p.stops.end(&Shim),
        }
        self.n += 1;
    }

    /// It has been sent.
    pub fn end(self) {
        for p in self.list.into_iter().flatten() {
            p.stops.end(&Shim);
        }
    }
}

/// Whether a signal of that number may stop somebody.
#[inline(always)]
pub fn is_one(sig: i32) -> bool {
    bit(sig) & STOPS != 0
}

/// The signal `sig` is about to be sent to `to`, as kill(2) has it; a thread's number is its process. `None`: it stops
/// nobody of the session.
#[inline(always)]
pub fn tell(to: i32, sig: i32) -> Option<Told> {
    match is_one(sig) {
        true => look(to, sig),
        false => None,
    }
}

/// Sends by `send`.
#[inline(always)]
pub fn around(to: i32, sig: i32, send: impl FnOnce() -> isize) -> isize {
    let told = tell(to, sig);
    let ret = send();
    if let Some(told) = told {
        told.end();
    }
    ret
}

#[cold]
fn look(to: i32, sig: i32) -> Option<Told> {
    let arena = arena()?;
    let mut told = Told {
        list: [None; AT_ONCE],
        n: 0,
    };
    let ours = |p: &&Process| !alive::is_foreign(&Shim, &p.namespace);
    let to_one = |p: &&Process| stops(p.pid.load(Acquire), sig);
    if to > 0 {
        let found = task::find_process(arena, &Shim, to as u32).map(|(_, p)| p);
        let found = found.or_else(|| task::process_of_thread(arena, &Shim, to as u32));
        if let Some(p) = found.filter(to_one) {
            told.tell(p);
        }
    } else {
        let group = match to {
            0 => group_of(0),
            group => group.unsigned_abs(),
        };
        let me = host::getpid();
        let is_meant = |p: &&Process| match (to, p.pid.load(Acquire)) {
            (-1, pid) => pid != me,
            (_, pid) => pid != 0 && group_of(pid) == group,
        };
        task::live_processes(arena)
            .filter(ours)
            .filter(is_meant)
            .filter(to_one)
            .for_each(|p| told.tell(p));
    }
    (told.n > 0).then_some(told)
}

/// A process that is in the session only by its environment joins it for this.
fn arena() -> Option<&'static Arena> {
    if !attach::is_attached() && env::find(env::SESSION).is_some() {
        attach::ensure_process();
    }
    attach::arena()
}

/// Process group of a process, 0 for oneself; 0 if there is none.
fn group_of(pid: u32) -> u32 {
    sys!(libc::SYS_getpgid, pid).max(0) as u32
}

/// Whether the signal, sent by us, stops that process. (In an orphaned process group a terminal's does not, but it ends
/// the same waits.)
fn stops(pid: u32, sig: i32) -> bool {
    let may = pid == host::getpid() || sys!(libc::SYS_kill, pid, 0) == 0;
    may && (sig == libc::SIGSTOP || acts(pid, sig))
}

/// Whether the process leaves the signal its default action, and its main thread does not block it.
fn acts(pid: u32, sig: i32) -> bool {
    let mut text = [0u8; 2048];
    let path = Path::new().text("/proc/").number(pid).text("/status");
    let n = procfs::slurp(&path, &mut text);
    let text = text.get(..n.max(0) as usize).unwrap_or(&[]);
    let is_in = |name: &[u8]| procfs::set_in(text, name).is_none_or(|set| set & bit(sig) != 0);
    !(is_in(b"SigBlk:") || is_in(b"SigIgn:") || is_in(b"SigCgt:"))
}
