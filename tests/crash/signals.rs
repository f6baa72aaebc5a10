//! A sender or a receiver of queued signals dies at each point of the queue. What was acknowledged
//! arrives, once and in order; the others go on.

use crate::library;
use libc::pid_t;
use ringer_support::prelude::*;
use ringer_support::world::{self, Test, World, BOTH};
use std::env;

/// Words of the page: what the doomed one has acknowledged, and what the other one has.
const DOOMED: usize = 0;
const OTHER: usize = 1;

fn number() -> c_int {
    libc::SIGRTMIN() + 1
}

/// Sends `values` to `target`, and says of each that it is sent.
fn send(target: pid_t, values: std::ops::Range<u64>, page: Shared, word: usize) {
    for value in values {
        signal::queue(target, number(), value as usize);
        page.set(word, value);
    }
}

/// Natively there are no such points; under ringer nobody comes so far.
fn ends_natively() {
    if World::current() == Some(World::Native) {
        signal::kill(getpid(), SIGKILL);
    }
}

/// Dies at the point, under ringer; natively it ends after its work.
fn doomed(point: &str, nth: u32, work: impl FnOnce()) {
    let child = fork_run(|| {
        env::set_var("RINGER_CRASH_AT", format!("{point}:{nth}"));
        work();
        ends_natively();
    });
    assert_eq!(child.wait().signal(), Some(SIGKILL), "the {nth}th time");
}

/// Everything that is pending, by value.
fn take_all() -> Vec<u64> {
    std::iter::from_fn(|| signal::wait_for(&[number()], 0).ok())
        .map(|got| got.value as u64)
        .collect()
}

/// In order, each once; all that was acknowledged, and at most the one that was on its way.
fn check(values: &[u64], first: u64, acknowledged: u64) {
    let seen: Vec<u64> = (values.iter().copied())
        .filter(|v| (first..first + 1000).contains(v))
        .collect();
    let want: Vec<u64> = (first..first + seen.len() as u64).collect();
    assert_eq!(seen, want);
    let last = first + seen.len() as u64;
    let sure = if acknowledged == 0 {
        first
    } else {
        acknowledged + 1
    };
    assert!(last == sure || last == sure + 1, "{last} {acknowledged}");
}

fn a_sender_dies_at(point: &str) {
    for nth in [1, 2, 7] {
        let page = Shared::new();
        signal::block(&[number()]);
        let me = getpid();
        assert_eq!(take_all(), []);
        doomed(point, nth, || send(me, 1001..1021, page, DOOMED));
        let other = fork_run(|| send(me, 2001..2021, page, OTHER));
        assert_eq!(other.wait().code(), Some(0));
        let values = take_all();
        check(&values, 1001, page.get(DOOMED));
        check(&values, 2001, page.get(OTHER));
        assert_eq!(page.get(OTHER), 2020);
    }
}

fn a_receiver_dies_at(point: &str) {
    for nth in [1, 2, 7] {
        let page = Shared::new();
        signal::block(&[number()]); // a process of the session sends, not one that ringer has not met yet
        let receiver = fork_run(|| {
            env::set_var("RINGER_CRASH_AT", format!("{point}:{nth}"));
            signal::block(&[number()]);
            let _ = take_all();
            page.set(OTHER, 1);
            while page.get(DOOMED) < 20 {
                std::hint::spin_loop();
            }
            let _ = take_all();
            ends_natively();
        });
        page.wait_for(OTHER, 1);
        send(receiver.pid(), 1..21, page, DOOMED);
        assert_eq!(receiver.wait().signal(), Some(SIGKILL), "the {nth}th time");
    }
}

fn run(path: &'static str, body: fn()) {
    library::use_crash_points();
    let timeout_secs = 60;
    world::run(
        &Test {
            path,
            timeout_secs,
            worlds: BOTH,
        },
        body,
    );
}

macro_rules! deaths {
    ($($name:ident: $who:ident $point:literal;)*) => {
        $(
            #[test]
            fn $name() {
                run(concat!(module_path!(), "::", stringify!($name)), || $who($point));
            }
        )*
    };
}

deaths! {
    sender_link: a_sender_dies_at "sigqueue.link";
    sender_linked: a_sender_dies_at "sigqueue.linked";
    receiver_unlinked: a_receiver_dies_at "sigqueue.unlinked";
}
