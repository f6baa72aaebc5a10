//! `ringer run`: the command, and nothing else to be seen.

mod common;

use common::*;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

#[test]
fn the_exit_status_is_the_commands() {
    for (script, status) in [
        ("exit 0", 0),
        ("exit 3", 3),
        ("kill -9 $$", 137),
        ("kill -TERM $$", 143),
    ] {
        let out = sh(&["run"], script);
        assert_eq!(
            out.status.code(),
            Some(status),
            "{script}: {}",
            stderr(&out)
        );
        assert_eq!((stdout(&out), stderr(&out)), (String::new(), String::new()));
    }
}

#[test]
fn what_can_not_be_run_is_said_as_env_says_it() {
    for (command, status) in [("no-such-command", 127), ("/etc/passwd", 126), ("/", 126)] {
        let out = output(&mut ringer(&["run", "--", command]));
        let env = output(Command::new("env").args(["--", command]));
        assert_eq!(out.status.code(), Some(status));
        assert_eq!(env.status.code(), Some(status));
        let (ours, theirs) = (stderr(&out), stderr(&env));
        let reason = |text: &str| text.trim().rsplit(": ").next().unwrap().to_owned();
        assert_eq!(
            ours.trim(),
            format!("ringer: '{command}': {}", reason(&theirs)),
            "{theirs}"
        );
    }
}

#[test]
fn trouble_of_ringers_own_is_125() {
    for args in [
        &["run"][..],
        &["run", "--mode", "x", "true"],
        &["trace", "-e", "reed", "true"],
    ] {
        let out = output(&mut ringer(args));
        assert_eq!(out.status.code(), Some(125), "{args:?}");
        assert!(!out.stderr.is_empty());
    }
    let out = output(&mut ringer(&["run", "--session", "a/b", "true"]));
    assert_eq!(out.status.code(), Some(125));
    assert!(stderr(&out).starts_with("ringer: 'a/b' can not name a session\n  use letters"));
}

#[test]
fn two_variables_more_and_no_other_change() {
    let native = output(
        Command::new("env")
            .env_clear()
            .env("A", "1")
            .env("B", "x y"),
    );
    let path = std::env::var("PATH").unwrap();
    let mut run = ringer(&["run", "--", "env"]);
    let run = output(
        run.env_clear()
            .env("A", "1")
            .env("B", "x y")
            .env("PATH", &path),
    );
    let mut lines: Vec<String> = stdout(&run).lines().map(str::to_owned).collect();
    lines.retain(|l| !l.starts_with("PATH="));
    let added: Vec<String> = lines
        .iter()
        .filter(|l| !stdout(&native).contains(l.as_str()))
        .cloned()
        .collect();
    assert_eq!(added.len(), 2, "{added:?}");
    assert!(added[0].starts_with("LD_PRELOAD=/tmp/ringer-") && added[0].ends_with(".so"));
    assert!(added[1].starts_with("RINGER_SESSION=/dev/shm/ringer-"));
    assert_eq!(lines.len(), 4);
}

/// Mask, ignored signals, closed descriptors: as ringer found them.
#[test]
fn what_is_inherited_is_passed_on() {
    let probe = "grep -E '^Sig(Blk|Ign)' /proc/self/status; echo /proc/self/fd/*";
    let with = |mut command: Command| {
        // SAFETY: only async-signal-safe calls between fork and exec.
        unsafe {
            command.pre_exec(|| {
                let mut set = std::mem::zeroed();
                libc::sigemptyset(&mut set);
                libc::sigaddset(&mut set, libc::SIGUSR1);
                libc::sigprocmask(libc::SIG_SETMASK, &set, std::ptr::null_mut());
                libc::signal(libc::SIGPIPE, libc::SIG_IGN);
                libc::signal(libc::SIGHUP, libc::SIG_IGN);
                libc::close(0);
                Ok(())
            });
        }
        output(&mut command)
    };
    let mut native = Command::new("sh");
    native.args(["-c", probe]);
    let mut run = ringer(&["run", "--", "sh", "-c", probe]);
    run.stdin(Stdio::inherit());
    let (native, run) = (with(native), with(run));
    assert_eq!(stdout(&run), stdout(&native));
    let ignored = stdout(&run);
    let ignored = ignored
        .lines()
        .find_map(|l| l.strip_prefix("SigIgn:\t"))
        .unwrap();
    let ignored = u64::from_str_radix(ignored, 16).unwrap();
    assert_eq!(ignored & 0x1001, 0x1001, "SIGHUP, SIGPIPE");
}

