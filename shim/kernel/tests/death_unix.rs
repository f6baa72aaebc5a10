//! Owners that die at a crash point of a pair of sockets: the survivors neither hang nor see a torn
//! message, what was sent is there, in order, and nothing is there twice.

#![cfg(feature = "crash-points")]

mod support;

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;

use ringer_kernel::abi::{Errno, SysError};
use ringer_kernel::sync::lock_word;
use ringer_kernel::sys::Blocking;
use ringer_kernel::unix::Side;
use support::sockets::{Sockets, DGRAM, SEQPACKET, STREAM};
use support::victim::{names_in_the_sources, Victim};
use support::{ignore, Me, Others, Sleeps, TestHost, Watchdog, World};

/// What the victim was doing.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Doing {
    Send,
    /// More than there is room for in the ring.
    SendMuch,
    Recv,
    Demote,
}

use Doing::*;

/// Every crash point, in what it is passed, and whether the change has happened there.
const POINTS: &[(&str, &[Doing], bool)] = &[
    ("unix.send.locked", &[Send], false),
    ("unix.send.publish", &[Send], false),
    ("unix.send.published", &[Send], true),
    ("unix.send.unlock", &[Send], true),
    ("unix.send.wake", &[Send], true),
    ("unix.grow", &[SendMuch], false),
    ("unix.recv.locked", &[Recv], false),
    ("unix.recv.publish", &[Recv], false),
    ("unix.recv.published", &[Recv], true),
    ("unix.recv.unlock", &[Recv], true),
    ("unix.recv.wake", &[Recv], true),
    ("unix.demote.record", &[Demote], false),
    ("unix.demote.trimmed", &[Demote], false),
    ("unix.demote.mode", &[Demote], false),
];

const BEFORE: [&[u8]; 3] = [b"first", b"second", b"third"];
const MUCH: [u8; 30_000] = [7; 30_000];

#[test]
fn every_crash_point_of_sockets_is_covered() {
    let covered: BTreeSet<_> = POINTS.iter().map(|(name, ..)| name.to_string()).collect();
    let mut names = names_in_the_sources("unix.");
    // Those before and at accept: see death_connection.rs.
    names.retain(|n| !n.starts_with("unix.pending.") && !n.starts_with("unix.accept."));
    assert_eq!(covered, names);
}

fn world() -> World {
    World::new(TestHost::new(Sleeps::Bounded, Others::Live))
}

fn act(s: &Sockets, me: &Me, doing: Doing) {
    match doing {
        Send => ignore(s.send(me, &s.a, b"victim's", Blocking::No)),
        SendMuch => ignore(s.send(me, &s.a, &MUCH, Blocking::No)),
        Recv => ignore(s.recv(me, &s.b, 5, Blocking::No)),
        Demote => ignore(s.demote(me)),
    }
}

#[test]
fn the_survivors_of_every_death_go_on() {
    let _watchdog = Watchdog::step("the_survivors_of_every_death_go_on");
    let world = world();
    for kind in [STREAM, DGRAM, SEQPACKET] {
        for &(name, doings, done) in POINTS {
            for &doing in doings {
                let s = Sockets::new(world, kind);
                for message in BEFORE {
                    s.send(&s.me, &s.a, message, Blocking::No).unwrap();
                }
                let mut left: Vec<&[u8]> = BEFORE.to_vec();
                if doing == Demote && kind == STREAM {
                    let got = s.recv(&s.me, &s.b, 2, Blocking::No);
                    assert_eq!(got, Ok(b"fi".to_vec()));
                    left[0] = b"rst";
                }
                let q = s.a.pair.from(Side::A);
                if name.ends_with(".wake") {
                    lock_word::announce(&q.wlock.word);
                    lock_word::announce(&q.rlock.word);
                }
                assert!(
                    Victim::kill_at(&world, name, move |me| act(&s, me, doing)),
                    "{doing:?} never reaches {name}"
                );
                match doing {
                    Send if done => left.push(b"victim's"),
                    Recv if done => drop(left.remove(0)),
                    _ => {}
                }
                survive(&s, doing, left, &format!("{doing:?} at {name}, {kind}"));
            }
        }
    }
}

