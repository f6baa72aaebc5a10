//! Unix sockets, thinly. See unix(7).

use crate::fd::{Descriptor, Fd};
use crate::{check, Sys};
use libc::{c_int, cmsghdr, iovec, msghdr, sockaddr, sockaddr_un, ucred};
use std::mem::{offset_of, size_of, zeroed};

/// Bytes before the path.
const HEAD: usize = offset_of!(sockaddr_un, sun_path);

/// An address as the kernel takes and gives it.
#[derive(Clone)]
pub struct Address {
    raw: sockaddr_un,
    pub len: usize,
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.name()))
    }
}

impl PartialEq for Address {
    fn eq(&self, other: &Address) -> bool {
        self.name() == other.name()
    }
}

impl Address {
    /// These bytes, as they are, in `sun_path`.
    pub fn of(bytes: &[u8]) -> Address {
        // SAFETY: zeroes are a valid address.
        let mut raw: sockaddr_un = unsafe { zeroed() };
        raw.sun_family = libc::AF_UNIX as u16;
        for (to, from) in raw.sun_path.iter_mut().zip(bytes) {
            *to = *from as i8;
        }
        Address {
            raw,
            len: HEAD + bytes.len(),
        }
    }

    /// An abstract name of this process's.
    pub fn abstract_name(name: &str) -> Address {
        Address::of(format!("\0ringer-{}-{name}", crate::child::getpid()).as_bytes())
    }

    pub fn path(path: &std::path::Path) -> Address {
        use std::os::unix::ffi::OsStrExt;
        let mut bytes = path.as_os_str().as_bytes().to_vec();
        bytes.push(0);
        Address::of(&bytes)
    }

    /// What is in `sun_path`: nothing for a socket without a name.
    pub fn name(&self) -> Vec<u8> {
        let n = self.len.saturating_sub(HEAD).min(self.raw.sun_path.len());
        self.raw.sun_path[..n].iter().map(|c| *c as u8).collect()
    }

    fn at(&self) -> *const sockaddr {
        std::ptr::from_ref(&self.raw).cast()
    }
}

pub fn socket(kind: c_int) -> Fd {
    // SAFETY: numbers.
    Fd::own(check(unsafe { libc::socket(libc::AF_UNIX, kind, 0) }).expect("socket"))
}

pub fn bind(fd: &Fd, to: &Address) -> Sys {
    // SAFETY: a valid address.
    check(unsafe { libc::bind(fd.number(), to.at(), to.len as u32) })
}

pub fn listen(fd: &Fd, backlog: c_int) -> Sys {
    // SAFETY: numbers.
    check(unsafe { libc::listen(fd.number(), backlog) })
}

pub fn connect(fd: &Fd, to: &Address) -> Sys {
    // SAFETY: a valid address.
    check(unsafe { libc::connect(fd.number(), to.at(), to.len as u32) })
}

/// connect(2) to nobody.
pub fn disconnect(fd: &Fd) -> Sys {
    let none = sockaddr {
        sa_family: libc::AF_UNSPEC as u16,
        sa_data: [0; 14],
    };
    // SAFETY: a valid address.
    check(unsafe { libc::connect(fd.number(), &none, 2) })
}

pub fn accept(fd: &Fd, flags: c_int) -> Result<(Fd, Address), i32> {
    let mut from = Address::of(&[]);
    let mut len = size_of::<sockaddr_un>() as u32;
    let at = std::ptr::from_mut(&mut from.raw).cast();
    // SAFETY: room for an address.
    let new = check(unsafe { libc::accept4(fd.number(), at, &mut len, flags) })?;
    from.len = len as usize;
    Ok((Fd::own(new), from))
}

type Ask = unsafe extern "C" fn(c_int, *mut sockaddr, *mut u32) -> c_int;

