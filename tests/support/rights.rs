//! Passing descriptors over a Unix socket. See unix(7) SCM_RIGHTS.

use crate::fd::{Descriptor, Fd};
use crate::{check, Sys};
use libc::{c_int, cmsghdr, iovec, msghdr};
use std::mem::{size_of, MaybeUninit};

/// socketpair(2) of a type.
pub fn socketpair(kind: c_int) -> (Fd, Fd) {
    let mut ends = [-1; 2];
    // SAFETY: room for two ints.
    let done = unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) };
    check(done).expect("socketpair");
    (Fd::own(ends[0] as usize), Fd::own(ends[1] as usize))
}

const ROOM: usize = 64;

/// A control buffer, aligned as `cmsghdr` wants it.
#[repr(C, align(8))]
struct Control([u8; ROOM]);

fn message(data: &mut iovec, control: &mut Control, len: usize) -> msghdr {
    // SAFETY: all zero bits are a valid msghdr.
    let mut m: msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    m.msg_iov = data;
    m.msg_iovlen = 1;
    m.msg_control = control.0.as_mut_ptr().cast();
    m.msg_controllen = len;
    m
}

/// Sends one byte and these descriptors with it.
pub fn send_fds(socket: impl Descriptor, fds: &[c_int]) -> Sys {
    let mut byte = *b"!";
    let mut data = iovec {
        iov_base: byte.as_mut_ptr().cast(),
        iov_len: 1,
    };
    let mut control = Control([0; ROOM]);
    let bytes = size_of::<cmsghdr>() + size_of_val(fds);
    assert!(bytes <= ROOM);
    let header = cmsghdr {
        cmsg_len: bytes,
        cmsg_level: libc::SOL_SOCKET,
        cmsg_type: libc::SCM_RIGHTS,
    };
    let at = control.0.as_mut_ptr();
    // SAFETY: aligned, and there is room for the header.
    unsafe { at.cast::<cmsghdr>().write(header) };
    for (i, fd) in fds.iter().enumerate() {
        let at = size_of::<cmsghdr>() + i * size_of::<c_int>();
        control.0[at..at + 4].copy_from_slice(&fd.to_ne_bytes());
    }
    let m = message(&mut data, &mut control, bytes);
    // SAFETY: a valid message; all it points at lives.
    check(unsafe { libc::sendmsg(socket.number(), &m, libc::MSG_NOSIGNAL) } as i64)
}

/// Receives what [`send_fds`] sent.
pub fn receive_fds(socket: impl Descriptor) -> Result<Vec<Fd>, i32> {
    let mut byte = [0u8];
    let mut data = iovec {
        iov_base: byte.as_mut_ptr().cast(),
        iov_len: 1,
    };
    let mut control = Control([0; ROOM]);
    let mut m = message(&mut data, &mut control, ROOM);
    // SAFETY: a valid message with room for what comes.
    let n = check(unsafe { libc::recvmsg(socket.number(), &mut m, 0) } as i64)?;
    assert_eq!((n, byte), (1, *b"!"));
    let len = m.msg_controllen;
    if len == 0 {
        return Ok(vec![]);
    }
    // SAFETY: aligned, and the kernel has written a header.
    let header = unsafe { control.0.as_ptr().cast::<cmsghdr>().read() };
    assert_eq!(header.cmsg_type, libc::SCM_RIGHTS);
    let fds = control.0[size_of::<cmsghdr>()..header.cmsg_len].chunks_exact(4);
    let number = |bytes: &[u8]| c_int::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    Ok(fds.map(|bytes| Fd::own(number(bytes) as usize)).collect())
}
