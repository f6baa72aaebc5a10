//! Guests that die inside a call on an eventfd, on sockets, on a message queue, or with a descriptor on its way: what they did
//! is done once or not at all, and nobody waits for ever.
//!
//! Natively the victim dies right after its call; the survivors ask for no more than that allows.

mod queues;
mod sockets;

use crate::library;
use libc::{MSG_DONTWAIT, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM};
use queues::*;
use ringer_support::mq::{self, Name};
use ringer_support::prelude::*;
use ringer_support::rights::{receive_fds, send_fds, socketpair};
use ringer_support::unix::{self, Address};
use ringer_support::world::{self, Test, World, BOTH};
use sockets::*;
use std::env;

const VICTIM: &str = "RINGER_CRASH_OTHERS";
/// More than the first ring of a socket holds.
const MUCH: usize = 100_000;
const KINDS: [c_int; 3] = [SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET];

/// Runs a victim, which does `act` to `what`, to its death. `false`: it does not pass there so often.
fn kill(point: &str, nth: u32, act: &str, what: &str) -> bool {
    let child = fork_run(|| {
        env::set_var("RINGER_CRASH_AT", format!("{point}:{nth}"));
        env::set_var(VICTIM, format!("{act} {what}"));
        let program = env::current_exe().expect("the path of this test binary");
        let _ = dup2(&open("/dev/null", O_WRONLY).expect("/dev/null"), 1);
        exec(&program, &["others::victim", "--exact", "--test-threads=1"]);
    });
    let status = child.wait();
    match World::current() {
        // It died after its call, whatever the point: one such death is enough.
        Some(World::Native) => nth == 1 && status.signal() == Some(SIGKILL),
        _ => status.signal() == Some(SIGKILL),
    }
}

fn kill_at(point: &str, nth: u32, act: &str, fd: &Fd) -> bool {
    kill(point, nth, act, &fd.number().to_string())
}

/// No test: what the victim's process runs. Without a victim's orders it does nothing.
#[test]
fn victim() {
    let Ok(orders) = env::var(VICTIM) else { return };
    let (act, what) = orders.split_once(' ').expect("what to do, and to what");
    let fd = what.parse::<usize>().unwrap_or(0);
    let fd = std::mem::ManuallyDrop::new(Fd::own(fd));
    let queue = || Name::of(what).open(O_RDWR).expect("the stage's queue");
    match act {
        "add" => drop(write(&*fd, &3u64.to_ne_bytes())),
        "take" => drop(read_n(&*fd, 8)),
        "send" => drop(unix::send(&*fd, b"two", 0)),
        "send-much" => drop(unix::send(&*fd, &[b'y'; MUCH], 0)),
        "receive-passed" => drop(receive_fds(&*fd)),
        "receive" => {
            let (fd, n) = what.split_once('*').expect("which, and how often");
            let fd = std::mem::ManuallyDrop::new(Fd::own(fd.parse().expect("a number")));
            for _ in 0..n.parse().expect("a number") {
                let _ = unix::receive(&*fd, 1000, 0);
            }
        }
        "poll" => drop(poll_now(&*fd)),
        "pass" => drop(send_fds(&*fd, &[pipe().w.number()])),
        "accept" => drop(unix::accept(&fd, 0).and_then(|(fd, _)| unix::send(&fd, b"x", 0))),
        "accept-and-poll" => drop(unix::accept(&fd, 0).map(|(fd, _)| poll_now(&fd))),
        "connect" => {
            let client = unix::socket(SOCK_STREAM);
            let _ = unix::connect(&client, &address(what));
            let _ = unix::send(&client, b"early", 0);
        }
        "mq-send" => drop(mq::send(&queue(), b"two", 0)),
        "mq-receive" => drop(mq::timedreceive(&queue(), &mq::in_ms(30))),
        "mq-make" => {
            let name = Name::of(what);
            let q = name.create(1, 8);
            let _ = (name.unlink(), q.map(drop));
        }
        other => panic!("{other}?"),
    }
    if World::current() == Some(World::Native) {
        signal::kill(getpid(), SIGKILL);
    }
    // SAFETY: ends the process.
    unsafe { libc::_exit(0) };
}

