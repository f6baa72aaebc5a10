//! What goes with messages: descriptors, credentials, bounds; and how much fits. See unix(7), cmsg(3),
//! recv(2).

use libc::{
    EMFILE, EMSGSIZE, ESRCH, MSG_CMSG_CLOEXEC, MSG_CTRUNC, MSG_DONTWAIT, MSG_EOR, MSG_PEEK,
    MSG_TRUNC, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM, SO_PASSCRED, SO_RCVBUF, SO_SNDBUF,
};
use ringer_support::prelude::*;
use ringer_support::rights::socketpair;
use ringer_support::unix::*;

const ALL_KINDS: [c_int; 3] = [SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM];
/// Room for any control data.
const ROOM: usize = 2048;

fn file_of(fd: &Fd) -> (u64, u64) {
    let st = fstat(fd).unwrap();
    (st.st_dev, st.st_ino)
}

fn ids() -> (u32, u32) {
    // SAFETY: no arguments.
    unsafe { (libc::getuid(), libc::getgid()) }
}

cases!(descriptors_in_messages, {
    "they are the same files" => {
        for kind in ALL_KINDS {
            let (a, b) = socketpair(kind);
            let (file, p) = (temp_file(), pipe());
            let fds = [file.number(), p.r.number(), p.w.number(), a.number()];
            assert_eq!(send_with(&a, b"x", &With::Rights(&fds), 0), Ok(1));
            let got = receive_with(&b, 9, ROOM, 0).unwrap();
            assert_eq!((got.bytes, got.flags, got.rights.len()), (b"x".to_vec(), 0, 4));
            let own = [&file, &p.r, &p.w, &a].map(file_of);
            assert!(got.rights.iter().map(file_of).eq(own));
            assert!(got.rights.iter().all(|fd| !close_on_exec(fd)));
            // They share offset and data with those that were sent.
            write_all(&got.rights[2], b"through");
            assert_eq!(read_n(&p.r, 99), Ok(b"through".to_vec()));
        }
    }
    "closed on exec if asked for" => {
        let (a, b) = socketpair(SOCK_STREAM);
        send_with(&a, b"x", &With::Rights(&[a.number()]), 0).unwrap();
        assert!(close_on_exec(&receive_with(&b, 9, ROOM, MSG_CMSG_CLOEXEC).unwrap().rights[0]));
    }
    "closed by the sender they live on the way" => {
        for kind in ALL_KINDS {
            let (a, b) = socketpair(kind);
            let p = pipe();
            send_with(&a, b"x", &With::Rights(&[p.w.number()]), 0).unwrap();
            drop(p.w);
            set_nonblocking(&p.r, true);
            assert_eq!(read_n(&p.r, 1), Err(EAGAIN));
            let got = receive_with(&b, 9, ROOM, 0).unwrap();
            write_all(&got.rights[0], b"alive");
            drop(got);
            assert_eq!((read_n(&p.r, 9), read_n(&p.r, 9)), (Ok(b"alive".to_vec()), Ok(vec![])));
        }
    }
    "with a message that is read without them they are closed" => {
        for kind in ALL_KINDS {
            let (a, b) = socketpair(kind);
            let p = pipe();
            send_with(&a, b"x", &With::Rights(&[p.w.number()]), 0).unwrap();
            drop(p.w);
            assert_eq!(receive(&b, 9, 0), Ok(b"x".to_vec()));
            assert_eq!(read_n(&p.r, 9), Ok(vec![]));
        }
    }
    "with a socket that is closed they are closed" => {
        let (a, b) = socketpair(SOCK_STREAM);
        let p = pipe();
        send_with(&a, b"x", &With::Rights(&[p.w.number()]), 0).unwrap();
        drop(p.w);
        drop((a, b));
        assert_eq!(read_n(&p.r, 9), Ok(vec![]));
    }
    "what does not fit is closed, and MSG_CTRUNC says so" => {
        for (room, fit) in [(24, 2), (20, 1), (32, 4), (40, 5), (16, 0), (8, 0), (0, 0)] {
            let (a, b) = socketpair(SOCK_STREAM);
            let p = pipe();
            let fds = [p.w.number(); 5];
            send_with(&a, b"x", &With::Rights(&fds), 0).unwrap();
            let before = procfs::open_fds().len();
            let got = receive_with(&b, 9, room, 0).unwrap();
            assert_eq!(got.rights.len(), fit, "room {room}");
            assert_eq!(got.flags & MSG_CTRUNC != 0, fit < 5, "room {room}");
            assert_eq!(procfs::open_fds().len(), before + fit);
        }
    }
    "they bound what one read of a stream gives" => {
        let (a, b) = socketpair(SOCK_STREAM);
        send(&a, b"before", 0).unwrap();
        send_with(&a, b"with", &With::Rights(&[0]), 0).unwrap();
        send(&a, b"after", 0).unwrap();
        let first = receive_with(&b, 99, ROOM, 0).unwrap();
        assert_eq!((&*first.bytes, first.rights.len()), (b"beforewith".as_slice(), 1));
        let second = receive_with(&b, 99, ROOM, 0).unwrap();
        assert_eq!((&*second.bytes, second.rights.len()), (b"after".as_slice(), 0));
    }
    "they come with the first byte of their message, and what is left of it goes before the next" => {
        let (a, b) = socketpair(SOCK_STREAM);
        send_with(&a, b"one", &With::Rights(&[0]), 0).unwrap();
        send_with(&a, b"two", &With::Rights(&[0, 1]), 0).unwrap();
        let got = receive_with(&b, 2, ROOM, 0).unwrap();
        assert_eq!((&*got.bytes, got.rights.len()), (b"on".as_slice(), 1));
        let got = receive_with(&b, 99, ROOM, 0).unwrap();
        assert_eq!((&*got.bytes, got.rights.len()), (b"etwo".as_slice(), 2));
    }
    "peeking gives copies" => {
        for kind in ALL_KINDS {
            let (a, b) = socketpair(kind);
            let p = pipe();
            send_with(&a, b"x", &With::Rights(&[p.w.number()]), 0).unwrap();
            drop(p.w);
            for _ in 0..3 {
                assert_eq!(receive_with(&b, 9, ROOM, MSG_PEEK).unwrap().rights.len(), 1);
            }
            assert_eq!(receive_with(&b, 9, ROOM, 0).unwrap().rights.len(), 1);
            assert_eq!(read_n(&p.r, 9), Ok(vec![]));
        }
    }
    "what can not be sent" => {
        let (a, _b) = socketpair(SOCK_STREAM);
        assert_eq!(send_with(&a, b"x", &With::Rights(&[9999]), 0), Err(EBADF));
        assert_eq!(send_with(&a, b"x", &With::Rights(&[-1]), 0), Err(EBADF));
        assert_eq!(send_with(&a, b"x", &With::Rights(&[0; 253]), 0), Ok(1));
        assert_eq!(send_with(&a, b"x", &With::Rights(&[0; 254]), 0), Err(EINVAL));
    }
    "without room for descriptors there are fewer" => {
        let (a, b) = socketpair(SOCK_STREAM);
        send_with(&a, b"x", &With::Rights(&[0; 20]), 0).unwrap();
        let highest = procfs::open_fds().into_iter().max().unwrap();
        limit_descriptors(highest as u64 + 4);
        let got = receive_with(&b, 9, ROOM, 0).unwrap();
        assert!(got.rights.len() < 20 && got.flags & MSG_CTRUNC != 0, "{got:?}");
        assert_eq!(dup(&a).map(|_| ()), Err(EMFILE));
    }
    "a sender that is dead" => {
        let (a, b) = socketpair(SOCK_STREAM);
        let child = fork_run(|| {
            let p = pipe();
            write_all(&p.w, b"inheritance");
            send_with(&a, b"x", &With::Rights(&[p.r.number()]), 0).unwrap();
        });
        child.succeeds();
        drop(a);
        let got = receive_with(&b, 9, ROOM, 0).unwrap();
        assert_eq!(read_n(&got.rights[0], 99), Ok(b"inheritance".to_vec()));
        assert_eq!(read_n(&got.rights[0], 99), Ok(vec![]));
    }
    "a receiver that was killed" => {
        let (a, b) = socketpair(SOCK_STREAM);
        let p = pipe();
        let child = fork_run(|| {
            close(&p.w).unwrap();
            let got = receive_with(&b, 9, ROOM, 0).unwrap();
            write_all(&got.rights[0], b"!");
            loop {
                let _ = sig::pause();
            }
        });
        send_with(&a, b"x", &With::Rights(&[p.w.number()]), 0).unwrap();
        drop(p.w);
        assert_eq!(read_n(&p.r, 9), Ok(b"!".to_vec()));
        child.kill_9();
        assert_eq!(read_n(&p.r, 9), Ok(vec![]));
    }
    "sockets within sockets" => {
        let (mut a, mut b) = socketpair(SOCK_STREAM);
        for _ in 0..10 {
            let (c, d) = socketpair(SOCK_STREAM);
            send_with(&a, b"x", &With::Rights(&[c.number()]), 0).unwrap();
            let got = receive_with(&b, 9, ROOM, 0).unwrap().rights.remove(0);
            (a, b) = (got, d);
        }
        send(&a, b"deep", 0).unwrap();
        assert_eq!(receive(&b, 9, 0), Ok(b"deep".to_vec()));
    }
});

