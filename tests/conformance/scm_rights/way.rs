//! Descriptors in messages that nobody has received yet.

use crate::*;
use libc::{MSG_DONTWAIT, MSG_PEEK, SO_SNDBUF};
use ringer_support::rights::socketpair;

cases!(on_the_way, {
    "a write end keeps the pipe open, also when its sender was killed" => {
        let (a, b) = socketpair(SOCK_STREAM);
        let p = nonblocking_pipe();
        let s = Shared::new();
        let child = fork_run(|| {
            pass(&a, &[&p.w]);
            close(&p.w).unwrap();
            s.set(0, 1);
            s.wait_for(0, 2);
        });
        s.wait_for(0, 1);
        drop(p.w);
        child.kill_9();
        assert_eq!(read_n(&p.r, 9), Err(EAGAIN));
        let w = take_one(&b);
        write_all(&w, b"alive");
        drop(w);
        assert_eq!((read_n(&p.r, 9), read_n(&p.r, 9)), (Ok(b"alive".to_vec()), Ok(vec![])));
    }
    "what only a killed process had" => {
        for kind in ALL_KINDS {
            let (a, b) = socketpair(kind);
            let s = Shared::new();
            let child = fork_run(|| {
                let (p, e, (c, d)) = (pipe(), eventfd(6), socketpair(SOCK_STREAM));
                write_all(&p.w, &stream(0, 30_000));
                write_all(&c, b"last words");
                pass(&a, &[&p.r, &p.w, &e, &d]);
                s.set(0, 1);
                s.wait_for(0, 2);
            });
            s.wait_for(0, 1);
            child.kill_9();
            for _ in 0..20 {
                let _others = (pipe(), eventfd(0), socketpair(SOCK_STREAM));
                fork_run(|| {}).succeeds();
            }
            let got = take(&b);
            assert!(read_exactly(&got[0], 30_000) == stream(0, 30_000));
            assert_eq!(count(&got[2]), Ok(6));
            assert_eq!(read_to_end(&got[3]), b"last words");
        }
    }
    "with a socket that nobody holds they are gone" => {
        let (a, b) = socketpair(SOCK_STREAM);
        let (p, (c, d)) = (pipe(), socketpair(SOCK_STREAM));
        pass(&a, &[&p.w]);
        pass(&c, &[&b, &a]); // both in another socket
        drop((p.w, a, b));
        set_nonblocking(&p.r, true);
        assert_eq!(read_n(&p.r, 9), Err(EAGAIN));
        drop((c, d));
        assert_eq!(read_n(&p.r, 9), Ok(vec![]));
    }
    "in their own socket" => {
        let (a, b) = socketpair(SOCK_STREAM);
        let p = pipe();
        pass(&a, &[&b, &p.w]);
        drop(p.w);
        let got = take(&b);
        drop(b);
        pass(&a, &[&p.r]);
        write_all(&got[1], b"through");
        let r = take_one(&got[0]);
        assert_eq!(read_n(&r, 9), Ok(b"through".to_vec()));
    }
    "many, and each is what it was" => {
        for kind in [SOCK_STREAM, SOCK_SEQPACKET] {
            let (a, b) = socketpair(kind);
            const N: usize = 100;
            let child = fork_run(|| {
                for i in 0..N {
                    let got = take(&b);
                    assert_eq!(read_n(&got[0], 9), Ok(vec![i as u8]));
                    write_all(&got[1], &[100 + i as u8]);
                }
            });
            let pipes: Vec<[Pipe; 2]> = (0..N).map(|_| [pipe(), pipe()]).collect();
            for (i, [there, back]) in pipes.iter().enumerate() {
                write_all(&there.w, &[i as u8]);
                pass(&a, &[&there.r, &back.w]);
            }
            for (i, [_, back]) in pipes.iter().enumerate() {
                assert_eq!(read_n(&back.r, 1), Ok(vec![100 + i as u8]));
            }
            child.succeeds();
        }
    }
    "two readers share what comes" => {
        let (a, b) = socketpair(SOCK_SEQPACKET);
        const N: usize = 200;
        let readers: [Child; 2] = std::array::from_fn(|_| fork_run(|| {
            close(&a).unwrap();
            loop {
                let got = receive_with(&b, 9, ROOM, 0).unwrap();
                let [w] = &got.rights[..] else { break };
                write_all(w, &got.bytes);
            }
        }));
        let p = pipe();
        for i in 0..N {
            send_with(&a, &[i as u8], &With::Rights(&[p.w.number()]), 0).unwrap();
        }
        send(&a, b"", 0).unwrap();
        send(&a, b"", 0).unwrap();
        drop((a, p.w));
        let mut all = read_to_end(&p.r);
        all.sort_unstable();
        assert!(all == (0..N).map(|i| i as u8).collect::<Vec<_>>());
        all_succeed(readers);
    }
    "a sender that waits for room" => {
        for kind in [SOCK_STREAM, SOCK_SEQPACKET] {
            let (a, b) = socketpair(kind);
            set_option(&a, SO_SNDBUF, 10_000).unwrap();
            let p = pipe();
            let child = fork_run(|| {
                close(&b).unwrap();
                for _ in 0..50 {
                    let bytes = [7; 3000];
                    assert_eq!(send_with(&a, &bytes, &With::Rights(&[p.w.number()]), 0), Ok(3000));
                }
            });
            child.sleeping();
            let (mut bytes, mut rights) = (0, 0);
            while bytes < 150_000 {
                let got = receive_with(&b, 3000, ROOM, 0).unwrap();
                bytes += got.bytes.len();
                rights += got.rights.len();
                got.rights.iter().for_each(|w| write_all(w, b"x"));
            }
            child.succeeds();
            drop(p.w);
            assert_eq!((rights, read_to_end(&p.r).len()), (50, 50));
        }
    }
    "a sender that does not" => {
        let (a, b) = socketpair(SOCK_STREAM);
        set_option(&a, SO_SNDBUF, 10_000).unwrap();
        let p = pipe();
        let with = With::Rights(&[p.w.number()]);
        let sent = (0..).find(|_| send_with(&a, &[0; 2000], &with, MSG_DONTWAIT) == Err(EAGAIN));
        drop(p.w);
        let mut got = 0;
        while let Ok(r) = receive_with(&b, 2000, ROOM, MSG_DONTWAIT) {
            got += r.rights.len();
        }
        assert_eq!(Some(got), sent);
        assert_eq!(read_n(&p.r, 1), Ok(vec![]));
    }
    "peeked at, and then received" => {
        let (a, b) = socketpair(SOCK_STREAM);
        let p = pipe();
        write_all(&p.w, b"abc");
        pass(&a, &[&p.r]);
        drop(p.r);
        let peeked = receive_with(&b, 1, ROOM, MSG_PEEK).unwrap().rights;
        assert_eq!(read_n(&peeked[0], 1), Ok(b"a".to_vec()));
        let r = take_one(&b);
        assert_eq!(read_n(&peeked[0], 1), Ok(b"b".to_vec()));
        drop(peeked);
        assert_eq!(read_n(&r, 1), Ok(b"c".to_vec()));
    }
});

