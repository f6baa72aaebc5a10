//! Unix sockets with names: bind(2), listen(2), connect(2), accept(2), and what they refuse.
//! See unix(7).

use libc::{
    EADDRINUSE, ECONNREFUSED, ECONNRESET, EISCONN, ENOENT, ENOTCONN, EPROTOTYPE, SHUT_RDWR,
    SHUT_WR, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK, SOCK_SEQPACKET, SOCK_STREAM,
};
use ringer_support::prelude::*;
use ringer_support::unix::*;
use std::path::PathBuf;

const CONNECTED: [c_int; 2] = [SOCK_STREAM, SOCK_SEQPACKET];
const ALL_KINDS: [c_int; 3] = [SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM];

/// A path of this test's own.
fn path() -> PathBuf {
    std::env::temp_dir().join(format!("ringer-unix-{}", getpid()))
}

fn server(kind: c_int, to: &Address, backlog: c_int) -> Fd {
    let fd = socket(kind);
    bind(&fd, to).unwrap();
    listen(&fd, backlog).unwrap();
    fd
}

fn client(kind: c_int, to: &Address) -> Fd {
    let fd = socket(kind);
    connect(&fd, to).unwrap();
    fd
}

cases!(names, {
    "a socket without a name has none" => {
        for kind in ALL_KINDS {
            let fd = socket(kind);
            assert_eq!(own_name(&fd).unwrap().len, 2);
            assert_eq!(peer_name(&fd), Err(ENOTCONN));
        }
    }
    "abstract names are given back as they are, zeroes and all" => {
        for kind in ALL_KINDS {
            let fd = socket(kind);
            let bytes = [b"\0with\0zero\0".as_slice(), &getpid().to_ne_bytes()].concat();
            bind(&fd, &Address::of(&bytes)).unwrap();
            assert_eq!(own_name(&fd).unwrap().name(), bytes);
        }
    }
    "a path is given back with its zero, and is there" => {
        let fd = socket(SOCK_STREAM);
        bind(&fd, &Address::path(&path())).unwrap();
        assert_eq!(own_name(&fd), Ok(Address::path(&path())));
        assert!(path().exists());
        drop(fd);
        assert!(path().exists());
        assert_eq!(bind(&socket(SOCK_STREAM), &Address::path(&path())), Err(EADDRINUSE));
        assert_eq!(connect(&socket(SOCK_STREAM), &Address::path(&path())), Err(ECONNREFUSED));
        std::fs::remove_file(path()).unwrap();
        assert_eq!(connect(&socket(SOCK_STREAM), &Address::path(&path())), Err(ENOENT));
    }
    "autobind gives five digits" => {
        for kind in ALL_KINDS {
            let fd = socket(kind);
            bind(&fd, &Address::of(&[])).unwrap();
            let name = own_name(&fd).unwrap().name();
            assert_eq!((name.len(), name[0]), (6, 0));
        }
    }
    "a name can be taken once, and again when it is free" => {
        let name = Address::abstract_name("once");
        for kind in ALL_KINDS {
            let first = socket(kind);
            bind(&first, &name).unwrap();
            assert_eq!(bind(&socket(kind), &name), Err(EADDRINUSE));
            assert_eq!(bind(&first, &Address::abstract_name("other")), Err(EINVAL));
            drop(first);
            bind(&socket(kind), &name).unwrap();
        }
    }
    "each kind has its own names" => {
        let name = Address::abstract_name("kinds");
        let kept = ALL_KINDS.map(|kind| {
            let fd = socket(kind);
            bind(&fd, &name).map(|_| fd)
        });
        assert!(kept.iter().all(Result::is_ok));
    }
    "addresses that are too short, too long, or none" => {
        let fd = socket(SOCK_STREAM);
        let mut short = Address::of(b"\0x");
        short.len = 1;
        assert_eq!(bind(&fd, &short), Err(EINVAL));
        let mut long = Address::of(&[b'x'; 108]);
        long.len = 111;
        assert_eq!(bind(&fd, &long), Err(EINVAL));
        assert_eq!(connect(&fd, &long), Err(EINVAL));
        let nowhere = Address::path(std::path::Path::new("/proc/nowhere/at/all"));
        assert_eq!(bind(&fd, &nowhere), Err(ENOENT));
    }
    "a file that is no socket" => {
        std::fs::write(path(), "x").unwrap();
        assert_eq!(connect(&socket(SOCK_STREAM), &Address::path(&path())), Err(ECONNREFUSED));
        std::fs::remove_file(path()).unwrap();
    }
});

