//! The calls for signals, thinly: they return what the call said. Sets are words of 64 bits.

use crate::{check, Sys};
use libc::{c_int, c_void, pid_t, pthread_t, sigset_t, timespec};
use std::mem::MaybeUninit;

/// The first real-time signal for programs, as glibc gives it.
pub const RTMIN: c_int = 34;
pub const RTMAX: c_int = 64;
/// fcntl(2): the signal for a descriptor that is ready.
pub const F_SETSIG: c_int = 10;
/// The flag that libc adds for itself.
pub const SA_RESTORER: c_int = 0x0400_0000;

extern "C" {
    fn pthread_sigqueue(thread: pthread_t, number: c_int, value: libc::sigval) -> c_int;
    pub fn sysv_signal(number: c_int, handler: usize) -> usize;
    pub fn bsd_signal(number: c_int, handler: usize) -> usize;
    pub fn sigset(number: c_int, handler: usize) -> usize;
    pub fn sighold(number: c_int) -> c_int;
    pub fn sigrelse(number: c_int) -> c_int;
    pub fn sigignore(number: c_int) -> c_int;
    pub fn siginterrupt(number: c_int, flag: c_int) -> c_int;
    pub fn sigblock(mask: c_int) -> c_int;
    pub fn sigsetmask(mask: c_int) -> c_int;
    pub fn siggetmask() -> c_int;
}

pub fn bit(number: c_int) -> u64 {
    1 << (number - 1)
}

pub fn bits(numbers: &[c_int]) -> u64 {
    numbers.iter().fold(0, |set, n| set | bit(*n))
}

/// The signals in a word.
pub fn members(set: u64) -> Vec<c_int> {
    (1..=64).filter(|n| set & bit(*n) != 0).collect()
}

pub fn bits_of(set: &sigset_t) -> u64 {
    let words: *const u64 = std::ptr::from_ref(set).cast();
    // SAFETY: a sigset is plain data, longer than a word.
    unsafe { *words }
}

pub fn set(bits: u64) -> sigset_t {
    // SAFETY: all bits are a valid set.
    let mut set: sigset_t = unsafe { MaybeUninit::zeroed().assume_init() };
    let words: *mut u64 = std::ptr::from_mut(&mut set).cast();
    // SAFETY: a sigset is plain data, longer than a word.
    unsafe { *words = bits };
    set
}

// Sending.

pub fn kill(pid: pid_t, number: c_int) -> Sys {
    // SAFETY: numbers.
    check(unsafe { libc::kill(pid, number) })
}

pub fn killpg(group: pid_t, number: c_int) -> Sys {
    assert_ne!(group, 1, "that is everybody");
    // SAFETY: numbers.
    check(unsafe { libc::killpg(group, number) })
}

pub fn raise(number: c_int) -> Sys {
    // SAFETY: a number.
    check(unsafe { libc::raise(number) })
}

pub fn tgkill(pid: pid_t, tid: pid_t, number: c_int) -> Sys {
    // SAFETY: numbers.
    check(unsafe { libc::syscall(libc::SYS_tgkill, pid, tid, number) })
}

pub fn tkill(tid: pid_t, number: c_int) -> Sys {
    // SAFETY: numbers.
    check(unsafe { libc::syscall(libc::SYS_tkill, tid, number) })
}

pub fn sys_kill(pid: pid_t, number: c_int) -> Sys {
    // SAFETY: numbers.
    check(unsafe { libc::syscall(libc::SYS_kill, pid, number) })
}

/// The error number is the result.
pub fn pthread_kill(thread: pthread_t, number: c_int) -> c_int {
    // SAFETY: a thread that has not been joined, by contract.
    unsafe { libc::pthread_kill(thread, number) }
}

fn sigval(value: u64) -> libc::sigval {
    libc::sigval {
        sival_ptr: value as *mut c_void,
    }
}

pub fn sigqueue(pid: pid_t, number: c_int, value: u64) -> Sys {
    // SAFETY: numbers.
    check(unsafe { libc::sigqueue(pid, number, sigval(value)) })
}

pub fn thread_sigqueue(thread: pthread_t, number: c_int, value: u64) -> c_int {
    // SAFETY: a thread that has not been joined, by contract.
    unsafe { pthread_sigqueue(thread, number, sigval(value)) }
}

pub fn me() -> pthread_t {
    // SAFETY: no argument.
    unsafe { libc::pthread_self() }
}

/// A siginfo as the kernel lays it out.
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Info {
    pub number: c_int,
    pub errno: c_int,
    pub code: c_int,
    pub pad: c_int,
    pub payload: [u64; 14],
}

impl Info {
    pub fn new(code: c_int) -> Info {
        Info {
            number: 0,
            errno: 0,
            code,
            pad: 0,
            payload: [0; 14],
        }
    }

    pub fn pid(&self) -> i32 {
        self.payload[0] as i32
    }

    pub fn uid(&self) -> u32 {
        (self.payload[0] >> 32) as u32
    }

    pub fn value(&self) -> u64 {
        self.payload[1]
    }
}

/// Where a siginfo is, or is not.
pub struct InfoAt(usize);

impl From<&Info> for InfoAt {
    fn from(info: &Info) -> InfoAt {
        InfoAt(std::ptr::from_ref(info) as usize)
    }
}

impl From<usize> for InfoAt {
    fn from(at: usize) -> InfoAt {
        InfoAt(at)
    }
}

pub fn rt_sigqueueinfo(pid: pid_t, number: c_int, info: impl Into<InfoAt>) -> Sys {
    let info = info.into().0;
    // SAFETY: the kernel copies, and says EFAULT.
    check(unsafe { libc::syscall(libc::SYS_rt_sigqueueinfo, pid, number, info) })
}