#[test]
fn a_signal_to_ringer_reaches_the_command() {
    let script = "trap 'echo got it; exit 7' TERM; echo ready; while :; do sleep 0.05; done";
    let log = Scratch::new("term");
    let file = std::fs::File::create(&log.0).unwrap();
    let mut child = ringer(&["run", "--", "sh", "-c", script])
        .stdout(file)
        .spawn()
        .unwrap();
    eventually("the trap is set", || {
        log.text().contains("ready").then_some(())
    });
    kill(child.id(), libc::SIGTERM);
    assert_eq!(status(&mut child), Some(7));
    assert_eq!(log.text(), "ready\ngot it\n");
}

#[test]
fn ringer_stops_and_continues_with_the_command() {
    let mut child = ringer(&["run", "--", "sh", "-c", "kill -STOP $$; exit 4"])
        .spawn()
        .unwrap();
    eventually("ringer stops", || {
        (state(child.id()) == Some('T')).then_some(())
    });
    kill(child.id(), libc::SIGCONT);
    assert_eq!(status(&mut child), Some(4));
}

/// The reader of a killed writer must get its end of file, and nothing may be left.
#[test]
fn who_is_killed_is_cleaned_up_after() {
    let script = "(echo before; kill -9 $(exec sh -c 'echo $PPID')) | cat; echo after";
    let out = sh(&["run"], script);
    assert_eq!(stdout(&out), "before\nafter\n", "{}", stderr(&out));
    assert_eq!(out.status.code(), Some(0));
}

#[test]
fn the_arena_goes_with_the_session() {
    let out = sh(&["run"], "echo $RINGER_SESSION; test -e $RINGER_SESSION");
    assert_eq!(out.status.code(), Some(0), "it is there while it is used");
    assert!(!std::path::Path::new(stdout(&out).trim()).exists());
    let failed = output(&mut ringer(&["run", "--", "no-such-command"]));
    assert_eq!(failed.status.code(), Some(127));
}

/// A daemon keeps its session's arena; the next run removes it once the daemon is gone.
#[test]
fn who_stays_behind_keeps_the_arena() {
    let script = "sleep 60 >/dev/null 2>&1 & echo $! $RINGER_SESSION";
    let out = sh(&["run"], script);
    let text = stdout(&out);
    let (pid, path) = text.trim().split_once(' ').unwrap();
    assert!(std::path::Path::new(path).exists());
    let _ = sh(&["run"], "true");
    assert!(std::path::Path::new(path).exists(), "it is in use still");
    kill(pid.parse().unwrap(), libc::SIGKILL);
    eventually("the arena goes", || {
        let _ = sh(&["run"], "true");
        (!std::path::Path::new(path).exists()).then_some(())
    });
}

/// Who waits for the command to close its output must not wait for ringer.
#[test]
fn ringer_holds_no_descriptor_of_the_commands() {
    let script = "exec >&- 2>&-; sleep 30";
    let mut child = ringer(&["run", "--", "sh", "-c", script])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut rest = String::new();
    let mut out = child.stdout.take().unwrap();
    let since = std::time::Instant::now();
    std::io::Read::read_to_string(&mut out, &mut rest).unwrap();
    assert!(
        since.elapsed().as_secs() < 20,
        "end of file before the end of the command"
    );
    kill(child.id(), libc::SIGTERM);
    assert_eq!(status(&mut child), Some(143));
}

#[test]
fn two_runs_share_a_named_session() {
    let name = Named::new("shared");
    let first = sh(&["run", "--session", &name.0], "echo $RINGER_SESSION");
    let second = sh(&["run", "--session", &name.0], "echo $RINGER_SESSION");
    assert_eq!(stdout(&first), stdout(&second));
    assert!(name.path().exists(), "it outlives its processes");
}

#[test]
fn a_session_of_another_version_is_refused_in_one_sentence() {
    let name = Named::new("foreign");
    std::fs::write(name.path(), b"something else").unwrap();
    let out = sh(&["run", "--session", &name.0], "true");
    assert_eq!(out.status.code(), Some(125));
    let text = stderr(&out);
    assert!(text.starts_with("ringer: cannot use "), "{text}");
    assert_eq!(text.lines().count(), 2, "{text}");
}

#[test]
fn a_reader_that_goes_away_is_no_trouble() {
    let script = format!(
        "{} --help | true; {0} run --help | true",
        env!("CARGO_BIN_EXE_ringer")
    );
    let out = output(Command::new("bash").args(["-o", "pipefail", "-c", &script]));
    assert_eq!((out.status.code(), stderr(&out)), (Some(0), String::new()));
}
