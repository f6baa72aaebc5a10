//! Signal masks, dispositions and signalfd(2).

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::check;

#[derive(Clone, Copy)]
pub struct Set(pub(super) libc::sigset_t);

impl Set {
    pub fn empty() -> Set {
        let mut set = MaybeUninit::uninit();
        // SAFETY: sigemptyset initialises the whole set.
        unsafe { libc::sigemptyset(set.as_mut_ptr()) };
        // SAFETY: initialised by the line above.
        Set(unsafe { set.assume_init() })
    }

    pub fn add(&mut self, signal: i32) {
        // SAFETY: a valid set; a bad number is EINVAL and changes nothing.
        unsafe { libc::sigaddset(&mut self.0, signal) };
    }

    /// Makes this the calling thread's mask. What it was before.
    pub fn install(&self) -> Set {
        let mut old = Set::empty();
        // SAFETY: two valid sets.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.0, &mut old.0) };
        old
    }

    pub fn current() -> Set {
        let mut now = Set::empty();
        // SAFETY: no new set, room for the old one.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &mut now.0) };
        now
    }
}

/// What a process does on a signal, to be put back later.
#[derive(Clone, Copy)]
pub struct Disposition(libc::sigaction);

impl Disposition {
    pub fn of(signal: i32) -> Disposition {
        let mut old = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: no new action, room for the old one; zeros are a valid action.
        unsafe { libc::sigaction(signal, std::ptr::null(), old.as_mut_ptr()) };
        // SAFETY: zeros at least.
        Disposition(unsafe { old.assume_init() })
    }

    /// SIG_DFL or SIG_IGN, no flags.
    fn plain(handler: libc::sighandler_t) -> Disposition {
        // SAFETY: sigaction is plain data; zeros are valid.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = handler;
        Disposition(action)
    }

    pub fn default() -> Disposition {
        Disposition::plain(libc::SIG_DFL)
    }

    pub fn ignore() -> Disposition {
        Disposition::plain(libc::SIG_IGN)
    }

    /// Async-signal-safe.
    pub fn install(&self, signal: i32) {
        // SAFETY: an action that was read from the kernel, or SIG_DFL or SIG_IGN.
        unsafe { libc::sigaction(signal, &self.0, std::ptr::null_mut()) };
    }
}

/// A signal as signalfd(2) tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    pub number: i32,
    /// si_code: above 0, the kernel sent it.
    pub code: i32,
    pub value: u64,
}

/// Signals of a (blocked) set, as a descriptor.
pub struct SignalFd(OwnedFd);

impl SignalFd {
    pub fn new(set: &Set) -> io::Result<SignalFd> {
        // SAFETY: a valid set.
        let fd = unsafe { libc::signalfd(-1, &set.0, libc::SFD_NONBLOCK | libc::SFD_CLOEXEC) };
        check(fd)?;
        // SAFETY: just made, nobody else owns it.
        Ok(SignalFd(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    pub fn fd(&self) -> i32 {
        self.0.as_raw_fd()
    }

    /// The next one, if there is one.
    pub fn next(&self) -> Option<Received> {
        let mut info = MaybeUninit::<libc::signalfd_siginfo>::zeroed();
        let len = size_of::<libc::signalfd_siginfo>();
        // SAFETY: room for one record of that length.
        let n = unsafe { libc::read(self.fd(), info.as_mut_ptr().cast(), len) };
        if n != len as isize {
            return None;
        }
        // SAFETY: filled in by the kernel; any bits are valid.
        let info = unsafe { info.assume_init() };
        Some(Received {
            number: info.ssi_signo as i32,
            code: info.ssi_code,
            value: info.ssi_ptr,
        })
    }
}

/// Sends a signal; ESRCH and the rest do not matter to us. A queued value goes with it.
pub fn send(pid: i32, signal: Received) {
    const SI_QUEUE: i32 = -1;
    if signal.code == SI_QUEUE {
        let value = libc::sigval {
            sival_ptr: signal.value as *mut libc::c_void,
        };
        // SAFETY: plain numbers; the value is the receiver's to interpret.
        unsafe { libc::sigqueue(pid, signal.number, value) };
    } else {
        kill(pid, signal.number);
    }
}

pub fn kill(pid: i32, signal: i32) {
    // SAFETY: plain numbers.
    unsafe { libc::kill(pid, signal) };
}

/// Stops this process as `signal` would stop one that has no handler for it. Returns once it is
/// continued.
pub fn stop_self(signal: i32) {
    let before = Disposition::of(signal);
    let mut only = Set::empty();
    only.add(signal);
    Disposition::default().install(signal);
    kill(std::process::id() as i32, signal);
    let mut old = Set::empty();
    // SAFETY: two valid sets; the pending signal stops us inside this call.
    unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &only.0, &mut old.0) };
    old.install();
    before.install(signal);
}
