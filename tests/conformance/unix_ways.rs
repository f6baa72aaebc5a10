//! By what ways a connection's socket is reached, and by whom. See unix(7).

use libc::{ENOTCONN, SOCK_NONBLOCK, SOCK_STREAM};
use ringer_support::connection::*;
use ringer_support::prelude::*;
use ringer_support::puppet::{Outsider, Scene};
use ringer_support::unix::*;
use std::time::Duration;

cases!(ways_to_a_socket, {
    "a second number that it had before" => {
        for kind in CONNECTED {
            let name = Address::abstract_name("second");
            let s = server(kind, &name);
            let c = socket(kind);
            let (d, e) = (dup(&c).unwrap(), fcntl(&c, libc::F_DUPFD, 50).unwrap());
            dup2(&c, 60).unwrap();
            connect(&c, &name).unwrap();
            let a = accepted(&s);
            for fd in [c, d, Fd::own(e), Fd::own(60)] {
                send(&fd, b"ask", 0).unwrap();
                assert_eq!(receive(&a, 9, 0), Ok(b"ask".to_vec()));
                send(&a, b"answer", 0).unwrap();
                assert_eq!(receive(&fd, 9, 0), Ok(b"answer".to_vec()));
            }
        }
    }
    "a second number that it got afterwards" => {
        let (s, c) = early(SOCK_STREAM);
        let d = dup(&c).unwrap();
        send(&d, b"one", 0).unwrap();
        let a = accepted(&s);
        let b = dup(&a).unwrap();
        send(&c, b"two", 0).unwrap();
        assert_eq!(read_exactly(&b, 6), b"onetwo");
        send(&b, b"answer", 0).unwrap();
        assert_eq!(receive(&d, 9, 0), Ok(b"answer".to_vec()));
    }
    "an epoll set that it was in before" => {
        let name = Address::abstract_name("watched");
        let s = server(SOCK_STREAM, &name);
        let c = socket(SOCK_STREAM | SOCK_NONBLOCK);
        let epoll = Epoll::new();
        epoll.add(&c, EPOLLIN | EPOLLET);
        connect(&c, &name).unwrap();
        let a = accepted(&s);
        epoll.now();
        send(&a, b"x", 0).unwrap();
        assert_eq!(epoll.now() & EPOLLIN, EPOLLIN);
        assert_eq!(receive(&c, 9, 0), Ok(b"x".to_vec()));
    }
    "a child that has had it before" => {
        let name = Address::abstract_name("child");
        let s = server(SOCK_STREAM, &name);
        let (c, shared) = (socket(SOCK_STREAM), Shared::new());
        let child = fork_run(|| {
            shared.wait_for(0, 1);
            send(&c, b"child's", 0).unwrap();
            assert_eq!(receive(&c, 9, 0), Ok(b"answer".to_vec()));
        });
        connect(&c, &name).unwrap();
        shared.set(0, 1);
        let a = accepted(&s);
        assert_eq!(receive(&a, 9, 0), Ok(b"child's".to_vec()));
        send(&a, b"answer", 0).unwrap();
        child.succeeds();
    }
    "one that was sent to another before" => {
        let name = Address::abstract_name("sent");
        let s = server(SOCK_STREAM, &name);
        let (p, q) = ringer_support::rights::socketpair(SOCK_STREAM);
        let c = socket(SOCK_STREAM);
        send_with(&p, b"!", &With::Rights(&[c.number()]), 0).unwrap();
        connect(&c, &name).unwrap();
        let a = accepted(&s);
        let got = receive_with(&q, 9, 99, 0).unwrap();
        send(&got.rights[0], b"x", 0).unwrap();
        send(&c, b"y", 0).unwrap();
        assert_eq!(read_exactly(&a, 2), b"xy");
    }
    "a try that failed, and one that went well" => {
        let name = Address::abstract_name("again");
        let c = socket(SOCK_STREAM);
        assert!(connect(&c, &name).is_err());
        assert_eq!((send(&c, b"x", 0), peer_name(&c)), (Err(ENOTCONN), Err(ENOTCONN)));
        let s = server(SOCK_STREAM, &name);
        drop(s);
        assert!(connect(&c, &name).is_err());
        assert_eq!(send(&c, b"x", 0), Err(ENOTCONN));
        let s = server(SOCK_STREAM, &name);
        connect(&c, &name).unwrap();
        send(&c, b"x", 0).unwrap();
        assert_eq!(receive(&accepted(&s), 9, 0), Ok(b"x".to_vec()));
    }
    "who accepts by a system call of its own" => {
        for kind in CONNECTED {
            let (s, c) = early(kind);
            send(&c, b"early", 0).unwrap();
            // SAFETY: no address is wanted.
            let a = unsafe { libc::syscall(libc::SYS_accept4, s.number(), 0, 0, 0) };
            let a = Fd::own(a as usize);
            let child = fork_run(|| {
                assert_eq!(receive(&c, 9, 0), Ok(b"answer".to_vec()));
                send(&c, b"thanks", 0).unwrap();
                assert_eq!(receive(&c, 9, 0), Ok(b"bye".to_vec()));
            });
            child.sleeping();
            assert_eq!(receive(&a, 9, 0), Ok(b"early".to_vec()));
            send(&a, b"answer", 0).unwrap();
            assert_eq!(receive(&a, 9, 0), Ok(b"thanks".to_vec()));
            send(&a, b"bye", 0).unwrap();
            child.succeeds();
        }
    }
    "and never answers, but reads" => {
        for kind in CONNECTED {
            let (s, c) = early(kind);
            // SAFETY: no address is wanted.
            let a = unsafe { libc::syscall(libc::SYS_accept4, s.number(), 0, 0, 0) };
            let a = Fd::own(a as usize);
            for round in 0..4u8 {
                let message = vec![round; 3000];
                let n = fill_with(&c, &message);
                assert!(n > 10, "round {round}");
                for _ in 0..n {
                    assert_eq!(receive(&a, 3000, 0).as_ref(), Ok(&message));
                }
            }
        }
    }
});

