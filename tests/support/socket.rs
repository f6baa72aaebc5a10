//! sys/socket.h, by the names that programs call.

use crate::fd::{Descriptor, Fd};
use crate::{check, Sys};
use libc::{c_int, c_void};

pub use libc::{SOCK_DGRAM, SOCK_NONBLOCK, SOCK_SEQPACKET, SOCK_STREAM};

pub const TYPES: [c_int; 3] = [SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET];

/// socketpair(2), of `AF_UNIX`.
pub fn pair(kind: c_int) -> (Fd, Fd) {
    let mut fds = [-1; 2];
    // SAFETY: room for two descriptors.
    let ret = unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()) };
    check(ret).expect("socketpair");
    let [a, b] = fds.map(|fd| Fd::own(fd as usize));
    (a, b)
}

pub fn send(fd: impl Descriptor, bytes: &[u8], flags: c_int) -> Sys {
    // SAFETY: as many bytes as there are.
    check(unsafe { libc::send(fd.number(), bytes.as_ptr().cast(), bytes.len(), flags) } as i64)
}

/// recv(2) of at most `max` bytes.
pub fn recv(fd: impl Descriptor, max: usize, flags: c_int) -> Result<Vec<u8>, i32> {
    let mut bytes = vec![0xAA; max];
    let n = recv_to(fd, &mut bytes, flags)?;
    bytes.truncate(n);
    Ok(bytes)
}

/// recv(2), and what it gave: with MSG_TRUNC perhaps more than there is room.
pub fn recv_to(fd: impl Descriptor, bytes: &mut [u8], flags: c_int) -> Sys {
    let (at, len) = (bytes.as_mut_ptr().cast(), bytes.len());
    // SAFETY: room for as many bytes.
    check(unsafe { libc::recv(fd.number(), at, len, flags) } as i64)
}

/// recv(2) to an address that may be bad.
pub fn recv_at(fd: impl Descriptor, address: usize, len: usize, flags: c_int) -> Sys {
    // SAFETY: the kernel judges the address.
    check(unsafe { libc::recv(fd.number(), address as *mut c_void, len, flags) } as i64)
}

pub fn shutdown(fd: impl Descriptor, how: c_int) -> Sys {
    // SAFETY: numbers.
    check(unsafe { libc::shutdown(fd.number(), how) })
}

/// getsockopt(2) of an int of `SOL_SOCKET`.
pub fn option(fd: impl Descriptor, name: c_int) -> Sys<c_int> {
    let (mut value, mut len) = (0, 4);
    let at = (&raw mut value).cast();
    // SAFETY: room for an int.
    let ret = unsafe { libc::getsockopt(fd.number(), libc::SOL_SOCKET, name, at, &mut len) };
    check(ret).map(|_| value)
}

pub fn set_option<T>(fd: impl Descriptor, name: c_int, value: T) -> Sys {
    let (at, len) = ((&raw const value).cast(), size_of::<T>() as u32);
    // SAFETY: the value is that long.
    check(unsafe { libc::setsockopt(fd.number(), libc::SOL_SOCKET, name, at, len) })
}

/// SO_RCVTIMEO or SO_SNDTIMEO.
pub fn set_timeout(fd: impl Descriptor, name: c_int, milliseconds: i64) {
    let value = libc::timeval {
        tv_sec: milliseconds / 1000,
        tv_usec: milliseconds % 1000 * 1000,
    };
    set_option(fd, name, value).expect("a timeout");
}

/// SIOCOUTQ.
pub fn charged(fd: impl Descriptor) -> c_int {
    let mut n = 0;
    crate::fd::ioctl_int(fd, libc::TIOCOUTQ, &mut n).expect("SIOCOUTQ");
    n
}

/// What recvmsg(2) said besides the bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct Told {
    pub bytes: usize,
    pub flags: c_int,
    pub name_len: u32,
    pub control_len: usize,
}