fn ask(fd: &Fd, how: Ask) -> Result<Address, i32> {
    let mut name = Address::of(&[]);
    let mut len = size_of::<sockaddr_un>() as u32;
    // SAFETY: room for an address.
    check(unsafe {
        how(
            fd.number(),
            std::ptr::from_mut(&mut name.raw).cast(),
            &mut len,
        )
    })?;
    name.len = len as usize;
    Ok(name)
}

pub fn own_name(fd: &Fd) -> Result<Address, i32> {
    ask(fd, libc::getsockname)
}

pub fn peer_name(fd: &Fd) -> Result<Address, i32> {
    ask(fd, libc::getpeername)
}

pub fn shutdown(fd: &Fd, how: c_int) -> Sys {
    // SAFETY: numbers.
    check(unsafe { libc::shutdown(fd.number(), how) })
}

pub fn send(fd: impl Descriptor, bytes: &[u8], flags: c_int) -> Sys {
    let flags = flags | libc::MSG_NOSIGNAL;
    // SAFETY: valid bytes.
    check(unsafe { libc::send(fd.number(), bytes.as_ptr().cast(), bytes.len(), flags) } as i64)
}

pub fn send_to(fd: &Fd, bytes: &[u8], to: &Address) -> Sys {
    let (at, len, flags) = (bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL);
    // SAFETY: valid bytes and a valid address.
    check(unsafe { libc::sendto(fd.number(), at, len, flags, to.at(), to.len as u32) } as i64)
}

pub fn receive(fd: impl Descriptor, most: usize, flags: c_int) -> Result<Vec<u8>, i32> {
    let mut room = vec![0; most];
    // SAFETY: room for what comes.
    let n =
        check(unsafe { libc::recv(fd.number(), room.as_mut_ptr().cast(), most, flags) } as i64)?;
    room.truncate(n);
    Ok(room)
}

pub fn set_option(fd: &Fd, option: c_int, value: c_int) -> Sys {
    let at = std::ptr::from_ref(&value).cast();
    // SAFETY: a valid int.
    check(unsafe { libc::setsockopt(fd.number(), libc::SOL_SOCKET, option, at, 4) })
}

pub fn option(fd: &Fd, option: c_int) -> Result<c_int, i32> {
    let (mut value, mut len) = (-1, 4);
    let at = std::ptr::from_mut(&mut value).cast();
    // SAFETY: room for an int.
    check(unsafe { libc::getsockopt(fd.number(), libc::SOL_SOCKET, option, at, &mut len) })?;
    Ok(value)
}

