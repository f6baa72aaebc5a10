//! Known deviations: what Linux does, ringer does not, and `tests/deviations.toml` explains.
//!
//! Such a test demands what Linux does. Natively it must pass, and under the shim it must *fail*: a
//! deviation that is no more fails the test, until its entry is taken out and the test becomes one
//! for both worlds.

use crate::kernel_range::in_range;
use crate::table::{self, Table};
use crate::watchdog::{self, Verdict};
use crate::world::{self, Test, World};
use std::time::Duration;

/// The list. Its head says what is in an entry.
pub const LIST: &str = include_str!("../deviations.toml");

/// The longest that a test may take to show that it fails under the shim: often by waiting for ever.
const SHIM_LIMIT: Duration = Duration::from_secs(3);

/// libtest's exit status when a test has failed.
const FAILED: i32 = 101;

/// Defines a test that shows a deviation: `deviates!(name, "its id", { body })`.
#[macro_export]
macro_rules! deviates {
    ($name:ident, $id:literal, $body:block) => {
        #[test]
        fn $name() {
            fn body() $body
            let test = $crate::world::Test {
                path: concat!(module_path!(), "::", stringify!($name)),
                timeout_secs: 20,
                worlds: &[$crate::world::World::Native],
            };
            $crate::deviates::run(&test, $id, body);
        }
    };
}

/// The entries of the list.
pub fn entries() -> Vec<Table> {
    let mut tables = table::parse(LIST);
    tables.retain(|table| table.name == "deviation");
    tables
}

/// In the supervisor: natively it passes, under the shim it fails. In its child: runs the body.
pub fn run(test: &Test, id: &str, body: fn()) {
    if World::current().is_none() {
        let entries = entries();
        let entry = entries.iter().find(|entry| entry.text("id") == id);
        let entry = entry.unwrap_or_else(|| panic!("deviations.toml has no \"{id}\""));
        let (range, release) = (entry.text("kernel_range"), kernel_release());
        if !in_range(range, &release) {
            eprintln!("skipped: Linux {release} is not in the range \"{range}\" of {id}");
            return;
        }
    }
    world::run(test, body);
    if World::current().is_none() && World::Shim.wanted() {
        still_deviates(test, id);
    }
}

fn still_deviates(test: &Test, id: &str) {
    let silent = |_group| String::new();
    let outcome = world::attempt(test, World::Shim, |command| {
        watchdog::guard_with(command, SHIM_LIMIT, silent)
    });
    match outcome.verdict {
        Verdict::Hung => {}
        Verdict::Ended(status) if status.code() == Some(FAILED) => {}
        Verdict::Ended(_) if world::ran_one_test(&outcome) => panic!(
            "{}: remove deviation {id} from tests/deviations.toml, it is none any more, \
             and make this a test of both worlds",
            test.name()
        ),
        Verdict::Ended(status) => panic!(
            "{} in the world \"shim\" neither passed nor failed: {status}\n{}",
            test.name(),
            outcome.output
        ),
    }
}

/// The running kernel, as uname(2) calls it.
fn kernel_release() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("/proc");
    text.trim().to_owned()
}
