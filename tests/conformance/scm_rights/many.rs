//! Several messages in one call; descriptors and credentials.

use crate::*;
use libc::SO_PASSCRED;
use ringer_support::rights::socketpair;

/// mmsghdr of one byte and these descriptors, or room for them.
struct Many {
    bytes: Vec<u8>,
    control: Vec<[u64; 8]>,
    parts: Vec<libc::iovec>,
    list: Vec<libc::mmsghdr>,
}

impl Many {
    fn new(fds: &[c_int]) -> Box<Many> {
        let n = fds.len();
        let mut m = Box::new(Many {
            bytes: vec![b'!'; n],
            control: vec![[0; 8]; n],
            parts: Vec::new(),
            list: Vec::new(),
        });
        for (i, fd) in fds.iter().enumerate() {
            // struct cmsghdr: its length, SOL_SOCKET and SCM_RIGHTS; then the descriptor.
            let kind = (libc::SCM_RIGHTS as u64) << 32 | libc::SOL_SOCKET as u64;
            m.control[i][..3].copy_from_slice(&[20, kind, *fd as u64]);
            let base = std::ptr::from_mut(&mut m.bytes[i]).cast();
            m.parts.push(libc::iovec {
                iov_base: base,
                iov_len: 1,
            });
        }
        for i in 0..n {
            // SAFETY: all zero is a valid mmsghdr.
            let mut one: libc::mmsghdr = unsafe { std::mem::zeroed() };
            one.msg_hdr.msg_iov = &mut m.parts[i];
            one.msg_hdr.msg_iovlen = 1;
            one.msg_hdr.msg_control = m.control[i].as_mut_ptr().cast();
            one.msg_hdr.msg_controllen = 24;
            m.list.push(one);
        }
        m
    }
}

both_worlds!(several_messages_in_one_call, worlds = all, {
    for kind in ALL_KINDS {
        let (a, b) = socketpair(kind);
        let pipes: Vec<Pipe> = (0..4).map(|_| pipe()).collect();
        let numbers: Vec<c_int> = pipes.iter().map(|p| p.w.number()).collect();
        let mut out = Many::new(&numbers);
        // SAFETY: messages that live.
        let sent = unsafe { libc::sendmmsg(a.number(), out.list.as_mut_ptr(), 4, 0) };
        assert_eq!(sent, 4);
        assert!(out.list.iter().all(|m| m.msg_len == 1));
        let readers: Vec<Fd> = pipes.into_iter().map(|p| p.r).collect();
        let mut room = Many::new(&[-1; 4]);
        let list = room.list.as_mut_ptr();
        // SAFETY: as above.
        let got = unsafe { libc::recvmmsg(b.number(), list, 4, 0, std::ptr::null_mut()) };
        assert_eq!(got, 4);
        for (i, r) in readers.iter().enumerate() {
            let w = Fd::own(room.control[i][2] as u32 as usize);
            write_all(&w, &[i as u8]);
            drop(w);
            assert_eq!(read_to_end(r), [i as u8]);
        }
    }
});

both_worlds!(credentials_go_with_descriptors, {
    let (a, b) = socketpair(SOCK_STREAM);
    let me = getpid();
    let p = pipe();
    pass(&a, &[&p.r]);
    set_option(&b, SO_PASSCRED, 1).unwrap();
    let first = receive_with(&b, 1, ROOM, 0).unwrap();
    assert_eq!(first.rights.len(), 1);
    let child = fork_run(|| pass(&a, &[&p.r]));
    let pid = child.pid();
    let second = receive_with(&b, 1, ROOM, 0).unwrap();
    assert_eq!(
        (second.rights.len(), second.credentials.unwrap().0),
        (1, pid)
    );
    child.succeeds();
    assert_eq!(peer_credentials(&b).unwrap().0, me);
    write_all(&p.w, b"both");
    assert_eq!(read_n(&first.rights[0], 2), Ok(b"bo".to_vec()));
    assert_eq!(read_n(&second.rights[0], 2), Ok(b"th".to_vec()));
});
