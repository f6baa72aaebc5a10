//! Many threads on one pipe: nothing is lost, torn or repeated, and nobody sleeps for ever.
//!
//! Where nobody dies the host ignores deadlines, so a lost wake-up is a hang that the watchdog
//! sees, and not a delay that nobody notices.

mod support;

use std::sync::atomic::Ordering::*;
use std::thread;

use ringer_kernel::abi::{Errno, SysError};
use ringer_kernel::sync::wait_queue::Processors;
use support::run::{Plan, Run, Signals, MB, PLAN};
use support::world::dump;
use support::Watchdog;

#[test]
fn two_writers_and_two_readers() {
    Run::all(PLAN, "two_writers_and_two_readers");
}

#[test]
fn one_processor_never_spins() {
    let plan = Plan {
        cpus: Processors::One,
        bytes: 12 * MB,
        ..PLAN
    };
    Run::all(plan, "one_processor_never_spins");
}

#[test]
fn one_slot() {
    Run::all(
        Plan {
            slots: 1,
            bytes: 8 * MB,
            ..PLAN
        },
        "one_slot",
    );
}

/// A write as long as the ring reuses the very slot that it meant to merge into, if the reader
/// was quick.
#[test]
fn writes_that_fill_the_whole_ring() {
    for slots in [2, 4, 16] {
        let longest = slots as usize * 4096 + 600;
        let plan = Plan {
            slots,
            longest,
            want: 2 * longest,
            bytes: 16 * MB,
            ..PLAN
        };
        Run::all(plan, "writes_that_fill_the_whole_ring");
    }
}

#[test]
fn small_records_and_small_reads() {
    let plan = Plan {
        longest: 60,
        want: 100,
        bytes: 2 * MB,
        slots: 2,
        ..PLAN
    };
    Run::all(plan, "small_records_and_small_reads");
}

#[test]
fn four_writers_and_eight_readers() {
    let plan = Plan {
        writers: 4,
        readers: 8,
        bytes: 12 * MB,
        slots: 4,
        ..PLAN
    };
    Run::all(plan, "four_writers_and_eight_readers");
}

#[test]
fn the_size_changes_all_the_time() {
    let plan = Plan {
        resize: true,
        bytes: 12 * MB,
        ..PLAN
    };
    Run::all(plan, "the_size_changes_all_the_time");
}

/// What a polled pipe was read empty of is overwritten at once.
#[test]
fn a_polled_pipe_uses_one_page_again_and_again() {
    for (slots, longest) in [(1, 300), (2, 60), (4, 20_000), (16, 5000)] {
        let plan = Plan {
            polled: true,
            resize: slots == 16,
            bytes: 8 * MB,
            slots,
            longest,
            ..PLAN
        };
        Run::all(plan, "a_polled_pipe_uses_one_page_again_and_again");
    }
}

#[test]
fn signals_interrupt_and_nothing_is_lost() {
    let plan = Plan {
        signals: Signals::Restart,
        bytes: 12 * MB,
        slots: 2,
        ..PLAN
    };
    let run = Run::all(plan, "signals_interrupt_and_nothing_is_lost");
    assert!(run.restarts.load(Relaxed) > 0);
}

#[test]
fn a_reader_that_leaves_takes_no_wake_up_with_it() {
    for _ in 0..20 {
        let plan = Plan {
            readers: 24,
            signals: Signals::Leave,
            bytes: MB,
            longest: 300,
            slots: 2,
            ..PLAN
        };
        Run::all(plan, "a_reader_that_leaves_takes_no_wake_up_with_it");
    }
}

/// The readers go away in the middle: blocked writers get EPIPE, all of them.
#[test]
fn when_the_last_reader_leaves_every_writer_gets_epipe() {
    for round in 0..50 {
        let run = Run::new(Plan {
            writers: 4,
            bytes: 4 * MB,
            slots: 2,
            ..PLAN
        });
        let pipe = run.pair.pipe;
        let _watchdog = Watchdog::new("epipe", run.progress.clone(), move || dump(pipe));
        thread::scope(|s| {
            let run = &run;
            let writers: Vec<_> = (0..4).map(|w| s.spawn(move || run.write_all(w))).collect();
            for r in 0..2 {
                s.spawn(move || run.read_all(r, 1000 * round));
            }
            for thread in writers {
                let got = thread.join().unwrap();
                assert_eq!(got, Err(SysError::Errno(Errno::EPIPE)));
            }
        });
    }
}
