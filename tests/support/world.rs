//! The worlds a test runs in: the kernel's pipes, and ringer's.
//!
//! A test re-executes its own binary once per world, so that each run has a process group, a
//! watchdog and a virgin descriptor table of its own:
//!
//! ```text
//! cargo test -> test binary -> [native] the binary again, one test
//!                           -> [shim]   the same with LD_PRELOAD=libringer.so
//!                           -> [armed]  the same with a pipe from the start (worlds = armed)
//!                           -> [run]    ringer run -- the same          (worlds = all)
//! ```
//!
//! and there the body runs in a forked process.
//!
//! `RINGER_WORLDS=native,shim,run` restricts the worlds (shim includes armed); `RINGER_TIMEOUT_SCALE=n` multiplies the
//! watchdog's time.

use crate::watchdog::{self, Outcome, Verdict};
use crate::{build, cc, child, shared};
use std::env;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

/// Set in the process that shall run the body; its value is the world.
const CHILD: &str = "RINGER_TEST_CHILD";
const ONLY: &str = "RINGER_WORLDS";
const SCALE: &str = "RINGER_TIMEOUT_SCALE";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum World {
    /// The kernel alone: the oracle.
    Native,
    /// `LD_PRELOAD` and nothing else.
    Shim,
    /// The same, and the test begins with an emulated pipe in its hands: so ringer traps system calls.
    Armed,
    /// Under the supervisor: `ringer run`.
    Run,
}

impl World {
    pub fn name(self) -> &'static str {
        match self {
            World::Native => "native",
            World::Shim => "shim",
            World::Armed => "armed",
            World::Run => "run",
        }
    }

    fn by_name(name: &str) -> Option<World> {
        let all = [World::Native, World::Shim, World::Armed, World::Run];
        all.into_iter().find(|w| w.name() == name)
    }

    /// The world of this process, or `None` in the supervisor of a test.
    pub fn current() -> Option<World> {
        World::by_name(&env::var(CHILD).ok()?)
    }

    /// Whether the environment lets tests run there.
    pub fn wanted(self) -> bool {
        env::var(ONLY).map_or(true, |list| {
            let is = |w: &str| w == self.name() || (w == "shim" && self == World::Armed);
            list.split(',').any(|w| is(w.trim()))
        })
    }
}

pub const BOTH: &[World] = &[World::Native, World::Shim];
pub const ALL: &[World] = &[World::Native, World::Shim, World::Run];
/// For what may depend on whether ringer traps system calls: signals.
pub const ARMED: &[World] = &[World::Native, World::Shim, World::Armed];
pub const ALL_AND_ARMED: &[World] = &[World::Native, World::Shim, World::Armed, World::Run];

/// One test, as the macro describes it.
pub struct Test {
    /// `module_path!()::name`; its first component is the crate.
    pub path: &'static str,
    pub timeout_secs: u64,
    pub worlds: &'static [World],
}

impl Test {
    /// As libtest calls it.
    pub fn name(&self) -> &'static str {
        self.path
            .split_once("::")
            .map_or(self.path, |(_crate, rest)| rest)
    }
}

/// Defines a test that runs in each world.
///
/// `both_worlds!(name, { body })`, `both_worlds!(name, timeout = 60, { body })`, and with
/// `worlds = all` (before `timeout`) also under `ringer run`, with `worlds = armed` in all four.
#[macro_export]
macro_rules! both_worlds {
    ($name:ident, $body:block) => {
        $crate::both_worlds!(@ $name, $crate::world::BOTH, 20, $body);
    };
    ($name:ident, timeout = $secs:expr, $body:block) => {
        $crate::both_worlds!(@ $name, $crate::world::BOTH, $secs, $body);
    };
    ($name:ident, worlds = all, $body:block) => {
        $crate::both_worlds!(@ $name, $crate::world::ALL, 20, $body);
    };
    ($name:ident, worlds = all, timeout = $secs:expr, $body:block) => {
        $crate::both_worlds!(@ $name, $crate::world::ALL, $secs, $body);
    };
    ($name:ident, worlds = armed, timeout = $secs:expr, $body:block) => {
        $crate::both_worlds!(@ $name, $crate::world::ALL_AND_ARMED, $secs, $body);
    };
    (@ $name:ident, $worlds:expr, $secs:expr, $body:block) => {
        #[test]
        fn $name() {
            fn body() $body
            let test = $crate::world::Test {
                path: concat!(module_path!(), "::", stringify!($name)),
                timeout_secs: $secs,
                worlds: $worlds,
            };
            $crate::world::run(&test, body);
        }
    };
}

