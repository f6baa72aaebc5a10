//! Linux calls that std does not have, as safe functions. All `unsafe` about system calls is here.

pub mod clock;
pub mod host;
pub mod namespace;
pub mod peek;
pub mod process;
pub mod procfs;
pub mod signal;

use std::ffi::{CStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;

pub use host::Here;

/// -1 is `errno`, anything else is not.
fn check(ret: libc::c_int) -> io::Result<libc::c_int> {
    if ret == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(ret)
    }
}

/// What perror(3) would say, without std's "(os error 2)".
pub fn error_text(e: &io::Error) -> String {
    match e.raw_os_error() {
        Some(errno) => strerror(errno),
        None => e.to_string(),
    }
}

pub fn strerror(errno: i32) -> String {
    let mut buf = [0 as libc::c_char; 256];
    // SAFETY: the buffer is as long as we say; XSI strerror_r ends it with a NUL.
    unsafe { libc::strerror_r(errno, buf.as_mut_ptr(), buf.len()) };
    // SAFETY: NUL-terminated, as just said, and alive until the copy is made.
    unsafe { CStr::from_ptr(buf.as_ptr()) }
        .to_string_lossy()
        .into_owned()
}

pub fn uid() -> u32 {
    // SAFETY: geteuid(2) cannot fail and touches no memory.
    unsafe { libc::geteuid() }
}

/// The user's name, or the number if nobody has it.
pub fn user_name(uid: u32) -> String {
    // SAFETY: getpwuid(3) in a program whose other threads do not call it.
    let entry = unsafe { libc::getpwuid(uid).as_ref() };
    let name = entry.map(|e| {
        // SAFETY: NUL-terminated, and alive until the next call.
        unsafe { CStr::from_ptr(e.pw_name) }
    });
    name.map_or_else(|| uid.to_string(), |n| n.to_string_lossy().into_owned())
}

pub fn is_terminal(fd: RawFd) -> bool {
    // SAFETY: isatty(3) takes any number.
    unsafe { libc::isatty(fd) == 1 }
}

/// Random bits for a name that nobody else has.
pub fn random() -> u64 {
    let mut bytes = [0u8; 8];
    // SAFETY: writes at most the 8 bytes of the buffer.
    let n = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), libc::GRND_NONBLOCK) };
    if n == bytes.len() as isize {
        u64::from_le_bytes(bytes)
    } else {
        clock::monotonic_ns().rotate_left(23) ^ u64::from(std::process::id())
    }
}

/// flock(2), without waiting. `false`: somebody else has it.
pub fn try_lock(fd: BorrowedFd<'_>) -> bool {
    // SAFETY: an open descriptor and two flags.
    unsafe { libc::flock(fd.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) == 0 }
}

/// Whether another open file description, or a mapping made through one, can write to this file.
/// Asked by a lease, which the kernel grants only to who is alone. `None`: it cannot say.
pub fn is_open_elsewhere(fd: BorrowedFd<'_>) -> Option<bool> {
    const F_SETSIG: libc::c_int = 10;
    // Somebody who opens the file this moment breaks the lease: let that be a signal that does
    // nothing.
    let steps = [(F_SETSIG, libc::SIGURG), (libc::F_SETLEASE, libc::F_WRLCK)];
    for (command, argument) in steps {
        // SAFETY: an open descriptor and numbers.
        if let Err(e) = check(unsafe { libc::fcntl(fd.as_raw_fd(), command, argument) }) {
            return (e.raw_os_error() == Some(libc::EAGAIN)).then_some(true);
        }
    }
    // SAFETY: as above.
    unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETLEASE, libc::F_UNLCK) };
    Some(false)
}

/// RLIMIT_FSIZE, bytes: how long a file of ours may get.
pub fn file_size_limit() -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: u64::MAX,
        rlim_max: u64::MAX,
    };
    // SAFETY: fills in the struct that it is given.
    unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &mut limit) };
    limit.rlim_cur
}

