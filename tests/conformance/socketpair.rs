//! Pairs of connected Unix sockets: what goes through, and how it is asked for. See socket(7), unix(7),
//! send(2), recv(2).

use libc::{
    MSG_CMSG_CLOEXEC, MSG_DONTWAIT, MSG_EOR, MSG_MORE, MSG_NOSIGNAL, MSG_PEEK, MSG_TRUNC,
    MSG_WAITALL, SHUT_RD, SHUT_RDWR, SHUT_WR,
};
use ringer_support::prelude::*;
use ringer_support::socket::*;

const ECONNRESET: i32 = libc::ECONNRESET;
const ECONNREFUSED: i32 = libc::ECONNREFUSED;

/// A pair that never blocks.
fn quick(kind: c_int) -> (Fd, Fd) {
    pair(kind | SOCK_NONBLOCK)
}

fn is_stream(kind: c_int) -> bool {
    kind == SOCK_STREAM
}

both_worlds!(bytes_go_both_ways, worlds = all, {
    for kind in TYPES {
        let (a, b) = quick(kind);
        assert_eq!(write(&a, b"to b"), Ok(4));
        assert_eq!(send(&b, b"to a!", 0), Ok(5));
        assert_eq!(recv(&b, 100, 0), Ok(b"to b".to_vec()));
        assert_eq!(read_n(&a, 100), Ok(b"to a!".to_vec()));
        assert_eq!(recv(&a, 100, 0), Err(EAGAIN));
        assert_eq!(read_n(&b, 100), Err(EAGAIN));
    }
});

both_worlds!(a_stream_has_no_bounds_and_a_packet_has, {
    for kind in TYPES {
        let (a, b) = quick(kind);
        for part in [b"ab".as_slice(), b"cde", b"f"] {
            assert_eq!(send(&a, part, 0), Ok(part.len()));
        }
        let got: Vec<Vec<u8>> = std::iter::from_fn(|| recv(&b, 4, 0).ok()).collect();
        let expected: &[&[u8]] = match kind {
            SOCK_STREAM => &[b"abcd", b"ef"],
            _ => &[b"ab", b"cde", b"f"],
        };
        assert_eq!(got, expected, "{kind}");
    }
});

both_worlds!(what_does_not_fit_of_a_packet_is_lost, {
    for kind in [SOCK_DGRAM, SOCK_SEQPACKET] {
        let (a, b) = quick(kind);
        for text in [b"first".as_slice(), b"second", b"third"] {
            send(&a, text, 0).unwrap();
        }
        assert_eq!(recv(&b, 2, 0), Ok(b"fi".to_vec()));
        let mut room = [0; 2];
        assert_eq!(recv_to(&b, &mut room, MSG_TRUNC), Ok(6));
        assert_eq!(&room, b"se");
        let told = recvmsg(&b, &mut [&mut [0; 1], &mut [0; 2]], MSG_CMSG_CLOEXEC).unwrap();
        assert_eq!((told.bytes, told.name_len, told.control_len), (3, 0, 0));
        assert_eq!(told.flags, MSG_TRUNC | MSG_CMSG_CLOEXEC);
    }
});

both_worlds!(peeking_takes_nothing, {
    for kind in TYPES {
        let (a, b) = quick(kind);
        assert_eq!(recv(&b, 10, MSG_PEEK), Err(EAGAIN));
        send(&a, b"abc", 0).unwrap();
        send(&a, b"def", 0).unwrap();
        let all: &[u8] = if is_stream(kind) { b"abcdef" } else { b"abc" };
        assert_eq!(recv(&b, 10, MSG_PEEK), Ok(all.to_vec()));
        assert_eq!(recv(&b, 2, MSG_PEEK), Ok(b"ab".to_vec()));
        let mut room = [0; 2];
        let whole = if is_stream(kind) { 2 } else { 3 };
        assert_eq!(recv_to(&b, &mut room, MSG_PEEK | MSG_TRUNC), Ok(whole));
        assert_eq!(recv(&b, 10, 0), Ok(all.to_vec()));
    }
});

