//! Pairs of Unix sockets of which one side is gone: what is told, in which order, what is free then, and
//! what of it the kernel is told when it takes over.

use libc::{
    ECONNREFUSED, ECONNRESET, EMSGSIZE, ENOTCONN, EPOLLERR, EPOLLIN, MSG_NOSIGNAL, POLLERR,
    SHUT_RD, SHUT_RDWR,
};
use ringer_support::check;
use ringer_support::prelude::*;
use ringer_support::puppet::{Outsider, Scene};
use ringer_support::socket::*;
use std::path::Path;

fn quick(kind: c_int) -> (Fd, Fd) {
    pair(kind | SOCK_NONBLOCK)
}

const CONNECTED: [c_int; 2] = [SOCK_STREAM, SOCK_SEQPACKET];

/// One of a pair whose peer left something unread, and has sent `own`.
fn left(kind: c_int, own: &[u8]) -> Fd {
    let (a, b) = quick(kind);
    send(&a, b"unread", 0).unwrap();
    if !own.is_empty() {
        send(&b, own, 0).unwrap();
    }
    drop(b);
    a
}

/// The kernel serves from here on.
fn to_the_kernel(fd: &Fd) {
    set_option(fd, libc::SO_PASSCRED, 0).unwrap();
}

fn send_nothing_readable(fd: &Fd) -> Sys {
    write_span(fd, NULL.with_len(9))
}

both_worlds!(a_peer_that_goes_frees_what_it_was_sent, {
    for kind in TYPES {
        let (a, b) = quick(kind);
        send(&a, b"unread", 0).unwrap();
        assert_eq!(charged(&a), 768);
        drop(b);
        assert_eq!(charged(&a), 0);
    }
});

both_worlds!(one_empty_packet_is_nothing_unread, {
    for (n, expected) in [(1, Ok(vec![])), (2, Err(ECONNRESET))] {
        let (a, b) = quick(SOCK_SEQPACKET);
        for _ in 0..n {
            send(&a, b"", 0).unwrap();
        }
        drop(b);
        assert_eq!(recv(&a, 9, 0), expected, "{n}");
    }
    let (a, b) = quick(SOCK_SEQPACKET);
    send(&a, b"", 0).unwrap();
    send(&a, b"x", 0).unwrap();
    drop(b);
    assert_eq!(recv(&a, 9, 0), Err(ECONNRESET));
});

both_worlds!(recvmmsg_tells_a_reset_before_what_there_is, {
    for kind in CONNECTED {
        let a = left(kind, b"own");
        assert_eq!(recvmmsg(&a, &mut [&mut [0; 9]], 0).0, Err(ECONNRESET));
        assert_eq!(recvmmsg(&a, &mut [&mut [0; 9]], 0), (Ok(1), vec![3]));
    }
});

both_worlds!(a_reset_is_told_before_the_length, {
    let long = vec![0; 300_000];
    let a = left(SOCK_SEQPACKET, b"");
    assert_eq!(send(&a, &long, MSG_NOSIGNAL), Err(ECONNRESET));
    assert_eq!(send(&a, &long, MSG_NOSIGNAL), Err(EMSGSIZE));
    assert_eq!(send(&a, b"x", MSG_NOSIGNAL), Err(EPIPE));
});

