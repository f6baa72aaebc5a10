//! Options and their mistakes: 125 for ringer's own troubles, 126 and 127 as env(1) has them.

use crate::fixture::TempDir;
use crate::ringer::{native, native_only, refuses, ringer, ringer_run, run, run_in};
use crate::session::Name;
use std::fs;

#[test]
fn unknown_options_and_commands() {
    refuses(["no-such-command"]);
    refuses(["--no-such-option"]);
    for command in ["run", "trace", "ps", "ipcs", "bench"] {
        refuses([command, "--no-such-option"]);
    }
    refuses(["run", "--no-such-option", "--", "true"]);
}

#[test]
fn bad_values() {
    refuses(["run", "--mode", "nonsense", "--", "true"]);
    refuses(["run", "--emulate", "nonsense", "--", "true"]);
    refuses(["run", "--emulate", "pipe,nonsense", "--", "true"]);
    refuses(["run", "--session", "", "--", "true"]);
    refuses(["run", "--session", "../escape", "--", "true"]);
    refuses(["trace", "--format", "nonsense", "--", "true"]);
    refuses(["trace", "-e", "trace=no_such_call", "--", "true"]);
}

#[test]
fn missing_values() {
    refuses(["run"]);
    refuses(["run", "--"]);
    refuses(["run", "--mode"]);
    refuses(["run", "--log"]);
    refuses(["trace"]);
}

#[test]
fn files_that_cannot_be_written() {
    refuses(["run", "--log", "no/such/directory/log", "--", "true"]);
    refuses(["trace", "-o", "no/such/directory/log", "--", "true"]);
    refuses(["run", "--log", ".", "--", "true"]);
}

/// The command must not have started when its log cannot be written.
#[test]
fn a_refused_run_runs_nothing() {
    if native_only() {
        return;
    }
    let dir = TempDir::new();
    let ended = run_in(
        dir.path(),
        ringer(["run", "--log", "a/b", "--", "touch", "started"]),
    );
    assert_eq!(ended.status, 125);
    assert!(!dir.path().join("started").exists());
}

#[test]
fn command_not_found() {
    if native_only() {
        return;
    }
    for name in [
        "no-such-program-anywhere",
        "./no-such-file",
        "/no/such/file",
    ] {
        let ended = run(ringer(["run", "--", name]));
        assert_eq!(ended.status, 127, "{name}");
        assert_one_sentence(&ended.stderr());
    }
}

#[test]
fn command_not_executable() {
    if native_only() {
        return;
    }
    let dir = TempDir::new();
    fs::write(dir.path().join("text"), "no program\n").expect("a file in our own directory");
    for name in ["./text", "./"] {
        let ended = run_in(dir.path(), ringer(["run", "--", name]));
        assert_eq!(ended.status, 126, "{name}");
        assert_one_sentence(&ended.stderr());
    }
}

fn assert_one_sentence(stderr: &str) {
    assert!(
        stderr.starts_with("ringer:") && stderr.trim_end().lines().count() == 1,
        "{stderr}"
    );
}

#[test]
fn help_and_version_are_data() {
    if native_only() {
        return;
    }
    for option in ["--help", "--version"] {
        let ended = run(ringer([option]));
        assert_eq!((ended.status, ended.stderr().as_str()), (0, ""), "{option}");
        assert!(!ended.stdout.is_empty(), "{option}");
    }
    for command in ["run", "trace", "ps", "ipcs", "bench"] {
        let ended = run(ringer([command, "--help"]));
        assert_eq!(ended.status, 0, "{command}");
        assert!(ended.stdout().contains(command), "{command}");
    }
}

#[test]
fn modes_and_mechanisms_change_no_output() {
    let name = Name::new("options");
    let script = "seq 20000 | sort -rn | head -n 2; seq 9 | cat | tail -n 1; exit 5";
    for options in [
        &[][..],
        &["--mode", "emulate"],
        &["--mode", "observe"],
        &["--emulate", "pipe"],
        &["--session", name.text()],
        &["--log", "log"],
        &["--mode", "observe", "--log", "log"],
    ] {
        let ended = run(ringer_run(options, &["sh", "-c", script]));
        assert_eq!(ended.stdout(), "20000\n19999\n9\n", "{options:?}");
        assert_eq!(
            (ended.stderr().as_str(), ended.status),
            ("", 5),
            "{options:?}"
        );
    }
}

#[test]
fn a_log_is_written_only_if_asked_for() {
    if native_only() {
        return;
    }
    let dir = TempDir::new();
    let count = || fs::read_dir(dir.path()).expect("our own directory").count();
    run_in(dir.path(), ringer(["run", "--", "sh", "-c", "seq 3 | cat"]));
    assert_eq!(count(), 0);
    run_in(
        dir.path(),
        ringer(["run", "--log", "log", "--", "sh", "-c", "seq 3 | cat"]),
    );
    assert_eq!(count(), 1);
    let log = fs::metadata(dir.path().join("log")).expect("the log");
    assert!(log.len() > 0);
}

/// Two runs of one session name, one after the other and both at once.
#[test]
fn a_session_is_joined() {
    let name = Name::new("joined");
    let script = "seq 5 | tail -n 1";
    let join = || {
        run(ringer_run(
            &["--session", name.text()],
            &["sh", "-c", script],
        ))
    };
    for _ in 0..2 {
        assert_eq!(join().stdout(), "5\n");
    }
    let both: Vec<String> = std::thread::scope(|s| {
        let threads = [s.spawn(join), s.spawn(join)];
        threads
            .map(|t| t.join().expect("a passed run").stdout())
            .into()
    });
    assert_eq!(both, ["5\n", "5\n"]);
}

/// A reader that leaves is no error of ringer's.
#[test]
fn a_closed_standard_output_is_success() {
    if native_only() {
        return;
    }
    for arguments in ["--help", "ps", "ipcs"] {
        let mut command = native(&["bash", "-c", "\"$R\" $A | true; echo ${PIPESTATUS[0]}"]);
        command
            .env("R", ringer_support::build::ringer())
            .env("A", arguments);
        let ended = run(command);
        assert_eq!(
            (ended.stdout().as_str(), ended.stderr().as_str()),
            ("0\n", ""),
            "{arguments}"
        );
    }
}