/// SO_PEERCRED: pid, uid, gid.
pub fn peer_credentials(fd: &Fd) -> Result<(i32, u32, u32), i32> {
    let (mut cred, mut len) = (
        ucred {
            pid: -1,
            uid: 0,
            gid: 0,
        },
        size_of::<ucred>() as u32,
    );
    let at = std::ptr::from_mut(&mut cred).cast();
    // SAFETY: room for credentials.
    check(unsafe {
        libc::getsockopt(
            fd.number(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            at,
            &mut len,
        )
    })?;
    Ok((cred.pid, cred.uid, cred.gid))
}

/// What goes with a message.
#[derive(Clone, Debug)]
pub enum With<'a> {
    Rights(&'a [c_int]),
    Credentials(i32, u32, u32),
}

#[repr(C, align(8))]
struct Control([u8; 2048]);

fn put(control: &mut Control, kind: c_int, words: &[u32]) -> usize {
    let bytes = size_of::<cmsghdr>() + 4 * words.len();
    let header = cmsghdr {
        cmsg_len: bytes,
        cmsg_level: libc::SOL_SOCKET,
        cmsg_type: kind,
    };
    // SAFETY: aligned, with room for a header.
    unsafe { control.0.as_mut_ptr().cast::<cmsghdr>().write(header) };
    for (to, word) in control.0[size_of::<cmsghdr>()..].chunks_mut(4).zip(words) {
        to.copy_from_slice(&word.to_ne_bytes());
    }
    bytes.next_multiple_of(8)
}

/// sendmsg(2) of one part.
pub fn send_with(fd: impl Descriptor, bytes: &[u8], with: &With, flags: c_int) -> Sys {
    let mut control = Control([0; 2048]);
    let len = match with {
        With::Rights(fds) => {
            let words: Vec<u32> = fds.iter().map(|fd| *fd as u32).collect();
            put(&mut control, libc::SCM_RIGHTS, &words)
        }
        With::Credentials(pid, uid, gid) => put(
            &mut control,
            libc::SCM_CREDENTIALS,
            &[*pid as u32, *uid, *gid],
        ),
    };
    let mut part = iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    // SAFETY: zeroes are a valid message.
    let mut message: msghdr = unsafe { zeroed() };
    (message.msg_iov, message.msg_iovlen) = (&mut part, 1);
    (message.msg_control, message.msg_controllen) = (control.0.as_mut_ptr().cast(), len);
    // SAFETY: a valid message.
    check(unsafe { libc::sendmsg(fd.number(), &message, flags | libc::MSG_NOSIGNAL) } as i64)
}

/// What recvmsg(2) gave.
#[derive(Debug, Default)]
pub struct Received {
    pub bytes: Vec<u8>,
    pub flags: c_int,
    pub rights: Vec<Fd>,
    pub credentials: Option<(i32, u32, u32)>,
}

/// recvmsg(2), with room for so many bytes and so many bytes of control.
pub fn receive_with(
    fd: impl Descriptor,
    most: usize,
    room: usize,
    flags: c_int,
) -> Result<Received, i32> {
    let mut control = Control([0; 2048]);
    let mut bytes = vec![0; most];
    let mut part = iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: most,
    };
    // SAFETY: zeroes are a valid message.
    let mut message: msghdr = unsafe { zeroed() };
    (message.msg_iov, message.msg_iovlen) = (&mut part, 1);
    (message.msg_control, message.msg_controllen) = (control.0.as_mut_ptr().cast(), room);
    // SAFETY: a valid message with room for what comes.
    let n = check(unsafe { libc::recvmsg(fd.number(), &mut message, flags) } as i64)?;
    bytes.truncate(n);
    let mut got = Received {
        bytes,
        flags: message.msg_flags,
        ..Received::default()
    };
    let mut at = 0;
    while at + size_of::<cmsghdr>() <= message.msg_controllen {
        // SAFETY: aligned, and the kernel has written a header.
        let header = unsafe { control.0[at..].as_ptr().cast::<cmsghdr>().read() };
        let data = &control.0[at + size_of::<cmsghdr>()..at + header.cmsg_len];
        let words = data
            .chunks_exact(4)
            .map(|c| u32::from_ne_bytes([c[0], c[1], c[2], c[3]]));
        match header.cmsg_type {
            libc::SCM_RIGHTS => got.rights.extend(words.map(|fd| Fd::own(fd as usize))),
            libc::SCM_CREDENTIALS => {
                let words: Vec<u32> = words.collect();
                got.credentials = Some((words[0] as i32, words[1], words[2]));
            }
            other => panic!("a control message of type {other}"),
        }
        at += header.cmsg_len.next_multiple_of(8);
    }
    Ok(got)
}

/// recvfrom(2): what came, and the name of who sent it.
pub fn receive_from(fd: &Fd, most: usize) -> Result<(Vec<u8>, Vec<u8>), i32> {
    let (mut room, mut from) = (vec![0; most], Address::of(&[]));
    let mut len = size_of::<sockaddr_un>() as u32;
    let (to, at) = (
        room.as_mut_ptr().cast(),
        std::ptr::from_mut(&mut from.raw).cast(),
    );
    // SAFETY: room for what comes, and for an address.
    let n = check(unsafe { libc::recvfrom(fd.number(), to, most, 0, at, &mut len) } as i64)?;
    room.truncate(n);
    from.len = len as usize;
    Ok((room, from.name()))
}
