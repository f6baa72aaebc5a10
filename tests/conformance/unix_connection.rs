//! Connections between Unix sockets, from before they are accepted on: what was sent stays in order, and
//! every call gives what Linux gives. See unix(7).

use libc::{
    ECONNRESET, EISCONN, MSG_DONTWAIT, MSG_PEEK, MSG_WAITALL, SHUT_RD, SHUT_RDWR, SHUT_WR,
    SOCK_SEQPACKET, SOCK_STREAM, SO_PASSCRED, SO_RCVTIMEO, SO_SNDBUF,
};
use ringer_support::connection::*;
use ringer_support::prelude::*;
use ringer_support::socket::{charged, recvmsg, sendmsg, set_timeout};
use ringer_support::unix::*;
use std::time::{Duration, Instant};

cases!(before_accept, {
    "what was sent before comes first, and in order" => {
        for kind in CONNECTED {
            let (s, c) = early(kind);
            for i in 0..20usize {
                assert_eq!(send(&c, &bytes(1 + 97 * i), 0), Ok(1 + 97 * i));
            }
            let a = accepted(&s);
            send(&c, b"after", 0).unwrap();
            let mut all = vec![];
            for i in 0..20 {
                let got = receive(&a, 5000, 0).unwrap();
                if kind == SOCK_SEQPACKET {
                    assert_eq!(got, bytes(1 + 97 * i));
                }
                all.extend(got);
                if kind == SOCK_STREAM && all.ends_with(b"after") {
                    break;
                }
            }
            if kind == SOCK_SEQPACKET {
                assert_eq!(receive(&a, 99, 0), Ok(b"after".to_vec()));
            } else {
                let mut sent: Vec<u8> = (0..20).flat_map(|i| bytes(1 + 97 * i)).collect();
                sent.extend(b"after");
                assert_eq!(all, sent);
            }
            assert_eq!(receive(&a, 9, MSG_DONTWAIT), Err(EAGAIN));
        }
    }
    "a part of it may be read, and looked at" => {
        let (s, c) = early(SOCK_STREAM);
        for part in ["one", "two", "three"] {
            send(&c, part.as_bytes(), 0).unwrap();
        }
        let a = accepted(&s);
        assert_eq!(receive(&a, 4, MSG_PEEK), Ok(b"onet".to_vec()));
        assert_eq!(receive(&a, 2, 0), Ok(b"on".to_vec()));
        assert_eq!((bytes_waiting(&a), charged(&c)), (Ok(9), charged(&c)));
        send(&c, b"four", 0).unwrap();
        assert_eq!(receive(&a, 13, MSG_WAITALL), Ok(b"etwothreefour".to_vec()));
        assert_eq!(charged(&c), 0);
    }
    "as much fits as natively, and it costs the same, before and after" => {
        for kind in CONNECTED {
            for size in [1, 300, 5000] {
                let (s, c) = early(kind);
                let message = bytes(size);
                for _ in 0..3 {
                    send(&c, &message, 0).unwrap();
                }
                let first = charged(&c);
                let a = accepted(&s);
                assert_eq!((charged(&c), charged(&a)), (first, 0));
                let n = 3 + fill_with(&c, &message);
                let (p, q) = connection(kind);
                assert_eq!((n, charged(&c)), (fill_with(&p, &message), charged(&p)), "{size}");
                for _ in 0..2 {
                    receive(&a, size, 0).unwrap();
                    receive(&q, size, 0).unwrap();
                    assert_eq!((fill_with(&c, &message), charged(&c)), (fill_with(&p, &message), charged(&p)));
                }
            }
        }
    }
    "who is full before waits for who accepts" => {
        for kind in CONNECTED {
            let (s, c) = early(kind);
            let message = bytes(1000);
            let n = fill_with(&c, &message);
            let child = fork_run(|| assert_eq!(send(&c, b"last", 0), Ok(4)));
            child.sleeping();
            let a = accepted(&s);
            for _ in 0..n {
                assert_eq!(receive(&a, 1000, 0).unwrap(), message);
            }
            child.succeeds();
            assert_eq!(receive(&a, 99, 0), Ok(b"last".to_vec()));
        }
    }
    "a send larger than the buffer goes on where it waited" => {
        let (s, c) = early(SOCK_STREAM);
        let all = bytes(1_000_000);
        let child = fork_run(|| assert_eq!(send(&c, &all, 0), Ok(all.len())));
        child.sleeping();
        let a = accepted(&s);
        drop(c);
        assert_eq!(read_exactly(&a, all.len()), all);
        child.succeeds();
        assert_eq!(receive(&a, 9, 0), Ok(vec![]));
    }
    "who waits for an answer gets it" => {
        for kind in CONNECTED {
            let (s, c) = early(kind);
            let child = fork_run(|| {
                assert_eq!(receive(&c, 99, 0), Ok(b"hello".to_vec()));
                send(&c, b"thanks", 0).unwrap();
            });
            child.sleeping();
            let a = accepted(&s);
            send(&a, b"hello", 0).unwrap();
            assert_eq!(receive(&a, 99, 0), Ok(b"thanks".to_vec()));
            child.succeeds();
        }
    }
    "who waits is not awakened by accept alone" => {
        let (s, c) = early(SOCK_STREAM);
        let child = fork_run(|| assert_eq!(receive(&c, 99, 0), Ok(b"x".to_vec())));
        child.sleeping();
        let a = accepted(&s);
        pause(Duration::from_millis(60));
        child.sleeping();
        send(&a, b"x", 0).unwrap();
        child.succeeds();
    }
    "without waiting there is nothing to receive" => {
        for kind in CONNECTED {
            let (s, c) = early(kind);
            assert_eq!(receive(&c, 9, MSG_DONTWAIT), Err(EAGAIN));
            set_nonblocking(&c, true);
            assert_eq!(receive(&c, 9, 0), Err(EAGAIN));
            let a = accepted(&s);
            assert_eq!(receive(&c, 9, 0), Err(EAGAIN));
            send(&a, b"x", 0).unwrap();
            assert_eq!(receive(&c, 9, 0), Ok(b"x".to_vec()));
        }
    }
    "a timeout that was set before is one for the whole call" => {
        let name = Address::abstract_name("timeout");
        let s = server(SOCK_STREAM, &name);
        let c = socket(SOCK_STREAM);
        set_timeout(&c, SO_RCVTIMEO, 1000);
        connect(&c, &name).unwrap();
        let (times, began) = (Shared::new(), Instant::now());
        let now = || began.elapsed().as_millis() as u64;
        let child = fork_run(|| {
            let since = Instant::now();
            assert_eq!(receive(&c, 9, 0), Err(EAGAIN));
            times.set(1, now());
            let took = since.elapsed();
            assert!(took >= Duration::from_millis(990), "{took:?}");
        });
        pause(Duration::from_millis(700));
        times.set(0, now());
        let _a = accepted(&s);
        child.succeeds();
        // Counted anew from the accept, it would have been a whole second from there.
        let more = times.get(1).saturating_sub(times.get(0));
        assert!(more < 990, "{more} ms after the accept");
    }
    "a signal ends the wait" => {
        let (_s, c) = early(SOCK_STREAM);
        signal::count(SIGUSR1, 0);
        let child = fork_run(|| assert_eq!(receive(&c, 9, 0), Err(EINTR)));
        child.sleeping();
        child.kill(SIGUSR1);
        child.succeeds();
    }
    "a client that is gone leaves what it has sent" => {
        for kind in CONNECTED {
            let (s, c) = early(kind);
            send(&c, b"one", 0).unwrap();
            send(&c, b"two", 0).unwrap();
            drop(c);
            let a = accepted(&s);
            let first = receive(&a, 99, 0).unwrap();
            assert!(first == b"onetwo" || (kind == SOCK_SEQPACKET && first == b"one"));
            if kind == SOCK_SEQPACKET {
                assert_eq!(receive(&a, 99, 0), Ok(b"two".to_vec()));
            }
            assert_eq!((receive(&a, 9, 0), send(&a, b"x", 0)), (Ok(vec![]), Err(EPIPE)));
        }
    }
    "a client that was killed, too" => {
        for kind in CONNECTED {
            let name = Address::abstract_name("killed");
            let s = server(kind, &name);
            let child = fork_run(|| {
                let c = client(kind, &name);
                send(&c, b"one", 0).unwrap();
                let _ = receive(&c, 9, 0);
            });
            child.sleeping();
            child.kill_9();
            let a = accepted(&s);
            assert_eq!((receive(&a, 99, 0), receive(&a, 9, 0)), (Ok(b"one".to_vec()), Ok(vec![])));
        }
    }
    "shut down before, it says so after" => {
        for kind in CONNECTED {
            let (s, c) = early(kind);
            send(&c, b"last", 0).unwrap();
            shutdown(&c, SHUT_WR).unwrap();
            assert_eq!(send(&c, b"x", 0), Err(EPIPE));
            let a = accepted(&s);
            assert_eq!((receive(&a, 99, 0), receive(&a, 9, 0)), (Ok(b"last".to_vec()), Ok(vec![])));
            send(&a, b"answer", 0).unwrap();
            assert_eq!(receive(&c, 99, 0), Ok(b"answer".to_vec()));
        }
    }
    "polled before, it is readable when it is answered" => {
        for kind in CONNECTED {
            let (s, c) = early(kind);
            send(&c, b"ask", 0).unwrap();
            assert_eq!(poll_now(&c) & (POLLIN | POLLOUT), POLLOUT);
            let a = accepted(&s);
            assert_eq!(receive(&a, 99, 0), Ok(b"ask".to_vec()));
            send(&a, b"answer", 0).unwrap();
            assert_eq!(poll_now(&c) & POLLIN, POLLIN);
            assert_eq!(receive(&c, 99, 0), Ok(b"answer".to_vec()));
        }
    }
    "descriptors that are sent before" => {
        let (s, c) = early(SOCK_STREAM);
        let (r, w) = { let p = pipe(); (p.r, p.w) };
        send(&c, b"plain", 0).unwrap();
        send_with(&c, b"!", &With::Rights(&[r.number()]), 0).unwrap();
        drop(r);
        let a = accepted(&s);
        assert_eq!(receive(&a, 5, 0), Ok(b"plain".to_vec()));
        let mut got = receive_with(&a, 9, 99, 0).unwrap();
        write_all(&w, b"through");
        assert_eq!(read_exactly(&got.rights.remove(0), 7), b"through");
    }
    "two threads, one of which waits to receive" => {
        let (s, c) = early(SOCK_STREAM);
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| receive(&c, 99, 0));
            pause(Duration::from_millis(30));
            send(&c, b"one", 0).unwrap();
            let a = accepted(&s);
            send(&c, b"two", 0).unwrap();
            assert_eq!(read_exactly(&a, 6), b"onetwo");
            send(&a, b"answer", 0).unwrap();
            assert_eq!(waits.join().unwrap(), Ok(b"answer".to_vec()));
        });
    }
    "bad memory is an error, and nothing is sent" => {
        for kind in CONNECTED {
            let (s, c) = early(kind);
            // SAFETY: the kernel, or who stands for it, finds that there is nothing.
            let ret = unsafe { libc::send(c.number(), 8 as *const c_void, 5, 0) };
            assert_eq!((ret, ringer_support::errno()), (-1, EFAULT));
            send(&c, b"good", 0).unwrap();
            assert_eq!(receive(&accepted(&s), 99, 0), Ok(b"good".to_vec()));
        }
    }
    "packets of no length, and such that are too long" => {
        let (s, c) = early(SOCK_SEQPACKET);
        assert_eq!(send(&c, b"", 0), Ok(0));
        assert_eq!(send(&c, &bytes(300_000), 0), Err(libc::EMSGSIZE));
        send(&c, b"x", 0).unwrap();
        let a = accepted(&s);
        assert_eq!((receive(&a, 9, 0), receive(&a, 9, 0)), (Ok(vec![]), Ok(b"x".to_vec())));
    }
    "messages of several parts, and several messages" => {
        let (s, c) = early(SOCK_SEQPACKET);
        sendmsg(&c, &[b"a", b"bc"], 0).unwrap();
        ringer_support::socket::sendmmsg(&c, &[b"one", b"two"], 0).unwrap();
        writev_slices(&c, &[b"d", b"ef"]).unwrap();
        let a = accepted(&s);
        for message in ["abc", "one", "two", "def"] {
            assert_eq!(receive(&a, 9, 0), Ok(message.as_bytes().to_vec()));
        }
    }
    "an option that is set before" => {
        for kind in CONNECTED {
            let (s, c) = early(kind);
            set_option(&c, SO_SNDBUF, 10_000).unwrap();
            send(&c, b"x", 0).unwrap();
            let (p, _q) = connection(kind);
            set_option(&p, SO_SNDBUF, 10_000).unwrap();
            send(&p, b"x", 0).unwrap();
            let _a = accepted(&s);
            assert_eq!(fill_with(&c, &bytes(100)), fill_with(&p, &bytes(100)));
            let (s, c) = early(kind);
            set_option(&c, SO_PASSCRED, 1).unwrap();
            let a = accepted(&s);
            send(&a, b"x", 0).unwrap();
            let who = receive_with(&c, 9, 99, 0).unwrap().credentials;
            assert_eq!(who.map(|w| w.0), Some(getpid()));
        }
    }
});