both_worlds!(a_datagram_is_made_before_its_receiver_is_looked_for, {
    let long = vec![0; 300_000];
    let (a, b) = quick(SOCK_DGRAM);
    drop(b);
    assert_eq!(send_nothing_readable(&a), Err(EFAULT));
    assert_eq!(send(&a, &long, 0), Err(EMSGSIZE));
    assert_eq!(send(&a, b"x", 0), Err(ECONNREFUSED));
    assert_eq!(send_nothing_readable(&a), Err(EFAULT));
    assert_eq!(send(&a, &long, 0), Err(EMSGSIZE));
    assert_eq!(send(&a, b"x", 0), Err(ENOTCONN));
    shutdown(&a, SHUT_RDWR).unwrap();
    assert_eq!(send(&a, b"x", MSG_NOSIGNAL), Err(EPIPE));
    assert_eq!(send_nothing_readable(&a), Err(EPIPE));

    let (a, b) = quick(SOCK_DGRAM);
    shutdown(&b, SHUT_RD).unwrap();
    assert_eq!(send_nothing_readable(&a), Err(EFAULT));
    assert_eq!(send(&a, b"x", MSG_NOSIGNAL), Err(EPIPE));
    let (a, b) = quick(SOCK_DGRAM);
    while send(&a, b"x", 0).is_ok() {}
    shutdown(&b, SHUT_RD).unwrap();
    assert_eq!(send(&a, b"x", MSG_NOSIGNAL), Err(EAGAIN)); // its own buffer first
    while charged(&a) > 0 {
        recv(&b, 9, 0).unwrap();
    }
    assert_eq!(send(&a, b"x", MSG_NOSIGNAL), Err(EPIPE));
});

both_worlds!(a_datagram_socket_that_lost_its_peer_has_none, {
    let (a, b) = quick(SOCK_DGRAM);
    drop(b);
    let name = |fd: &Fd| {
        let (mut name, mut len) = ([0u64; 16], 128);
        // SAFETY: there is room for so many bytes.
        check(unsafe { libc::getpeername(fd.number(), name.as_mut_ptr().cast(), &mut len) })
    };
    assert_eq!(name(&a), Ok(0));
    assert_eq!(send(&a, b"x", 0), Err(ECONNREFUSED));
    assert_eq!(name(&a), Err(ENOTCONN));
    to_the_kernel(&a);
    assert_eq!(name(&a), Err(ENOTCONN));
    assert_eq!(send(&a, b"x", 0), Err(ENOTCONN));
});

both_worlds!(a_reset_is_polled, {
    for kind in CONNECTED {
        let a = left(kind, b"own");
        assert_eq!(poll_now(&a) & POLLERR, POLLERR);
        let child = fork_run(|| assert_eq!(poll_now(&a) & POLLERR, POLLERR));
        child.succeeds();
        assert_eq!(option(&a, libc::SO_ERROR), Ok(ECONNRESET));
        assert_eq!(poll_now(&a) & POLLERR, 0);
        assert_eq!(recv(&a, 9, 0), Ok(b"own".to_vec()));

        // Where another process holds it too.
        let a = left(kind, b"");
        fork_run(|| assert_eq!(poll_now(&a) & POLLERR, POLLERR)).succeeds();
        assert_eq!(poll_now(&a) & POLLERR, POLLERR);
        assert_eq!(recv(&a, 9, 0), Err(ECONNRESET));
    }
});

both_worlds!(a_reset_goes_along_to_the_kernel, {
    let a = left(SOCK_STREAM, b"own");
    to_the_kernel(&a);
    assert_eq!(recv(&a, 9, 0), Ok(b"own".to_vec()));
    assert_eq!(recv(&a, 9, 0), Err(ECONNRESET));
    assert_eq!(recv(&a, 9, 0), Ok(vec![]));
    let a = left(SOCK_SEQPACKET, b"own");
    to_the_kernel(&a);
    assert_eq!(send(&a, b"x", MSG_NOSIGNAL), Err(ECONNRESET));
    assert_eq!(send(&a, b"x", MSG_NOSIGNAL), Err(EPIPE));
    assert_eq!(recv(&a, 9, 0), Ok(b"own".to_vec()));
    for kind in CONNECTED {
        let a = left(kind, b"");
        assert_eq!(option(&a, libc::SO_ERROR), Ok(ECONNRESET));
        to_the_kernel(&a);
        assert_eq!(recv(&a, 9, 0), Ok(vec![])); // it was told
    }
});

