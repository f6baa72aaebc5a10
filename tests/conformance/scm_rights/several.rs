//! From one process to the next, and across exec.

use crate::*;
use libc::MSG_CMSG_CLOEXEC;
use ringer_support::check;
use ringer_support::rights::socketpair;

cases!(through_several, {
    "a chain of five processes" => {
        let links: Vec<(Fd, Fd)> = (0..5).map(|_| socketpair(SOCK_SEQPACKET)).collect();
        let there = socketpair(SOCK_STREAM);
        let children: Vec<Child> = (0..5).map(|i| {
            let (links, last) = (&links, &there.0);
            fork_run(move || {
                let got = take(&links[i].1);
                write_all(&got[1], &[i as u8]);
                match links.get(i + 1) {
                    Some(next) => pass(&next.0, &[&got[0], &got[1]]),
                    None => pass(last, &[&got[0]]),
                }
            })
        }).collect();
        let p = pipe();
        write_all(&p.w, b"x");
        pass(&links[0].0, &[&p.r, &p.w]);
        drop(p);
        all_succeed(children);
        assert_eq!(read_to_end(&take_one(&there.1)), b"x\0\x01\x02\x03\x04");
    }
    "a signalfd, which tells of its reader's signals" => {
        signal::block(&[SIGUSR1]);
        for kind in ALL_KINDS {
            let (a, b) = socketpair(kind);
            let child = fork_run(|| {
                let fd = take_one(&b);
                signal::kill(getpid(), SIGUSR1);
                let told = read_n(&fd, 128).unwrap();
                let word = |at: usize| u32::from_ne_bytes(told[at..at + 4].try_into().unwrap());
                assert_eq!((word(0), word(12)), (SIGUSR1 as u32, getpid() as u32)); // ssi_signo, ssi_pid
            });
            pass(&a, &[&signal::signalfd(SIGUSR1, 0)]);
            child.succeeds();
        }
    }
    "a timerfd" => {
        for kind in ALL_KINDS {
            let (a, b) = socketpair(kind);
            let child = fork_run(|| assert!(count(&take_one(&b)).unwrap() > 0));
            // SAFETY: no pointer.
            let timer = Fd::own(check(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, 0) }).unwrap());
            let soon = libc::timespec { tv_sec: 0, tv_nsec: 2_000_000 };
            let at = libc::itimerspec { it_interval: soon, it_value: soon };
            // SAFETY: a valid time.
            check(unsafe { libc::timerfd_settime(timer.number(), 0, &at, std::ptr::null_mut()) }).unwrap();
            pass(&a, &[&timer]);
            child.succeeds();
        }
    }
    "one end again and again, then anything else among it" => {
        for kind in ALL_KINDS {
            let (a, b) = socketpair(kind);
            let child = fork_run(|| {
                let is_next = |byte: u8| assert_eq!(read_n(&take_one(&b), 1), Ok(vec![byte]));
                (0..100).for_each(is_next);
                assert_eq!(read_n(&take_one(&b), 3), Ok(vec![0; 3]));
                is_next(100);
                let both = take(&b);
                assert_eq!(read_n(&both[0], 1), Ok(vec![101]));
                write_all(&both[1], b"from the child");
                (102..105).for_each(is_next);
                assert_eq!(count(&take_one(&b)), Ok(7));
                write_all(&take_one(&b), b", twice");
            });
            let (p, q, e) = (pipe(), pipe(), eventfd(7));
            // SAFETY: opens a file.
            let zero = unsafe { libc::open(c"/dev/zero".as_ptr(), libc::O_RDONLY) };
            let zero = Fd::own(zero as usize);
            write_all(&p.w, &(0..105).collect::<Vec<u8>>());
            (0..100).for_each(|_| pass(&a, &[&p.r]));
            pass(&a, &[&zero]);
            pass(&a, &[&p.r]);
            pass(&a, &[&p.r, &q.w]);
            (102..105).for_each(|_| pass(&a, &[&p.r]));
            pass(&a, &[&e]);
            pass(&a, &[&q.w]);
            child.succeeds();
            drop(q.w);
            assert_eq!(read_to_end(&q.r), b"from the child, twice");
        }
    }
    "one at a time, each another one" => {
        let (a, b) = socketpair(SOCK_STREAM);
        let s = Shared::new();
        let child = fork_run(|| {
            for i in 0..50 {
                assert_eq!(read_to_end(&take_one(&b)), [i as u8]);
                s.set(0, i + 1);
            }
        });
        for i in 0..50 {
            let p = pipe();
            write_all(&p.w, &[i as u8]);
            pass(&a, &[&p.r]);
            drop(p);
            s.wait_for(0, i + 1);
        }
        child.succeeds();
    }
    "by a process with two threads, to one with two" => {
        let (a, b) = socketpair(SOCK_STREAM);
        let child = fork_run(|| {
            std::thread::scope(|scope| {
                scope.spawn(|| (0..20).for_each(|i| {
                    assert_eq!(read_n(&take_one(&b), 1), Ok(vec![i]));
                }));
            });
        });
        let p = pipe();
        write_all(&p.w, &(0..20).collect::<Vec<u8>>());
        (0..10).for_each(|_| pass(&a, &[&p.r]));
        std::thread::scope(|scope| {
            scope.spawn(|| (0..10).for_each(|_| pass(&a, &[&p.r])));
        });
        child.succeeds();
    }
    "a socket that is sent itself carries others" => {
        let (a, b) = socketpair(SOCK_STREAM);
        let child = fork_run(|| {
            let inner = take_one(&b);
            let r = take_one(&inner);
            assert_eq!(read_n(&r, 9), Ok(b"inner".to_vec()));
        });
        let ((c, d), p) = (socketpair(SOCK_DGRAM), pipe());
        pass(&a, &[&d]);
        pass(&c, &[&p.r]);
        drop((d, p.r));
        write_all(&p.w, b"inner");
        child.succeeds();
    }
    "to a process that is no relation, by a socket with a name" => {
        let (listener, s) = (socket(SOCK_STREAM), Shared::new());
        let name = Address::abstract_name(&format!("scm_rights-{}", getpid()));
        bind(&listener, &name).unwrap();
        listen(&listener, 5).unwrap();
        let server = fork_run(|| {
            let (there, _) = accept(&listener, 0).unwrap();
            let own = take_one(&there); // a pair's: it goes on over that
            assert_eq!(read_n(&take_one(&there), 9), Ok(b"hello".to_vec()));
            let r = take_one(&own);
            s.set(0, 1);
            assert_eq!(read_to_end(&r), b"more");
        });
        let client = fork_run(|| {
            let here = socket(SOCK_STREAM);
            connect(&here, &name).unwrap();
            let (c, d) = socketpair(SOCK_STREAM);
            let (p, q) = (pipe(), pipe());
            write_all(&p.w, b"hello");
            pass(&here, &[&d]);
            pass(&here, &[&p.r]);
            pass(&c, &[&q.r]);
            s.wait_for(0, 1);
            write_all(&q.w, b"more");
        });
        all_succeed([server, client]);
    }
    "across exec: the receiver has it when it execs, or receives it afterwards" => {
        let (a, b) = socketpair(SOCK_STREAM);
        let puppet = program("puppet", Linkage::Dynamic);
        let (p, q, socket) = (pipe(), pipe(), b.number());
        write_all(&p.w, b"first");
        write_all(&q.w, b"second");
        pass(&a, &[&p.r]);
        pass(&a, &[&q.r]);
        drop((p, q.r));
        let child = fork_run(|| {
            close(&q.w).unwrap();
            dup2(&take_one(&b), 60).unwrap();
            let recv = format!("recv:{socket}:61");
            exec(&puppet, &["read:60:first", "eof:60", &recv, "read:61:second", "eof:61"]);
        });
        drop(q.w);
        child.succeeds();
    }
    "MSG_CMSG_CLOEXEC: exec closes it" => {
        let (a, b) = socketpair(SOCK_STREAM);
        let p = pipe();
        pass(&a, &[&p.w]);
        drop(p.w);
        let child = fork_run(|| {
            let got = receive_with(&b, 1, ROOM, MSG_CMSG_CLOEXEC).unwrap().rights;
            let closed = format!("closed:{}", got[0].number());
            exec(&program("puppet", Linkage::Dynamic), &[&closed, "close:0"]);
        });
        assert_eq!(read_to_end(&p.r), b"");
        child.succeeds();
    }
});
