//! Options of Unix sockets that change what a call of recv(2) gives. See socket(7), unix(7); Linux v6.18 net/core/sock.c
//! `sk_setsockopt`, net/unix/af_unix.c `unix_stream_read_generic`.

use libc::{MSG_DONTWAIT, MSG_PEEK, MSG_WAITALL, SO_PEEK_OFF, SO_RCVLOWAT};
use ringer_support::prelude::*;
use ringer_support::socket::*;

both_worlds!(a_low_water_mark_is_one_if_it_is_not_set, {
    for kind in TYPES {
        let (a, _b) = pair(kind);
        assert_eq!(option(&a, SO_RCVLOWAT), Ok(1));
        for (value, then) in [(7, 7), (0, 1), (-1, i32::MAX)] {
            assert_eq!(set_option(&a, SO_RCVLOWAT, value), Ok(0));
            assert_eq!(option(&a, SO_RCVLOWAT), Ok(then));
        }
    }
});

both_worlds!(recv_waits_for_as_much_as_the_low_water_mark, {
    let (a, b) = pair(SOCK_STREAM);
    set_option(&b, SO_RCVLOWAT, 4).unwrap();
    write_all(&a, b"one");
    let reader = fork_run(|| assert_eq!(recv(&b, 100, 0), Ok(b"one, two".to_vec())));
    reader.sleeping();
    write_all(&a, b", two");
    reader.succeeds();
    write_all(&a, b"abc");
    assert_eq!(recv(&b, 100, MSG_DONTWAIT), Ok(b"abc".to_vec()));
    write_all(&a, b"abc");
    assert_eq!(recv(&b, 3, 0), Ok(b"abc".to_vec()), "no more was asked for");
    write_all(&a, b"abc");
    drop(a);
    assert_eq!(recv(&b, 100, 0), Ok(b"abc".to_vec()), "no more will come");
});

both_worlds!(a_low_water_mark_is_set_while_there_is_something, {
    let (a, b) = pair(SOCK_STREAM);
    write_all(&a, b"one, ");
    assert_eq!(recv(&b, 2, 0), Ok(b"on".to_vec()));
    set_option(&b, SO_RCVLOWAT, 5).unwrap();
    let reader = fork_run(|| assert_eq!(recv(&b, 8, 0), Ok(b"e, two".to_vec())));
    reader.sleeping();
    write_all(&a, b"two");
    reader.succeeds();
    let reader = fork_run(|| assert_eq!(recv(&b, 8, MSG_WAITALL), Ok(b"12345678".to_vec())));
    write_all(&a, b"123456");
    reader.sleeping();
    write_all(&a, b"78");
    reader.succeeds();
});

both_worlds!(poll_does_not_care_for_the_low_water_mark, {
    let (a, b) = pair(SOCK_STREAM);
    set_option(&b, SO_RCVLOWAT, 4).unwrap();
    write_all(&a, b"x");
    assert_eq!(poll_now(&b), POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM);
});

both_worlds!(packets_do_not_care_for_the_low_water_mark, {
    for kind in [SOCK_DGRAM, SOCK_SEQPACKET] {
        let (a, b) = pair(kind);
        set_option(&b, SO_RCVLOWAT, 4).unwrap();
        send(&a, b"x", 0).unwrap();
        assert_eq!(recv(&b, 100, 0), Ok(b"x".to_vec()));
    }
});

/// Looks at `n` bytes at the most.
fn peek(fd: &Fd, n: usize) -> Result<String, i32> {
    recv(fd, n, MSG_PEEK | MSG_DONTWAIT).map(|bytes| String::from_utf8(bytes).unwrap())
}

fn text(text: &str) -> Result<String, i32> {
    Ok(text.to_string())
}

both_worlds!(a_stream_is_peeked_at_an_offset, {
    let (a, b) = pair(SOCK_STREAM);
    assert_eq!(option(&b, SO_PEEK_OFF), Ok(-1));
    write_all(&a, b"abcdef");
    assert_eq!((peek(&b, 2), peek(&b, 2)), (text("ab"), text("ab")));
    set_option(&b, SO_PEEK_OFF, 0).unwrap();
    assert_eq!((peek(&b, 2), peek(&b, 2)), (text("ab"), text("cd")));
    assert_eq!(option(&b, SO_PEEK_OFF), Ok(4));
    assert_eq!(recv(&b, 3, 0), Ok(b"abc".to_vec()));
    assert_eq!(option(&b, SO_PEEK_OFF), Ok(1));
    assert_eq!(
        (peek(&b, 1), peek(&b, 9), peek(&b, 9)),
        (text("e"), text("f"), Err(EAGAIN))
    );
    write_all(&a, b"ghi");
    assert_eq!(peek(&b, 9), text("ghi"));
    set_option(&b, SO_PEEK_OFF, -1).unwrap();
    assert_eq!(peek(&b, 9), text("defghi"));
});

both_worlds!(packets_are_peeked_at_an_offset, {
    for kind in [SOCK_DGRAM, SOCK_SEQPACKET] {
        let (a, b) = pair(kind);
        set_option(&b, SO_PEEK_OFF, 0).unwrap();
        for packet in [b"abcd".as_slice(), b"xyz"] {
            send(&a, packet, 0).unwrap();
        }
        assert_eq!((peek(&b, 2), peek(&b, 9)), (text("ab"), text("cd")));
        assert_eq!((peek(&b, 9), peek(&b, 9)), (text("xyz"), Err(EAGAIN)));
        assert_eq!(recv(&b, 9, 0), Ok(b"abcd".to_vec()));
        set_option(&b, SO_PEEK_OFF, 1).unwrap();
        assert_eq!(peek(&b, 9), text("yz"));
    }
});
