//! Each cause for which a pipe goes to the kernel is met here, with its words in the log, or it is
//! explained why not.

use crate::sources::{read, workspace};
use crate::tests_by_name::assert_exists;
use ringer_support::cc::{self, Linkage};
use ringer_support::child::is_root;
use ringer_support::world::World;
use ringer_support::{build, watchdog};
use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{chown, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::time::Duration;

/// What cause.c says if it may not do what it was told.
const SKIPPED: i32 = 77;
const NOBODY: u32 = 65534;

enum Shown {
    /// By what cause.c does when it is told so.
    Does(&'static str),
    /// By what it execs.
    Execs(&'static str, fn(&Dir) -> Option<PathBuf>),
    /// By other tests, for this reason.
    Elsewhere(&'static [&'static str], &'static str),
    /// By nothing, for this reason.
    Not(&'static str),
}

/// By the names of ringer-kernel's `Cause`.
const CAUSES: &[(&str, Shown)] = &[
    (
        "Fifo",
        Shown::Elsewhere(
            &["cli::fifos::who_waits_in_open_and_who_has_which_end"],
            "a FIFO is the kernel's from the start and never goes there",
        ),
    ),
    (
        "Observed",
        Shown::Elsewhere(
            &["harness/tests/trace.rs::observed_pipes_are_the_kernels"],
            "such a pipe is the kernel's from the start and never goes there",
        ),
    ),
    (
        "StaticProgram",
        Shown::Execs("exec", |_| Some(cc::program("puppet", Linkage::Static))),
    ),
    ("Privileged", Shown::Execs("exec", set_user_id)),
    (
        "PreloadRemoved",
        Shown::Execs("exec-without-preload", dynamic),
    ),
    ("ForeignLibc", Shown::Execs("exec", with_another_loader)),
    ("IoUring", Shown::Does("io_uring")),
    ("ScmRights", Shown::Does("rights")),
    (
        "NoMemory",
        Shown::Elsewhere(
            &["cli::limits::shared_memory_is_scarce"],
            "it takes a /dev/shm of one's own",
        ),
    ),
    ("Unreadable", Shown::Execs("exec", unreadable)),
    ("Transfer", Shown::Does("splice")),
    ("TooLarge", Shown::Does("large")),
    ("NoDispatch", Shown::Execs("exec-without-dispatch", dynamic)),
    (
        "PidfdGetfd",
        Shown::Not(
            "who takes an end out of another process adopts it; who has no shim is not seen",
        ),
    ),
    ("PrivilegesDropped", Shown::Does("setuid")),
    ("NoAccess", Shown::Execs("exec-as-nobody", dynamic)),
    ("TableSplit", Shown::Does("unshare")),
    ("Polled", Shown::Does("poll-eventfd")),
    ("Vectored", Shown::Does("writev-eventfd")),
    ("Aio", Shown::Does("io_submit")),
    ("Ancillary", Shown::Does("ancillary")),
    ("Option", Shown::Does("passcred")),
    ("Addressed", Shown::Does("bind")),
    ("OutOfBand", Shown::Does("oob")),
    ("NotDumpable", Shown::Does("undumpable")),
    ("Seccomp", Shown::Does("seccomp")),
    ("Stranger", Shown::Does("stranger")),
    ("LeftBehind", Shown::Does("close")),
    ("Namespace", Shown::Does("namespace")),
    ("Sanitizer", Shown::Execs("exec", sanitized)),
    ("RootChanged", Shown::Does("chroot")),
    ("Traced", Shown::Does("traceme")),
];

/// A directory that everybody may look into; removed when dropped.
struct Dir(PathBuf);

impl Dir {
    fn new(topic: &str) -> Dir {
        let dir = std::env::temp_dir().join(format!("ringer-cause-{topic}.{}", process::id()));
        fs::create_dir_all(&dir).expect("a temporary directory");
        fs::set_permissions(&dir, Permissions::from_mode(0o755)).expect("our own directory");
        Dir(dir)
    }

    /// A copy of a program, with this mode.
    fn copy(&self, program: &Path, name: &str, mode: u32) -> PathBuf {
        let copy = self.0.join(name);
        fs::copy(program, &copy).expect("room for a copy");
        fs::set_permissions(&copy, Permissions::from_mode(mode)).expect("our own file");
        copy
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn dynamic(dir: &Dir) -> Option<PathBuf> {
    Some(dir.copy(&cc::program("puppet", Linkage::Dynamic), "dynamic", 0o755))
}

/// Where the compiler has got the sanitizer's library.
fn sanitized(dir: &Dir) -> Option<PathBuf> {
    let (source, program) = (dir.0.join("empty.c"), dir.0.join("sanitized"));
    fs::write(&source, "int main(void) { return 0; }").expect("our own directory");
    let mut cc = std::process::Command::new("cc");
    cc.arg("-fsanitize=address")
        .arg("-o")
        .arg(&program)
        .arg(&source);
    let built = cc.output().ok()?.status.success();
    built.then_some(program)
}

fn set_user_id(dir: &Dir) -> Option<PathBuf> {
    let copy = dynamic(dir)?;
    chown(&copy, Some(NOBODY), None).ok()?;
    fs::set_permissions(&copy, Permissions::from_mode(0o4755)).ok()?;
    Some(copy)
}

/// Those who are not its owner, nor root, may only execute it.
fn unreadable(dir: &Dir) -> Option<PathBuf> {
    is_root().then(|| {
        dir.copy(
            &cc::program("puppet", Linkage::Dynamic),
            "unreadable",
            0o711,
        )
    })
}

/// Its ELF interpreter is one that ringer does not know.
fn with_another_loader(dir: &Dir) -> Option<PathBuf> {
    const KNOWN: &[u8] = b"ld-linux-x86-64.so.2";
    let mut program = fs::read(cc::program("puppet", Linkage::Dynamic)).ok()?;
    let at = program.windows(KNOWN.len()).position(|w| w == KNOWN)?;
    program[at..at + 8].copy_from_slice(b"no-linux");
    let copy = dir.copy(&cc::program("puppet", Linkage::Dynamic), "loader", 0o755);
    fs::write(&copy, program).ok()?;
    Some(copy)
}

/// `Name = 3, "its words";` of the macro in log/record.rs.
fn causes() -> Vec<(String, String)> {
    let text = read(&workspace().join("shim/kernel/src/log/record.rs"));
    let (_, rest) = text.split_once("\ncauses! {").expect("the list of causes");
    let (list, _) = rest.split_once("\n}").expect("its end");
    let lines = list
        .lines()
        .map(str::trim)
        .filter(|l| !l.starts_with("//") && !l.is_empty());
    let cause = |line: &str| {
        let (name, rest) = line.split_once(" = ")?;
        Some((name.to_owned(), rest.split('"').nth(1)?.to_owned()))
    };
    lines
        .map(|line| cause(line).unwrap_or_else(|| panic!("no cause: {line}")))
        .collect()
}

#[test]
fn each_cause_is_accounted_for() {
    let names: BTreeSet<String> = causes().into_iter().map(|(name, _)| name).collect();
    let ours: BTreeSet<String> = CAUSES.iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(
        names, ours,
        "ringer-kernel's causes, and those in tests/structure/causes.rs"
    );
    for (name, shown) in CAUSES {
        match shown {
            Shown::Elsewhere(tests, why) => {
                assert!(!why.is_empty() && !tests.is_empty());
                tests.iter().for_each(|test| assert_exists(test, name));
            }
            Shown::Not(why) => assert!(!why.is_empty()),
            Shown::Does(_) | Shown::Execs(..) => {}
        }
    }
}

#[test]
fn each_cause_is_met_and_told_in_its_words() {
    if !World::Shim.wanted() {
        return;
    }
    let words = causes();
    let mut missing = Vec::new();
    for (name, shown) in CAUSES {
        let (_, text) = words
            .iter()
            .find(|(n, _)| n == name)
            .expect("a cause of that name");
        let dir = Dir::new(name);
        let (verb, program) = match shown {
            Shown::Does(verb) => (verb, None),
            Shown::Execs(verb, make) => match make(&dir) {
                Some(program) => (verb, Some(program)),
                None => {
                    eprintln!("skipped: {name}: such a program can not be made here");
                    continue;
                }
            },
            Shown::Elsewhere(..) | Shown::Not(_) => continue,
        };
        let (status, said) = trace(&dir, name, verb, program.as_deref());
        if status == Some(SKIPPED) || (*name == "Unreadable" && status != Some(0)) {
            eprintln!("skipped: {name}: not allowed here");
        } else if !said.contains(&format!(" goes to the kernel: {text}")) {
            missing.push(format!("{name} ({text}): {status:?}\n{said}"));
        }
    }
    assert!(missing.is_empty(), "not told:\n{}", missing.join("\n"));
}

/// `ringer trace -- cause VERB PROGRAM`: its status, and what it said.
fn trace(dir: &Dir, name: &str, verb: &str, program: Option<&Path>) -> (Option<i32>, String) {
    let cause = dir.copy(&cc::cc(include_str!("cause.c")), "cause", 0o755);
    let ringer = dir.copy(&build::ringer(), "ringer", 0o755);
    let mut command = Command::new(ringer);
    command
        .arg("trace")
        .arg("--")
        .arg(cause)
        .arg(verb)
        .args(program);
    command.current_dir(&dir.0).process_group(0);
    for (key, _) in std::env::vars_os() {
        if key.to_string_lossy().starts_with("RINGER_") || key == "LD_PRELOAD" {
            command.env_remove(key);
        }
    }
    if name == "Unreadable" {
        command.uid(NOBODY).gid(NOBODY); // root may read everything
    }
    let outcome = watchdog::guard(command, Duration::from_secs(20));
    let status = match outcome.verdict {
        watchdog::Verdict::Ended(status) => status.code(),
        watchdog::Verdict::Hung => None,
    };
    (status, outcome.output)
}
