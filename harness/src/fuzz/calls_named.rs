//! Calls on Unix sockets that have names, options, or messages with something in them besides bytes.

use std::mem::{size_of, zeroed};
use std::sync::atomic::Ordering::*;

use super::calls::Actor;
use super::program::{Call, ACTORS};

/// Even ones are abstract, odd ones are files.
pub const NAMES: u8 = 4;

/// An address, and its length.
type Address = (libc::sockaddr_un, libc::socklen_t);

/// Always as long, whatever the process ids are.
fn text(prefix: i32, name: u8) -> String {
    format!("/tmp/ringer-fuzz-{prefix:010}-{}", name % NAMES)
}

fn address(prefix: i32, name: u8) -> Address {
    // SAFETY: plain data; zeros are valid.
    let mut to: libc::sockaddr_un = unsafe { zeroed() };
    to.sun_family = libc::AF_UNIX as u16;
    let text = text(prefix, name);
    for (to, byte) in to.sun_path.iter_mut().zip(text.bytes()) {
        *to = byte as libc::c_char;
    }
    if name.is_multiple_of(2) {
        to.sun_path[0] = 0;
    }
    (to, (size_of::<libc::sa_family_t>() + text.len()) as u32)
}

/// What programs have left behind.
pub fn unlink(prefix: i32) {
    for name in (1..NAMES).step_by(2) {
        let _ = std::fs::remove_file(text(prefix, name));
    }
}

pub fn call(actor: &mut Actor, step: usize, call: &Call, out: &mut Vec<u8>) -> i64 {
    match call {
        Call::Socket { to, kind } => {
            // SAFETY: numbers.
            let fd = unsafe { libc::socket(libc::AF_UNIX, *kind, 0) };
            actor.keep(*to, fd)
        }
        Call::Bind { fd, name } => {
            let (at, len) = address(actor.prefix, *name);
            // SAFETY: a whole address.
            unsafe { libc::bind(actor.number(*fd), (&raw const at).cast(), len).into() }
        }
        Call::Listen { fd, backlog } => {
            // SAFETY: numbers.
            unsafe { libc::listen(actor.number(*fd), *backlog).into() }
        }
        Call::Connect { fd, name } => {
            let (at, len) = address(actor.prefix, *name);
            // SAFETY: a whole address.
            unsafe { libc::connect(actor.number(*fd), (&raw const at).cast(), len).into() }
        }
        Call::Accept { fd, to, flags } => {
            let (none, no_len) = (std::ptr::null_mut(), std::ptr::null_mut());
            // SAFETY: numbers; no name is wanted.
            let new = unsafe { libc::accept4(actor.number(*fd), none, no_len, *flags) };
            actor.keep(*to, new)
        }
        Call::Setsockopt { fd, option, value } => {
            let (fd, at) = (actor.number(*fd), (value as *const i32).cast());
            // SAFETY: an int.
            unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, *option, at, 4).into() }
        }
        Call::Getsockopt { fd, option } => {
            let (mut value, mut len) = (0i32, 4);
            let (fd, at) = (actor.number(*fd), (&raw mut value).cast());
            // SAFETY: room for an int.
            let ret = unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, *option, at, &mut len) };
            out.extend(value.to_le_bytes());
            ret.into()
        }
        Call::Outq { fd } => {
            let mut n = 0i32;
            // SAFETY: room for one number.
            let ret = unsafe { libc::ioctl(actor.number(*fd), libc::TIOCOUTQ, &mut n) };
            out.extend(n.to_le_bytes());
            ret.into()
        }
        Call::SendTo {
            fd,
            len,
            flags,
            name,
        } => {
            let from = actor.filled(step, *len);
            let (to, to_len) = address(actor.prefix, *name);
            let (fd, to) = (actor.number(*fd), (&raw const to).cast());
            // SAFETY: as many bytes as there are, and a whole address.
            unsafe { libc::sendto(fd, from, *len as usize, *flags, to, to_len) as i64 }
        }
        Call::Pass {
            fd,
            len,
            flags,
            what,
        } => pass(actor, step, (*fd, *len, *flags), *what),
        Call::Obtain {
            fd,
            len,
            flags,
            room,
            to,
        } => obtain(actor, (*fd, *len, *flags), *room, *to, out),
        _ => -1,
    }
}

/// Room for a control message of credentials and two of descriptors.
type Control = [u64; 16];

fn part(at: *mut libc::c_void, len: u32) -> libc::iovec {
    libc::iovec {
        iov_base: at,
        iov_len: len as usize,
    }
}

fn is_socket(fd: i32) -> bool {
    // SAFETY: plain data; zeros are valid.
    let mut st: libc::stat = unsafe { zeroed() };
    // SAFETY: room for one.
    unsafe { libc::fstat(fd, &mut st) == 0 && st.st_mode & libc::S_IFMT == libc::S_IFSOCK }
}

