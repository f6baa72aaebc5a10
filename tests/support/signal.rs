//! Signals: counting handlers, masks, timers. See sigaction(2), sigprocmask(2), setitimer(2).

use crate::check;
use libc::{c_int, c_void, pid_t, siginfo_t, sigset_t};
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, AtomicU64, Ordering::SeqCst};

const SIGNALS: usize = 65;
static SEEN: [AtomicU32; SIGNALS] = [const { AtomicU32::new(0) }; SIGNALS];
static CODE: [AtomicI32; SIGNALS] = [const { AtomicI32::new(0) }; SIGNALS];
static SENDER: [AtomicI32; SIGNALS] = [const { AtomicI32::new(0) }; SIGNALS];
static BAND: [AtomicI32; SIGNALS] = [const { AtomicI32::new(0) }; SIGNALS];
static FD: [AtomicI32; SIGNALS] = [const { AtomicI32::new(-1) }; SIGNALS];

/// Also counted there, for other processes to see.
static PUBLISHED: AtomicPtr<AtomicU64> = AtomicPtr::new(std::ptr::null_mut());

/// A handler with `SA_SIGINFO`. It must be async-signal-safe.
pub type Handler = extern "C" fn(c_int, *mut siginfo_t, *mut c_void);

extern "C" fn note(signal: c_int, info: *mut siginfo_t, _context: *mut c_void) {
    let i = signal as usize;
    // SAFETY: the kernel gives a valid siginfo with SA_SIGINFO.
    let info = unsafe { &*info };
    CODE[i].store(info.si_code, SeqCst);
    // SAFETY: si_pid is plain data, whatever member of the union is in use.
    SENDER[i].store(unsafe { info.si_pid() }, SeqCst);
    // si_band and si_fd, which libc does not name: siginfo's union begins at byte 16.
    let words: *const c_int = std::ptr::from_ref(info).cast();
    // SAFETY: siginfo is 128 bytes of plain data.
    BAND[i].store(unsafe { *words.add(4) }, SeqCst);
    // SAFETY: as above.
    FD[i].store(unsafe { *words.add(6) }, SeqCst);
    SEEN[i].fetch_add(1, SeqCst);
    // SAFETY: null, or a word that lives for ever.
    if let Some(word) = unsafe { PUBLISHED.load(SeqCst).as_ref() } {
        word.fetch_add(1, SeqCst);
    }
}

/// Makes the counting handlers of this process count in this word too.
pub fn publish(word: &'static AtomicU64) {
    PUBLISHED.store(std::ptr::from_ref(word).cast_mut(), SeqCst);
}

/// Installs a handler that counts.
pub fn count(signal: c_int, flags: c_int) {
    handle(signal, flags, note);
}

/// How often the counting handler has run.
pub fn seen(signal: c_int) -> u32 {
    SEEN[signal as usize].load(SeqCst)
}

/// `si_code` of the last one.
pub fn code(signal: c_int) -> c_int {
    CODE[signal as usize].load(SeqCst)
}

/// `si_pid` of the last one.
pub fn sender(signal: c_int) -> pid_t {
    SENDER[signal as usize].load(SeqCst)
}

/// `si_band` of the last one, if it came from F_SETSIG.
pub fn band(signal: c_int) -> c_int {
    BAND[signal as usize].load(SeqCst)
}

/// `si_fd` of the last one, if it came from F_SETSIG.
pub fn fd(signal: c_int) -> c_int {
    FD[signal as usize].load(SeqCst)
}

/// Installs a handler; all signals but this one stay deliverable in it.
pub fn handle(signal: c_int, flags: c_int, handler: Handler) {
    install(
        signal,
        flags | libc::SA_SIGINFO,
        handler as *const () as usize,
    );
}

pub fn ignore(signal: c_int) {
    install(signal, 0, libc::SIG_IGN);
}

pub fn default(signal: c_int) {
    install(signal, 0, libc::SIG_DFL);
}

fn install(signal: c_int, flags: c_int, handler: usize) {
    // SAFETY: all zero bits are a valid sigaction.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = handler;
    action.sa_flags = flags;
    // SAFETY: a valid action; handlers are async-signal-safe by contract.
    let done = unsafe { libc::sigaction(signal, &action, std::ptr::null_mut()) };
    check(done).expect("sigaction");
}