cases!(credentials_in_messages, {
    "the sender's, if the receiver asks for them" => {
        for kind in ALL_KINDS {
            let (a, b) = socketpair(kind);
            set_option(&b, SO_PASSCRED, 1).unwrap();
            let child = fork_run(|| assert_eq!(send(&a, b"x", 0), Ok(1)));
            let got = receive_with(&b, 9, ROOM, 0).unwrap();
            assert_eq!(got.credentials, Some((child.pid(), ids().0, ids().1)));
            child.succeeds();
        }
    }
    "not asked for they do not come" => {
        let (a, b) = socketpair(SOCK_DGRAM);
        send_with(&a, b"x", &With::Credentials(getpid(), ids().0, ids().1), 0).unwrap();
        assert_eq!(receive_with(&b, 9, ROOM, 0).unwrap().credentials, None);
    }
    "own ones may be told, others not" => {
        let (a, b) = socketpair(SOCK_DGRAM);
        set_option(&b, SO_PASSCRED, 1).unwrap();
        fork_run(|| {
            if sig::become_nobody_else().is_some() {
                let (uid, gid) = ids();
                let tell = |pid, uid| send_with(&a, b"x", &With::Credentials(pid, uid, gid), 0);
                assert_eq!(tell(getpid(), uid), Ok(1));
                assert_eq!(tell(getpid(), 0), Err(EPERM));
                assert_eq!(tell(1, uid), Err(EPERM));
                assert_eq!(receive_with(&b, 9, ROOM, 0).unwrap().credentials.unwrap().1, uid);
            }
        })
        .succeeds();
        if is_root() {
            send_with(&a, b"x", &With::Credentials(1, 77, 88), 0).unwrap();
            assert_eq!(receive_with(&b, 9, ROOM, 0).unwrap().credentials, Some((1, 77, 88)));
            let nobody = With::Credentials(0x7fff_fff0, 0, 0);
            assert_eq!(send_with(&a, b"x", &nobody, 0), Err(ESRCH));
        }
    }
    "bytes of two senders are not mixed" => {
        let (a, b) = socketpair(SOCK_STREAM);
        set_option(&b, SO_PASSCRED, 1).unwrap();
        fork_run(|| assert_eq!(send(&a, b"one", 0), Ok(3))).succeeds();
        send(&a, b"two", 0).unwrap();
        send(&a, b"three", 0).unwrap();
        assert_eq!(receive_with(&b, 99, ROOM, 0).unwrap().bytes, b"one");
        assert_eq!(receive_with(&b, 99, ROOM, 0).unwrap().bytes, b"twothree");
    }
    "of a pair they are its maker's" => {
        let (a, b) = socketpair(SOCK_STREAM);
        assert_eq!(peer_credentials(&a), Ok((getpid(), ids().0, ids().1)));
        let maker = getpid();
        fork_run(|| assert_eq!(peer_credentials(&b).unwrap().0, maker)).succeeds();
    }
});