both_worlds!(waitall_waits_for_all_of_a_stream, {
    let (a, b) = pair(SOCK_STREAM);
    let child = fork_run(|| assert_eq!(recv(&b, 10, MSG_WAITALL), Ok(b"0123456789".to_vec())));
    for part in [b"0123".as_slice(), b"456", b"789"] {
        child.sleeping();
        assert_eq!(send(&a, part, 0), Ok(part.len()));
    }
    child.succeeds();
    send(&a, b"last", 0).unwrap();
    assert_eq!(recv(&b, 10, MSG_PEEK | MSG_WAITALL), Ok(b"last".to_vec()));
    assert_eq!(
        recv(&b, 10, MSG_DONTWAIT | MSG_WAITALL),
        Ok(b"last".to_vec())
    );
    send(&a, b"end", 0).unwrap();
    drop(a);
    assert_eq!(recv(&b, 10, MSG_WAITALL), Ok(b"end".to_vec()));
    assert_eq!(recv(&b, 10, MSG_WAITALL), Ok(vec![]));
    let (a, b) = pair(SOCK_DGRAM);
    send(&a, b"short", 0).unwrap();
    assert_eq!(recv(&b, 10, MSG_WAITALL), Ok(b"short".to_vec()));
});

both_worlds!(flags_that_mean_nothing_here_are_passed_over, {
    for kind in TYPES {
        let (a, b) = quick(kind);
        assert_eq!(send(&a, b"x", MSG_EOR | MSG_MORE | MSG_NOSIGNAL), Ok(1));
        let told = recvmsg(&b, &mut [&mut [0; 9]], 0).unwrap();
        assert_eq!((told.bytes, told.flags), (1, 0));
    }
});

both_worlds!(a_message_of_no_bytes_is_nothing_in_a_stream, {
    for kind in TYPES {
        let (a, b) = quick(kind);
        assert_eq!((write(&a, b""), send(&a, b"", 0)), (Ok(0), Ok(0)));
        assert_eq!(read_n(&b, 0), Ok(vec![])); // whatever there is
        if is_stream(kind) {
            assert_eq!(recv(&b, 0, 0), Err(EAGAIN));
            send(&a, b"x", 0).unwrap();
            assert_eq!(recv(&b, 0, 0), Ok(vec![]));
            assert_eq!(recv(&b, 9, 0), Ok(b"x".to_vec()));
        } else {
            assert_eq!(recv(&b, 9, 0), Ok(vec![]));
            assert_eq!(recv(&b, 9, 0), Ok(vec![]));
            assert_eq!(recv(&b, 9, 0), Err(EAGAIN));
        }
    }
});

both_worlds!(a_vector_of_no_bytes_is_no_message, {
    for kind in TYPES {
        let (a, b) = quick(kind);
        assert_eq!(writev(&a, &[]), Ok(0));
        assert_eq!(writev_slices(&a, &[b"", b""]), Ok(0));
        assert_eq!(recv(&b, 9, 0), Err(EAGAIN));
    }
});

both_worlds!(vectors_and_messages_of_several_parts, {
    for kind in TYPES {
        let (a, b) = quick(kind);
        assert_eq!(writev_slices(&a, &[b"one ", b"", b"two"]), Ok(7));
        let m = Cliff::protected(1);
        let got = readv(&b, &[m.inside(0, 3), m.inside(100, 50)]);
        assert_eq!(
            (got, m.get(0, 3), m.get(100, 4)),
            (Ok(7), b"one".to_vec(), b" two".to_vec())
        );
        assert_eq!(sendmsg(&a, &[b"three ", b"four"], 0), Ok(10));
        let (mut first, mut rest) = ([0; 2], [0; 20]);
        let told = recvmsg(&b, &mut [&mut first, &mut rest], 0).unwrap();
        assert_eq!(
            (told.bytes, &first, &rest[..8]),
            (10, b"th", b"ree four".as_slice())
        );
    }
});

both_worlds!(many_messages_in_one_call, {
    for kind in [SOCK_DGRAM, SOCK_SEQPACKET] {
        let (a, b) = quick(kind);
        assert_eq!(sendmmsg(&a, &[b"1", b"22", b"333"], 0), Ok(3));
        let (mut x, mut y, mut z, mut w) = ([0; 9], [0; 9], [0; 2], [0; 9]);
        let (n, lengths) = recvmmsg(&b, &mut [&mut x, &mut y, &mut z, &mut w], 0);
        assert_eq!((n, &lengths[..3]), (Ok(3), [1, 2, 2].as_slice()));
        assert_eq!(
            (&x[..1], &y[..2], &z),
            (b"1".as_slice(), b"22".as_slice(), b"33")
        );
        assert_eq!(recvmmsg(&b, &mut [&mut x], 0).0, Err(EAGAIN));
    }
});