pub fn rt_tgsigqueueinfo(pid: pid_t, tid: pid_t, number: c_int, info: impl Into<InfoAt>) -> Sys {
    let info = info.into().0;
    // SAFETY: the kernel copies, and says EFAULT.
    check(unsafe { libc::syscall(libc::SYS_rt_tgsigqueueinfo, pid, tid, number, info) })
}

// Masks and what is pending.

/// The mask of this thread.
pub fn mask() -> u64 {
    let mut old = set(0);
    // SAFETY: no new set; room for the old one.
    let done = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &mut old) };
    assert_eq!(done, 0, "pthread_sigmask");
    bits_of(&old)
}

/// sigprocmask(2): the old mask.
pub fn change_mask(how: c_int, bits: u64) -> Sys<u64> {
    let mut old = set(0);
    // SAFETY: valid sets.
    check(unsafe { libc::sigprocmask(how, &set(bits), &mut old) })?;
    Ok(bits_of(&old))
}

pub fn block(bits: u64) -> u64 {
    change_mask(libc::SIG_BLOCK, bits).expect("SIG_BLOCK")
}

pub fn unblock(bits: u64) -> u64 {
    change_mask(libc::SIG_UNBLOCK, bits).expect("SIG_UNBLOCK")
}

pub fn set_mask(bits: u64) -> u64 {
    change_mask(libc::SIG_SETMASK, bits).expect("SIG_SETMASK")
}

pub fn pending() -> u64 {
    let mut now = set(0);
    // SAFETY: room for a set.
    check(unsafe { libc::sigpending(&mut now) }).expect("sigpending");
    bits_of(&now)
}

// Actions.

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Action {
    pub handler: usize,
    /// Without SA_RESTORER.
    pub flags: c_int,
    pub mask: u64,
}

fn zeroed_action() -> libc::sigaction {
    // SAFETY: all zero bits are a valid sigaction.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

fn decode(action: &libc::sigaction) -> Action {
    Action {
        handler: action.sa_sigaction,
        flags: action.sa_flags & !SA_RESTORER,
        mask: bits_of(&action.sa_mask),
    }
}

/// sigaction(2): the old action.
pub fn set_action(number: c_int, handler: usize, flags: c_int, mask: u64) -> Sys<Action> {
    let mut new = zeroed_action();
    let mut old = zeroed_action();
    new.sa_sigaction = handler;
    new.sa_flags = flags;
    new.sa_mask = set(mask);
    // SAFETY: valid actions; handlers are async-signal-safe by contract.
    check(unsafe { libc::sigaction(number, &new, &mut old) })?;
    Ok(decode(&old))
}

pub fn action(number: c_int) -> Sys<Action> {
    let mut old = zeroed_action();
    // SAFETY: no new action; room for the old one.
    check(unsafe { libc::sigaction(number, std::ptr::null(), &mut old) })?;
    Ok(decode(&old))
}

pub fn ignore(number: c_int) {
    set_action(number, libc::SIG_IGN, 0, 0).expect("SIG_IGN");
}

pub fn default(number: c_int) {
    set_action(number, libc::SIG_DFL, 0, 0).expect("SIG_DFL");
}

// Waiting.

pub fn sigsuspend(bits: u64) -> Sys {
    // SAFETY: a valid set.
    check(unsafe { libc::sigsuspend(&set(bits)) })
}

pub fn pause() -> Sys {
    // SAFETY: no argument.
    check(unsafe { libc::pause() })
}

/// sigtimedwait(2); without a timeout, sigwaitinfo(2).
pub fn wait_info(bits: u64, timeout: Option<timespec>) -> Sys<Info> {
    let mut info = Info::new(0);
    let at = std::ptr::from_mut(&mut info).cast();
    let number = match timeout {
        // SAFETY: valid arguments.
        Some(time) => check(unsafe { libc::sigtimedwait(&set(bits), at, &time) })?,
        // SAFETY: valid arguments.
        None => check(unsafe { libc::sigwaitinfo(&set(bits), at) })?,
    };
    assert_eq!(number as c_int, info.number);
    Ok(info)
}

/// sigtimedwait(2) with no time.
pub fn poll_info(bits: u64) -> Sys<Info> {
    wait_info(bits, Some(crate::ready::milliseconds(0)))
}

/// sigwait(3): the signal, or the error number.
pub fn sigwait(bits: u64) -> Sys<c_int> {
    let mut number = 0;
    // SAFETY: valid arguments.
    match unsafe { libc::sigwait(&set(bits), &mut number) } {
        0 => Ok(number),
        e => Err(e),
    }
}

// Users and groups of processes.

/// Becomes a user that nobody else is; `None` without the right to.
pub fn become_nobody_else() -> Option<u32> {
    if !crate::child::is_root() {
        return None;
    }
    let uid = 100_000 + crate::child::getpid() as u32;
    set_users(uid, uid, uid);
    Some(uid)
}

pub fn set_users(real: u32, effective: u32, saved: u32) {
    // SAFETY: numbers.
    check(unsafe { libc::setresuid(real, effective, saved) }).expect("setresuid");
    die_with_parent();
}

/// Whoever leaves the group of the test is not found by its watchdog: so it dies with its parent.
pub fn die_with_parent() {
    // SAFETY: numbers.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) }).expect("prctl");
}

/// A process group of this process's own.
pub fn own_group() -> pid_t {
    // SAFETY: numbers.
    check(unsafe { libc::setpgid(0, 0) }).expect("setpgid");
    die_with_parent();
    crate::child::getpid()
}

/// No core dumps, please.
pub fn no_core() {
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: a valid limit.
    check(unsafe { libc::setrlimit(libc::RLIMIT_CORE, &none) }).expect("setrlimit");
}
