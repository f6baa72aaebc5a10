//! Bugs that are planted (`ringer_kernel::planted`) are found by `ringer fuzz` and `ringer check`: each, and at once.
//!
//! A difference counts only if it is gone as soon as the bug sleeps. How soon a bug is found is told in programs, not in
//! seconds: seeds are fixed, so a busy machine changes nothing.

#[allow(dead_code)] // a part of it is crash's
#[path = "../crash/library.rs"]
mod library;

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use ringer_support::build;

/// As `Bug` has them, in its order: a bug's number is its place, from 1 on.
const SOURCE: &str = include_str!("../../shim/kernel/src/planted.rs");

/// Programs for one bug.
const PROGRAMS: &str = "1500";
/// A bug that is found at once is found by so many of them.
const AT_ONCE: u64 = 300;

struct Mechanism {
    word: &'static str,
    fuzz: &'static str,
    /// Small worlds, and how deep they are looked through.
    check: &'static [(&'static str, &'static str)],
    /// What no short sequence shows.
    not_by_check: &'static [&'static str],
}

const MECHANISMS: &[Mechanism] = &[
    Mechanism {
        word: "Pipe",
        fuzz: "pipe",
        check: &[("pipe", "3")],
        not_by_check: &[],
    },
    Mechanism {
        word: "Wait",
        fuzz: "pipe,eventfd,signal",
        check: &[("wait-pipe", "2")],
        not_by_check: &[],
    },
    Mechanism {
        word: "Eventfd",
        fuzz: "eventfd",
        check: &[("eventfd", "2")],
        not_by_check: &[],
    },
    Mechanism {
        word: "Signal",
        fuzz: "signal",
        check: &[("signal", "5")],
        not_by_check: &[],
    },
    Mechanism {
        word: "Sem",
        fuzz: "sysv",
        check: &[("sem", "3"), ("wait-sem", "2")],
        not_by_check: &[],
    },
    Mechanism {
        word: "Msg",
        fuzz: "sysv",
        check: &[("msg", "3")],
        not_by_check: &[],
    },
    Mechanism {
        word: "Mq",
        fuzz: "mq",
        check: &[("mq", "4")],
        not_by_check: &[],
    },
    Mechanism {
        word: "Unix",
        fuzz: "unix",
        check: &[("stream", "2"), ("dgram", "2")],
        not_by_check: &["UnixOneMore"],
    },
    Mechanism {
        word: "Posix",
        fuzz: "sem,signal",
        check: &[("posix-sem", "2"), ("wait-posix-sem", "2")],
        not_by_check: &[],
    },
];

/// Name and number.
fn bugs() -> Vec<(&'static str, u32)> {
    let list = SOURCE.split_once("pub enum Bug {").expect("Bug").1;
    let list = list.split_once('}').expect("its end").0;
    let name = |line: &'static str| line.trim().trim_end_matches(',').split(' ').next();
    let names = list
        .lines()
        .filter_map(name)
        .filter(|name| !name.is_empty());
    names.zip(1..).collect()
}

fn library() -> &'static PathBuf {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| library::build_library("planted-bugs"))
}

fn ringer(bug: u32, args: &[&str]) -> Output {
    let mut command = Command::new(build::ringer());
    command.args(args).arg("--shim").arg(library());
    command.env("RINGER_PLANTED", bug.to_string());
    command.output().expect("ringer")
}

/// The program that differs, as JSON; `None` if none does.
fn found(out: &Output) -> Option<String> {
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    match out.status.code() {
        Some(0) => None,
        Some(1) => said
            .lines()
            .rfind(|l| l.starts_with('{'))
            .map(str::to_owned),
        _ => panic!("{out:?}"),
    }
}

/// Without the bug that program is the same in both worlds.
fn is_by_the_bug(program: &str) -> bool {
    let name = format!(
        "ringer-planted-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    );
    let path = std::env::temp_dir().join(name);
    let mut file = std::fs::File::create(&path).expect("a file");
    file.write_all(program.as_bytes()).expect("to write it");
    let again = ringer(0, &["fuzz", "--replay", path.to_str().expect("UTF-8")]);
    let _ = std::fs::remove_file(&path);
    again.status.code() == Some(0)
}

/// How many programs it takes.
fn fuzz(mechanism: &Mechanism, number: u32) -> Option<u64> {
    let objects = mechanism.fuzz;
    let args = ["fuzz", "--as-it-is", "--seed", "1", "--programs", PROGRAMS];
    let out = ringer(number, &[&args[..], &["--objects", objects]].concat());
    let program = found(&out).filter(|p| is_by_the_bug(p))?;
    let program: serde_json::Value = serde_json::from_str(&program).expect("JSON");
    program["seed"].as_u64()
}

fn check(mechanism: &Mechanism, number: u32) -> Option<Duration> {
    let since = Instant::now();
    (mechanism.check.iter())
        .map(|(object, depth)| ringer(number, &["check", "--depth", depth, object]))
        .find_map(|out| found(&out).filter(|p| is_by_the_bug(p)))
        .map(|_| since.elapsed())
}

fn of(mechanism: &Mechanism) -> Vec<(&'static str, u32)> {
    let mut bugs = bugs();
    bugs.retain(|(name, _)| name.starts_with(mechanism.word));
    bugs
}

#[test]
fn there_are_bugs_of_all_mechanisms() {
    let all: usize = MECHANISMS.iter().map(|m| of(m).len()).sum();
    assert_eq!(all, bugs().len());
    assert!(all >= 20 && MECHANISMS.iter().all(|m| of(m).len() >= 2));
}

#[test]
fn fuzz_finds_each_at_once() {
    let (mut missed, mut late) = (Vec::new(), Vec::new());
    for mechanism in MECHANISMS {
        for (name, number) in of(mechanism) {
            let took = fuzz(mechanism, number);
            eprintln!("fuzz {name}: {took:?}");
            match took {
                None => missed.push(name),
                Some(programs) if programs > AT_ONCE => late.push(name),
                Some(_) => {}
            }
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
    assert!(late.len() * 10 <= bugs().len(), "found late: {late:?}");
}

#[test]
fn check_finds_each_that_short_sequences_show() {
    let mut missed = Vec::new();
    for mechanism in MECHANISMS {
        for (name, number) in of(mechanism) {
            if mechanism.not_by_check.contains(&name) {
                continue;
            }
            let took = check(mechanism, number);
            eprintln!("check {name}: {took:?}");
            if took.is_none() {
                missed.push(name);
            }
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