both_worlds!(bad_memory_is_efault_and_a_stream_keeps_its_bytes, {
    for kind in TYPES {
        let (a, b) = quick(kind);
        assert_eq!(write_span(&a, NULL.with_len(5)), Err(EFAULT));
        send(&a, b"kept", 0).unwrap();
        assert_eq!(recv_at(&b, 8, 4, MSG_PEEK), Err(EFAULT));
        assert_eq!(recv_at(&b, 8, 4, 0), Err(EFAULT));
        let left = if is_stream(kind) {
            Ok(b"kept".to_vec())
        } else {
            Err(EAGAIN)
        };
        assert_eq!(recv(&b, 9, 0), left, "{kind}");
        assert_eq!(recv_at(&b, KERNEL.addr, 4, 0), Err(EFAULT));
    }
});

both_worlds!(bad_memory_is_told_before_a_datagrams_dead_receiver, {
    for kind in TYPES {
        let (a, b) = quick(kind);
        shutdown(&b, SHUT_RD).unwrap();
        let first = if kind == SOCK_DGRAM { EFAULT } else { EPIPE };
        assert_eq!(send_at(&a, 8, 5), Err(first), "{kind}");
        assert_eq!(send(&a, b"12345", MSG_NOSIGNAL), Err(EPIPE), "{kind}");
        let (a, b) = quick(kind);
        drop(b);
        assert_eq!(send_at(&a, 8, 5), Err(first), "{kind}");
        let then = if kind == SOCK_DGRAM {
            ECONNREFUSED
        } else {
            EPIPE
        };
        assert_eq!(send(&a, b"12345", MSG_NOSIGNAL), Err(then), "{kind}");
    }
});

both_worlds!(the_sender_pays_for_buffers_as_in_linux, {
    let fits = |kind, len: usize| {
        let (a, b) = quick(kind);
        let message = stream(0, len);
        let n = (0..)
            .take_while(|_| send(&a, &message, 0) == Ok(len))
            .count();
        assert_eq!(send(&a, &message, 0), Err(EAGAIN));
        assert!(charged(&a) > 0 && charged(&b) == 0);
        let queued = bytes_waiting(&b).unwrap();
        let all = if kind == SOCK_DGRAM { len } else { n * len };
        assert_eq!(queued, all, "{kind} {len}");
        n
    };
    for kind in TYPES {
        for len in [1, 192, 193, 704, 1728, 4096, 10_000] {
            let n = fits(kind, len);
            // The kernel's own figure for one: so many fit.
            let (a, _b) = quick(kind);
            send(&a, &stream(0, len), 0).unwrap();
            let sndbuf = option(&a, libc::SO_SNDBUF).unwrap() as usize;
            assert_eq!(n, sndbuf.div_ceil(charged(&a) as usize), "{kind} {len}");
        }
    }
});

both_worlds!(a_buffer_is_free_when_its_message_is_read_to_the_end, {
    let (a, b) = quick(SOCK_STREAM);
    send(&a, &stream(0, 5000), 0).unwrap();
    let cost = charged(&a);
    assert!(recv(&b, 4999, 0).unwrap() == stream(0, 4999));
    assert_eq!(charged(&a), cost);
    assert_eq!(recv(&b, 9, 0).unwrap(), stream(4999, 1));
    assert_eq!(charged(&a), 0);
    let (a, b) = quick(SOCK_DGRAM);
    send(&a, &stream(0, 5000), 0).unwrap();
    assert_eq!(recv(&b, 1, 0).unwrap(), stream(0, 1));
    assert_eq!(charged(&a), 0);
});

both_worlds!(sndbuf_is_the_limit_and_can_be_changed, {
    for kind in TYPES {
        let (a, b) = quick(kind);
        set_option(&a, libc::SO_SNDBUF, 1).unwrap();
        assert_eq!(option(&a, libc::SO_SNDBUF), Ok(4608));
        let n = (0..).take_while(|_| send(&a, b"x", 0) == Ok(1)).count();
        assert_eq!(n, 6, "{kind}");
        set_option(&a, libc::SO_SNDBUF, 20_000).unwrap();
        assert_eq!(option(&a, libc::SO_SNDBUF), Ok(40_000));
        assert_eq!(send(&a, b"y", 0), Ok(1));
        assert!(recv(&b, 1, 0).is_ok());
    }
    let (a, _b) = quick(SOCK_SEQPACKET);
    set_option(&a, libc::SO_SNDBUF, 5000).unwrap();
    assert_eq!(send(&a, &stream(0, 10_000 - 31), 0), Err(libc::EMSGSIZE));
    assert_eq!(send(&a, &stream(0, 10_000 - 32), 0), Ok(10_000 - 32));
});

