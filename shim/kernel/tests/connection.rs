//! Connections before they are accepted: what is sent is in two places, of which one is forgotten.

mod support;

use std::sync::atomic::Ordering::SeqCst;

use ringer_kernel::abi::{Errno, SysError};
use ringer_kernel::log::Cause;
use ringer_kernel::pipe::mode;
use ringer_kernel::unix::{self, cost, Side, Want};
use support::early::{Early, CONNECTOR};
use support::sockets::{FakePair, SEQPACKET, STREAM};
use support::{Dst, Others, Sleeps, TestHost, World};

fn world() -> World {
    World::new(TestHost::new(Sleeps::Bounded, Others::Live))
}

/// What side B can receive now, at most `len` bytes. `None`: nothing.
fn receive(e: &Early, len: usize) -> Option<Vec<u8>> {
    let mut buf = [0; 64];
    let (k, mut dst) = (e.world.ctx(&e.me), Dst::new(&mut buf));
    let want = Want {
        side: Side::B,
        kind: e.a.pair.type_of(),
        len,
        peek: false,
    };
    match unix::try_recv(&k, e.a.pair, want, &mut dst) {
        Ok(t) if t.any => Some(buf[..t.bytes].to_vec()),
        _ => None,
    }
}

fn received(e: &Early) -> Vec<u8> {
    std::iter::from_fn(|| receive(e, 64)).flatten().collect()
}

#[test]
fn accepted_it_is_all_in_the_arena() {
    for kind in [STREAM, SEQPACKET] {
        let e = Early::new(world(), kind);
        assert_eq!(e.pending(), 1);
        for message in [b"one".as_slice(), b"two"] {
            assert!(e.send(&e.me, message).unwrap().done);
        }
        assert_eq!(*e.real.lock().unwrap(), [b"one", b"two"]);
        let b = e.accept(&e.me).unwrap();
        assert_eq!(
            (b.side(), e.a.pair.mode.load(SeqCst)),
            (Side::B, mode::RING)
        );
        assert_eq!((e.pending(), e.real.lock().unwrap().len()), (0, 0));
        assert_eq!(received(&e), b"onetwo");
        assert!(e.accept(&e.me).is_err() && !e.leave(&e.me));
        assert_eq!(e.send(&e.me, b"x"), Err(SysError::Demoted));
    }
}

#[test]
fn accepted_it_is_in_both_places_until_side_b_receives() {
    let e = Early::new(world(), SEQPACKET);
    assert!(e.send(&e.me, b"one").unwrap().done);
    e.accept_from(&e.me, CONNECTOR).unwrap();
    assert!(e.a.pair.is_pending(), "who accepted may ask who has sent");
    assert!(e.send(&e.me, b"two").unwrap().done);
    assert!(e.leave(&e.me));
    assert_eq!(*e.real.lock().unwrap(), [b"one", b"two"]);

    let e = Early::new(world(), SEQPACKET);
    e.accept_from(&e.me, CONNECTOR).unwrap();
    assert_eq!(e.a.pair.mode.load(SeqCst), mode::RING, "nothing was sent");
}

#[test]
fn nobody_takes_over_what_nobody_accepted() {
    let e = Early::new(world(), STREAM);
    assert!(e.send(&e.me, b"one").unwrap().done);
    unix::pending::take_over(
        &e.world.ctx(&e.me),
        e.a.pair,
        || Some(3),
        |_| unreachable!(),
    );
    assert!(e.a.pair.is_pending());
}

#[test]
fn left_it_is_all_in_the_kernel() {
    let e = Early::new(world(), STREAM);
    assert!(e.send(&e.me, b"one").unwrap().done);
    assert!(e.leave(&e.me) && !e.leave(&e.me));
    assert_eq!(*e.real.lock().unwrap(), [b"one"]);
    let q = e.a.pair.from(Side::A);
    assert!(q.is_empty() && q.charged() == 0 && e.pending() == 0);
    assert_eq!(e.accept(&e.me).err(), Some(SysError::Demoted));
    assert_eq!(e.send(&e.me, b"x"), Err(SysError::Demoted));
}