/// How many messages of `n` bytes fit.
fn fit(a: &Fd, n: usize) -> usize {
    let bytes = vec![7; n];
    (0..)
        .take_while(|_| send(a, &bytes, MSG_DONTWAIT) == Ok(n))
        .count()
}

cases!(how_much_fits, {
    "the default is what the system says" => {
        let said = std::fs::read_to_string("/proc/sys/net/core/wmem_default").unwrap();
        let (a, _b) = socketpair(SOCK_STREAM);
        assert_eq!(option(&a, SO_SNDBUF), Ok(said.trim().parse().unwrap()));
    }
    "small messages: one buffer each" => {
        for kind in ALL_KINDS {
            let (a, b) = socketpair(kind);
            let whole = fit(&a, 1);
            // Reading one makes room for one.
            for _ in 0..5 {
                assert_eq!(receive(&b, 1, 0), Ok(vec![7]));
                assert_eq!(fit(&a, 1), 1);
            }
            let (c, _d) = socketpair(kind);
            assert_eq!(fit(&c, 1), whole);
        }
    }
    "the sender's buffer decides, not the receiver's" => {
        for kind in ALL_KINDS {
            let (a, b) = socketpair(kind);
            let whole = fit(&a, 100);
            let (c, d) = socketpair(kind);
            set_option(&d, SO_RCVBUF, 1).unwrap();
            assert_eq!(fit(&c, 100), whole);
            let (e, _f) = socketpair(kind);
            set_option(&e, SO_SNDBUF, 20_000).unwrap();
            assert_eq!(option(&e, SO_SNDBUF), Ok(40_000));
            assert!(fit(&e, 100) < whole);
            drop(b);
        }
    }
    "a packet that is larger than the buffer is refused, a stream takes what fits" => {
        for kind in [SOCK_SEQPACKET, SOCK_DGRAM] {
            let (a, _b) = socketpair(kind);
            assert_eq!(send(&a, &vec![0; 300_000], MSG_DONTWAIT), Err(EMSGSIZE));
            assert_eq!(send(&a, &vec![0; 100_000], MSG_DONTWAIT), Ok(100_000));
        }
        let (a, b) = socketpair(SOCK_STREAM);
        let n = send(&a, &vec![0; 1_000_000], MSG_DONTWAIT).unwrap();
        assert!(n > 100_000 && n < 1_000_000);
        assert_eq!(read_exactly(&b, n).len(), n);
    }
    "packets keep their bounds, and say what was cut off" => {
        for kind in [SOCK_SEQPACKET, SOCK_DGRAM] {
            let (a, b) = socketpair(kind);
            for n in [5, 0, 3] {
                send(&a, &vec![1; n], MSG_EOR).unwrap();
            }
            let got = receive_with(&b, 2, ROOM, 0).unwrap();
            assert_eq!((got.bytes.len(), got.flags & MSG_TRUNC), (2, MSG_TRUNC));
            assert_eq!(receive_with(&b, 9, ROOM, 0).unwrap().bytes.len(), 0);
            let mut room = [0u8; 2];
            let (at, peek) = (room.as_mut_ptr().cast(), MSG_TRUNC | MSG_PEEK);
            // SAFETY: room for two bytes.
            assert_eq!(unsafe { libc::recv(b.number(), at, 2, peek) }, 3);
            assert_eq!(receive(&b, 9, 0).map(|b| b.len()), Ok(3));
        }
    }
});
