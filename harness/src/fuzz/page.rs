//! The page that referee and actors share: whose turn it is, and what was seen.

use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicI32, AtomicI64, AtomicU32, AtomicU64, AtomicU8, Ordering::*};

use super::calls_sem::UNNAMED;
use super::program::{Outcome, Ran, Seen, ACTORS, MOST_STEPS};

pub const HEAD: usize = 16;
const MOST_HANDLERS: usize = 1024;
const MOST_IDS: usize = 128;

#[repr(C)]
pub struct Page {
    /// What each actor is to do: see `Turn`.
    pub turn: [AtomicU32; ACTORS],
    /// The last turn that each has begun.
    pub began: [AtomicU32; ACTORS],
    /// The last turn that each has done.
    pub done: [AtomicU32; ACTORS],
    pub pids: [AtomicI32; ACTORS],
    pub tids: [AtomicI32; ACTORS],
    /// The process that made this page, and its descriptor there.
    home: [AtomicI32; 2],
    pub step: AtomicU32,
    /// Whatever comes now comes of the end.
    pub over: AtomicU32,
    /// A step and 1; 0: none hangs.
    pub hangs: AtomicU32,
    cells: [Cell; MOST_STEPS],
    handlers_ran: AtomicU32,
    handlers: [Handler; MOST_HANDLERS],
    ids_made: AtomicU32,
    /// System V objects: kind and id.
    ids: [AtomicU64; MOST_IDS],
    /// POSIX semaphores; zeros are one that is not shared.
    sems: [[AtomicU64; 4]; UNNAMED],
}

#[repr(C)]
struct Cell {
    state: AtomicU32,
    /// A call that waited: the step in which it ended, and 1.
    woken: AtomicU32,
    errno: AtomicI32,
    value: AtomicI64,
    hash: AtomicU64,
    len: AtomicU32,
    head: [AtomicU8; HEAD],
}

const DONE: u32 = 1;
const DIED: u32 = 2;
const WAITS: u32 = 3;

#[repr(C)]
struct Handler {
    step: AtomicU32,
    who: AtomicU8,
    from: AtomicU8,
    signal: AtomicI32,
    code: AtomicI32,
    value: AtomicI32,
    blocked: AtomicU64,
}

/// What a call gave.
pub struct Gave<'a> {
    pub value: i64,
    pub errno: i32,
    pub data: &'a [u8],
}