cases!(connections, {
    "who connects is served, in order, also before accept" => {
        for kind in CONNECTED {
            let name = Address::abstract_name("order");
            let server = server(kind, &name, 5);
            let clients: Vec<Fd> = (0..5).map(|_| client(kind, &name)).collect();
            for (i, c) in clients.iter().enumerate() {
                send(c, &[i as u8], 0).unwrap();
            }
            for i in 0..5u8 {
                let (fd, from) = accept(&server, 0).unwrap();
                assert_eq!((receive(&fd, 9, 0), from.len), (Ok(vec![i]), 2));
                assert_eq!((own_name(&fd), peer_name(&fd).unwrap().len), (Ok(name.clone()), 2));
                send(&fd, &[i, i], 0).unwrap();
            }
            for (i, c) in clients.iter().enumerate() {
                assert_eq!(receive(c, 9, 0), Ok(vec![i as u8; 2]));
                assert_eq!(peer_name(c), Ok(name.clone()));
            }
        }
    }
    "accept sets flags" => {
        let name = Address::abstract_name("flags");
        let server = server(SOCK_STREAM, &name, 5);
        let _clients = [(); 4].map(|()| client(SOCK_STREAM, &name));
        for flags in [0, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_CLOEXEC | SOCK_NONBLOCK] {
            let (fd, _) = accept(&server, flags).unwrap();
            assert_eq!(close_on_exec(&fd), flags & SOCK_CLOEXEC != 0);
            assert_eq!(status_flags(&fd) & O_NONBLOCK != 0, flags & SOCK_NONBLOCK != 0);
        }
        assert_eq!(accept(&server, 1).map(|_| ()), Err(EINVAL));
    }
    "a client's name is told" => {
        let (name, own) = (Address::abstract_name("server"), Address::abstract_name("client"));
        let server = server(SOCK_STREAM, &name, 5);
        let c = socket(SOCK_STREAM);
        bind(&c, &own).unwrap();
        connect(&c, &name).unwrap();
        let (fd, from) = accept(&server, 0).unwrap();
        assert_eq!((from, peer_name(&fd)), (own.clone(), Ok(own)));
    }
    "what is refused" => {
        let name = Address::abstract_name("refused");
        assert_eq!(connect(&socket(SOCK_STREAM), &name), Err(ECONNREFUSED));
        let bound = socket(SOCK_STREAM);
        bind(&bound, &name).unwrap();
        assert_eq!(connect(&socket(SOCK_STREAM), &name), Err(ECONNREFUSED));
        assert_eq!(accept(&bound, 0).map(|_| ()), Err(EINVAL));
        listen(&bound, 5).unwrap();
        let c = client(SOCK_STREAM, &name);
        assert_eq!(connect(&c, &name), Err(EISCONN));
        assert_eq!(connect(&socket(SOCK_SEQPACKET), &name), Err(ECONNREFUSED));
        assert_eq!(listen(&socket(SOCK_STREAM), 5), Err(EINVAL));
        assert_eq!(listen(&socket(SOCK_DGRAM), 5), Err(EOPNOTSUPP));
        assert_eq!(accept(&socket(SOCK_DGRAM), 0).map(|_| ()), Err(EOPNOTSUPP));
        assert_eq!(connect(&bound, &name), Err(EINVAL));
        assert_eq!(receive(&bound, 1, 0), Err(EINVAL));
        assert_eq!(send(&bound, b"x", 0), Err(ENOTCONN));
    }
    "of a path of another kind" => {
        let bound = server(SOCK_STREAM, &Address::path(&path()), 5);
        assert_eq!(connect(&socket(SOCK_SEQPACKET), &Address::path(&path())), Err(EPROTOTYPE));
        assert_eq!(connect(&socket(SOCK_DGRAM), &Address::path(&path())), Err(EPROTOTYPE));
        drop(bound);
        std::fs::remove_file(path()).unwrap();
    }
    "a full backlog is EAGAIN without waiting, and one more than was asked for fits" => {
        for backlog in [0, 1, 3] {
            let name = Address::abstract_name("backlog");
            let _server = server(SOCK_STREAM, &name, backlog);
            let _clients: Vec<Fd> = (0..=backlog).map(|_| client(SOCK_STREAM, &name)).collect();
            let more = socket(SOCK_STREAM | SOCK_NONBLOCK);
            assert_eq!(connect(&more, &name), Err(EAGAIN));
        }
    }
    "and else waits for room" => {
        let name = Address::abstract_name("room");
        let server = server(SOCK_STREAM, &name, 0);
        let _first = client(SOCK_STREAM, &name);
        let child = fork_run(|| {
            let c = client(SOCK_STREAM, &name);
            assert_eq!(receive(&c, 9, 0), Ok(b"hello".to_vec()));
        });
        child.sleeping();
        let _first = accept(&server, 0).unwrap();
        let (second, _) = accept(&server, 0).unwrap();
        send(&second, b"hello", 0).unwrap();
        child.succeeds();
    }
    "accept waits for a client" => {
        let name = Address::abstract_name("waits");
        let server = server(SOCK_SEQPACKET, &name, 5);
        let child = fork_run(|| {
            let (fd, _) = accept(&server, 0).unwrap();
            assert_eq!(receive(&fd, 9, 0), Ok(b"hello".to_vec()));
        });
        child.sleeping();
        send(&client(SOCK_SEQPACKET, &name), b"hello", 0).unwrap();
        child.succeeds();
        set_nonblocking(&server, true);
        assert_eq!(accept(&server, 0).map(|_| ()), Err(EAGAIN));
    }
    "shutdown ends who waits in accept" => {
        let name = Address::abstract_name("shut");
        let server = server(SOCK_STREAM, &name, 5);
        let child = fork_run(|| assert_eq!(accept(&server, 0).map(|_| ()), Err(EINVAL)));
        child.sleeping();
        shutdown(&server, SHUT_RDWR).unwrap();
        child.succeeds();
        assert_eq!(connect(&socket(SOCK_STREAM), &name), Err(ECONNREFUSED));
    }
    "a server that goes away resets those who were not accepted" => {
        for kind in CONNECTED {
            let name = Address::abstract_name("gone");
            let s = server(kind, &name, 5);
            let c = client(kind, &name);
            drop(s);
            assert_eq!(receive(&c, 9, 0), Err(ECONNRESET));
            assert_eq!(receive(&c, 9, 0), Ok(vec![]));
            assert_eq!(send(&c, b"x", 0), Err(EPIPE));
        }
    }
    "readiness of a server" => {
        let name = Address::abstract_name("ready");
        let server = server(SOCK_STREAM, &name, 5);
        let epoll = Epoll::new();
        epoll.add(&server, EPOLLIN | EPOLLET);
        assert_eq!((poll_now(&server) & POLLIN, epoll.now()), (0, 0));
        let c = client(SOCK_STREAM, &name);
        assert_eq!((poll_now(&server) & POLLIN, epoll.now(), epoll.now()), (POLLIN, EPOLLIN, 0));
        let (fd, _) = accept(&server, 0).unwrap();
        assert_eq!(poll_now(&server) & POLLIN, 0);
        shutdown(&c, SHUT_WR).unwrap();
        assert_eq!(poll_now(&fd) & POLLIN, POLLIN);
        assert_eq!(receive(&fd, 1, 0), Ok(vec![]));
    }
    "who is on the other side" => {
        let name = Address::abstract_name("who");
        let server = server(SOCK_STREAM, &name, 5);
        let child = fork_run(|| {
            let c = client(SOCK_STREAM, &name);
            assert_eq!(peer_credentials(&c).unwrap().0, getppid());
            assert_eq!(receive(&c, 1, 0), Ok(vec![]));
        });
        let (fd, _) = accept(&server, 0).unwrap();
        assert_eq!(peer_credentials(&fd).unwrap().0, child.pid());
        drop(fd);
        child.succeeds();
        assert_eq!((option(&server, libc::SO_ACCEPTCONN), option(&server, libc::SO_TYPE)), (Ok(1), Ok(1)));
    }
});

