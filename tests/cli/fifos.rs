//! FIFOs, and what else the kernel serves, in `ringer trace`, `ringer ps` and `ringer ipcs`.

use std::process::{Child, Stdio};

use crate::fixture::TempDir;
use crate::ringer::{native_only, ringer, ringer_run, run};
use crate::session::Name;
use ringer_support::shared::wait_until;
use serde_json::Value;

/// `None`: the command fails, as it does as long as there is no session.
fn told(command: &str, session: &Name) -> Option<Vec<Value>> {
    let said = run(ringer([command, "--json", "--session", session.text()]));
    let all = serde_json::from_str(&said.stdout()).ok();
    all.filter(|_| said.status == 0)
}

/// The only FIFO of the session, once it is as `is` says.
fn fifo_once(session: &Name, is: impl Fn(&Value) -> bool) -> Value {
    once(session, "fifo#", is)
}

/// The only object of the session whose name begins so.
fn once(session: &Name, class: &str, is: impl Fn(&Value) -> bool) -> Value {
    let mut found = Value::Null;
    wait_until(|| {
        let Some(all) = told("ipcs", session) else {
            return false;
        };
        let object = all
            .into_iter()
            .find(|o| o["object"].as_str().is_some_and(|n| n.starts_with(class)));
        found = object.unwrap_or_default();
        is(&found)
    });
    found
}

/// What processes of the session wait for, and to what end.
fn waits(session: &Name) -> Vec<(String, String)> {
    let text = |w: &Value, key: &str| w[key].as_str().unwrap_or_default().to_owned();
    told("ps", session)
        .expect("a session")
        .iter()
        .flat_map(|p| p["waits"].as_array().cloned().unwrap_or_default())
        .map(|w| (text(&w, "object"), text(&w, "for")))
        .collect()
}

/// A script under `ringer run`, killed when this is dropped: its processes end with its standard input.
struct Running(Child);

impl Running {
    fn start(session: &Name, dir: &TempDir, script: &str) -> Running {
        let mut command = ringer_run(&["--session", session.text()], &["bash", "-c", script]);
        command.current_dir(dir.path()).stdin(Stdio::piped());
        Running(command.stdout(Stdio::null()).spawn().unwrap())
    }

    /// The script's `read` returns.
    fn go_on(&mut self) {
        use std::io::Write;
        let stdin = self.0.stdin.as_mut().unwrap();
        stdin.write_all(b"\n").unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

#[test]
fn who_waits_in_open_and_who_has_which_end() {
    if native_only() {
        return;
    }
    let (session, dir) = (Name::new("fifo"), TempDir::new());
    let script = "mkfifo f; cat f & read -r _; exec 5> f; printf 12345 >&5; read -r _
        exec 6<> f; kill -STOP $!; until [ \"$(cut -d' ' -f3 /proc/$!/stat)\" = T ]; do sleep 0.05; done
        printf 12345 >&5; read -r _; kill -KILL $!; exec 5>&- 6>&-; wait; read -r _";
    let mut script = Running::start(&session, &dir, script);
    let waiting = fifo_once(&session, |f| f["opening_readers"] == 1);
    let name = waiting["object"].as_str().unwrap().to_owned();
    assert_eq!(
        (&waiting["mode"], &waiting["queued"]),
        (&"kernel".into(), &0.into())
    );
    assert_eq!(
        waits(&session),
        [(name.clone(), "open for reading".to_owned())]
    );

    script.go_on();
    let reading = fifo_once(&session, |f| f["sleeping_readers"] == 1);
    assert_eq!(reading["object"], name);
    assert!(
        reading["path"].as_str().unwrap().ends_with("/f"),
        "{reading}"
    );
    assert_eq!(reading["slots"], 16);
    let ends = ["readers", "writers"].map(|end| reading[end].as_array().unwrap().clone());
    assert_eq!(ends.each_ref().map(Vec::len), [1, 1], "{reading}");
    assert_eq!(ends[1][0]["fd"], 5);
    assert_eq!(waits(&session), [(name.clone(), "read".to_owned())]);

    script.go_on();
    let full = fifo_once(&session, |f| f["queued"] == 5);
    // Descriptor 6 is of both.
    let fds = |end: &str| -> Vec<i64> {
        let all = full[end].as_array().unwrap();
        all.iter().filter_map(|h| h["fd"].as_i64()).collect()
    };
    assert_eq!(
        (fds("writers"), fds("readers").contains(&6)),
        (vec![5, 6], true)
    );
    let table = run(ringer(["ipcs", "--session", session.text()])).stdout();
    for part in ["FIFO", "PATH", &name] {
        assert!(table.contains(part), "{table}");
    }

    script.go_on();
    fifo_once(&session, Value::is_null);
}

#[test]
fn a_killed_opener_leaves_nothing() {
    if native_only() {
        return;
    }
    let (session, dir) = (Name::new("fifo-killed"), TempDir::new());
    let script = "mkfifo f; cat f & read -r _; kill -KILL $!; wait; read -r _";
    let mut script = Running::start(&session, &dir, script);
    fifo_once(&session, |f| f["opening_readers"] == 1);
    script.go_on();
    fifo_once(&session, Value::is_null);
}

#[test]
fn the_log_tells_for_whom_open_waited() {
    if native_only() {
        return;
    }
    let dir = TempDir::new();
    let script = "mkfifo f; cat f > /dev/null & sleep 0.2; echo hello > f; wait";
    let mut command = ringer(["trace", "-e", "fifo", "--", "bash", "-c", script]);
    command.current_dir(dir.path());
    let lines = run(command).stderr();
    for part in [
        "--- opens fifo#1: ...f, O_RDONLY ---",
        "open(..., O_RDONLY) = 3",
        "blocked for",
        ":bash fifo-opening",
        "write(1, ...) = 6",
        "read(3, ...) = 6",
        "end of file",
        "--- fifo#1 is gone ---",
    ] {
        assert!(lines.contains(part), "{part} is missing in {lines}");
    }
}

#[test]
fn the_counter_of_a_polled_eventfd_and_who_waits_for_it() {
    if native_only() {
        return;
    }
    let (session, dir) = (Name::new("eventfd-kernel"), TempDir::new());
    let script = "exec python3 -c 'import os, select
e = os.eventfd(5); p = select.poll(); p.register(e); p.poll(0); input()
os.eventfd_read(e)
if os.fork() == 0: os.eventfd_read(e); os._exit(0)
input(); os.eventfd_write(e, 1); os.wait(); input()'";
    let mut script = Running::start(&session, &dir, script);
    let polled = once(&session, "eventfd#", |e| e["mode"] == "kernel");
    assert_eq!(
        (&polled["counter"], &polled["sleeping_readers"]),
        (&5.into(), &0.into())
    );
    script.go_on();
    let read = once(&session, "eventfd#", |e| e["sleeping_readers"] == 1);
    assert_eq!(read["counter"], 0);
    let name = read["object"].as_str().unwrap().to_owned();
    assert!(waits(&session).contains(&(name, "read".to_owned())));
    script.go_on();
    once(&session, "eventfd#", |e| e["sleeping_readers"] == 0);
}