both_worlds!(a_large_write_goes_through_in_pieces, worlds = all, {
    let total = 3_000_001;
    let (a, b) = pair(SOCK_STREAM);
    let child = fork_run(|| assert_eq!(write(&a, &stream(0, total)), Ok(total)));
    let mut rng = Rng::new(7);
    let mut have = 0;
    while have < total {
        let got = read_n(&b, rng.within(1, 100_000)).unwrap();
        assert!(got == stream(have, got.len()), "at {have}");
        have += got.len();
    }
    child.succeeds();
    set_nonblocking(&a, true);
    let n = write(&a, &stream(0, total)).unwrap();
    assert!(n > 100_000 && n < total);
    assert!(read_exactly(&b, n) == stream(0, n));
});

both_worlds!(who_waits_is_woken, {
    for kind in TYPES {
        let (a, b) = pair(kind);
        let reader = fork_run(|| assert_eq!(recv(&b, 9, 0), Ok(b"wake".to_vec())));
        reader.sleeping();
        send(&a, b"wake", 0).unwrap();
        reader.succeeds();
        let n = (0..)
            .take_while(|_| send(&a, b"x", MSG_DONTWAIT) == Ok(1))
            .count();
        let writer = fork_run(|| assert_eq!(send(&a, b"last", 0), Ok(4)));
        writer.sleeping();
        (0..n).for_each(|_| assert_eq!(recv(&b, 1, 0), Ok(b"x".to_vec())));
        writer.succeeds();
        assert_eq!(recv(&b, 9, 0), Ok(b"last".to_vec()));
    }
});

both_worlds!(timeouts_end_a_wait_with_eagain_and_eintr, {
    for kind in TYPES {
        let (a, b) = pair(kind);
        set_timeout(&b, libc::SO_RCVTIMEO, 30);
        assert_eq!(recv(&b, 9, 0), Err(EAGAIN));
        set_timeout(&a, libc::SO_SNDTIMEO, 30);
        while send(&a, &[7; 1000], MSG_DONTWAIT) == Ok(1000) {}
        assert_eq!(send(&a, &[7; 1000], 0), Err(EAGAIN));
        let child = fork_run(|| {
            set_timeout(&a, libc::SO_RCVTIMEO, 60_000);
            signal::count(SIGUSR1, SA_RESTART);
            assert_eq!(recv(&a, 9, 0), Err(EINTR)); // in spite of SA_RESTART
        });
        child.sleeping();
        child.kill(SIGUSR1);
        child.succeeds();
    }
});

both_worlds!(shutdown_ends_one_direction, {
    for kind in [SOCK_STREAM, SOCK_SEQPACKET] {
        signal::ignore(SIGPIPE);
        let (a, b) = quick(kind);
        send(&b, b"before", 0).unwrap();
        shutdown(&b, SHUT_WR).unwrap();
        assert_eq!(send(&b, b"after", 0), Err(EPIPE));
        assert_eq!(recv(&a, 9, 0), Ok(b"before".to_vec()));
        assert_eq!((recv(&a, 9, 0), recv(&a, 9, 0)), (Ok(vec![]), Ok(vec![])));
        assert_eq!(send(&a, b"back", 0), Ok(4));
        shutdown(&b, SHUT_RD).unwrap();
        assert_eq!(send(&a, b"more", 0), Err(EPIPE));
        assert_eq!(recv(&b, 9, 0), Ok(b"back".to_vec()));
        assert_eq!(recv(&b, 9, 0), Ok(vec![]));
        assert_eq!(shutdown(&a, 3), Err(EINVAL));
        assert_eq!(shutdown(&a, SHUT_RDWR), Ok(0));
    }
});

both_worlds!(a_datagram_socket_that_is_shut_down_says_nothing, {
    let (a, b) = quick(SOCK_DGRAM);
    send(&b, b"before", 0).unwrap();
    shutdown(&a, SHUT_RD).unwrap();
    assert_eq!(send(&b, b"after", 0), Err(EPIPE));
    assert_eq!(recv(&a, 9, 0), Ok(b"before".to_vec()));
    assert_eq!(recv(&a, 9, 0), Err(EAGAIN));
    set_nonblocking(&a, false);
    assert_eq!(recv(&a, 9, 0), Ok(vec![]));
    shutdown(&a, SHUT_WR).unwrap();
    assert_eq!(send(&a, b"x", 0), Err(EPIPE));
    assert_eq!(recv(&b, 9, 0), Err(EAGAIN));
});