/// In the supervisor: runs the test in every world. In its child: runs the body.
pub fn run(test: &Test, body: fn()) {
    match World::current() {
        Some(world) => inside(world, body),
        None => test
            .worlds
            .iter()
            .filter(|w| w.wanted())
            .for_each(|w| supervise(test, *w)),
    }
}

fn inside(world: World, body: fn()) {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("/proc/self/maps");
    // libringer.so, or libringer-HASH.so as `ringer run` unpacks it.
    let is_shim = |file: &str| file.starts_with("libringer") && file.ends_with(".so");
    let shimmed = maps
        .lines()
        .filter_map(|l| l.rsplit('/').next())
        .any(is_shim);
    assert_eq!(
        shimmed,
        world != World::Native,
        "libringer.so mapped, in the world {world:?}"
    );
    shared::prepare_failures();
    // libtest runs tests in a thread. The body gets a process of one thread, so that a signal to the
    // process is a signal to the body, and its state is the body's.
    child::fork_run(|| {
        if world == World::Armed {
            let p = crate::fd::pipe();
            let _ = (p.r.leak(), p.w.leak());
        }
        body();
    })
    .succeeds();
}

fn supervise(test: &Test, world: World) {
    let limit = Duration::from_secs(test.timeout_secs * scale());
    let outcome = attempt(test, world, |command| watchdog::guard(command, limit));
    let why = match outcome.verdict {
        Verdict::Hung => format!("did not end within {} s", limit.as_secs()),
        Verdict::Ended(status) if !status.success() => format!("ended with {status}"),
        Verdict::Ended(_) if !ran_one_test(&outcome) => "did not run exactly one test".into(),
        Verdict::Ended(_) => return,
    };
    panic!(
        "{} in the world \"{}\" {why}\n{}",
        test.name(),
        world.name(),
        outcome.output
    );
}

/// By how much the watchdogs are to be more patient than usual.
pub fn scale() -> u64 {
    let scale = env::var(SCALE).ok();
    scale.and_then(|s| s.parse().ok()).unwrap_or(1)
}

/// Runs the test in one world, by `guard`.
pub fn attempt(test: &Test, world: World, guard: impl FnOnce(Command) -> Outcome) -> Outcome {
    cc::compile_all();
    let mut command = command(world);
    command.args([
        test.name(),
        "--exact",
        "--nocapture",
        "--test-threads=1",
        "--include-ignored",
    ]);
    command.env(CHILD, world.name()).process_group(0);
    guard(command)
}

/// Whether libtest says that it has run one test, which passed.
pub fn ran_one_test(outcome: &Outcome) -> bool {
    let results = |line: &&str| line.contains("test result: ");
    let ran: Vec<&str> = outcome.output.lines().filter(results).collect();
    ran.len() == 1 && ran[0].contains(" 1 passed; 0 failed;")
}

fn command(world: World) -> Command {
    let exe = env::current_exe().expect("the path of this test binary");
    let mut command;
    if world == World::Run {
        command = Command::new(build::ringer());
        command.arg("run").arg("--").arg(exe);
    } else {
        command = Command::new(exe);
    }
    if matches!(world, World::Shim | World::Armed) {
        let mut preload = OsString::from(build::libringer());
        if let Some(more) = env::var_os("LD_PRELOAD").filter(|p| !p.is_empty()) {
            preload.push(":");
            preload.push(more);
        }
        command.env("LD_PRELOAD", preload);
    }
    if world != World::Native {
        command.env(build::BIN_DIR, build::bin_dir());
    }
    command
}
