//! Descriptors that are not received, or not sent.

use crate::*;
use libc::{EMSGSIZE, MSG_CTRUNC, MSG_DONTWAIT};
use ringer_support::rights::socketpair;

cases!(what_is_not_received, {
    "no room for it" => {
        for (room, fit) in [(24, 2), (16, 0), (0, 0)] {
            let (a, b) = socketpair(SOCK_STREAM);
            let p = pipe();
            pass(&a, &[&p.w, &p.w, &p.w]);
            drop(p.w);
            let got = receive_with(&b, 9, room, 0).unwrap();
            assert_eq!((got.rights.len(), got.flags), (fit, MSG_CTRUNC));
            got.rights.iter().for_each(|w| write_all(w, b"x"));
            drop(got);
            assert_eq!(read_to_end(&p.r).len(), fit);
        }
    }
    "no number for it" => {
        let (a, b) = socketpair(SOCK_STREAM);
        let p = pipe();
        pass(&a, &[&p.w, &p.w, &p.w]);
        drop(p.w);
        let child = fork_run(|| {
            let free = dup(&b).unwrap().number() as u64;
            limit_descriptors(free + 1);
            let got = receive_with(&b, 9, ROOM, 0).unwrap();
            assert_eq!((got.rights.len(), got.flags), (1, MSG_CTRUNC));
            write_all(&got.rights[0], b"one");
        });
        child.succeeds();
        assert_eq!(read_to_end(&p.r), b"one");
    }
    "bad addresses" => {
        let (a, b) = socketpair(SOCK_STREAM);
        let (p, bad) = (pipe(), Cliff::unmapped(1));
        pass(&a, &[&p.w]);
        // SAFETY: all zero is a valid msghdr.
        let mut m: libc::msghdr = unsafe { std::mem::zeroed() };
        let mut byte = 0u8;
        let mut part = libc::iovec { iov_base: std::ptr::from_mut(&mut byte).cast(), iov_len: 1 };
        (m.msg_iov, m.msg_iovlen) = (&mut part, 1);
        (m.msg_control, m.msg_controllen) = (bad.bad(64).addr as *mut c_void, 64);
        // SAFETY: the kernel looks at the addresses.
        let sent = unsafe { libc::sendmsg(a.number(), &m, 0) };
        assert_eq!((sent, ringer_support::errno()), (-1, EFAULT));
        // SAFETY: as above.
        let got = unsafe { libc::recvmsg(b.number(), &mut m, 0) };
        let kept = (got, ringer_support::errno());
        assert_eq!(kept, (1, EFAULT), "what it carries is lost");
        drop(b);
        drop(p.w);
        assert_eq!(read_to_end(&p.r), b"");
    }
    "a message that is not sent" => {
        let (a, b) = socketpair(SOCK_DGRAM);
        let p = pipe();
        let with = With::Rights(&[p.w.number()]);
        assert_eq!(send_with(&a, &vec![0; 1 << 20], &with, 0), Err(EMSGSIZE));
        assert_eq!(send_with(&a, b"x", &With::Rights(&[p.w.number(), 9999]), 0), Err(EBADF));
        drop(p.w);
        assert_eq!(receive_with(&b, 9, ROOM, MSG_DONTWAIT).err(), Some(EAGAIN));
        assert_eq!(read_n(&p.r, 1), Ok(vec![]));
    }
    "no byte: a stream carries nothing, packets do" => {
        for (kind, arrives) in [(SOCK_STREAM, false), (SOCK_DGRAM, true), (SOCK_SEQPACKET, true)] {
            let (a, b) = socketpair(kind);
            let p = pipe();
            assert_eq!(send_with(&a, b"", &With::Rights(&[p.w.number()]), 0), Ok(0));
            drop(p.w);
            match receive_with(&b, 9, ROOM, MSG_DONTWAIT) {
                Ok(got) => assert!(arrives && got.rights.len() == 1),
                Err(e) => assert!(!arrives && e == EAGAIN),
            }
            assert_eq!(read_n(&p.r, 1), Ok(vec![]));
        }
    }
});