fn survive(s: &Sockets, doing: Doing, mut left: Vec<&[u8]>, when: &str) {
    let me = s.world.enter();
    if doing == Demote {
        // Told so, and brought to its end: each message once.
        let told = s.recv(&me, &s.b, 9, Blocking::No);
        assert_eq!(told, Err(SysError::Demoted), "{when}");
        assert!(s.demote(&me).is_ok(), "{when}");
        assert_eq!(s.moved(), left, "{when}");
        return;
    }
    assert_eq!(
        s.send(&me, &s.a, b"survivor's", Blocking::No),
        Ok(10),
        "{when}"
    );
    left.push(b"survivor's");
    let all = left.concat();
    if s.real.stream {
        let got = s.recv(&me, &s.b, 1000, Blocking::No);
        assert_eq!(got, Ok(all), "{when}");
    } else {
        for message in left {
            let got = s.recv(&me, &s.b, 1000, Blocking::No);
            assert_eq!(got.as_deref(), Ok(message), "{when}");
        }
    }
    let empty = Err(SysError::Errno(Errno::EAGAIN));
    assert_eq!(s.recv(&me, &s.b, 9, Blocking::No), empty, "{when}");
    let q = s.a.pair.from(Side::A);
    assert_eq!(q.charged(), 0, "{when}");
    assert_eq!((q.wlock.holder(), q.rlock.holder()), (None, None));
    // And the accounts are still right.
    let n = (0..).take_while(|_| s.send(&me, &s.a, b"x", Blocking::No) == Ok(1));
    assert_eq!(n.count(), 278, "{when}");
}

#[test]
fn a_sleeper_gets_what_the_dead_one_did_and_could_not_tell_of() {
    let world = world();
    for name in ["unix.send.published", "unix.send.unlock", "unix.send.wake"] {
        let _watchdog = Watchdog::step(name);
        let s = Sockets::new(world, STREAM);
        s.send(&s.me, &s.a, b"so that there is a ring", Blocking::No)
            .unwrap();
        s.recv(&s.me, &s.b, 100, Blocking::No).unwrap();
        let reader = thread::spawn(move || s.recv(&world.enter(), &s.b, 100, Blocking::Yes));
        while s.a.pair.from(Side::A).rd_wait.sleepers.load(SeqCst) == 0 {
            thread::yield_now();
        }
        assert!(Victim::kill_at(&world, name, move |me| act(&s, me, Send)));
        assert_eq!(reader.join().unwrap(), Ok(b"victim's".to_vec()), "{name}");
    }
    for name in ["unix.recv.published", "unix.recv.unlock", "unix.recv.wake"] {
        let _watchdog = Watchdog::step(name);
        let s = Sockets::new(world, SEQPACKET);
        // One message takes all the room there is.
        let large = vec![7; 200_000];
        s.send(&s.me, &s.a, &large, Blocking::No).unwrap();
        s.send(&s.me, &s.a, &large, Blocking::No).unwrap();
        s.recv(&s.me, &s.b, 1, Blocking::No).unwrap();
        s.send(&s.me, &s.a, &large, Blocking::No).unwrap();
        let writer = thread::spawn(move || s.send(&world.enter(), &s.a, b"more", Blocking::Yes));
        while s.a.pair.from(Side::A).wr_wait.sleepers.load(SeqCst) == 0 {
            thread::yield_now();
        }
        s.recv(&s.me, &s.b, 1, Blocking::No).unwrap();
        assert!(Victim::kill_at(&world, name, move |me| act(&s, me, Recv)));
        assert_eq!(writer.join().unwrap(), Ok(4), "{name}");
    }
}
