//! What is sent over a connection before it is accepted has its sender's credentials, whether anybody asked for them or
//! not (net/unix/af_unix.c unix_maybe_add_creds: a peer without sk_socket); and it is told as soon as somebody asks.

use libc::{
    ECONNRESET, MSG_DONTWAIT, MSG_PEEK, SOCK_SEQPACKET, SOCK_STREAM, SO_ERROR, SO_PASSCRED,
};
use ringer_support::connection::*;
use ringer_support::prelude::*;
use ringer_support::unix::*;

fn ask(a: &Fd) {
    set_option(a, SO_PASSCRED, 1).unwrap();
}

/// What comes next, and who has sent it.
fn next(a: &Fd) -> (Vec<u8>, Option<i32>) {
    let got = receive_with(a, 99, 99, 0).unwrap();
    (got.bytes, got.credentials.map(|(pid, ..)| pid))
}

fn mine(bytes: &[u8]) -> (Vec<u8>, Option<i32>) {
    (bytes.to_vec(), Some(getpid()))
}

fn nobodys(bytes: &[u8]) -> (Vec<u8>, Option<i32>) {
    (bytes.to_vec(), Some(0))
}

fn all(from: &Fd, messages: &[&[u8]]) {
    for message in messages {
        assert_eq!(send(from, message, 0), Ok(message.len()));
    }
}

/// A child does this, and ends. Its number.
fn by_child(f: impl FnOnce()) -> i32 {
    let child = fork_run(f);
    let pid = child.pid();
    child.succeeds();
    pid
}

cases!(what_was_sent_before_accept_has_its_sender, {
    "asked for at once" => {
        for kind in CONNECTED {
            let (s, c) = early(kind);
            let pid = by_child(|| all(&c, &[b"one"]));
            let a = accepted(&s);
            ask(&a);
            // (The numbers of processes that have ended are told, too.)
            assert_eq!(next(&a), (b"one".to_vec(), Some(pid)), "{kind}");
        }
    }
    "polled before" => {
        for kind in CONNECTED {
            let (s, c) = early(kind);
            all(&c, &[b"one"]);
            let a = accepted(&s);
            assert_eq!(poll_now(&a) & POLLIN, POLLIN);
            ask(&a);
            assert_eq!(next(&a), mine(b"one"), "{kind}");
        }
    }
    "a part of it was received" => {
        let (s, c) = early(SOCK_STREAM);
        all(&c, &[b"one"]);
        let a = accepted(&s);
        assert_eq!(receive(&a, 1, 0), Ok(b"o".to_vec()));
        ask(&a);
        assert_eq!(next(&a), mine(b"ne"));
    }
    "some of many were received, and more was sent since" => {
        for kind in CONNECTED {
            let (s, c) = early(kind);
            all(&c, &[b"one", b"two", b"three"]);
            let a = accepted(&s);
            let most = if kind == SOCK_STREAM { 4 } else { 9 };
            assert!(receive(&a, most, 0).is_ok());
            all(&c, &[b"later"]);
            ask(&a);
            let rest: &[(Vec<u8>, Option<i32>)] = match kind {
                SOCK_STREAM => &[mine(b"wothree"), nobodys(b"later")],
                _ => &[mine(b"two"), mine(b"three"), nobodys(b"later")],
            };
            for message in rest {
                assert_eq!(next(&a), *message, "{kind}");
            }
            assert_eq!(receive(&a, 9, MSG_DONTWAIT), Err(EAGAIN));
        }
    }
    "all of it was received, and more was sent since" => {
        for kind in CONNECTED {
            let (s, c) = early(kind);
            all(&c, &[b"one", b"", b"two"]);
            let a = accepted(&s);
            let parts = if kind == SOCK_SEQPACKET { 3 } else { 1 };
            (0..parts).for_each(|_| assert!(receive(&a, 9, 0).is_ok()));
            all(&c, &[b"later"]);
            assert_eq!(receive(&a, 2, MSG_PEEK), Ok(b"la".to_vec()));
            ask(&a);
            assert_eq!(next(&a), nobodys(b"later"), "{kind}");
            all(&c, &[b"asked for"]);
            assert_eq!(next(&a), mine(b"asked for"), "{kind}");
        }
    }
    "packets of no length" => {
        let (s, c) = early(SOCK_SEQPACKET);
        all(&c, &[b"", b"", b"one", b""]);
        let a = accepted(&s);
        assert_eq!(receive(&a, 9, 0), Ok(vec![]));
        ask(&a);
        for left in [b"".as_slice(), b"one", b""] {
            assert_eq!(next(&a), mine(left));
        }
        assert_eq!(receive(&a, 9, MSG_DONTWAIT), Err(EAGAIN));
    }
    "who accepted has answered" => {
        for kind in CONNECTED {
            let (s, c) = early(kind);
            all(&c, &[b"question"]);
            let a = accepted(&s);
            all(&a, &[b"answer"]);
            assert_eq!(receive(&c, 9, 0), Ok(b"answer".to_vec()));
            all(&c, &[b"another"]);
            ask(&a);
            assert_eq!((next(&a), next(&a)), (mine(b"question"), nobodys(b"another")), "{kind}");
        }
    }
    "another process receives a part, and another the rest" => {
        for kind in CONNECTED {
            let (s, c) = early(kind);
            all(&c, &[b"one", b"two"]);
            let a = accepted(&s);
            by_child(|| assert_eq!(receive(&a, 3, 0), Ok(b"one".to_vec())));
            let parent = getpid();
            by_child(|| {
                ask(&a);
                assert_eq!(next(&a), (b"two".to_vec(), Some(parent)), "{kind}");
            });
        }
    }
    "who connected was killed" => {
        let (s, c) = early(SOCK_STREAM);
        let child = fork_run(|| {
            all(&c, &[b"one", b"two"]);
            let _ = receive(&c, 9, 0);
        });
        let pid = child.pid();
        child.sleeping();
        drop(c);
        let a = accepted(&s);
        assert_eq!(receive(&a, 2, 0), Ok(b"on".to_vec()));
        child.kill_9();
        ask(&a);
        assert_eq!(next(&a), (b"etwo".to_vec(), Some(pid)));
        assert_eq!(receive(&a, 9, 0), Ok(vec![]));
    }
});