both_worlds!(options_and_a_shutdown_go_along_without_a_peer, {
    for kind in TYPES {
        let (a, b) = quick(kind);
        set_option(&a, libc::SO_SNDBUF, 20_000).unwrap();
        set_option(&a, libc::SO_RCVBUF, 30_000).unwrap();
        set_option(&a, libc::SO_KEEPALIVE, 1).unwrap();
        shutdown(&a, SHUT_RDWR).unwrap();
        drop(b);
        to_the_kernel(&a);
        assert_eq!(option(&a, libc::SO_SNDBUF), Ok(40_000));
        assert_eq!(option(&a, libc::SO_RCVBUF), Ok(60_000));
        assert_eq!(option(&a, libc::SO_KEEPALIVE), Ok(1));
        assert_eq!(send(&a, b"x", MSG_NOSIGNAL), Err(EPIPE));
        let hung_up = libc::POLLHUP | libc::POLLRDHUP;
        assert_eq!(poll_now(&a) & hung_up, hung_up);
    }
});

both_worlds!(what_is_unread_costs_in_the_kernel_what_it_did, {
    for sndbuf in [None, Some(3000)] {
        let (a, b) = quick(SOCK_STREAM);
        for _ in 0..3 {
            send(&a, &[7; 20_000], 0).unwrap();
        }
        assert_eq!(recv(&b, 19_000, 0).map(|got| got.len()), Ok(19_000));
        let before = charged(&a);
        if let Some(bytes) = sndbuf {
            set_option(&a, libc::SO_SNDBUF, bytes).unwrap();
        }
        to_the_kernel(&b);
        assert_eq!(charged(&a), before);
        assert_eq!(
            option(&a, libc::SO_SNDBUF),
            Ok(sndbuf.map_or(212_992, |b| 2 * b))
        );
        assert_eq!(recv(&b, 99_999, 0).map(|got| got.len()), Ok(41_000));
        assert_eq!(charged(&a), 0);
    }
});

/// The ways in which a descriptor is closed for good.
const CLOSINGS: [fn(Fd); 4] = [
    drop,
    |fd| {
        dup2(&eventfd(0), &fd).unwrap();
    },
    |fd| {
        let number = fd.number() as u32;
        close_range(number, number, 0).unwrap();
    },
    // By the end of the only process that has it.
    |fd| {
        let child = fork_run(|| ());
        drop(fd);
        child.succeeds();
    },
];

both_worlds!(all_who_hold_a_socket_poll_for_a_gone_peers_datagrams, {
    for closed in CLOSINGS {
        let (a, b) = quick(SOCK_DGRAM);
        for message in [b"one", b"two", b"six"] {
            send(&b, message, 0).unwrap();
        }
        closed(b);
        let one = || {
            assert_eq!(poll_now(&a) & POLLIN, POLLIN);
            recv(&a, 9, 0)
        };
        fork_run(|| assert_eq!(one(), Ok(b"one".to_vec()))).succeeds();
        assert_eq!(one(), Ok(b"two".to_vec()));
        fork_run(|| assert_eq!(one(), Ok(b"six".to_vec()))).succeeds();
        assert_eq!(poll_now(&a) & POLLIN, 0);
        assert_eq!(recv(&a, 9, 0), Err(EAGAIN));
        assert_eq!(send(&a, b"x", 0), Err(ECONNREFUSED));
        assert_eq!(send(&a, b"x", 0), Err(ENOTCONN));
    }
});

both_worlds!(a_reset_is_told_by_epoll, {
    let told = |fd: &Fd| {
        let epoll = Epoll::new();
        epoll.add(fd, EPOLLIN);
        assert_eq!(epoll.now() & EPOLLERR, EPOLLERR);
    };
    for (kind, closed) in CONNECTED
        .into_iter()
        .flat_map(|kind| CLOSINGS.map(|closed| (kind, closed)))
    {
        for connected in [false, true] {
            let (a, b) = match connected {
                false => quick(kind),
                true => ringer_support::connection::connection(kind),
            };
            send(&a, b"unread", 0).unwrap();
            send(&b, b"own", 0).unwrap();
            closed(b);
            fork_run(|| told(&a)).succeeds();
            told(&a);
            if kind == SOCK_SEQPACKET {
                assert_eq!(recv(&a, 9, 0), Err(ECONNRESET));
            }
            assert_eq!(recv(&a, 9, 0), Ok(b"own".to_vec()));
        }
    }
});

