//! The command has the terminal: its keys, its job control, its end.

use crate::fixture::TempDir;
use crate::ringer::{native, ringer_run, run_in};
use crate::tty::{Terminal, CTRL_BACKSLASH, CTRL_C, CTRL_D, CTRL_Z};
use std::fs;
use std::path::Path;
use std::process::Command;

fn sh(script: &str) -> Command {
    ringer_run(&[], &["sh", "-c", script])
}

#[test]
fn terminal_is_the_commands() {
    let mut t = Terminal::start(sh(
        "tty -s && stty size; read -r x; echo \"got $x\"; exit 5",
    ));
    t.expect("24 80\n");
    t.press("typed\n");
    t.expect("got typed\n");
    assert_eq!(t.wait().0, 5);
}

#[test]
fn nothing_but_the_commands_output_is_seen() {
    let t = Terminal::start(sh("seq 3 | tail -n 1; echo end >&2"));
    assert_eq!(t.wait(), (0, "3\nend\n".into()));
}

#[test]
fn end_of_file() {
    let mut t = Terminal::start(ringer_run(&[], &["sh", "-c", "cat | tac; echo end"]));
    t.press("one\ntwo\n");
    t.press(CTRL_D);
    t.expect("two\none\nend\n");
    assert_eq!(t.wait().0, 0);
}

#[test]
fn ctrl_c_kills_the_command() {
    let mut t = Terminal::start(sh("echo up; exec sleep 100"));
    t.expect("up\n");
    t.press(CTRL_C);
    assert_eq!(t.wait().0, 128 + libc::SIGINT);
}

#[test]
fn ctrl_backslash_kills_the_command() {
    let mut t = Terminal::start(sh("ulimit -c 0; echo up; exec sleep 100"));
    t.expect("up\n");
    t.press(CTRL_BACKSLASH);
    assert_eq!(t.wait().0, 128 + libc::SIGQUIT);
}

#[test]
fn ctrl_c_is_caught_by_the_command() {
    let script = "trap 'echo caught; exit 7' INT; echo up; while :; do sleep 0.05; done";
    let mut t = Terminal::start(sh(script));
    t.expect("up\n");
    t.press(CTRL_C);
    t.expect("caught\n");
    assert_eq!(t.wait().0, 7);
}

#[test]
fn ctrl_c_is_ignored_by_the_command() {
    let mut t = Terminal::start(sh("trap '' INT; echo up; read -r x; echo \"got $x\""));
    t.expect("up\n");
    t.press(CTRL_C);
    t.press("on\n");
    t.expect("got on\n");
    assert_eq!(t.wait().0, 0);
}

/// One stage sleeps on the terminal, the other on a pipe.
#[test]
fn ctrl_c_ends_a_blocked_pipeline() {
    let mut t = Terminal::start(sh(
        "trap : INT; echo up; cat | cat | cat; echo \"after $?\"",
    ));
    t.expect("up\n");
    t.press("through\n");
    t.expect("through\n");
    t.press(CTRL_C);
    t.expect("after 130\n");
    assert_eq!(t.wait().0, 0);
}

#[test]
fn hang_up_reaches_the_command() {
    let dir = TempDir::new();
    let script = "trap 'echo hung up > said; exit' HUP; echo up; while :; do sleep 0.05; done";
    let mut command = sh(script);
    command.current_dir(dir.path());
    let mut t = Terminal::start(command);
    t.expect("up\n");
    t.hang_up();
    t.wait();
    let said = fs::read_to_string(dir.path().join("said"));
    assert_eq!(said.expect("what the trap wrote"), "hung up\n");
}

#[test]
fn hang_up_kills_the_command() {
    let mut t = Terminal::start(sh("echo up; exec sleep 100"));
    t.expect("up\n");
    t.hang_up();
    assert_eq!(t.wait().0, 128 + libc::SIGHUP);
}

#[test]
fn a_changed_window_reaches_the_command() {
    let script = "trap 'stty size; exit 3' WINCH; echo up; while :; do sleep 0.05; done";
    let mut t = Terminal::start(sh(script));
    t.expect("up\n");
    t.resize(30, 100);
    t.expect("30 100\n");
    assert_eq!(t.wait().0, 3);
}

/// An interactive shell; `"$@"` is the command.
fn under_a_shell(script: &str) -> Terminal {
    under_a_shell_in(Path::new("."), script)
}

fn under_a_shell_in(dir: &Path, script: &str) -> Terminal {
    let inner = sh(script);
    let mut shell = Command::new("bash");
    shell.current_dir(dir);
    shell.args(["--norc", "--noprofile", "--noediting", "-i", "-s", "--"]);
    shell.arg(inner.get_program()).args(inner.get_args());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell.env("PS1", "prompt> ").env("HISTFILE", "");
    let mut t = Terminal::start(shell);
    t.expect("prompt> ");
    t
}

fn leave(mut t: Terminal) {
    t.press("exit 0\n");
    assert_eq!(t.wait().0, 0);
}

#[test]
fn ctrl_z_stops_and_fg_continues() {
    let mut t = under_a_shell("echo up; read -r x; echo \"got $x\"; exit 5");
    t.press("\"$@\"\n");
    t.expect("up\n");
    t.press(CTRL_Z);
    t.expect("Stopped");
    t.all_stopped();
    t.expect("prompt> ");
    t.press("fg\n");
    t.press("data\n");
    t.expect("got data\n");
    t.expect("prompt> ");
    t.press("echo status $?\n");
    t.expect("status 5\n");
    leave(t);
}

#[test]
fn ctrl_z_stops_a_blocked_pipeline() {
    let mut t = under_a_shell("echo up; { read -r x; echo $x; } | { read -r y; echo \"got $y\"; }");
    for round in ["one", "two"] {
        t.press("\"$@\"\n");
        t.expect("up\n");
        t.press(CTRL_Z);
        t.expect("Stopped");
        t.all_stopped();
        t.press("fg\n");
        t.press(&format!("{round}\n"));
        t.expect(&format!("got {round}\n"));
        t.expect("prompt> ");
    }
    leave(t);
}

#[test]
fn a_background_reader_is_stopped() {
    let mut t = under_a_shell("read -r x; echo \"got $x\"");
    t.press("\"$@\" &\n");
    t.expect("prompt> ");
    t.press("until jobs -s | grep -q Stopped; do sleep 0.01; done; echo noticed\n");
    t.expect("noticed\n");
    t.press("fg\n");
    t.press("data\n");
    t.expect("got data\n");
    t.expect("prompt> ");
    leave(t);
}

#[test]
fn a_background_job_can_be_killed() {
    let mut t = under_a_shell("echo up; sleep 100 | cat; echo not reached");
    t.press("\"$@\" &\n");
    t.expect("up\n");
    t.press("kill %1; wait %1; echo status $?\n");
    t.expect("status 143\n");
    leave(t);
}

#[test]
fn ctrl_c_at_the_shell_spares_a_background_job() {
    let dir = TempDir::new();
    run_in(dir.path(), native(&["mkfifo", "go"]));
    let mut t = under_a_shell_in(dir.path(), "echo up; cat go | cat; echo finished");
    t.press("\"$@\" &\n");
    t.expect("up\n");
    t.press("echo idle\n");
    t.expect("idle\nprompt> ");
    t.press(CTRL_C);
    t.expect("prompt> ");
    t.press("echo x > go; wait %1; echo status $?\n");
    t.expect("finished\n");
    t.expect("status 0\n");
    leave(t);
}
