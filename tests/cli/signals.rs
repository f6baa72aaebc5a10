//! What is told of signals: their lives in the log, and masks in `ringer ps`.

use crate::fixture::TempDir;
use crate::guard;
use crate::ringer::{native_only, ringer, ringer_run, run};
use crate::session::Name;
use crate::trace::trace_in;
use ringer_support::cc;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

fn program() -> String {
    cc::cc(include_str!("signals.c"))
        .to_str()
        .expect("a path of ours")
        .to_owned()
}

fn trace(what: &str, options: &[&str]) -> (String, String) {
    let dir = TempDir::new();
    let (ended, text) = trace_in(dir.path(), options, &[&program(), what]);
    assert_eq!((ended.status, ended.stderr().as_str()), (0, ""), "{text}");
    (ended.stdout(), text)
}

/// The lines without what is another one each time: who, how long, where.
fn golden(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        // Process and command stand in front.
        let words: Vec<&str> = line.split_whitespace().collect();
        let (pid, rest) = words.split_first().expect("a process");
        let mut line = rest.iter().skip(1).copied().collect::<Vec<_>>().join(" ");
        for unit in ["ns", "us", "ms", "s"] {
            line = without_durations(&line, unit);
        }
        // The last: its digits may stand in an address as well.
        out += &without_addresses(&line).replace(pid, "PID");
        out.push('\n');
    }
    out
}

/// `after 1.5 us,` becomes `after TIME,`.
fn without_durations(line: &str, unit: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    for word in line.split(' ') {
        let bare = word.trim_end_matches(',');
        let is_number = |w: &String| w.parse::<f64>().is_ok();
        if bare == unit && words.last().is_some_and(is_number) {
            words.pop();
            words.push(word.replace(unit, "TIME"));
        } else {
            words.push(word.to_owned());
        }
    }
    words.join(" ")
}

fn without_addresses(line: &str) -> String {
    let mut parts = line.split("0x");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out += "ADDRESS";
        out += part.trim_start_matches(|c: char| c.is_ascii_hexdigit());
    }
    out
}

/// Everything happens in one thread, so the order is the program's.
const ALONE: &str = "\
sigaction(SIGUSR1, {ADDRESS, SA_RESTART}) = 0
sigprocmask(SIG_BLOCK, [USR1]) = 0
raise(SIGUSR1) = 0 sig#1 pending: blocked there by sigprocmask TIME ago
raise(SIGUSR1) = 0 sig#2 coalesced with sig#1, which is pending: blocked there by sigprocmask TIME ago
kill(PID, SIGUSR1) = 0 sig#3 pending: blocked there by sigprocmask TIME ago
sigprocmask(SIG_UNBLOCK, [USR1]) = 0 mask [] lets sig#1, sig#3 through
--- SIGUSR1 {SI_TKILL, pid=PID} handler=ADDRESS --- <= sig#1 PID:COMM kill, pending TIME
+++ handler of SIGUSR1 returned after TIME, mask restored +++
--- SIGUSR1 {SI_USER, pid=PID} handler=ADDRESS --- <= sig#3 PID:COMM kill, pending TIME
+++ handler of SIGUSR1 returned after TIME, mask restored +++
raise(SIGUSR1) = 0 sig#4 handled at once
--- SIGUSR1 {SI_TKILL, pid=PID} handler=ADDRESS --- <= sig#4 PID:COMM kill
+++ handler of SIGUSR1 returned after TIME, mask restored +++
sigprocmask(SIG_BLOCK, [RTMIN+1]) = 0
sigqueue(PID, SIGRTMIN+1, ...) = 0 sig#5 pending: blocked there by sigprocmask TIME ago
sigtimedwait(...) = SIGRTMIN+1 {SI_QUEUE, pid=PID} <= sig#5 PID:COMM kill, pending TIME
sigprocmask(SIG_SETMASK, [USR1]) = 0
raise(SIGUSR1) = 0 sig#6 pending: blocked there by sigprocmask TIME ago
sigaction(SIGUSR1, {SIG_IGN, SA_RESTART}) = 0 discards sig#6
sigaction(SIGUSR2, {ADDRESS, SA_RESTART}) = 0
raise(SIGUSR2) = 0 sig#7 handled at once
--- SIGUSR2 {SI_TKILL, pid=PID} handler=ADDRESS --- <= sig#7 PID:COMM kill
sigprocmask(SIG_SETMASK, [USR1]) = 0
raise(SIGUSR2) = 0 sig#8 handled at once
+++ handler of SIGUSR2 was left by longjmp +++
--- SIGUSR2 {SI_TKILL, pid=PID} handler=ADDRESS --- <= sig#8 PID:COMM kill
sigprocmask(SIG_SETMASK, [USR1]) = 0
+++ handler of SIGUSR2 had not returned at exit +++
";

#[test]
fn the_log_tells_the_life_of_each_signal() {
    if native_only() {
        return;
    }
    let (said, text) = trace("alone", &["-e", "signal"]);
    assert_eq!(said, "3 handled, 7 taken\n");
    let comm = text.split_whitespace().nth(1).expect("a command");
    let told = golden(&text).replace(comm, "COMM");
    assert_eq!(told, ALONE, "\n{told}");
}

