//! Death at every crash point: a process is killed there, and its survivors neither hang nor see
//! anything torn, lost or doubled.
//!
//! A test of each name runs twice: under libringer.so with crash points, where the victim dies *in* its
//! call, and natively, where it dies after its call, to show that the survivors ask for no more
//! than Linux gives.
//!
//! * [`stage`]: what is played. [`roles`]: who plays. [`ledger`]: who has read what.
//! * [`library`]: libringer.so with crash points, built here.

mod ledger;
mod library;
mod others;
mod roles;
mod signals;
mod stage;
mod sysv;

use ringer_support::world::{self, Test, BOTH};
use roles::{Act, Flow};
use stage::Death;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Tests, and the list of their points.
macro_rules! deaths {
    ($($name:ident: $point:literal, $act:ident, $flow:ident,
       alone $alone:tt, crowd $crowd:tt, last $last:tt;)*) => {
        const POINTS: &[&str] = &[$($point),*];
        $(
            #[test]
            fn $name() {
                fn body() {
                    let death = Death {
                        point: $point,
                        act: Act::$act,
                        flow: Flow::$flow,
                        alone: &$alone,
                        crowd: &$crowd,
                        last: &$last,
                    };
                    death.rehearse();
                }
                library::use_crash_points();
                let path = concat!(module_path!(), "::", stringify!($name));
                world::run(&Test { path, timeout_secs: 150, worlds: BOTH }, body);
            }
        )*
    };
}

deaths! {
    write_locked: "pipe.write.locked", Write, Scarce,
        alone [1, 2, 7], crowd [1, 2, 7], last [1, 2, 7];
    write_merge: "pipe.write.merge", Write, Plenty,
        alone [1, 2, 7], crowd [1, 2, 7], last [1, 2, 7];
    write_publish: "pipe.write.publish", Write, Scarce,
        alone [1, 2, 7], crowd [1, 2, 7], last [1, 2, 7];
    write_published: "pipe.write.published", Write, Scarce,
        alone [1, 2, 7], crowd [1, 2, 7], last [1, 2, 7];
    write_unlock: "pipe.write.unlock", Write, Plenty,
        alone [1, 2, 7], crowd [1, 2, 7], last [1, 2, 7];
    write_wake: "pipe.write.wake", Write, Scarce,
        alone [], crowd [1, 2, 7], last [1, 2, 7];

    read_locked: "pipe.read.locked", Read, Plenty,
        alone [1, 2, 7], crowd [1, 2, 7], last [1, 2, 7];
    read_close: "pipe.read.close", Read, Scarce,
        alone [1], crowd [1, 2, 7], last [1, 2, 7];
    read_publish: "pipe.read.publish", Read, Plenty,
        alone [1, 2, 7], crowd [1, 2, 7], last [1, 2, 7];
    read_published: "pipe.read.published", Read, Plenty,
        alone [1, 2, 7], crowd [1, 2, 7], last [1, 2, 7];
    read_unlock: "pipe.read.unlock", Read, Scarce,
        alone [1, 2, 7], crowd [1, 2, 7], last [1, 2, 7];
    read_wake: "pipe.read.wake", Read, Plenty,
        alone [], crowd [1, 2, 7], last [1, 2, 7];

    resize_intent: "pipe.resize.intent", Resize, Scarce,
        alone [1, 2, 7], crowd [1, 2, 7], last [];
    resize_done: "pipe.resize.done", Resize, Scarce,
        alone [1, 2, 7], crowd [1, 2, 7], last [];
    resize_write_unlock: "pipe.write.unlock", Resize, Plenty,
        alone [1, 2, 7], crowd [1, 2, 7], last [];
    resize_read_unlock: "pipe.read.unlock", Resize, Plenty,
        alone [1, 2, 7], crowd [1, 2, 7], last [];
    resize_read_wake: "pipe.read.wake", Resize, Stuck,
        alone [], crowd [1, 2], last [];
    shrink_write_unlock: "pipe.write.unlock", Shrink, Plenty,
        alone [1], crowd [], last [];
    shrink_read_unlock: "pipe.read.unlock", Shrink, Plenty,
        alone [1], crowd [], last [];

    demote_whole: "pipe.demote.whole", Demote, Plenty,
        alone [1, 2, 7], crowd [1, 2], last [1, 2, 7];
    demote_slot: "pipe.demote.slot", Demote, Plenty,
        alone [1, 2, 7], crowd [1, 2], last [1, 2, 7];
    demote_mode: "pipe.demote.mode", Demote, Plenty,
        alone [1, 2, 7], crowd [1], last [1];
    demote_write_unlock: "pipe.write.unlock", Demote, Plenty,
        alone [1, 2], crowd [1], last [1];
    demote_read_unlock: "pipe.read.unlock", Demote, Plenty,
        alone [1, 2], crowd [1], last [1];
}

/// The names of all crash points in ringer-kernel.
fn names_in_the_sources(dir: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).expect("a directory of sources") {
        let path = entry.expect("a directory of sources").path();
        if path.is_dir() {
            names_in_the_sources(&path, names);
            continue;
        }
        let text = fs::read_to_string(&path).expect("a source");
        let parts = text.split("crash_point(\"").skip(1);
        names.extend(parts.filter_map(|part| Some(part.split_once('"')?.0.to_owned())));
    }
}

#[test]
fn every_crash_point_has_its_deaths() {
    let kernel = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shim/kernel/src");
    let mut names = BTreeSet::new();
    names_in_the_sources(&kernel, &mut names);
    // Those of signals and System V are in signals.rs and sysv.rs, or met in ringer-kernel's own tests (death_*.rs), as are these.
    let elsewhere = ["sigqueue.", "sysv.", "wait.", "mq.notify.fire"];
    names.retain(|name| !elsewhere.iter().any(|prefix| name.starts_with(prefix)));
    assert!(names.len() > 50, "only {names:?}");
    let played = POINTS.iter().chain(others::POINTS);
    let played: BTreeSet<String> = played.map(|point| point.to_string()).collect();
    assert_eq!(names, played);
}
