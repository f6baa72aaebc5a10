//! What the tests of the workspace said, in one world.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use crate::error::{Error, Result};
use crate::sys::{self, signal::Disposition};

/// What a shell without job control ignores for a command in its background, and nohup(1) does: tests that press
/// control-C would wait in vain.
const OF_A_TERMINAL: [i32; 3] = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT];

/// How often a rule's tests passed and failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Score {
    pub passed: usize,
    pub failed: usize,
}

/// Per target: its tests, and whether they passed.
#[derive(Default, Debug, PartialEq)]
pub struct Verdicts(BTreeMap<String, BTreeMap<String, bool>>);

impl Verdicts {
    /// Runs these targets, by cargo, in the worlds that `worlds` names.
    pub fn of(targets: &[String], worlds: &str) -> Result<Verdicts> {
        let trouble = |why: std::io::Error| Error::Fuzz {
            what: "cargo test".into(),
            why: sys::error_text(&why),
        };
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$@\" 2>&1", "sh", "cargo", "test", "--release"]);
        command.args(["-p", "ringer-tests", "--no-fail-fast"]);
        for target in targets {
            command.args(["--test", target]);
        }
        command.env("RINGER_WORLDS", worlds).stdin(Stdio::null());
        let begin = || {
            for signal in OF_A_TERMINAL {
                Disposition::default().install(signal);
            }
            Ok(())
        };
        // SAFETY: async-signal-safe: sigaction(2) alone.
        unsafe { command.pre_exec(begin) };
        let out = command.output().map_err(trouble)?;
        let said = String::from_utf8_lossy(&out.stdout);
        let verdicts = Verdicts::parse(&said);
        match verdicts.0.is_empty() {
            false => Ok(verdicts),
            true => Err(Error::Fuzz {
                what: "cargo test".into(),
                why: format!("no test ran: {}", last_lines(&said)),
            }),
        }
    }

    /// The output of `cargo test`, both streams in one.
    pub fn parse(said: &str) -> Verdicts {
        let mut verdicts = Verdicts::default();
        let mut target = String::new();
        for line in said.lines() {
            let line = line.trim();
            if let Some(rest) = line.strip_prefix("Running ") {
                target = target_of(rest).unwrap_or_default();
                continue;
            }
            let test = line
                .strip_prefix("test ")
                .and_then(|l| l.split_once(" ... "));
            let Some((name, how)) = test else { continue };
            if how == "ok" || how == "FAILED" {
                let tests = verdicts.0.entry(target.clone()).or_default();
                // What a test that fails tells of its child names it again.
                let passed = tests.entry(name.to_owned()).or_insert(true);
                *passed &= how == "ok";
            }
        }
        verdicts
    }

    /// What is known of target::name, or of target::*.
    pub fn score(&self, test: &str) -> Score {
        let (target, name) = test.split_once("::").unwrap_or((test, ""));
        let tests = self.0.get(target).into_iter().flatten();
        let of_it = tests.filter(|(n, _)| name == "*" || *n == name);
        of_it.fold(Score::default(), |score, (_, passed)| Score {
            passed: score.passed + usize::from(*passed),
            failed: score.failed + usize::from(!*passed),
        })
    }

    pub fn of_all(&self, tests: &[String]) -> Score {
        tests.iter().fold(Score::default(), |sum, test| {
            let one = self.score(test);
            Score {
                passed: sum.passed + one.passed,
                failed: sum.failed + one.failed,
            }
        })
    }
}

/// `conformance/ring.rs (target/release/deps/ring-0123456789abcdef)`: ring.
fn target_of(rest: &str) -> Option<String> {
    let file = rest.split_once('(')?.1.trim_end_matches(')');
    let (name, _hash) = file.rsplit('/').next()?.rsplit_once('-')?;
    Some(name.to_owned())
}

/// Enough of them to see what is wrong.
fn last_lines(said: &str) -> String {
    let lines: Vec<&str> = said.lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cargo_says_is_understood() {
        let said = "   Running conformance/ring.rs (target/release/deps/ring-0af1)\n\
                    running 2 tests\ntest a_b ... ok\ntest c::d ... FAILED\ntest e ... ignored\n\
                    Running tests/x.rs (/t/deps/sysv_sem-1)\ntest a_b ... ok\n";
        let verdicts = Verdicts::parse(said);
        let score = |passed, failed| Score { passed, failed };
        assert_eq!(verdicts.score("ring::*"), score(1, 1));
        assert_eq!(verdicts.score("ring::a_b"), score(1, 0));
        assert_eq!(verdicts.score("ring::c::d"), score(0, 1));
        assert_eq!(verdicts.score("sysv_sem::*"), score(1, 0));
        assert_eq!(verdicts.score("nothing::*"), score(0, 0));
        let all = ["ring::*".to_owned(), "sysv_sem::a_b".to_owned()];
        assert_eq!(verdicts.of_all(&all), score(2, 1));
    }

    #[test]
    fn one_that_fails_and_tells_of_its_child_is_one() {
        let said = "Running a.rs (d/ring-0)\ntest a ... FAILED\n\nfailures:\ntest a ... FAILED\ntest b ... ok\n";
        let one = |failed| Score {
            passed: 1 - failed,
            failed,
        };
        let verdicts = Verdicts::parse(said);
        assert_eq!(
            (verdicts.score("ring::a"), verdicts.score("ring::b")),
            (one(1), one(0))
        );
    }
}
