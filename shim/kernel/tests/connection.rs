//! Connections before they are accepted: what is sent is in two places, of which one is forgotten.

mod support;

use std::sync::atomic::Ordering::SeqCst;

use ringer_kernel::abi::{Errno, SysError};
use ringer_kernel::pipe::mode;
use ringer_kernel::unix::{self, Side, Want};
use support::early::{Early, CONNECTOR};
use support::sockets::{SEQPACKET, STREAM};
use support::{Dst, Others, Sleeps, TestHost, World};

fn world() -> World {
    World::new(TestHost::new(Sleeps::Bounded, Others::Live))
}

/// What side B can receive now.
fn received(e: &Early) -> Vec<u8> {
    let mut all = vec![];
    loop {
        let mut buf = [0; 64];
        let (k, mut dst) = (e.world.ctx(&e.me), Dst::new(&mut buf));
        let want = Want {
            side: Side::B,
            kind: e.a.pair.type_of(),
            len: 64,
            peek: false,
        };
        match unix::try_recv(&k, e.a.pair, want, &mut dst) {
            Ok(t) if t.any => all.extend_from_slice(&buf[..t.bytes]),
            _ => return all,
        }
    }
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
    unix::pending::take_over(&e.world.ctx(&e.me), e.a.pair, |_| unreachable!());
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