both_worlds!(who_sleeps_is_woken_by_shutdown, {
    for kind in [SOCK_STREAM, SOCK_SEQPACKET] {
        let (a, b) = pair(kind);
        let reader = fork_run(|| assert_eq!(recv(&b, 9, 0), Ok(vec![])));
        reader.sleeping();
        shutdown(&a, SHUT_WR).unwrap();
        reader.succeeds();
        signal::ignore(SIGPIPE);
        while send(&b, &[7; 1000], MSG_DONTWAIT) == Ok(1000) {}
        let writer = fork_run(|| assert_eq!(send(&b, &[7; 1000], 0), Err(EPIPE)));
        writer.sleeping();
        shutdown(&a, SHUT_RD).unwrap();
        writer.succeeds();
    }
});

both_worlds!(sigpipe_is_for_streams_only, {
    signal::count(SIGPIPE, 0);
    for kind in [SOCK_STREAM, SOCK_SEQPACKET] {
        let (a, b) = quick(kind);
        drop(b);
        let before = signal::seen(SIGPIPE);
        assert_eq!(send(&a, b"x", MSG_NOSIGNAL), Err(EPIPE));
        assert_eq!(signal::seen(SIGPIPE), before);
        assert_eq!(write(&a, b"x"), Err(EPIPE));
        assert_eq!(signal::seen(SIGPIPE) - before, u32::from(is_stream(kind)));
    }
});

both_worlds!(a_peer_that_leaves_something_unread_resets, {
    signal::ignore(SIGPIPE);
    let leave = |kind| {
        let (a, b) = quick(kind);
        send(&a, b"unread", 0).unwrap();
        send(&b, b"own", 0).unwrap();
        drop(b);
        a
    };
    let a = leave(SOCK_STREAM);
    assert_eq!(send(&a, b"x", 0), Err(EPIPE));
    assert_eq!(recv(&a, 9, 0), Ok(b"own".to_vec()));
    assert_eq!(recv(&a, 9, 0), Err(ECONNRESET));
    assert_eq!(recv(&a, 9, 0), Ok(vec![]));
    let a = leave(SOCK_SEQPACKET);
    assert_eq!(recv(&a, 9, 0), Err(ECONNRESET));
    assert_eq!(recv(&a, 9, 0), Ok(b"own".to_vec()));
    assert_eq!(recv(&a, 9, 0), Ok(vec![]));
    let a = leave(SOCK_SEQPACKET);
    assert_eq!(
        (send(&a, b"x", 0), send(&a, b"x", 0)),
        (Err(ECONNRESET), Err(EPIPE))
    );
    for kind in [SOCK_STREAM, SOCK_SEQPACKET] {
        let a = leave(kind);
        assert_eq!(option(&a, libc::SO_ERROR), Ok(ECONNRESET));
        assert_eq!(option(&a, libc::SO_ERROR), Ok(0));
        assert_eq!(recv(&a, 9, 0), Ok(b"own".to_vec()));
        assert_eq!(recv(&a, 9, 0), Ok(vec![]));
    }
    let a = leave(SOCK_DGRAM);
    assert_eq!(send(&a, b"x", 0), Err(libc::ECONNREFUSED));
    assert_eq!(send(&a, b"x", 0), Err(libc::ENOTCONN));
    assert_eq!(recv(&a, 9, 0), Err(EAGAIN)); // it went with the connection
});

both_worlds!(options_are_the_kernels, {
    for kind in TYPES {
        let (a, b) = quick(kind);
        assert_eq!(option(&a, libc::SO_TYPE), Ok(kind));
        assert_eq!(option(&a, libc::SO_ERROR), Ok(0));
        assert_eq!(option(&a, libc::SO_DOMAIN), Ok(libc::AF_UNIX));
        assert_eq!(option(&b, libc::SO_SNDBUF), option(&a, libc::SO_SNDBUF));
        assert_eq!(set_option(&a, libc::SO_KEEPALIVE, 1), Ok(0));
        assert_eq!(set_option(&a, 9999, 1), Err(libc::ENOPROTOOPT));
        send(&a, b"x", 0).unwrap();
        assert_eq!(recv(&b, 9, 0), Ok(b"x".to_vec()));
    }
});

fn send_at(fd: &Fd, address: usize, len: usize) -> Sys {
    // SAFETY: the kernel copies, and says EFAULT.
    let ret = unsafe { libc::send(fd.number(), address as *const _, len, MSG_NOSIGNAL) };
    ringer_support::check(ret as i64)
}
