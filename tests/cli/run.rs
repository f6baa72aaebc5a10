//! `ringer run`: the command cannot tell, nor can whoever waits for it.

use crate::fixture::TempDir;
use crate::guard::{self, Ended};
use crate::ringer::{
    native, native_only, ringer_run, run, run_in, same_as_native, script_with_run,
};
use ringer_support::procfs;
use std::process::{Child, Stdio};

#[test]
fn status_is_the_commands() {
    for status in [0, 1, 2, 7, 124, 125, 126, 127, 128, 255] {
        let ended = run(ringer_run(&[], &["sh", "-c", &format!("exit {status}")]));
        let expected = Ended {
            stdout: Vec::new(),
            stderr: Vec::new(),
            status,
        };
        assert_eq!(ended, expected);
    }
}

#[test]
fn status_after_a_signal_is_128_and_its_number() {
    for signal in [1, 2, 3, 4, 6, 8, 9, 10, 11, 13, 14, 15, 31, 34, 64] {
        let script = format!("ulimit -c 0; kill -{signal} $$");
        let ended = run(ringer_run(&[], &["sh", "-c", &script]));
        assert_eq!(
            (ended.status, ended.stderr().as_str()),
            (128 + signal, ""),
            "signal {signal}"
        );
    }
}

#[test]
fn says_nothing_of_its_own() {
    for mode in ["emulate", "observe"] {
        let silent = run(ringer_run(&["--mode", mode], &["sh", "-c", "true | true"]));
        assert_eq!(
            (silent.stdout(), silent.stderr()),
            (String::new(), String::new())
        );
        let both = run(ringer_run(
            &["--mode", mode],
            &["sh", "-c", "echo a; echo b >&2"],
        ));
        assert_eq!((both.stdout(), both.stderr()), ("a\n".into(), "b\n".into()));
    }
}

#[test]
fn standard_descriptors_are_passed_on() {
    same_as_native("ls -l /proc/self/fd | wc -l; readlink /proc/self/fd/0; test -t 1; echo $?");
    let ended = run(script_with_run(
        "echo input > in; run sh -c 'cat; cat <&7; echo eight >&8' < in 7< in 8> out; cat out
        (run sh -c 'test -e /proc/self/fd/0; echo $?; ls /proc/self/fd | wc -l') <&-
        run sh -c 'echo lost' >&- 2> /dev/null; echo $?",
    ));
    assert_eq!(ended.stdout(), "input\ninput\neight\n1\n3\n1\n");
}

#[test]
fn arguments_are_passed_on() {
    let odd = [
        "a b", "", "*", "--mode", "--", "-o", "$HOME", "'", "\"", "\\n", "\n", "\u{e9}",
    ];
    let mut argv = vec!["sh", "-c", "printf '<%s>' \"$0\" \"$@\""];
    argv.extend(odd);
    assert_eq!(run(ringer_run(&[], &argv)), run(native(&argv)));
}

#[test]
fn environment_directory_and_masks_are_passed_on() {
    same_as_native("env | grep -v '^LD_PRELOAD=\\|^RINGER_\\|^_=\\|^PWD=' | sort");
    same_as_native(
        "basename \"$(pwd)\"; umask; ulimit -a; grep 'SigIgn\\|SigBlk' /proc/self/status",
    );
    same_as_native(
        "ps -o sid=,pgid= -p $$ | awk '{ print $1 == $2 }'; nice; id -u; test -t 0; echo $?",
    );
}

#[test]
fn sigpipe_is_as_it_was() {
    same_as_native("yes | head -n 1; grep SigIgn /proc/self/status");
    same_as_native("trap '' PIPE INT; sh -c 'yes | head -n 1'; grep SigIgn /proc/self/status");
}

#[test]
fn standard_input_is_read_by_the_command_alone() {
    let script = "printf 'one\\ntwo\\n' | { run sh -c 'read -r x; echo $x'; cat; }";
    assert_eq!(run(script_with_run(script)).stdout(), "one\ntwo\n");
}