cases!(after_accept, {
    "names and credentials are the kernel's" => {
        for kind in CONNECTED {
            let (name, own) = (Address::abstract_name("listener"), Address::abstract_name("own"));
            let s = server(kind, &name);
            let c = socket(kind);
            bind(&c, &own).unwrap();
            connect(&c, &name).unwrap();
            let (a, from) = accept(&s, 0).unwrap();
            assert_eq!((from, peer_name(&a)), (own.clone(), Ok(own.clone())));
            assert_eq!((own_name(&a), peer_name(&c)), (Ok(name.clone()), Ok(name.clone())));
            for fd in [&a, &c] {
                assert_eq!(peer_credentials(fd).unwrap().0, getpid());
            }
            assert_eq!(connect(&c, &name), Err(EISCONN));
            send(&c, b"still", 0).unwrap();
            assert_eq!(receive(&a, 9, 0), Ok(b"still".to_vec()));
        }
    }
    "a message tells who has sent it, if that has a name" => {
        for kind in CONNECTED {
            let name = Address::abstract_name("sender");
            let s = server(kind, &name);
            let c = client(kind, &name);
            let a = accepted(&s);
            send(&a, b"x", 0).unwrap();
            assert_eq!(receive_from(&c, 9).unwrap(), (b"x".to_vec(), name.name()));
            send(&c, b"y", 0).unwrap();
            assert_eq!(receive_from(&a, 9).unwrap(), (b"y".to_vec(), vec![]));
            drop(c);
            assert_eq!(receive_from(&a, 9).unwrap(), (vec![], vec![]));
        }
    }
    "also a message without a byte has a sender, and the end has none" => {
        let name = Address::abstract_name("silent");
        let s = server(SOCK_SEQPACKET, &name);
        let c = client(SOCK_SEQPACKET, &name);
        let a = accepted(&s);
        send(&a, b"", 0).unwrap();
        assert_eq!(receive_from(&c, 9).unwrap(), (vec![], name.name()));
        // Also one for which somebody waits.
        let child = fork_run(|| {
            assert_eq!(receive_from(&c, 9).unwrap(), (vec![], name.name()));
            assert_eq!(receive_from(&c, 9).unwrap(), (vec![], vec![]));
        });
        child.sleeping();
        send(&a, b"", 0).unwrap();
        shutdown(&a, SHUT_WR).unwrap();
        child.succeeds();
    }
    "nothing is asked for" => {
        let name = Address::abstract_name("nothing");
        let s = server(SOCK_STREAM, &name);
        let c = client(SOCK_STREAM, &name);
        let a = accepted(&s);
        send(&a, b"x", 0).unwrap();
        assert_eq!(receive_from(&c, 0).unwrap(), (vec![], name.name()));
        assert_eq!(receive_from(&c, 9).unwrap(), (b"x".to_vec(), name.name()));
    }
    "half of it is closed" => {
        for kind in CONNECTED {
            let (c, a) = connection(kind);
            send(&c, b"last", 0).unwrap();
            shutdown(&c, SHUT_WR).unwrap();
            assert_eq!((receive(&a, 9, 0), receive(&a, 9, 0)), (Ok(b"last".to_vec()), Ok(vec![])));
            assert_eq!(send(&c, b"x", 0), Err(EPIPE));
            send(&a, b"back", 0).unwrap();
            assert_eq!(receive(&c, 9, 0), Ok(b"back".to_vec()));
            shutdown(&a, SHUT_RD).unwrap();
            shutdown(&a, SHUT_RDWR).unwrap();
            assert_eq!(receive(&c, 9, 0), Ok(vec![]));
        }
    }
    "an end that goes with something unread resets the other" => {
        for kind in CONNECTED {
            let (c, a) = connection(kind);
            send(&c, b"unread", 0).unwrap();
            send(&a, b"answer", 0).unwrap();
            drop(a);
            if kind == SOCK_STREAM {
                assert_eq!(receive(&c, 9, 0), Ok(b"answer".to_vec()));
            }
            assert_eq!(receive(&c, 9, 0), Err(ECONNRESET));
            assert_eq!(send(&c, b"x", 0), Err(EPIPE));
        }
    }
    "killed, an end is gone, whichever it was" => {
        for kind in CONNECTED {
            for server_dies in [false, true] {
                let (c, a) = connection(kind);
                let (dies, lives) = if server_dies { (a, c) } else { (c, a) };
                send(&dies, b"last", 0).unwrap();
                let child = fork_run(|| {
                    close(&lives).unwrap();
                    let _ = receive(&dies, 9, 0);
                });
                drop(dies);
                child.sleeping();
                child.kill_9();
                assert_eq!((receive(&lives, 9, 0), receive(&lives, 9, 0)), (Ok(b"last".to_vec()), Ok(vec![])));
                assert_eq!(send(&lives, b"x", 0), Err(EPIPE));
            }
        }
    }
    "polled, it goes on where it was" => {
        for kind in CONNECTED {
            let (c, a) = connection(kind);
            send(&c, b"one", 0).unwrap();
            send(&a, b"eins", 0).unwrap();
            let epoll = Epoll::new();
            epoll.add(&a, EPOLLIN | EPOLLET);
            assert_eq!(epoll.now() & EPOLLIN, EPOLLIN);
            send(&c, b"two", 0).unwrap();
            assert_eq!(epoll.now() & EPOLLIN, EPOLLIN);
            assert_eq!(poll_now(&c) & POLLIN, POLLIN);
            let whole: Vec<u8> = (0..2).flat_map(|_| receive(&a, 3, 0).unwrap()).collect();
            assert_eq!((whole, receive(&c, 9, 0)), (b"onetwo".to_vec(), Ok(b"eins".to_vec())));
            assert_eq!((own_name(&a), peer_name(&c)), (peer_name(&c), own_name(&a)));
        }
    }
    "descriptors go through, and so do messages of parts" => {
        for kind in CONNECTED {
            let (c, a) = connection(kind);
            send(&c, b"first", 0).unwrap();
            let p = pipe();
            send_with(&c, b"!", &With::Rights(&[p.w.number()]), 0).unwrap();
            assert_eq!(receive(&a, 5, 0), Ok(b"first".to_vec()));
            let got = receive_with(&a, 9, 99, 0).unwrap();
            write_all(&got.rights[0], b"x");
            assert_eq!(read_exactly(&p.r, 1), b"x");
            let (c, a) = connection(kind);
            sendmsg(&c, &[b"a", b"bc"], 0).unwrap();
            let told = recvmsg(&a, &mut [&mut [0; 2], &mut [0; 9]], 0).unwrap();
            assert_eq!(told.bytes, 3);
        }
    }
});
