//! What the calls of signal_calls.rs need.

use ringer_support::check;
use ringer_support::prelude::*;
use ringer_support::rights::socketpair;

pub const HOURS: libc::timespec = libc::timespec {
    tv_sec: 10_000,
    tv_nsec: 0,
};

pub fn full_pipe() -> Pipe {
    let p = nonblocking_pipe();
    fill(&p.w);
    set_nonblocking(&p.w, false);
    p
}

/// A pair whose first end can send no more.
pub fn full_pair(kind: c_int) -> (Fd, Fd) {
    let (a, b) = socketpair(kind);
    set_nonblocking(&a, true);
    let bytes = [0; 4096];
    // SAFETY: valid bytes.
    while unsafe { libc::send(a.number(), bytes.as_ptr().cast(), bytes.len(), 0) } > 0 {}
    set_nonblocking(&a, false);
    (a, b)
}

pub fn limit_time(fd: &Fd, option: c_int) {
    let time = libc::timeval {
        tv_sec: 10_000,
        tv_usec: 0,
    };
    let (at, len) = (std::ptr::from_ref(&time).cast(), size_of_val(&time) as u32);
    // SAFETY: a valid option.
    check(unsafe { libc::setsockopt(fd.number(), libc::SOL_SOCKET, option, at, len) }).unwrap();
}

pub fn receive(fd: &Fd, flags: c_int) -> Sys {
    let mut byte = 0u8;
    // SAFETY: room for one byte.
    check(unsafe { libc::recv(fd.number(), std::ptr::from_mut(&mut byte).cast(), 1, flags) } as i64)
}

pub fn send(fd: &Fd) -> Sys {
    // SAFETY: one byte.
    check(unsafe { libc::send(fd.number(), b"x".as_ptr().cast(), 1, 0) } as i64)
}

/// recvmsg(2) or sendmsg(2) of one byte.
pub fn message(fd: &Fd, receive: bool) -> Sys {
    let mut byte = 0u8;
    let mut part = libc::iovec {
        iov_base: std::ptr::from_mut(&mut byte).cast(),
        iov_len: 1,
    };
    // SAFETY: zeroes are a valid message.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &mut part;
    message.msg_iovlen = 1;
    let done = match receive {
        // SAFETY: a valid message.
        true => unsafe { libc::recvmsg(fd.number(), &mut message, 0) },
        // SAFETY: a valid message.
        false => unsafe { libc::sendmsg(fd.number(), &message, 0) },
    };
    check(done as i64)
}

pub fn address(name: &str) -> (libc::sockaddr_un, u32) {
    // SAFETY: zeroes are a valid address.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as u16;
    for (to, from) in address.sun_path[1..].iter_mut().zip(name.bytes()) {
        *to = from as i8;
    }
    (address, (3 + name.len()) as u32)
}

/// A socket that listens, and its address.
pub fn listener() -> (Fd, libc::sockaddr_un, u32) {
    let (to, len) = address(&format!("ringer-interrupt-{}", getpid()));
    // SAFETY: numbers.
    let fd = Fd::own(check(unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0) }).unwrap());
    // SAFETY: a valid address.
    check(unsafe { libc::bind(fd.number(), std::ptr::from_ref(&to).cast(), len) }).unwrap();
    // SAFETY: numbers.
    check(unsafe { libc::listen(fd.number(), 0) }).unwrap();
    (fd, to, len)
}

pub fn connect(to: &libc::sockaddr_un, len: u32, go: &dyn Fn()) -> Sys {
    // SAFETY: numbers.
    let fd = Fd::own(check(unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0) }).unwrap());
    go();
    // SAFETY: a valid address.
    let done = check(unsafe { libc::connect(fd.number(), std::ptr::from_ref(to).cast(), len) });
    let _ = fd.leak();
    done
}

/// A child that sleeps until its parent dies.
pub fn sleeper() -> Child {
    fork_run(|| {
        sig::die_with_parent();
        loop {
            let _ = sig::pause();
        }
    })
}

/// A file that somebody else has locked, by `lock`.
pub fn locked(lock: fn(&Fd, bool) -> Sys) -> Fd {
    let s = Shared::new();
    let file = temp_file();
    let path = format!("/proc/self/fd/{}", file.number());
    let holder = fork_run(|| {
        sig::die_with_parent();
        let own = open(&path, O_RDWR).unwrap();
        lock(&own, false).unwrap();
        s.set(0, 1);
        loop {
            let _ = sig::pause();
        }
    });
    s.wait_for(0, 1);
    holder.leak();
    file
}

pub fn whole_file(fd: &Fd, command: c_int) -> Sys {
    // SAFETY: zeroes are a valid lock.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as i16;
    // SAFETY: a valid lock.
    check(unsafe { libc::fcntl(fd.number(), command, &lock) })
}

pub fn queue(messages: usize) -> Fd {
    let name = std::ffi::CString::new(format!("/ringer-interrupt-{}", getpid())).unwrap();
    // SAFETY: zeroes are valid attributes.
    let mut attr: libc::mq_attr = unsafe { std::mem::zeroed() };
    (attr.mq_maxmsg, attr.mq_msgsize) = (1, 8);
    let flags = libc::O_CREAT | O_RDWR;
    // SAFETY: a valid name and attributes.
    let fd = Fd::own(check(unsafe { libc::mq_open(name.as_ptr(), flags, 0o600, &attr) }).unwrap());
    // SAFETY: a valid name.
    unsafe { libc::mq_unlink(name.as_ptr()) };
    for _ in 0..messages {
        // SAFETY: one byte.
        check(unsafe { libc::mq_send(fd.number(), c"x".as_ptr(), 1, 0) }).unwrap();
    }
    fd
}

/// Calls with a System V object, which is removed whatever happens.
pub fn system_v(id: c_int, remove: fn(c_int) -> c_int, call: impl FnOnce() -> Sys) -> Sys {
    let done = call();
    remove(id);
    done
}