#[test]
fn two_runs_joined_by_a_pipe() {
    let ended = run(script_with_run(
        "run seq 100000 | run sh -c 'cat | tail -n 2' | run tac; echo ${PIPESTATUS[*]}
        run yes | run head -n 1; echo ${PIPESTATUS[*]}",
    ));
    assert_eq!(ended.stdout(), "100000\n99999\n0 0 0\ny\n141 0\n");
    assert_eq!(ended.stderr(), "");
}

#[test]
fn a_run_within_a_run() {
    let script = "export -f run; run bash -c 'run sh -c \"seq 1000 | tail -n 1; exit 6\"'; echo $?";
    let ended = run(script_with_run(script));
    assert_eq!(
        (ended.stdout().as_str(), ended.stderr().as_str()),
        ("1000\n6\n", "")
    );
}

/// A command that says "up" through a FIFO and is told to go on through another one.
struct Conversation {
    dir: TempDir,
    child: Child,
}

impl Conversation {
    /// Starts `sh -c SCRIPT`, by `ringer run` or natively, where the FIFOs `up`, `go` and `done` are.
    fn start(script: &str) -> Conversation {
        let dir = TempDir::new();
        run_in(dir.path(), native(&["mkfifo", "up", "go", "done"]));
        let mut command = ringer_run(&[], &["sh", "-c", script]);
        command.current_dir(dir.path());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        guard::lead_a_session(&mut command);
        let child = command.spawn().expect("sh or ringer");
        Conversation { dir, child }
    }

    fn ask(&self, script: &str) -> String {
        run_in(self.dir.path(), native(&["sh", "-c", script])).stdout()
    }

    fn status(&mut self) -> Option<i32> {
        let pid = self.child.id() as i32;
        let in_time = guard::ends_by(pid, guard::deadline());
        let report = if in_time {
            String::new()
        } else {
            guard::dump(pid)
        };
        if !in_time {
            self.child.kill().expect("kill of our own child");
        }
        let status = self.child.wait().expect("our own child");
        assert!(in_time, "did not end: {report}");
        status.code()
    }
}

/// A shell does not wait for its background jobs, and does not kill them: neither does ringer.
#[test]
fn background_jobs_outlive_the_command() {
    let script = "(read -r x < go; seq 100 | tail -n 1 > done) & exit 4";
    let mut command = Conversation::start(script);
    assert_eq!(command.status(), Some(4));
    assert_eq!(command.ask("echo x > go; cat done"), "100\n");
}

/// SIGTERM to ringer alone: the command gets it, and its status tells.
#[test]
fn a_termination_is_passed_on() {
    let script = "trap 'exit 9' TERM; echo up > up; while :; do sleep 0.05; done";
    let mut command = Conversation::start(script);
    assert_eq!(command.ask("cat up"), "up\n");
    // SAFETY: kill(2) touches no memory of ours.
    unsafe { libc::kill(command.child.id() as i32, libc::SIGTERM) };
    assert_eq!(command.status(), Some(9));
}

/// Killing the supervisor takes the supervision away, not the pipes.
#[test]
fn the_command_survives_its_supervisor() {
    if native_only() {
        return;
    }
    let script = "echo $$ > up; read -r x < go; seq 1000 | cat | tail -n 1 > done";
    let mut command = Conversation::start(script);
    let guest = command.ask("cat up").trim().parse().expect("a process id");
    command.child.kill().expect("kill of our own child");
    assert_eq!(command.status(), None);
    assert!(
        procfs::state(guest).is_some(),
        "the command died with its supervisor"
    );
    assert_eq!(command.ask("echo x > go; cat done"), "1000\n");
}

/// A command that is killed leaves nobody waiting for its end of a pipe.
#[test]
fn a_killed_stage_ends_the_pipeline() {
    let script = "{ sh -c 'echo $$ > up; echo text; exec sleep 100'; } | cat > done; exit 3";
    let mut command = Conversation::start(script);
    assert_eq!(
        // Killed once its text has come through: until then `cat` has not read it, and might be given nothing.
        command.ask("read -r p < up; { read -r x; echo $x; kill -KILL $p; cat; } < done"),
        "text\n"
    );
    assert_eq!(command.status(), Some(3));
}
