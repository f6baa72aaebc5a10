//! Owners that die at a crash point before or at accept: what was sent is in the one place that counts,
//! once, or it is as if it had not been sent.

#![cfg(feature = "crash-points")]

mod support;

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::SeqCst;

use ringer_kernel::pipe::mode;
use ringer_kernel::unix::Side;
use support::early::Early;
use support::sockets::{SEQPACKET, STREAM};
use support::victim::{names_in_the_sources, Victim};
use support::{ignore, Me, Others, Sleeps, TestHost, Watchdog, World};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Doing {
    Send,
    Leave,
    Accept,
}

use Doing::*;

/// Every crash point, who passes it, and in what mode the connection is then.
const POINTS: &[(&str, Doing, u32)] = &[
    ("unix.pending.sent", Send, mode::PENDING),
    ("unix.pending.leave", Leave, mode::PENDING),
    ("unix.pending.left", Leave, mode::KERNEL),
    ("unix.accept.known", Accept, mode::PENDING),
    ("unix.accept.moved", Accept, mode::RING),
    ("unix.accept.emptied", Accept, mode::RING),
];

#[test]
fn every_crash_point_of_connections_is_covered() {
    let covered: BTreeSet<_> = POINTS.iter().map(|(name, ..)| name.to_string()).collect();
    let mut names = names_in_the_sources("unix.pending.");
    names.extend(names_in_the_sources("unix.accept."));
    assert_eq!(covered, names);
}

fn act(e: &Early, me: &Me, doing: Doing) {
    match doing {
        Send => ignore(e.send(me, b"victim's")),
        Leave => ignore(e.leave(me)),
        Accept => ignore(e.accept(me)),
    }
}

fn killed(name: &'static str, doing: Doing, kind: u32) -> Early {
    let world = World::new(TestHost::new(Sleeps::Bounded, Others::Live));
    let e = Early::new(world, kind);
    for message in ["first", "second"] {
        assert!(e.send(&e.me, message.as_bytes()).unwrap().done);
    }
    let died = Victim::kill_at(&world, name, move |me| act(&e, me, doing));
    assert!(died, "{doing:?} never reaches {name}");
    e
}

#[test]
fn whoever_comes_next_finds_it_whole() {
    for kind in [STREAM, SEQPACKET] {
        for &(name, doing, left) in POINTS {
            let _watchdog = Watchdog::step(name);
            let e = killed(name, doing, kind);
            let me = e.world.enter();
            assert_eq!(e.a.pair.mode.load(SeqCst), left, "{name}");
            let q = e.a.pair.from(Side::A);
            match left {
                mode::PENDING => {
                    assert!(e.send(&me, b"survivor's").unwrap().done, "{name}");
                    e.accept(&me).unwrap();
                    assert_eq!(q.queued(e.world.arena, false), 21, "{name}");
                    assert!(e.real.lock().unwrap().is_empty(), "{name}");
                }
                mode::RING => {
                    assert_eq!(q.queued(e.world.arena, false), 11, "{name}");
                    assert!(!e.leave(&me) && e.accept(&me).is_err(), "{name}");
                }
                _ => assert_eq!(
                    *e.real.lock().unwrap(),
                    ["first", "second"].map(|m| m.as_bytes())
                ),
            }
            assert!(q.is_whole(e.world.arena), "{name}");
        }
    }
}

#[test]
fn or_leaves_it_to_the_kernel_which_has_all() {
    for &(name, doing, left) in POINTS.iter().filter(|p| p.2 == mode::PENDING) {
        let e = killed(name, doing, STREAM);
        let me = e.world.enter();
        assert!(e.leave(&me), "{name} {left}");
        let mut all = vec![b"first".to_vec(), b"second".to_vec()];
        if doing == Send {
            all.push(b"victim's".to_vec());
        }
        assert_eq!(*e.real.lock().unwrap(), all, "{name}");
        assert!(e.a.pair.from(Side::A).is_empty(), "{name}");
    }
}