fn set_of(signals: &[c_int]) -> sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset initialises all of it.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: initialised above.
    let mut set = unsafe { set.assume_init() };
    for signal in signals {
        // SAFETY: a valid set.
        unsafe { libc::sigaddset(&mut set, *signal) };
    }
    set
}

/// The empty set, or one of these.
pub fn set(signals: &[c_int]) -> sigset_t {
    set_of(signals)
}

/// Blocks signals in this thread.
pub fn block(signals: &[c_int]) {
    // SAFETY: a valid set.
    let done =
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set_of(signals), std::ptr::null_mut()) };
    assert_eq!(done, 0, "pthread_sigmask");
}

/// Unblocks signals in this thread.
pub fn unblock(signals: &[c_int]) {
    // SAFETY: a valid set.
    let done =
        unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &set_of(signals), std::ptr::null_mut()) };
    assert_eq!(done, 0, "pthread_sigmask");
}

pub fn kill(pid: pid_t, signal: c_int) {
    // SAFETY: numbers.
    check(unsafe { libc::kill(pid, signal) }).expect("kill");
}

/// Sends a signal to one thread of this process.
pub fn tgkill(tid: pid_t, signal: c_int) {
    let pid = crate::child::getpid();
    // SAFETY: numbers.
    check(unsafe { libc::syscall(libc::SYS_tgkill, pid, tid, signal) }).expect("tgkill");
}

/// Makes the kernel send SIGALRM every so many microseconds; 0 stops it.
pub fn alarm_every(microseconds: i64) {
    let step = libc::timeval {
        tv_sec: 0,
        tv_usec: microseconds,
    };
    let timer = libc::itimerval {
        it_interval: step,
        it_value: step,
    };
    // SAFETY: a valid timer, and no wish to know the old one.
    let done = unsafe { libc::setitimer(libc::ITIMER_REAL, &timer, std::ptr::null_mut()) };
    check(done).expect("setitimer");
}

/// Which signals are pending for this thread or process.
pub fn is_pending(signal: c_int) -> bool {
    let mut set = set_of(&[]);
    // SAFETY: a valid set.
    check(unsafe { libc::sigpending(&mut set) }).expect("sigpending");
    // SAFETY: a valid set.
    unsafe { libc::sigismember(&set, signal) == 1 }
}

/// Sends a signal to this thread.
pub fn raise(number: c_int) {
    // SAFETY: a number.
    assert_eq!(unsafe { libc::raise(number) }, 0);
}

/// sigqueue(3): to a process, with a value.
pub fn queue(pid: i32, number: c_int, value: usize) {
    let value = libc::sigval {
        sival_ptr: value as *mut c_void,
    };
    // SAFETY: numbers.
    check(unsafe { libc::sigqueue(pid, number, value) }).unwrap();
}

/// What a siginfo says.
pub struct Got {
    pub number: c_int,
    pub code: c_int,
    pub pid: pid_t,
    pub value: usize,
}

/// sigtimedwait(2).
pub fn wait_for(numbers: &[c_int], milliseconds: i64) -> Result<Got, i32> {
    let mut info = MaybeUninit::<siginfo_t>::zeroed();
    let timeout = libc::timespec {
        tv_sec: milliseconds / 1000,
        tv_nsec: milliseconds % 1000 * 1_000_000,
    };
    let set = set_of(numbers);
    // SAFETY: valid arguments.
    let number = check(unsafe { libc::sigtimedwait(&set, info.as_mut_ptr(), &timeout) })?;
    // SAFETY: plain data, zeroed or written.
    let info = unsafe { info.assume_init() };
    assert_eq!((info.si_signo, info.si_errno), (number as c_int, 0));
    Ok(Got {
        number: info.si_signo,
        code: info.si_code,
        // SAFETY: plain data, whatever member of the union is in use.
        pid: unsafe { info.si_pid() },
        // SAFETY: as above.
        value: unsafe { info.si_value().sival_ptr } as usize,
    })
}

/// sigsuspend(2).
pub fn suspend(numbers: &[c_int]) -> crate::Sys {
    // SAFETY: a valid set.
    check(unsafe { libc::sigsuspend(&set_of(numbers)) })
}

/// signalfd(2) for one signal.
pub fn signalfd(number: c_int, flags: c_int) -> crate::fd::Fd {
    // SAFETY: a valid set.
    let fd = check(unsafe { libc::signalfd(-1, &set_of(&[number]), flags) }).unwrap();
    crate::fd::Fd::own(fd)
}