cases!(datagrams, {
    "from a name to a name" => {
        let names = ["a", "b"].map(Address::abstract_name);
        let [a, b] = [0, 1].map(|i| {
            let fd = socket(SOCK_DGRAM);
            bind(&fd, &names[i]).unwrap();
            fd
        });
        send_to(&a, b"one", &names[1]).unwrap();
        send_to(&b, b"to myself", &names[1]).unwrap();
        assert_eq!(receive(&b, 99, 0), Ok(b"one".to_vec()));
        assert_eq!(receive(&b, 99, 0), Ok(b"to myself".to_vec()));
        assert_eq!(send(&a, b"x", 0), Err(ENOTCONN));
        assert_eq!(send_to(&a, b"x", &Address::abstract_name("none")), Err(ECONNREFUSED));
    }
    "connected they hear their peer alone" => {
        let names = ["a", "b", "c"].map(Address::abstract_name);
        let [a, b, c] = [0, 1, 2].map(|i| {
            let fd = socket(SOCK_DGRAM);
            bind(&fd, &names[i]).unwrap();
            fd
        });
        connect(&a, &names[1]).unwrap();
        assert_eq!(peer_name(&a), Ok(names[1].clone()));
        assert_eq!(send_to(&c, b"x", &names[0]), Err(EPERM));
        send_to(&b, b"from b", &names[0]).unwrap();
        assert_eq!(receive(&a, 99, 0), Ok(b"from b".to_vec()));
        send(&a, b"to b", 0).unwrap();
        assert_eq!(receive(&b, 99, 0), Ok(b"to b".to_vec()));
        disconnect(&a).unwrap();
        assert_eq!(peer_name(&a), Err(ENOTCONN));
        send_to(&c, b"from c", &names[0]).unwrap();
        assert_eq!(receive(&a, 99, 0), Ok(b"from c".to_vec()));
    }
    "a receiver that is gone" => {
        let name = Address::abstract_name("gone");
        let (a, b) = (socket(SOCK_DGRAM), socket(SOCK_DGRAM));
        bind(&b, &name).unwrap();
        connect(&a, &name).unwrap();
        drop(b);
        assert_eq!(send(&a, b"x", 0), Err(ECONNREFUSED));
        assert_eq!(send(&a, b"x", 0), Err(ENOTCONN));
    }
    "a full receiver makes senders wait" => {
        let name = Address::abstract_name("full");
        let (a, b) = (socket(SOCK_DGRAM | SOCK_NONBLOCK), socket(SOCK_DGRAM));
        bind(&b, &name).unwrap();
        connect(&a, &name).unwrap();
        let mut n = 0u32;
        while send(&a, &n.to_ne_bytes(), 0).is_ok() {
            n += 1;
        }
        // /proc/sys/net/unix/max_dgram_qlen, and one more.
        let most = std::fs::read_to_string("/proc/sys/net/unix/max_dgram_qlen").unwrap();
        assert_eq!(n, most.trim().parse::<u32>().unwrap() + 1);
        assert_eq!(poll_now(&a) & POLLOUT, 0);
        let child = fork_run(|| {
            set_nonblocking(&a, false);
            send(&a, &n.to_ne_bytes(), 0).unwrap();
        });
        child.sleeping();
        for i in 0..=n {
            assert_eq!(receive(&b, 99, 0), Ok(i.to_ne_bytes().to_vec()));
        }
        child.succeeds();
        assert_eq!(poll_now(&a) & POLLOUT, POLLOUT);
    }
});