impl Page {
    /// Shared with all that are forked from now on, and with those that open its path.
    pub fn new() -> Option<&'static Page> {
        // SAFETY: a C string.
        let fd = unsafe { libc::memfd_create(c"ringer-fuzz".as_ptr(), libc::MFD_CLOEXEC) };
        // SAFETY: numbers.
        if unsafe { libc::ftruncate(fd, std::mem::size_of::<Page>() as i64) } != 0 {
            return None;
        }
        let page = Page::map(fd)?;
        page.home[0].store(std::process::id() as i32, Relaxed);
        page.home[1].store(fd, Relaxed);
        Some(page)
    }

    /// That of another process.
    pub fn open(path: &str) -> Option<&'static Page> {
        let file = std::fs::File::options().read(true).write(true).open(path);
        Page::map(file.ok()?.as_raw_fd())
    }

    /// Where it can be opened as long as its maker lives and has not closed it.
    pub fn path(&self) -> String {
        let [pid, fd] = [0, 1].map(|at| self.home[at].load(Relaxed));
        format!("/proc/{pid}/fd/{fd}")
    }

    /// A file of a Page's length, all zeros in the beginning.
    fn map(fd: i32) -> Option<&'static Page> {
        let (len, prot) = (
            std::mem::size_of::<Page>(),
            libc::PROT_READ | libc::PROT_WRITE,
        );
        // SAFETY: a new mapping, wherever there is room.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), len, prot, libc::MAP_SHARED, fd, 0) };
        if at == libc::MAP_FAILED {
            return None;
        }
        // SAFETY: as long as a Page, aligned to pages, never unmapped; zeros are atomics.
        Some(unsafe { &*at.cast::<Page>() })
    }

    pub fn clear(&self) {
        for at in 0..ACTORS {
            self.turn[at].store(0, Relaxed);
            self.began[at].store(0, Relaxed);
            self.done[at].store(0, Relaxed);
            self.pids[at].store(0, Relaxed);
            self.tids[at].store(0, Relaxed);
        }
        self.step.store(0, Relaxed);
        self.over.store(0, Relaxed);
        self.hangs.store(0, Relaxed);
        for cell in &self.cells {
            cell.state.store(0, Relaxed);
            cell.woken.store(0, Relaxed);
        }
        self.handlers_ran.store(0, Relaxed);
        self.ids_made.store(0, Relaxed);
        self.clear_sems();
    }

    pub fn gave(&self, step: usize, gave: Gave<'_>) {
        if self.over.load(Acquire) != 0 {
            return;
        }
        let cell = &self.cells[step];
        cell.value.store(gave.value, Relaxed);
        cell.errno.store(gave.errno, Relaxed);
        cell.hash.store(hash(gave.data), Relaxed);
        cell.len.store(gave.data.len().min(HEAD) as u32, Relaxed);
        for (to, from) in cell.head.iter().zip(gave.data) {
            to.store(*from, Relaxed);
        }
        cell.state.store(DONE, Release);
    }

    /// Whether this call has succeeded.
    pub fn succeeded(&self, step: usize) -> bool {
        let cell = &self.cells[step];
        cell.state.load(Acquire) == DONE && cell.value.load(Relaxed) == 0
    }

    pub fn died(&self, step: usize) {
        self.cells[step].state.store(DIED, Release);
    }

    /// From now on this step waits, as far as anybody knows.
    pub fn waits(&self, step: usize) {
        self.cells[step].state.store(WAITS, Release);
    }

    /// A step that waited has ended with another.
    pub fn woken(&self, step: usize, with: usize) {
        self.cells[step].woken.store(with as u32 + 1, Release);
    }

    /// Async-signal-safe, as all of this page.
    pub fn handler(&self, ran: &Ran) {
        if self.over.load(Acquire) != 0 {
            return;
        }
        let at = self.handlers_ran.fetch_add(1, AcqRel) as usize;
        let Some(to) = self.handlers.get(at) else {
            return;
        };
        to.step.store(self.step.load(Acquire), Relaxed);
        to.who.store(ran.who, Relaxed);
        to.from.store(ran.from, Relaxed);
        to.signal.store(ran.signal, Relaxed);
        to.code.store(ran.code, Relaxed);
        to.value.store(ran.value, Relaxed);
        to.blocked.store(ran.blocked, Relaxed);
    }

    /// The handlers that ran since this was last asked, in their order.
    pub fn take_handlers(&self) -> impl Iterator<Item = Ran> + '_ {
        let ran = self.handlers_ran.swap(0, AcqRel) as usize;
        self.handlers.iter().take(ran).map(Handler::get)
    }

    pub fn actor(&self, pid: i32) -> u8 {
        let at = self.pids.iter().position(|p| p.load(Acquire) == pid);
        at.map_or(255, |at| at as u8)
    }

    pub fn made(&self, kind: u32, id: i32) {
        let at = self.ids_made.fetch_add(1, AcqRel) as usize;
        if let Some(to) = self.ids.get(at) {
            to.store(u64::from(kind) << 32 | u64::from(id as u32), Relaxed);
        }
    }

    pub fn sem(&self, at: usize) -> *mut libc::sem_t {
        (&raw const self.sems[at]).cast_mut().cast()
    }

    pub fn clear_sems(&self) {
        let words = self.sems.iter().flatten();
        words.for_each(|word| word.store(0, Relaxed));
    }

    pub fn forget_ids(&self) {
        self.ids_made.store(0, Release);
    }

    pub fn ids(&self) -> impl Iterator<Item = (u32, i32)> + '_ {
        let made = self.ids_made.load(Acquire) as usize;
        let word = |id: &AtomicU64| id.load(Relaxed);
        self.ids
            .iter()
            .take(made)
            .map(word)
            .map(|w| ((w >> 32) as u32, w as i32))
    }

    pub fn outcome(&self, steps: usize) -> Outcome {
        let ran = self.handlers_ran.load(Acquire) as usize;
        let mut handlers: Vec<Ran> = self.handlers.iter().take(ran).map(Handler::get).collect();
        handlers.sort_by_key(|ran| (ran.step, ran.who));
        Outcome {
            steps: self.cells.iter().take(steps).map(Cell::get).collect(),
            woken: (self.cells.iter().take(steps).enumerate())
                .filter_map(|(step, cell)| Some((step, cell.woken_with()?)))
                .collect(),
            handlers,
            hangs: (self.hangs.load(Acquire) as usize).checked_sub(1),
        }
    }
}

impl Cell {
    fn get(&self) -> Seen {
        match self.state.load(Acquire) {
            DONE => Seen::Returned {
                value: self.value.load(Relaxed),
                errno: self.errno.load(Relaxed),
                hash: self.hash.load(Relaxed),
                data: (self.head.iter().take(self.len.load(Relaxed) as usize))
                    .map(|b| b.load(Relaxed))
                    .collect(),
            },
            DIED => Seen::Died,
            WAITS => Seen::Waits,
            _ => Seen::Nobody,
        }
    }

    fn woken_with(&self) -> Option<usize> {
        (self.woken.load(Acquire) as usize).checked_sub(1)
    }
}

impl Handler {
    fn get(&self) -> Ran {
        Ran {
            step: self.step.load(Relaxed) as usize,
            who: self.who.load(Relaxed),
            signal: self.signal.load(Relaxed),
            code: self.code.load(Relaxed),
            value: self.value.load(Relaxed),
            from: self.from.load(Relaxed),
            blocked: self.blocked.load(Relaxed),
        }
    }
}

/// FNV-1a; of nothing it is 0.
fn hash(bytes: &[u8]) -> u64 {
    if bytes.is_empty() {
        return 0;
    }
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, b| {
        (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3)
    })
}