both_worlds!(
    many_clients_of_several_acceptors,
    worlds = all,
    timeout = 60,
    {
        const CLIENTS: usize = 12;
        let name = Address::abstract_name("many");
        let s = server(SOCK_STREAM, &name);
        let acceptors: Vec<_> = (0..3)
            .map(|_| {
                fork_run(|| {
                    for _ in 0..CLIENTS / 3 {
                        let a = accepted(&s);
                        while let Ok(got) = receive(&a, 5000, 0) {
                            if got.is_empty() {
                                break;
                            }
                            send(&a, &got, 0).unwrap();
                        }
                    }
                })
            })
            .collect();
        let clients = (0..CLIENTS).map(|i| {
            fork_run(|| {
                let c = client(SOCK_STREAM, &name);
                let mut rng = Rng::new(i as u64 + 1);
                for _ in 0..200 {
                    let message = bytes(rng.within(1, 4000));
                    send(&c, &message, 0).unwrap();
                    assert_eq!(read_exactly(&c, message.len()), message);
                }
            })
        });
        all_succeed(clients.collect::<Vec<_>>());
        all_succeed(acceptors);
    }
);

both_worlds!(a_flood_from_before_accept_on_comes_whole, timeout = 60, {
    let (total, name) = (5_000_000, Address::abstract_name("flood"));
    let all = bytes(total);
    for round in 0..4 {
        let s = server(SOCK_STREAM, &name);
        let child = fork_run(|| {
            let c = client(SOCK_STREAM, &name);
            let (mut at, mut rng) = (0, Rng::new(round));
            while at < total {
                let n = rng.within(1, 9000).min(total - at);
                at += send(&c, &all[at..at + n], 0).unwrap();
            }
        });
        pause(Duration::from_micros(400 * round));
        let a = accepted(&s);
        let mut at = 0;
        while at < total {
            let got = receive(&a, 7000, 0).unwrap();
            assert!(!got.is_empty() && got == all[at..at + got.len()], "at {at}");
            at += got.len();
        }
        assert_eq!(receive(&a, 9, 0), Ok(vec![]));
        child.succeeds();
    }
});

both_worlds!(programs_that_are_executed_with_one_end, {
    for kind in CONNECTED {
        for how in [Outsider::Dynamic, Outsider::Static, Outsider::EmptyPreload] {
            let scene = Scene::new(how).unwrap();
            for wait in [0, 30] {
                let (s, c) = early(kind);
                send(&c, b"early", 0).unwrap();
                let fd = c.number();
                let orders = format!("read:{fd}:hello write:{fd}:thanks read:{fd}:bye eof:{fd}");
                let child = scene.start(&[&s], &orders);
                pause(Duration::from_millis(wait));
                let a = accepted(&s);
                assert_eq!(receive(&a, 9, 0), Ok(b"early".to_vec()), "{how:?}");
                send(&a, b"hello", 0).unwrap();
                assert_eq!(receive(&a, 9, 0), Ok(b"thanks".to_vec()), "{how:?}");
                send(&a, b"bye", 0).unwrap();
                drop(a);
                child.succeeds();
            }
            let (c, a) = connection(kind);
            send(&c, b"hello", 0).unwrap();
            let fd = a.number();
            let child = scene.start(&[&c], &format!("read:{fd}:hello write:{fd}:world eof:{fd}"));
            drop(a);
            assert_eq!(receive(&c, 9, 0), Ok(b"world".to_vec()), "{how:?}");
            drop(c);
            child.succeeds();
        }
    }
});
