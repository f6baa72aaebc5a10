//! Memory that processes share, and waiting for each other without any object of the system under
//! test: a page of atomics, read again and again between short sleeps.

use crate::fd::Fd;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::time::Duration;

/// Words in a [`Shared`] page.
pub const WORDS: usize = 512;

/// A page of 64-bit words, common to this process and all that it forks.
#[derive(Clone, Copy)]
pub struct Shared(&'static [AtomicU64; WORDS]);

impl Shared {
    /// All words are 0.
    pub fn new() -> Shared {
        Shared::map(-1, libc::MAP_ANONYMOUS)
    }

    /// The same, with a descriptor by which a program that was exec'ed can map it.
    pub fn with_fd() -> (Shared, Fd) {
        // SAFETY: a C string.
        let fd = unsafe { libc::memfd_create(c"shared page".as_ptr(), 0) };
        // SAFETY: numbers.
        let sized = unsafe { libc::ftruncate(fd, (WORDS * 8) as libc::off_t) };
        assert_eq!(sized, 0, "memfd: {}", std::io::Error::last_os_error());
        (Shared::map(fd, 0), Fd::own(fd as usize))
    }

    fn map(fd: i32, flags: i32) -> Shared {
        let (len, prot) = (WORDS * 8, libc::PROT_READ | libc::PROT_WRITE);
        // SAFETY: a new mapping at an address of the kernel's choice disturbs nothing.
        let page = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                prot,
                libc::MAP_SHARED | flags,
                fd,
                0,
            )
        };
        assert_ne!(
            page,
            libc::MAP_FAILED,
            "mmap: {}",
            std::io::Error::last_os_error()
        );
        // SAFETY: zeroed, aligned to a page, never unmapped; atomics bear any bits and sharing.
        Shared(unsafe { &*page.cast::<[AtomicU64; WORDS]>() })
    }

    pub fn word(&self, i: usize) -> &'static AtomicU64 {
        &self.0[i]
    }

    pub fn get(&self, i: usize) -> u64 {
        self.0[i].load(Ordering::SeqCst)
    }

    pub fn set(&self, i: usize, value: u64) {
        self.0[i].store(value, Ordering::SeqCst);
    }

    /// Adds 1 and returns the new value.
    pub fn bump(&self, i: usize) -> u64 {
        self.0[i].fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Waits until the word is at least `value`.
    pub fn wait_for(&self, i: usize, value: u64) {
        wait_until(|| self.get(i) >= value);
    }

    /// Waits until `n` processes or threads have come here. Each word makes one barrier, once.
    pub fn barrier(&self, i: usize, n: u64) {
        self.bump(i);
        self.wait_for(i, n);
    }
}

impl Default for Shared {
    fn default() -> Self {
        Shared::new()
    }
}

/// Sleeps a moment; signals may cut it short.
pub fn pause(time: Duration) {
    let ts = libc::timespec {
        tv_sec: time.as_secs() as libc::time_t,
        tv_nsec: time.subsec_nanos().into(),
    };
    // SAFETY: a valid timespec, and no wish to know the rest.
    unsafe { libc::nanosleep(&ts, std::ptr::null_mut()) };
}

/// Waits until `true_now` says so. Panics if a child of the test has panicked meanwhile; the
/// watchdog ends it if the time never comes.
pub fn wait_until(mut true_now: impl FnMut() -> bool) {
    // Never as long as `procfs::sleeping` looks for: this sleep is not the one that it is for.
    let (mut wait, most) = (Duration::from_micros(100), Duration::from_micros(500));
    while !true_now() {
        assert!(!failed(), "a child failed, see its message above");
        pause(wait);
        wait = most.min(wait + wait / 8);
    }
}

static FAILURES: AtomicPtr<AtomicU64> = AtomicPtr::new(std::ptr::null_mut());

/// Makes the word where children report their failure. Before any fork.
pub fn prepare_failures() {
    let word: *const AtomicU64 = Shared::new().word(0);
    FAILURES.store(word.cast_mut(), Ordering::SeqCst);
}

fn failures() -> Option<&'static AtomicU64> {
    // SAFETY: null, or the word of a page that is never unmapped.
    unsafe { FAILURES.load(Ordering::SeqCst).as_ref() }
}

/// A child's way to say that it failed.
pub fn report_failure() {
    if let Some(word) = failures() {
        word.fetch_add(1, Ordering::SeqCst);
    }
}

/// Whether any child of this test has failed.
pub fn failed() -> bool {
    failures().is_some_and(|word| word.load(Ordering::SeqCst) != 0)
}