/// recvmsg(2) with room for an address and ancillary data.
pub fn recvmsg(fd: impl Descriptor, parts: &mut [&mut [u8]], flags: c_int) -> Result<Told, i32> {
    let mut iov: Vec<libc::iovec> = (parts.iter_mut())
        .map(|p| libc::iovec {
            iov_base: p.as_mut_ptr().cast(),
            iov_len: p.len(),
        })
        .collect();
    let (mut name, mut control) = ([0u8; 128], [0u64; 8]);
    // SAFETY: all zero is a valid msghdr.
    let mut m: libc::msghdr = unsafe { std::mem::zeroed() };
    m.msg_iov = iov.as_mut_ptr();
    m.msg_iovlen = iov.len();
    (m.msg_name, m.msg_namelen) = (name.as_mut_ptr().cast(), 128);
    (m.msg_control, m.msg_controllen) = (control.as_mut_ptr().cast(), 64);
    // SAFETY: everything that it names is there, and that long.
    let n = check(unsafe { libc::recvmsg(fd.number(), &mut m, flags) } as i64)?;
    Ok(Told {
        bytes: n,
        flags: m.msg_flags,
        name_len: m.msg_namelen,
        control_len: m.msg_controllen,
    })
}

/// sendmsg(2) of several parts to the peer.
pub fn sendmsg(fd: impl Descriptor, parts: &[&[u8]], flags: c_int) -> Sys {
    let iov: Vec<libc::iovec> = (parts.iter())
        .map(|p| libc::iovec {
            iov_base: p.as_ptr().cast_mut().cast(),
            iov_len: p.len(),
        })
        .collect();
    // SAFETY: all zero is a valid msghdr.
    let mut m: libc::msghdr = unsafe { std::mem::zeroed() };
    m.msg_iov = iov.as_ptr().cast_mut();
    m.msg_iovlen = iov.len();
    // SAFETY: everything that it names is there, and that long.
    check(unsafe { libc::sendmsg(fd.number(), &m, flags) } as i64)
}

/// sendmmsg(2) of messages of one part.
pub fn sendmmsg(fd: impl Descriptor, messages: &[&[u8]], flags: c_int) -> Sys {
    with_list(&mut iovs(messages), |list, n| {
        // SAFETY: everything that it names is there, and that long.
        check(unsafe { libc::sendmmsg(fd.number(), list, n, flags) })
    })
    .0
}

/// recvmmsg(2) into `rooms`; how many, and how long each is.
pub fn recvmmsg(fd: impl Descriptor, rooms: &mut [&mut [u8]], flags: c_int) -> (Sys, Vec<usize>) {
    let mut iovs: Vec<libc::iovec> = (rooms.iter_mut())
        .map(|p| libc::iovec {
            iov_base: p.as_mut_ptr().cast(),
            iov_len: p.len(),
        })
        .collect();
    with_list(&mut iovs, |list, n| {
        let never = std::ptr::null_mut();
        // SAFETY: everything that it names is there, and that long.
        check(unsafe { libc::recvmmsg(fd.number(), list, n, flags, never) })
    })
}

fn iovs(messages: &[&[u8]]) -> Vec<libc::iovec> {
    (messages.iter())
        .map(|p| libc::iovec {
            iov_base: p.as_ptr().cast_mut().cast(),
            iov_len: p.len(),
        })
        .collect()
}

fn with_list(
    iovs: &mut [libc::iovec],
    call: impl FnOnce(*mut libc::mmsghdr, u32) -> Sys,
) -> (Sys, Vec<usize>) {
    let mut list: Vec<libc::mmsghdr> = (iovs.iter_mut())
        .map(|iov| {
            // SAFETY: all zero is a valid mmsghdr.
            let mut m: libc::mmsghdr = unsafe { std::mem::zeroed() };
            m.msg_hdr.msg_iov = iov;
            m.msg_hdr.msg_iovlen = 1;
            m
        })
        .collect();
    let ret = call(list.as_mut_ptr(), list.len() as u32);
    (ret, list.iter().map(|m| m.msg_len as usize).collect())
}