/// Makes descriptor `to` name /dev/null; nobody can tell by us any more who has the other end.
pub fn let_go(to: RawFd) {
    if let Ok(null) = open_null() {
        // SAFETY: both are descriptors; dup3 replaces `to`, which no Rust object owns (0, 1, 2).
        unsafe { libc::dup3(null.as_raw_fd(), to, libc::O_CLOEXEC) };
    }
}

/// Opens /dev/null on those of 0, 1 and 2 that are closed, so that no file of ours gets such a
/// number; close-on-exec, so that the command finds them closed as we did.
pub fn fill_standard_descriptors() {
    while let Ok(null) = open_null() {
        if null.as_raw_fd() > 2 {
            return;
        }
        std::mem::forget(null);
    }
}

fn open_null() -> io::Result<OwnedFd> {
    // SAFETY: a constant, NUL-terminated path.
    let fd = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) };
    check(fd)?;
    // SAFETY: just opened, nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// pipe2(2) with O_CLOEXEC: read end, write end.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [0; 2];
    // SAFETY: room for two descriptors.
    check(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) })?;
    // SAFETY: just made, nobody else owns them.
    Ok(unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) })
}

/// poll(2); which of `fds` are readable or hung up. EINTR counts as "none".
pub fn poll(fds: &mut [libc::pollfd], timeout_ms: i32) -> io::Result<()> {
    // SAFETY: the slice is as long as we say.
    let n = unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, timeout_ms) };
    match check(n) {
        Ok(_) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::Interrupted => {
            fds.iter_mut().for_each(|f| f.revents = 0);
            Ok(())
        }
        Err(e) => Err(e),
    }
}

pub fn pollfd(fd: RawFd) -> libc::pollfd {
    libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    }
}

/// Raises the soft limit of descriptors to the hard one: a session may have 1,000 processes, and
/// each costs a pidfd. The command has been started before, with the limit that it inherited.
pub fn raise_descriptor_limit() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: room for one rlimit.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return;
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: a valid rlimit; failure leaves the old one.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
}

/// Whether programs can be mapped from the file system of `path`, which exists.
pub fn is_executable_mount(path: &CStr) -> bool {
    // SAFETY: statvfs is plain data; zeros are valid.
    let mut fs: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: a NUL-terminated path and room for one answer.
    let ret = unsafe { libc::statvfs(path.as_ptr(), &mut fs) };
    ret == 0 && fs.f_flag & libc::ST_NOEXEC == 0
}

/// How many processors this process may run on.
pub fn processors() -> usize {
    cpu_set().map_or(1, |set| {
        // SAFETY: a valid set.
        unsafe { libc::CPU_COUNT(&set) as usize }
    })
}

fn cpu_set() -> io::Result<libc::cpu_set_t> {
    // SAFETY: cpu_set_t is plain data; zeros are the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: room for one set of the size given.
    check(unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) })?;
    Ok(set)
}

/// The calling thread may run on one processor only, the first that it had. Async-signal-safe.
pub fn pin_to_one_processor() -> io::Result<()> {
    let all = cpu_set()?;
    // SAFETY: zeros are the empty set.
    let mut one: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for cpu in 0..libc::CPU_SETSIZE as usize {
        // SAFETY: `cpu` is below CPU_SETSIZE.
        if unsafe { libc::CPU_ISSET(cpu, &all) } {
            // SAFETY: as above.
            unsafe { libc::CPU_SET(cpu, &mut one) };
            break;
        }
    }
    // SAFETY: a valid set of the size given.
    check(unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &one) }).map(drop)
}

/// Bytes of a NUL-padded command name, as text.
pub fn comm_text(comm: [u8; 16]) -> String {
    let len = comm.iter().position(|&b| b == 0).unwrap_or(comm.len());
    String::from_utf8_lossy(comm.get(..len).unwrap_or(&comm)).into_owned()
}

pub fn os_string(bytes: Vec<u8>) -> OsString {
    OsString::from_vec(bytes)
}