#[test]
fn nobody_accepts_what_another_process_connected() {
    let e = Early::new(world(), STREAM);
    assert!(e.accept_from(&e.me, CONNECTOR + 1).is_err());
    assert!(e.a.pair.is_pending());
    assert_eq!(e.a.pair.socket(Side::B).files.load(SeqCst), 0);
}

#[test]
fn what_the_real_socket_does_not_take_is_not_sent() {
    let e = Early::new(world(), STREAM);
    let sent = e.send_to(Errno::EAGAIN).unwrap();
    assert!(!sent.done && sent.bytes == 0 && !sent.fault);
    assert_eq!(e.send_to(Errno::EPIPE), Err(Errno::EPIPE.into()));
    assert!(e.a.pair.from(Side::A).is_empty());
    assert!(e.send(&e.me, b"this").unwrap().done);
    e.accept(&e.me).unwrap();
    assert_eq!(received(&e), b"this");
}

#[test]
fn a_slot_that_is_held_is_not_freed() {
    let e = Early::new(world(), STREAM);
    let k = e.world.ctx(&e.me);
    let generation = e.a.pair.generation.load(SeqCst);
    unix::release_if(&k, e.slot, generation);
    assert!(e.a.pair.is_pending());
    e.a.pair.socket(Side::A).files.store(0, SeqCst);
    unix::release_if(&k, e.slot, generation);
    assert_eq!((e.a.pair.mode.load(SeqCst), e.pending()), (mode::FREE, 0));
    assert!(!e.a.pair.is_connection());
}

/// "one", "two" and "three" are sent, and so many bytes of that received.
fn early(kind: u32, len: usize) -> Early {
    let e = Early::new(world(), kind);
    for message in [b"one".as_slice(), b"two", b"three"] {
        assert!(e.send(&e.me, message).unwrap().done);
    }
    e.accept_keeping(&e.me).unwrap();
    assert!(receive(&e, len).is_some());
    e
}

#[test]
fn the_real_socket_keeps_what_was_sent_before_until_all_of_it_was_received() {
    for kind in [STREAM, SEQPACKET] {
        let e = early(kind, 3);
        assert!(e.a.pair.has_early() && !e.a.pair.has_late());
        e.end(&e.me);
        assert_eq!(e.real.lock().unwrap().len(), 3, "not yet");
        assert_eq!(received(&e), b"twothree");
        assert!(e.a.pair.has_late());
        e.end(&e.me);
        assert!(!e.a.pair.has_early() && e.real.lock().unwrap().is_empty());
    }
}

#[test]
fn and_goes_on_with_it_if_the_kernel_serves_before_that() {
    for (kind, len, left) in [
        (STREAM, 3, ["two", "three"].as_slice()),
        (STREAM, 4, &["wo", "three"]),
        (SEQPACKET, 9, &["two", "three"]),
    ] {
        let e = early(kind, len);
        let of = if kind == STREAM {
            cost::of_stream
        } else {
            cost::of_packet
        };
        let twin = FakePair {
            stream: kind == STREAM,
            ..FakePair::default()
        };
        let real = e.real.lock().unwrap().clone();
        let charged: u32 = real.iter().map(|m| of(m.len())).sum();
        twin.cost[0].store(charged.into(), SeqCst);
        *twin.sent[0].lock().unwrap() = real;
        let k = e.world.ctx(&e.me);
        unix::demote::demote(&k, e.a.pair, &twin, Cause::Transfer).unwrap();
        let there = twin.sent[0].lock().unwrap();
        assert!(
            there.iter().eq(left.iter().map(|m| m.as_bytes())),
            "{there:?}"
        );
        assert!(!e.a.pair.has_early());
    }
}
