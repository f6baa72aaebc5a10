//! Sessions are namespaces: what has a name in one is not seen in another, outlives its processes if the
//! session has a name, and is gone with one that has none.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use ringer_support::cc::{program, Linkage};
use ringer_support::shared::wait_until;

use crate::ringer::{native_only, ringer, ringer_run, run};
use crate::session::Name;

fn names() -> String {
    program("names", Linkage::Dynamic).display().to_string()
}

/// The exit status of `names ARGUMENTS` in a session, or in one of its own.
fn in_session(session: Option<&str>, arguments: &[&str]) -> i32 {
    let program = names();
    let argv: Vec<&str> = [&[program.as_str()], arguments].concat();
    let options: Vec<&str> = session.map_or_else(Vec::new, |s| vec!["--session", s]);
    let ended = run(ringer_run(&options, &argv));
    ended.status
}

/// Files in /dev/shm that have this in their names.
fn files(part: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir("/dev/shm")
        .unwrap()
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.to_string_lossy().contains(part))
        .collect();
    found.sort();
    found
}

/// `ringer run ... names make NAME hold`: both are killed when this is dropped.
struct Holder(Child);

impl Holder {
    fn start(command: &mut Command) -> Holder {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        assert_eq!(line, "made\n");
        Holder(child)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let children = format!("/proc/{0}/task/{0}/children", self.0.id());
        let children = fs::read_to_string(children).unwrap_or_default();
        let _ = self.0.kill();
        let _ = self.0.wait();
        for pid in children.split_whitespace().filter_map(|p| p.parse().ok()) {
            // SAFETY: the program, which nobody has waited for.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
    }
}

fn object() -> String {
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("/cli-{}-{}", std::process::id(), NEXT.fetch_add(1, SeqCst))
}

#[test]
fn what_has_a_name_stays_in_its_named_session_and_is_seen_in_no_other() {
    if native_only() {
        return;
    }
    let (one, other, object) = (Name::new("names"), Name::new("names"), object());
    assert_eq!(in_session(Some(one.text()), &["make", &object]), 0);
    assert_eq!(in_session(Some(one.text()), &["look", &object]), 0);
    assert_eq!(in_session(Some(other.text()), &["look", &object]), 1);
    assert_eq!(in_session(None, &["look", &object]), 1);
    let plain = run(crate::ringer::native(&[&names(), "look", &object]));
    assert_eq!(plain.status, 1, "without ringer");
    // Both may have one of that name.
    assert_eq!(in_session(Some(other.text()), &["make", &object]), 0);
    assert_eq!(in_session(Some(other.text()), &["look", &object]), 0);

    let shown = run(ringer(["ipcs", "--session", one.text()])).stdout();
    for what in ["QUEUE", "SEMAPHORE", "MEMORY", &object, "1 of 2"] {
        assert!(shown.contains(what), "{what} in\n{shown}");
    }
    for session in [&one, &other] {
        let gone = run(ringer(["sessions", "--remove", session.text()]));
        assert_eq!(gone.status, 0, "{}", gone.stderr());
    }
    assert_eq!(files(&object[1..]), Vec::<PathBuf>::new());
    let again = run(ringer(["sessions", "--remove", one.text()]));
    assert_eq!(again.status, 125);
}

#[test]
fn a_session_in_use_is_listed_and_not_removed() {
    if native_only() {
        return;
    }
    let (name, object) = (Name::new("live"), object());
    let mut command = ringer_run(
        &["--session", name.text()],
        &[&names(), "make", &object, "hold"],
    );
    let _holder = Holder::start(&mut command);
    let listed = run(ringer(["sessions"])).stdout();
    let row = listed.lines().find(|l| l.starts_with(name.text()));
    assert!(row.is_some_and(|r| r.contains(" live ")), "{listed}");
    let refused = run(ringer(["sessions", "--remove", name.text()]));
    assert_eq!(refused.status, 125);
    assert!(
        refused.stderr().contains("in use by"),
        "{}",
        refused.stderr()
    );
    let json = run(ringer(["ipcs", "--json", "--session", name.text()])).stdout();
    let rows: serde_json::Value = serde_json::from_str(&json).unwrap();
    let semaphore = rows
        .as_array()
        .unwrap()
        .iter()
        .find(|r| r["value"] == 7 && r["object"] == object.as_str());
    let mapped = semaphore.map(|s| s["mapped_by"].as_array().map_or(0, Vec::len));
    assert_eq!(mapped, Some(1), "{json}");
}

#[test]
fn an_unnamed_session_leaves_nothing() {
    if native_only() {
        return;
    }
    let object = object();
    assert_eq!(in_session(None, &["make", &object]), 0);
    assert_eq!(files(&object[1..]), Vec::<PathBuf>::new());
    // Without a supervisor its last process removes it.
    let program = names();
    let alone = run(crate::ringer::preloaded(&[&program, "make", &object]));
    assert_eq!(alone.status, 0);
    assert_eq!(files(&object[1..]), Vec::<PathBuf>::new());
}

#[test]
fn what_a_killed_supervisor_left_goes_with_the_next_start() {
    if native_only() {
        return;
    }
    let object = object();
    let mut command = ringer_run(&[], &[&names(), "make", &object, "hold"]);
    let holder = Holder::start(&mut command);
    let there = files(&object[1..]);
    assert_eq!(there.len(), 2, "{there:?}");
    // of-TAG+NAME
    let first = there[0].file_name().unwrap().to_string_lossy().into_owned();
    let tag = first.trim_start_matches("sem.").trim_start_matches("of-");
    let tag = tag.split('+').next().unwrap().to_owned();
    drop(holder);
    wait_until(|| {
        run(ringer_run(&[], &["true"]));
        files(&tag).is_empty()
    });
}
