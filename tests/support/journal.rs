//! What handlers saw, in the order in which they began: in memory that forked processes share.

use crate::child::gettid;
use crate::sig;
use libc::{c_int, c_void, siginfo_t, ucontext_t};
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU64, Ordering::SeqCst};

/// More events than this are counted, but not kept.
const KEPT: usize = 8192;
const WORDS: usize = 8;

struct Page {
    begun: AtomicU64,
    ended: AtomicU64,
    events: [[AtomicU64; WORDS]; KEPT],
}

static PAGE: AtomicPtr<Page> = AtomicPtr::new(std::ptr::null_mut());
static DEPTH: AtomicI32 = AtomicI32::new(0);

/// One call of a handler.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event {
    pub number: c_int,
    pub errno: c_int,
    pub code: c_int,
    pub tid: i32,
    /// The bytes 16 to 40 of the siginfo.
    pub payload: [u64; 3],
    /// The mask while the handler ran.
    pub blocked: u64,
    /// `uc_sigmask`: the mask to come back to.
    pub saved: u64,
    /// Handlers below this one.
    pub depth: i32,
}

impl Event {
    pub fn pid(&self) -> i32 {
        self.payload[0] as i32
    }

    pub fn uid(&self) -> u32 {
        (self.payload[0] >> 32) as u32
    }

    pub fn value(&self) -> u64 {
        self.payload[1]
    }

    /// `si_status` of SIGCHLD, and `si_fd` of SIGIO.
    pub fn status(&self) -> i32 {
        self.payload[1] as i32
    }

    pub fn addr(&self) -> usize {
        self.payload[0] as usize
    }
}

/// Begins an empty journal. What is forked later shares it.
pub fn start() {
    let (prot, flags) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_SHARED | libc::MAP_ANONYMOUS,
    );
    let len = size_of::<Page>();
    // SAFETY: a new mapping at an address of the kernel's choice disturbs nothing.
    let page = unsafe { libc::mmap(std::ptr::null_mut(), len, prot, flags, -1, 0) };
    assert_ne!(page, libc::MAP_FAILED, "mmap");
    PAGE.store(page.cast(), SeqCst);
}

fn page() -> &'static Page {
    // SAFETY: null, or a page of atomics that is never unmapped.
    unsafe { PAGE.load(SeqCst).as_ref() }.expect("journal::start")
}

/// The handler that writes the journal; it may be called by others.
pub extern "C" fn note(number: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let saved_errno = crate::errno();
    let depth = DEPTH.fetch_add(1, SeqCst);
    // SAFETY: null, or a page of atomics that is never unmapped.
    if let Some(page) = unsafe { PAGE.load(SeqCst).as_ref() } {
        let at = page.begun.fetch_add(1, SeqCst) as usize;
        if let Some(words) = page.events.get(at) {
            let raw: *const u64 = info.cast();
            let context: *const ucontext_t = context.cast();
            // SAFETY: a siginfo is 128 bytes of plain data.
            let head = unsafe { *raw };
            // SAFETY: as above.
            let code = unsafe { *raw.add(1) };
            // SAFETY: as above.
            let payload = [2, 3, 4].map(|i| unsafe { *raw.add(i) });
            // SAFETY: the context of a handler with SA_SIGINFO.
            let saved = sig::bits_of(unsafe { &(*context).uc_sigmask });
            words[0].store(head, SeqCst);
            words[1].store((code as u32 as u64) | (gettid() as u64) << 32, SeqCst);
            for (word, value) in words[2..5].iter().zip(payload) {
                word.store(value, SeqCst);
            }
            words[5].store(sig::mask(), SeqCst);
            words[6].store(saved, SeqCst);
            words[7].store(depth as u64 | (number as u64) << 32, SeqCst);
        }
        page.ended.fetch_add(1, SeqCst);
    }
    DEPTH.fetch_sub(1, SeqCst);
    crate::set_errno(saved_errno);
}

/// Has signals noted; all others stay deliverable meanwhile.
pub fn on(number: c_int, flags: c_int) {
    on_masked(number, flags, 0);
}

/// As [`on`], with `sa_mask`.
pub fn on_masked(number: c_int, flags: c_int, mask: u64) {
    if PAGE.load(SeqCst).is_null() {
        start();
    }
    let handler = note as *const () as usize;
    sig::set_action(number, handler, flags | libc::SA_SIGINFO, mask).expect("sigaction");
}

/// How many handlers have begun.
pub fn count() -> usize {
    page().begun.load(SeqCst) as usize
}

/// Waits until so many handlers have run.
pub fn wait_for(n: usize) {
    crate::shared::wait_until(|| page().ended.load(SeqCst) >= n as u64);
}

pub fn events() -> Vec<Event> {
    let kept = count().min(KEPT);
    page().events[..kept].iter().map(decode).collect()
}

fn decode(words: &[AtomicU64; WORDS]) -> Event {
    let word = |i: usize| words[i].load(SeqCst);
    assert_eq!(word(0) as i32, (word(7) >> 32) as i32, "si_signo");
    Event {
        number: word(0) as i32,
        errno: (word(0) >> 32) as i32,
        code: word(1) as i32,
        tid: (word(1) >> 32) as i32,
        payload: [word(2), word(3), word(4)],
        blocked: word(5),
        saved: word(6),
        depth: word(7) as i32,
    }
}

/// The signals, in the order of their handlers' beginnings.
pub fn numbers() -> Vec<c_int> {
    events().iter().map(|e| e.number).collect()
}

/// The one and only event.
#[track_caller]
pub fn only() -> Event {
    let events = events();
    assert_eq!(events.len(), 1, "{events:#?}");
    events[0]
}

/// The last event.
#[track_caller]
pub fn last() -> Event {
    *events().last().expect("an event")
}

/// A child that notes these signals until it is killed. It runs `setup` before it is ready.
pub fn listener(numbers: &[c_int], setup: impl FnOnce()) -> crate::child::Child {
    let ready = crate::shared::Shared::new();
    if PAGE.load(SeqCst).is_null() {
        start();
    }
    let child = crate::child::fork_run(|| {
        for number in numbers {
            on(*number, 0);
        }
        setup();
        ready.set(0, 1);
        loop {
            let _ = sig::pause();
        }
    });
    ready.wait_for(0, 1);
    child
}