both_worlds!(a_new_program_is_what_closes_the_last_one, {
    for kind in TYPES {
        let (a, b) = quick(kind);
        fcntl(&b, F_SETFD, libc::FD_CLOEXEC as usize).unwrap();
        send(&a, b"unread", 0).unwrap();
        send(&b, b"own", 0).unwrap();
        let child = fork_run(|| exec(Path::new("/bin/true"), &[]));
        drop(b);
        child.succeeds();
        told_of_what_was_left(&a, kind);
    }
});

// It has closed it, and begun nothing yet.
both_worlds!(a_program_that_has_not_begun_holds_nothing_any_more, {
    for kind in TYPES {
        let (a, b) = quick(kind);
        fcntl(&b, F_SETFD, libc::FD_CLOEXEC as usize).unwrap();
        send(&a, b"unread", 0).unwrap();
        send(&b, b"own", 0).unwrap();
        let child = fork_run(|| {
            // SAFETY: PTRACE_TRACEME takes nothing.
            unsafe { libc::ptrace(libc::PTRACE_TRACEME) };
            exec(Path::new("/bin/true"), &[]);
        });
        stop_at_exec(child.pid());
        drop(b);
        // SAFETY: a child of ours, which is stopped.
        unsafe { libc::ptrace(libc::PTRACE_DETACH, child.pid(), 0, 0) };
        child.succeeds();
        told_of_what_was_left(&a, kind);
    }
});

/// Lets a traced child go on, signals and all, to where its new program would begin.
fn stop_at_exec(pid: i32) {
    loop {
        let status = wait_pid(pid, libc::WUNTRACED).unwrap().1 .0;
        assert!(libc::WIFSTOPPED(status), "{status:#x}");
        match libc::WSTOPSIG(status) {
            libc::SIGTRAP => return,
            // SAFETY: as above.
            number => unsafe { libc::ptrace(libc::PTRACE_CONT, pid, 0, number) },
        };
    }
}

/// The peer of `a` has left something unread, and sent "own".
fn told_of_what_was_left(a: &Fd, kind: c_int) {
    let expected = match kind {
        SOCK_DGRAM => 0,
        _ => EPOLLERR,
    };
    let told = || {
        let epoll = Epoll::new();
        epoll.add(a, EPOLLIN);
        assert_eq!(epoll.now() & (EPOLLERR | EPOLLIN), expected | EPOLLIN);
    };
    fork_run(told).succeeds();
    told();
    if kind == SOCK_SEQPACKET {
        assert_eq!(recv(a, 9, 0), Err(ECONNRESET));
    }
    assert_eq!(recv(a, 9, 0), Ok(b"own".to_vec()));
}

both_worlds!(a_connection_keeps_its_names_when_its_peer_has_gone, {
    use ringer_support::unix::{own_name, peer_credentials, peer_name};
    for kind in CONNECTED {
        let (c, a) = ringer_support::connection::connection(kind);
        let names = || (own_name(&c), peer_name(&c), peer_credentials(&c));
        send(&a, b"own", 0).unwrap();
        drop(a);
        let before = names();
        to_the_kernel(&c);
        assert!(names() == before);
        let scene = Scene::new(Outsider::Static).unwrap();
        let orders = format!("read:{}:own eof:{}", c.number(), c.number());
        scene.start(&[], &orders).succeeds();
        assert!(names() == before);
    }
});

both_worlds!(a_listener_that_has_gone_is_told_before_a_bad_message, {
    use ringer_support::connection::early;
    let long = vec![0; 300_000];
    for kind in CONNECTED {
        let (s, c) = early(kind);
        signal::ignore(SIGPIPE);
        assert_eq!(send_nothing_readable(&c), Err(EFAULT));
        if kind == SOCK_SEQPACKET {
            assert_eq!(send(&c, &long, 0), Err(EMSGSIZE));
        }
        drop(s);
        match kind {
            SOCK_SEQPACKET => assert_eq!(send(&c, &long, 0), Err(ECONNRESET)),
            _ => assert_eq!(send_nothing_readable(&c), Err(EPIPE)),
        }
        assert_eq!(send(&c, b"x", 0), Err(EPIPE));
    }
});