#[test]
fn it_tells_what_signals_meet_that_the_kernel_carries() {
    if native_only() {
        return;
    }
    let (said, text) = trace("kernels", &[]);
    let (pid, handled) = said.trim().split_once(' ').expect("two numbers");
    assert_eq!(handled, "4", "{text}");
    let line = |parts: &[&str]| {
        let is_it = |l: &&str| parts.iter().all(|part| l.contains(part));
        let found = text.lines().find(is_it);
        found.unwrap_or_else(|| panic!("no {parts:?} in\n{text}"))
    };
    line(&["kill(", "SIGUSR2)", "by the kernel: ignored there"]);
    line(&["--- SIGALRM {SI_KERNEL}", "interrupts clock_nanosleep"]);
    line(&["--- SIGALRM {SI_KERNEL}", "before wait4 goes on"]);
    // To a thread alone, and to the process, whose main thread blocks it.
    line(&["tgkill(", "SIGUSR1)", "by the kernel"]);
    line(&[
        "--- SIGUSR1 {SI_TKILL",
        "<= sig#",
        "interrupts a call on pipe#1",
    ]);
    let blocks = format!("as {pid} blocks it");
    line(&[
        "--- SIGUSR1 {SI_USER",
        "<= sig#",
        "interrupts a call on pipe#1",
        &blocks,
    ]);
    line(&["SIGSTOP)", "by the kernel, which stops it"]);
    line(&["SIGCONT)", "by the kernel, which lets it go on"]);
    line(&["SIGKILL)", "by the kernel, which ends it"]);
    line(&["was killed", "by SIGKILL +++ <= sig#"]);
}

#[test]
fn one_signal_or_one_number_is_followed_through_the_log() {
    if native_only() {
        return;
    }
    let (_, text) = trace("alone", &["-e", "sig#3"]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 4, "{text}");
    assert!(lines.iter().take(3).all(|l| l.contains("sig#3")), "{text}");
    assert!(lines.last().is_some_and(|l| l.contains("returned after")));
    let (_, text) = trace("alone", &["-e", "signal=RTMIN+1", "-e", "!sigprocmask"]);
    assert_eq!(text.lines().count(), 2, "{text}");
}

fn json(text: &str) -> Vec<Value> {
    text.lines()
        .map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{e}: {l}")))
        .collect()
}

#[test]
fn json_names_the_sender_of_what_came_and_of_what_killed() {
    if native_only() {
        return;
    }
    let (said, text) = trace("family", &["--format", "json"]);
    let (child, by) = said.split_once(" killed by ").expect("what it says");
    assert_eq!(by, "9\n");
    let child: u64 = child.parse().expect("a number");
    let entries = json(&text);
    let sent = |name: &str| {
        let found = entries.iter().find(|e| {
            e["op"] == "kill" && e["signal"]["name"] == name && e["signal"]["to"] == child
        });
        found.unwrap_or_else(|| panic!("no {name} in {text}"))
    };
    let usr1 = sent("SIGUSR1");
    let handler = entries
        .iter()
        .find(|e| e["op"] == "handler" && e["pid"] == child)
        .unwrap_or_else(|| panic!("no handler in {text}"));
    assert_eq!(handler["cause"], usr1["id"], "{text}");
    assert_eq!(handler["obj"], usr1["obj"]);
    assert_eq!(handler["signal"]["name"], "SIGUSR1");
    assert_eq!(handler["signal"]["code"], "SI_USER");
    assert_eq!(handler["signal"]["from"], usr1["pid"]);
    assert!(handler["signal"]["pending_ns"].is_u64(), "{handler}");
    let returned = entries.iter().find(|e| e["op"] == "handler-return");
    assert_eq!(returned.expect("it returns")["cause"], handler["id"]);

    let killed = sent("SIGKILL");
    assert_eq!(killed["signal"]["became"], "kernel");
    // If it is the supervisor that cleans up after it.
    let reaped = |op: &str| {
        entries
            .iter()
            .position(|e| e["op"] == op && e["who"] == child)
    };
    if let Some(cleaned) = reaped("reaped") {
        let end = reaped("killed").unwrap_or_else(|| panic!("no end in {text}"));
        assert!(end < cleaned);
        assert_eq!(entries[end]["signal"]["name"], "SIGKILL");
        assert_eq!(entries[end]["cause"], killed["id"]);
    }
    let summary = &entries.last().expect("a summary")["summary"]["signals"];
    assert_eq!(
        (&summary["sent"], &summary["handled"]),
        (&2.into(), &1.into())
    );
}

#[test]
fn ps_names_what_is_pending_blocked_ignored_and_caught() {
    let name = Name::new("ps-signals");
    let mut command = ringer_run(&["--session", name.text()], &[&program()]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    guard::lead_a_session(&mut command);
    let mut child = command.spawn().expect("ringer or the program");
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().expect("a pipe"))
        .read_line(&mut line)
        .expect("text");
    let pid: u64 = line.trim().parse().expect("its number");
    if !native_only() {
        let told = run(ringer(["ps", "--json", "--session", name.text()])).stdout();
        let all: Value = serde_json::from_str(&told).expect("JSON");
        let of = all
            .as_array()
            .and_then(|all| all.iter().find(|p| p["pid"] == pid));
        let signals = &of.unwrap_or_else(|| panic!("no {pid} in {told}"))["signals"][0];
        let names = |field: &str| -> Vec<&str> {
            let names = signals[field].as_array().into_iter().flatten();
            names.filter_map(Value::as_str).collect()
        };
        let mut pending = [names("SigPnd"), names("ShdPnd")].concat();
        pending.sort_unstable();
        assert_eq!(pending, ["SIGTERM", "SIGUSR2"], "{signals}");
        assert_eq!(names("SigBlk"), ["SIGUSR2", "SIGTERM"], "{signals}");
        assert!(names("SigIgn").contains(&"SIGHUP"), "{signals}");
        assert_eq!(names("SigCgt"), ["SIGUSR1", "SIGUSR2"], "{signals}");
        let table = run(ringer(["ps", "--session", name.text()])).stdout();
        assert!(table.contains("[USR2 TERM]"), "{table}");
    }
    drop(child.stdin.take());
    assert!(child.wait().expect("its end").success());
}
