//! Which socket a Unix socket is connected to: only the kernel knows. See sock_diag(7).

use crate::borrow::Borrowing;
use crate::gate::sys;

const NETLINK_SOCK_DIAG: i32 = 4;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const UDIAG_SHOW_PEER: u32 = 4;
const UNIX_DIAG_PEER: u16 = 2;

/// struct nlmsghdr.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Header {
    len: u32,
    kind: u16,
    flags: u16,
    seq: u32,
    pid: u32,
}

/// struct unix_diag_req, behind its header.
#[repr(C)]
struct Request {
    header: Header,
    family: u8,
    protocol: u8,
    _pad: u16,
    states: u32,
    ino: u32,
    show: u32,
    cookie: [u32; 2],
}

/// struct unix_diag_msg.
const MESSAGE: usize = 16;
const HEADER: usize = 16;

/// st_ino of the peer of the socket whose st_ino this is. `None`: it has none, or the kernel does not say.
pub fn peer_of(ino: u64) -> Option<u64> {
    let request = Request {
        header: Header {
            len: core::mem::size_of::<Request>() as u32,
            kind: SOCK_DIAG_BY_FAMILY,
            flags: NLM_F_REQUEST,
            seq: 1,
            pid: 0,
        },
        family: libc::AF_UNIX as u8,
        protocol: 0,
        _pad: 0,
        states: u32::MAX,
        ino: u32::try_from(ino).ok()?,
        show: UDIAG_SHOW_PEER,
        cookie: [u32::MAX; 2], // INET_DIAG_NOCOOKIE
    };
    let mut answer = [0u8; 256];
    let n = ask(&request, &mut answer);
    let answer = answer.get(..usize::try_from(n).ok()?)?;
    peer_in(answer)
}

fn ask(request: &Request, answer: &mut [u8]) -> isize {
    let _borrowing = Borrowing::begin();
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    let fd = sys!(libc::SYS_socket, libc::AF_NETLINK, kind, NETLINK_SOCK_DIAG);
    if fd < 0 {
        return fd;
    }
    let (at, len) = (
        core::ptr::from_ref(request),
        core::mem::size_of::<Request>(),
    );
    let mut n = sys!(libc::SYS_sendto, fd, at, len, 0, 0, 0);
    if n >= 0 {
        let (to, room) = (answer.as_mut_ptr(), answer.len());
        n = sys!(libc::SYS_recvfrom, fd, to, room, libc::MSG_DONTWAIT, 0, 0);
    }
    sys!(libc::SYS_close, fd);
    n
}

fn word<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn peer_in(answer: &[u8]) -> Option<u64> {
    if u16::from_ne_bytes(word(answer, 4)?) != SOCK_DIAG_BY_FAMILY {
        return None; // NLMSG_ERROR
    }
    let mut at = HEADER + MESSAGE;
    loop {
        let len = usize::from(u16::from_ne_bytes(word(answer, at)?));
        if u16::from_ne_bytes(word(answer, at + 2)?) == UNIX_DIAG_PEER {
            let ino = u32::from_ne_bytes(word(answer, at + 4)?);
            return (ino != 0).then_some(u64::from(ino));
        }
        at += len.next_multiple_of(4).max(4);
    }
}