/// sendmsg(2) with a descriptor. No socket: when the kernel finds those that only lie in each other's queues is
/// its own affair.
fn pass(actor: &mut Actor, step: usize, (fd, len, flags): (u8, u32, i32), what: u8) -> i64 {
    let what = actor.number(what);
    if is_socket(what) {
        return 0;
    }
    let mut part = part(actor.filled(step, len), len);
    let mut control: Control = [0; 16];
    // SAFETY: plain data; zeros are valid.
    let mut m: libc::msghdr = unsafe { zeroed() };
    m.msg_iov = &raw mut part;
    m.msg_iovlen = 1;
    m.msg_control = control.as_mut_ptr().cast();
    // SAFETY: a number.
    m.msg_controllen = unsafe { libc::CMSG_SPACE(4) } as usize;
    // SAFETY: there is room for one.
    let head = unsafe { &mut *libc::CMSG_FIRSTHDR(&raw const m) };
    head.cmsg_level = libc::SOL_SOCKET;
    head.cmsg_type = libc::SCM_RIGHTS;
    // SAFETY: a number.
    head.cmsg_len = unsafe { libc::CMSG_LEN(4) } as usize;
    // SAFETY: there is room for a number behind it.
    unsafe { libc::CMSG_DATA(head).cast::<i32>().write_unaligned(what) };
    // SAFETY: a whole message.
    unsafe { libc::sendmsg(actor.number(fd), &raw const m, flags) as i64 }
}

/// recvmsg(2): bytes, flags, the sender's name, descriptors and credentials.
fn obtain(
    actor: &mut Actor,
    (fd, len, flags): (u8, u32, i32),
    room: u32,
    to: u8,
    out: &mut Vec<u8>,
) -> i64 {
    let mut part = part(actor.buffer.cast(), len);
    let mut control: Control = [0; 16];
    // SAFETY: plain data; zeros are valid.
    let (mut m, mut name): (libc::msghdr, libc::sockaddr_un) = unsafe { (zeroed(), zeroed()) };
    m.msg_name = (&raw mut name).cast();
    m.msg_namelen = size_of::<libc::sockaddr_un>() as u32;
    m.msg_iov = &raw mut part;
    m.msg_iovlen = 1;
    m.msg_control = control.as_mut_ptr().cast();
    m.msg_controllen = (room as usize).min(size_of::<Control>());
    // SAFETY: room for as much as it says.
    let n = unsafe { libc::recvmsg(actor.number(fd), &raw mut m, flags) };
    if n < 0 {
        return n as i64;
    }
    out.extend(m.msg_flags.to_le_bytes());
    out.extend(m.msg_namelen.to_le_bytes());
    // The last byte of a name tells which it is. (One that the kernel has made up is short.)
    let last = (m.msg_namelen as usize).checked_sub(size_of::<libc::sa_family_t>() + 1);
    if let Some(byte) = last
        .filter(|at| *at > 8)
        .and_then(|at| name.sun_path.get(at))
    {
        out.push(*byte as u8);
    }
    // SAFETY: as the kernel has left it.
    let mut at = unsafe { libc::CMSG_FIRSTHDR(&raw const m) };
    // SAFETY: null, or one of the message's.
    while let Some(head) = unsafe { at.as_ref() } {
        tell(actor, head, to, out);
        // SAFETY: one of the message's.
        at = unsafe { libc::CMSG_NXTHDR(&raw const m, at) };
    }
    let from: *const u8 = actor.buffer;
    // SAFETY: the kernel has put as many there, and there is room for no more.
    out.extend(unsafe { std::slice::from_raw_parts(from, (n as usize).min(len as usize)) });
    n as i64
}

fn tell(actor: &mut Actor, head: &libc::cmsghdr, to: u8, out: &mut Vec<u8>) {
    // SAFETY: a number.
    let bytes = head.cmsg_len - unsafe { libc::CMSG_LEN(0) } as usize;
    // SAFETY: it has so many.
    let data = unsafe { libc::CMSG_DATA(head) };
    out.extend([head.cmsg_type as u8, bytes as u8]);
    match head.cmsg_type {
        libc::SCM_RIGHTS => {
            for i in 0..bytes / 4 {
                // SAFETY: within it.
                let fd = unsafe { data.cast::<i32>().add(i).read_unaligned() };
                out.push(fd as u8);
                actor.keep(to, fd);
            }
        }
        libc::SCM_CREDENTIALS if bytes == size_of::<libc::ucred>() => {
            // SAFETY: it is one.
            let who = unsafe { data.cast::<libc::ucred>().read_unaligned() };
            let is_his = |a: &usize| actor.page.pids[*a].load(Acquire) == who.pid;
            out.push((0..ACTORS).find(is_his).unwrap_or(99) as u8);
            out.extend(who.uid.to_le_bytes());
            out.extend(who.gid.to_le_bytes());
        }
        _ => {}
    }
}
