//! Owners that die at a crash point of a message queue: the survivors neither hang nor see a torn
//! message, what was acknowledged is there, in order, and nothing is there twice.

#![cfg(feature = "crash-points")]

mod support;

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;

use ringer_kernel::abi::Errno;
use ringer_kernel::mqueue::notify::{self, Wish};
use ringer_kernel::mqueue::{name, store};
use ringer_kernel::pipe::watch::watched;
use ringer_kernel::sys::mqueue::watch;
use ringer_kernel::sys::Blocking;
use support::mq::{cred, made, wish, Mq, Patience};
use support::victim::{names_in_the_sources, Victim};
use support::{Me, Others, Sleeps, TestHost, Watchdog, World};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Doing {
    Send,
    Receive,
    /// With the queue full, or empty.
    SendAndWait,
    ReceiveAndWait,
    /// As long as the deadline allows, which is over.
    SendInVain,
    ReceiveInVain,
    /// A message for somebody who waits, or room.
    Serve,
    Admit,
    /// To an empty queue with somebody registered.
    Notify,
    Make,
    Unlink,
}

use Doing::*;

const POINTS: &[(&str, &[Doing])] = &[
    ("mq.send.commit", &[Send, Admit]),
    ("mq.send.committed", &[Send, Admit]),
    ("mq.receive.commit", &[Receive, Admit]),
    ("mq.receive.committed", &[Receive, Admit]),
    ("mq.wait.enlist", &[SendAndWait, ReceiveAndWait]),
    ("mq.wait.listed", &[SendAndWait, ReceiveAndWait]),
    ("mq.wait.delisted", &[SendInVain, ReceiveInVain]),
    ("mq.serve.done", &[Serve, Admit]),
    ("mq.serve.delist", &[Serve, Admit]),
    ("mq.admit", &[Admit]),
    ("mq.notify.fire", &[Notify]),
    ("mq.mirror", &[Send, Receive]),
    ("mq.mirrored", &[Send, Receive]),
    ("mq.make.publish", &[Make]),
    ("mq.free", &[Unlink]),
];

const MAX: usize = 3;

#[test]
fn every_crash_point_of_the_sources_is_covered() {
    let covered: BTreeSet<_> = POINTS.iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(covered, names_in_the_sources("mq."));
}

fn act(mq: &Mq, me: &Me, doing: Doing) {
    let late = Patience::none();
    let endless = Patience::endless(120);
    let how = match doing {
        SendInVain | ReceiveInVain => &late,
        _ => &endless,
    };
    match doing {
        Send | SendAndWait | SendInVain | Serve | Notify => {
            let _ = mq.send_with(me, b"victim", 1, Blocking::Yes, how);
        }
        Receive | ReceiveAndWait | ReceiveInVain | Admit => {
            let _ = mq.receive_with(me, Blocking::Yes, how);
        }
        Make => {
            let _ = name::open(&mq.world.ctx(me), &wish(b"new", true, None), &cred(0), made);
        }
        Unlink => {
            let (bytes, len) = mq.h.q.name();
            name::close(&mq.world.ctx(me), &mq.h);
            let _ = name::unlink(&mq.world.ctx(me), &bytes[..len], &cred(0));
        }
    }
}

/// What is in the queue before, oldest first.
fn before(doing: Doing) -> &'static [&'static [u8]] {
    match doing {
        Send | Receive | Unlink | Make => &[b"one", b"two"],
        SendAndWait | SendInVain | Admit => &[b"one", b"two", b"three"],
        _ => &[],
    }
}

#[test]
fn a_death_at_any_point_leaves_a_queue_that_works() {
    let mut missed = Vec::new();
    for (point, what) in POINTS {
        for &doing in *what {
            let _dog = Watchdog::step(point);
            if !one(point, doing) {
                missed.push((point, doing));
            }
        }
    }
    assert!(missed.is_empty(), "not passed: {missed:?}");
}

