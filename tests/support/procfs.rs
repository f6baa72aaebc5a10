//! What /proc says about processes and threads. See proc(5).

use std::fs;
use std::path::Path;
use std::time::Duration;

/// `/proc/PID/stat`, as far as we need it.
struct Stat {
    state: char,
    ppid: i32,
    pgrp: i32,
}

fn stat(path: &str) -> Option<Stat> {
    let text = fs::read_to_string(path).ok()?;
    // "pid (comm) state ppid pgrp ...", and comm may contain anything, parentheses too.
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    Some(Stat {
        state: fields.next()?.chars().next()?,
        ppid: fields.next()?.parse().ok()?,
        pgrp: fields.next()?.parse().ok()?,
    })
}

fn numeric_entries(dir: impl AsRef<Path>) -> Vec<i32> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut numbers: Vec<i32> = entries
        .filter_map(|e| e.file_name().to_str()?.parse().ok())
        .collect();
    numbers.sort_unstable();
    numbers
}

/// State letter of a process or thread; `None` when it is gone.
pub fn state(pid: i32) -> Option<char> {
    stat(&format!("/proc/{pid}/stat")).map(|s| s.state)
}

fn wait_for_state(path: &str, wanted: char) {
    // Several times in a row, so that a short sleep on the way is not taken for the real one.
    let mut seen = 0;
    while seen < 4 {
        let state = stat(path).unwrap_or_else(|| panic!("{path}: gone")).state;
        assert!(
            state == wanted || !matches!(state, 'Z' | 'X'),
            "{path}: dead"
        );
        seen = if state == wanted { seen + 1 } else { 0 };
        crate::shared::pause(Duration::from_micros(300));
    }
}

/// Waits until a process sleeps interruptibly.
pub fn sleeping(pid: i32) {
    wait_for_state(&format!("/proc/{pid}/stat"), 'S');
}

/// Waits until a thread of this process sleeps interruptibly.
pub fn thread_sleeping(tid: i32) {
    wait_for_state(&format!("/proc/self/task/{tid}/stat"), 'S');
}

/// Waits until a process is stopped by a signal: each of its threads.
pub fn stopped(pid: i32) {
    wait_for_state(&format!("/proc/{pid}/stat"), 'T');
    let threads = format!("/proc/{pid}/task");
    let runs = |tid| stat(&format!("{threads}/{tid}/stat")).is_some_and(|s| s.state != 'T');
    while numeric_entries(&threads).into_iter().any(runs) {
        crate::shared::pause(Duration::from_micros(300));
    }
}

/// Waits until a process is dead, whether anybody has waited for it or not.
pub fn gone(pid: i32) {
    while !matches!(state(pid), None | Some('Z' | 'X')) {
        crate::shared::pause(Duration::from_micros(300));
    }
}

/// Open descriptors of this process, without the one that lists them.
pub fn open_fds() -> Vec<i32> {
    let listed = numeric_entries("/proc/self/fd");
    // SAFETY: F_GETFD takes no pointer.
    listed
        .into_iter()
        .filter(|fd| unsafe { libc::fcntl(*fd, libc::F_GETFD) } != -1)
        .collect()
}

/// The living processes of a process group and all their descendants.
pub fn group(pgrp: i32) -> Vec<i32> {
    let all: Vec<(i32, Stat)> = numeric_entries("/proc")
        .into_iter()
        .filter_map(|pid| Some((pid, stat(&format!("/proc/{pid}/stat"))?)))
        .filter(|(_, s)| !matches!(s.state, 'Z' | 'X'))
        .collect();
    let mut found: Vec<i32> = Vec::new();
    loop {
        let more: Vec<i32> = all
            .iter()
            .filter(|(pid, s)| !found.contains(pid) && (s.pgrp == pgrp || found.contains(&s.ppid)))
            .map(|(pid, _)| *pid)
            .collect();
        if more.is_empty() {
            return found;
        }
        found.extend(more);
    }
}

/// A process, its threads, and what each of them does.
pub fn describe(pid: i32) -> String {
    let read = |name: String| fs::read_to_string(name).unwrap_or_else(|e| e.to_string());
    let command = read(format!("/proc/{pid}/cmdline")).replace('\0', " ");
    let mut text = format!("process {pid}: {command}\n");
    for tid in numeric_entries(format!("/proc/{pid}/task")) {
        let task = format!("/proc/{pid}/task/{tid}");
        let state = stat(&format!("{task}/stat")).map_or('?', |s| s.state);
        text += &format!("  thread {tid}: state {state}");
        text += &format!(", wchan {}", read(format!("{task}/wchan")));
        text += &format!(", syscall {}\n", read(format!("{task}/syscall")).trim());
        for line in read(format!("{task}/stack")).lines() {
            text += &format!("    {line}\n");
        }
    }
    for fd in numeric_entries(format!("/proc/{pid}/fd")) {
        if let Ok(target) = fs::read_link(format!("/proc/{pid}/fd/{fd}")) {
            text += &format!("  fd {fd} -> {}\n", target.display());
        }
    }
    text
}