/// Sends with something along until there is no room, and says how often.
fn fill_with(socket: &Fd, fd: &Fd) -> usize {
    let with = With::Rights(&[fd.number()]);
    let mut sent = 0;
    while send_with(socket, &[1; 2000], &with, MSG_DONTWAIT) == Ok(2000) {
        sent += 1;
    }
    sent
}

cases!(a_sender_that_waits_for_room, {
    "a handler ends its call" => {
        let ((a, b), p, s) = (socketpair(SOCK_SEQPACKET), pipe(), Shared::new());
        let sent = fill_with(&a, &p.w);
        let child = fork_run(|| {
            signal::count(SIGUSR1, 0);
            s.set(0, 1);
            let with = With::Rights(&[p.w.number()]);
            assert_eq!(send_with(&a, b"x", &with, 0), Err(EINTR));
            assert_eq!(signal::seen(SIGUSR1), 1);
            assert_eq!(send_with(&a, b"x", &with, MSG_DONTWAIT), Err(EAGAIN));
        });
        s.wait_for(0, 1);
        child.sleeping();
        child.kill(SIGUSR1);
        child.succeeds();
        for _ in 0..sent {
            assert_eq!(take_some(&b), 1);
        }
        assert_eq!(receive_with(&b, 9, ROOM, MSG_DONTWAIT).err(), Some(EAGAIN));
    }
    "or its call goes on" => {
        let ((a, b), p, s) = (socketpair(SOCK_SEQPACKET), pipe(), Shared::new());
        let sent = fill_with(&a, &p.w);
        let child = fork_run(|| {
            signal::publish(s.word(1));
            signal::count(SIGUSR1, SA_RESTART);
            s.set(0, 1);
            assert_eq!(send_with(&a, b"x", &With::Rights(&[p.w.number()]), 0), Ok(1));
        });
        s.wait_for(0, 1);
        for n in 1..=3 {
            child.sleeping();
            child.kill(SIGUSR1);
            s.wait_for(1, n);
        }
        (0..=sent).for_each(|_| assert_eq!(take_some(&b), 1));
        child.succeeds();
    }
    "its peer goes" => {
        let ((a, b), p, s) = (socketpair(SOCK_STREAM), pipe(), Shared::new());
        fill_with(&a, &p.w);
        let child = fork_run(|| {
            close(&b).unwrap();
            s.set(0, 1);
            let sent = send_with(&a, b"x", &With::Rights(&[p.w.number()]), 0);
            assert_eq!(sent, Err(libc::ECONNRESET)); // it left something unread
        });
        s.wait_for(0, 1);
        child.sleeping();
        drop(b);
        child.succeeds();
        drop((a, p.w));
        assert_eq!(read_to_end(&p.r), b"");
    }
    "its time is over" => {
        let ((a, b), p) = (socketpair(SOCK_STREAM), pipe());
        fill_with(&a, &p.w);
        ringer_support::socket::set_timeout(&a, libc::SO_SNDTIMEO, 50);
        assert_eq!(send_with(&a, b"x", &With::Rights(&[p.w.number()]), 0), Err(EAGAIN));
        drop((b, p));
    }
});

fn take_some(socket: &Fd) -> usize {
    receive_with(socket, 2000, ROOM, 0).unwrap().rights.len()
}