/// A death at each passage of each point, in the worlds.
macro_rules! deaths {
    ($($name:ident: $($point:literal)+, $scene:expr;)*) => {
        pub const POINTS: &[&str] = &[$($($point),+),*];
        $(
            #[test]
            fn $name() {
                fn body() {
                    let scene: fn(&str, u32) -> bool = $scene;
                    let all = [$($point),+];
                    // Natively they are all one.
                    let points = if World::current() == Some(World::Native) { &all[..1] } else { &all };
                    for point in points {
                        let passages = (1..100).take_while(|nth| scene(point, *nth)).count();
                        assert!(passages > 0, "nobody died at {point}");
                    }
                }
                library::use_crash_points();
                let path = concat!(module_path!(), "::", stringify!($name));
                world::run(&Test { path, timeout_secs: 100, worlds: BOTH }, body);
            }
        )*
    };
}

deaths! {
    adding: "eventfd.write.store" "eventfd.changed" "eventfd.unlock" "eventfd.wake", adding_;
    nothing_is_taken: "eventfd.read.locked" "eventfd.unlock", taking_nothing;
    nothing_is_added: "eventfd.write.locked" "eventfd.unlock", adding_too_much;
    taking: "eventfd.read.store" "eventfd.changed" "eventfd.unlock" "eventfd.wake", taking_;
    an_eventfd_is_polled: "eventfd.demote.closed" "eventfd.demote.intent" "eventfd.demote.mode", polled_eventfd;
    sending: "unix.send.locked" "unix.send.publish" "unix.send.published" "unix.send.unlock" "unix.send.wake", sending_;
    receiving: "unix.recv.locked" "unix.recv.publish" "unix.recv.published" "unix.recv.unlock" "unix.recv.wake", receiving_;
    growing: "unix.grow", growing_;
    a_socket_is_polled: "unix.demote.record" "unix.demote.trimmed" "unix.demote.mode", polled_socket;
    connecting: "unix.pending.sent", connecting_;
    accepting: "unix.accept.known" "unix.accept.moved" "unix.accept.emptied", accepting_;
    an_accepted_one_is_polled: "unix.pending.leave" "unix.pending.left", accepting_;
    passing: "flight.counted" "flight.noted", passing_;
    what_was_passed_is_taken: "flight.taken", taking_what_was_passed;
    messages_are_sent: "mq.send.commit" "mq.send.committed", mq_sending;
    messages_are_handed_over: "mq.serve.done" "mq.serve.delist", mq_handing_over;
    messages_are_received: "mq.receive.commit" "mq.receive.committed" "mq.admit", mq_receiving;
    messages_are_waited_for: "mq.wait.enlist" "mq.wait.listed" "mq.wait.delisted", mq_waiting;
    queues_are_polled: "mq.mirror" "mq.mirrored", mq_polled;
    queues_come_and_go: "mq.make.publish" "mq.free", mq_making;
}

/// That blocks.
fn counter(initial: u32) -> Fd {
    // SAFETY: numbers.
    Fd::own(ringer_support::check(unsafe { libc::eventfd(initial, 0) }).expect("eventfd"))
}

fn count(e: &Fd) -> u64 {
    u64::from_ne_bytes(read_n(e, 8).unwrap().try_into().unwrap())
}

fn add(e: &Fd, n: u64) {
    assert_eq!(write(e, &n.to_ne_bytes()), Ok(8));
}

fn adding_(point: &str, nth: u32) -> bool {
    let e = counter(0);
    let reader = fork_run(|| {
        let mut sum = 0;
        while sum < 5 {
            sum += count(&e);
        }
        assert!(sum == 5 || sum == 8, "{sum}");
    });
    reader.sleeping();
    let died = kill_at(point, nth, "add", &e);
    add(&e, 5);
    reader.succeeds();
    died
}

fn taking_(point: &str, nth: u32) -> bool {
    const MOST: u64 = u64::MAX - 1;
    let e = counter(0);
    add(&e, MOST);
    let writer = fork_run(|| add(&e, 2));
    writer.sleeping();
    let died = kill_at(point, nth, "take", &e);
    let n = count(&e);
    writer.succeeds();
    match n {
        MOST => assert_eq!(count(&e), 2),
        n => assert_eq!(n, 2),
    }
    died
}

fn taking_nothing(point: &str, nth: u32) -> bool {
    let e = eventfd(0);
    let died = kill_at(point, nth, "take", &e);
    add(&e, 1);
    assert_eq!(count(&e), 1);
    died
}

fn adding_too_much(point: &str, nth: u32) -> bool {
    let e = eventfd(0);
    add(&e, u64::MAX - 2);
    let died = kill_at(point, nth, "add", &e);
    assert_eq!(count(&e), u64::MAX - 2);
    died
}

fn polled_eventfd(point: &str, nth: u32) -> bool {
    let e = counter(7);
    let died = kill_at(point, nth, "poll", &e);
    add(&e, 1);
    assert_eq!(count(&e), 8);
    died
}
