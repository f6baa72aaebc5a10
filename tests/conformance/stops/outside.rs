//! A stop from outside that nobody of the session has seen: only the kernel tells of it, by breaking the sleep off. (At
//! the moment in which a wait looks around, every 20 ms, there is no sleep: docs/limits.md.)

use super::descriptors::timed_pair;
use super::{from_outside, signal, stop_by};
use ringer_support::prelude::*;
use ringer_support::sysv::*;
use std::time::Duration;

const TRIES: usize = 20;
/// Without the kernel's word none is; with it all are, but where each thread waits for milliseconds for its processor.
const SOME: usize = 8;

/// Stops and continues a child in its call; it says whether that ended the call. Otherwise `release` ends it.
fn is_ended(call: impl Fn() -> bool, release: impl Fn()) {
    from_outside();
    let ended = (0..TRIES).filter(|_| {
        let s = Shared::new();
        let child = fork_run(|| {
            s.set(0, 1);
            s.set(1, 1 + u64::from(call()));
        });
        s.wait_for(0, 1);
        child.sleeping();
        stop_by(&child, SIGSTOP);
        signal(&child, SIGCONT);
        pause(Duration::from_millis(50));
        release();
        child.succeeds();
        s.get(1) == 2
    });
    let ended = ended.count();
    eprintln!("{ended} of {TRIES} calls were ended");
    assert!(ended >= SOME, "{ended} of {TRIES}");
}

cases!(unseen, {
    "semop" => {
        let s = Sems::new(1);
        is_ended(
            || s.op(&[op(0, -1)]) == Err(EINTR),
            || {
                s.op(&[op(0, 1)]).unwrap();
                pause(Duration::from_millis(30));
                s.set(0, 0);
            },
        );
    }
    "a write that has written a part" => {
        let p = pipe();
        is_ended(
            || write(&p.w, &stream(0, 2 * CAPACITY)) == Ok(CAPACITY),
            || {
                while bytes_waiting(&p.r) != Ok(0) {
                    read_exactly(&p.r, CAPACITY);
                    pause(Duration::from_millis(30));
                }
            },
        );
    }
    "a receive with a timeout" => {
        let (a, b) = timed_pair(libc::SOCK_STREAM);
        is_ended(
            || read(&a, &mut [0; 10]) == Err(EINTR),
            || {
                write_all(&b, b"x");
                pause(Duration::from_millis(30));
                set_nonblocking(&a, true);
                let _ = read(&a, &mut [0; 10]);
                set_nonblocking(&a, false);
            },
        );
    }
});