cases!(what_was_sent_before_accept_is_there_once, {
    "a part was received, then it is polled" => {
        for kind in CONNECTED {
            let (s, c) = early(kind);
            all(&c, &[b"one", b"two", b"three"]);
            let a = accepted(&s);
            assert!(receive(&a, 3, 0).is_ok());
            all(&c, &[b"four"]);
            assert_eq!(poll_now(&a) & POLLIN, POLLIN);
            let mut got = Vec::new();
            while let Ok(bytes) = receive(&a, 99, MSG_DONTWAIT) {
                got.extend(bytes);
            }
            assert_eq!(got, b"twothreefour", "{kind}");
            all(&c, &[b"five"]);
            assert_eq!(receive(&a, 9, 0), Ok(b"five".to_vec()));
        }
    }
    "all was received, and who accepted goes" => {
        for kind in CONNECTED {
            let (s, c) = early(kind);
            all(&c, &[b"one"]);
            let a = accepted(&s);
            assert_eq!(receive(&a, 9, 0), Ok(b"one".to_vec()));
            drop(a);
            assert_eq!(option(&c, SO_ERROR), Ok(0));
            assert_eq!(receive(&c, 9, 0), Ok(vec![]), "{kind}");
        }
    }
    "a part was received, and who accepted goes, or is killed" => {
        for kind in CONNECTED {
            for killed in [false, true] {
                let (s, c) = early(kind);
                all(&c, &[b"one", b"two"]);
                let child = fork_run(|| {
                    let a = accepted(&s);
                    assert!(receive(&a, 3, 0).is_ok());
                    if killed {
                        signal::kill(getpid(), libc::SIGKILL);
                    }
                });
                let _ = child.wait();
                assert_eq!(receive(&c, 9, 0), Err(ECONNRESET), "{kind} {killed}");
                assert_eq!(option(&c, SO_ERROR), Ok(0), "{kind} {killed}");
                assert_eq!(receive(&c, 9, 0), Ok(vec![]), "{kind} {killed}");
                assert_eq!(poll_now(&c) & POLLERR, 0, "{kind} {killed}");
            }
        }
    }
});