fn one(point: &'static str, doing: Doing) -> bool {
    let world = World::new(TestHost::new(Sleeps::Bounded, Others::Live));
    let mq = Mq::new(world, MAX as i64, 16);
    for message in before(doing) {
        mq.send(&mq.me, message, 1).unwrap();
    }
    let k = world.ctx(&mq.me);
    if point.starts_with("mq.mirror") {
        watch(&k, &mq.h, mq.twin, watched::LEVEL);
        if doing == Send {
            mq.receive(&mq.me).unwrap();
            mq.receive(&mq.me).unwrap();
        } else {
            mq.send(&mq.me, b"three", 1).unwrap();
        }
    }
    if doing == Notify {
        mq.h.lock(&k);
        notify::register(&k, &mq.h, 1, 1, Wish::Silent).unwrap();
        mq.h.unlock(&k);
    }
    let waiter = matches!(doing, Serve | Admit).then(|| {
        let t = thread::spawn(move || {
            let me = mq.world.enter();
            let how = Patience::endless(120);
            match doing {
                Serve => mq.receive_with(&me, Blocking::Yes, &how).map(|m| m.0),
                _ => mq
                    .send_with(&me, b"waiter", 1, Blocking::Yes, &how)
                    .map(|_| Vec::new()),
            }
        });
        mq.lined_up(1);
        t
    });
    let there = mq.count() as usize;
    if !Victim::kill_at(&world, point, move |me| act(&mq, me, doing)) {
        return false;
    }
    if doing == Unlink {
        let (h, _) = name::open(&k, &wish(b"again", true, None), &cred(0), made).unwrap();
        assert!(h.q.is_live());
        return true;
    }
    let name_works = name::open(&k, &wish(b"new", true, None), &cred(0), made);
    assert!(name_works.is_ok());
    if let Some(t) = waiter {
        if doing == Serve && !t.is_finished() {
            // Either the victim's message or this one is for him.
            thread::sleep(std::time::Duration::from_millis(60));
            if !t.is_finished() {
                mq.send(&mq.me, b"other", 1).unwrap();
            }
        }
        if doing == Admit && mq.count() as usize == MAX && !t.is_finished() {
            thread::sleep(std::time::Duration::from_millis(60));
        }
        let mut messages: Vec<Vec<u8>> = Vec::new();
        if doing == Admit {
            while !t.is_finished() || mq.count() > 0 {
                match mq.receive(&mq.me) {
                    Ok((m, _)) => messages.push(m),
                    Err(_) => thread::yield_now(),
                }
            }
            let tail = &messages[messages.len() - 3..];
            assert_eq!(tail, [&b"two"[..], b"three", b"waiter"], "{point}");
            assert!(messages.len() <= 4);
        }
        let got = t.join().unwrap().unwrap();
        assert!(doing == Admit || got == b"victim" || got == b"other");
    }
    // The queue works as ever, with all its slots.
    let mut n = 0;
    while mq.receive(&mq.me).is_ok() {
        n += 1;
    }
    assert!(n <= there + 1, "{point} {doing:?}: {n} after {there}");
    for round in 0..3 * MAX as u8 {
        for i in 0..MAX as u8 {
            mq.send(&mq.me, &[round, i], u32::from(i)).unwrap();
        }
        let full = mq.send(&mq.me, b"", 0);
        assert_eq!(full, Err(Errno::EAGAIN.into()), "{point} {doing:?}");
        if mq.h.q.watched.load(SeqCst) != 0 {
            assert_eq!(mq.twin.0.load(SeqCst), 2);
        }
        for i in (0..MAX as u8).rev() {
            let got = mq.receive(&mq.me);
            assert_eq!(got, Ok((vec![round, i], u32::from(i))), "{point} {doing:?}");
        }
    }
    let lines = [&mq.h.q.receivers, &mq.h.q.senders].map(|l| l.load(SeqCst));
    assert_eq!(lines, [0, 0], "{point} {doing:?}");
    mq.h.lock(&k);
    ringer_kernel::mqueue::repair(&k, &mq.h);
    mq.h.unlock(&k);
    let free = mq.h.q.free.load(SeqCst);
    assert_eq!(free, MAX as u32 + store::EXTRA, "{point} {doing:?}");
    assert_eq!(mq.h.q.busy.load(SeqCst), 0, "{point} {doing:?}");
    true
}
