//! Interactive shells on a terminal, with job control: alone, with libringer.so, and by `ringer run`.

use crate::ringer::{native, native_only, preloaded, ringer_run};
use crate::tty::{Terminal, CTRL_C, CTRL_D, CTRL_Z};
use std::process::Command;

const BASH: &[&str] = &["bash", "--norc", "--noprofile", "--noediting", "-i"];
const DASH: &[&str] = &["dash", "-i"];

fn begin(mut command: Command) -> Terminal {
    command
        .env("PS1", "prompt> ")
        .env("HISTFILE", "")
        .env_remove("ENV");
    let mut t = Terminal::start(command);
    t.expect("prompt> ");
    t
}

/// The same conversation in each world, and the same end.
fn each(shell: &[&str], talk: impl Fn(&mut Terminal)) {
    let mut commands = vec![native(shell)];
    if !native_only() {
        commands.extend([preloaded(shell), ringer_run(&[], shell)]);
    }
    for command in commands {
        eprintln!("world: {:?}", command.get_program());
        let mut t = begin(command);
        talk(&mut t);
        t.press("exit 7\n");
        assert_eq!(t.wait().0, 7);
    }
}

fn both(talk: impl Fn(&mut Terminal)) {
    each(BASH, &talk);
    each(DASH, &talk);
}

/// Types a line, and waits for what it writes and the next prompt.
fn says(t: &mut Terminal, line: &str, answer: &str) {
    t.press(&format!("{line}\n"));
    t.expect(answer);
    t.expect("prompt> ");
}

/// Goes on when this job is stopped, whatever the shell has to say about it.
const UNTIL_STOPPED: &str = "until jobs > list; grep -q Stopped list; do sleep 0.01; done; rm list";

fn in_a_directory(t: &mut Terminal) {
    says(t, "cd $(mktemp -d) && echo there", "there\n");
}

fn leave_the_directory(t: &mut Terminal) {
    says(t, "rmdir $PWD && echo gone", "gone\n");
}

#[test]
fn ctrl_c_ends_the_command_and_not_the_shell() {
    both(|t| {
        for _ in 0..5 {
            t.press(&format!("{SLEEPER}\n"));
            t.expect("up\n");
            t.press(CTRL_C);
            t.expect("prompt> ");
            says(t, "echo status $?", "status 130\n");
        }
    });
}

#[test]
fn ctrl_c_at_the_prompt() {
    both(|t| {
        t.press("echo not");
        t.press(CTRL_C);
        t.expect("prompt> ");
        says(t, "echo on", "on\n");
    });
}

#[test]
fn ctrl_c_ends_a_pipeline() {
    both(|t| {
        t.press("sh -c 'echo up; exec sleep 100' | cat | cat\n");
        t.expect("up\n");
        t.press(CTRL_C);
        t.expect("prompt> ");
        says(t, "echo on", "on\n");
    });
}

#[test]
fn ctrl_z_and_fg() {
    both(|t| {
        // It says when it goes on, so that the keys are for it and not for the shell.
        let script = "trap 'echo again' CONT; echo up; until read x; do :; done; exit 5";
        t.press(&format!("sh -c \"{script}\"\n"));
        t.expect("up\n");
        for _ in 0..3 {
            t.press(CTRL_Z);
            t.expect("prompt> ");
            says(t, "jobs", "Stopped");
            t.press("fg\n");
            t.expect("\nagain\n");
        }
        t.press("data\n");
        t.expect("prompt> ");
        says(t, "echo status $?", "status 5\n");
    });
}

#[test]
fn ctrl_z_and_bg() {
    both(|t| {
        in_a_directory(t);
        t.press("sh -c 'echo up; until [ -e go ]; do :; done; rm go'\n");
        t.expect("up\n");
        t.press(CTRL_Z);
        t.expect("prompt> ");
        says(t, "bg", "go");
        says(
            t,
            "touch go; while [ -e go ]; do sleep 0.01; done; echo gone",
            "gone\n",
        );
        leave_the_directory(t);
    });
}

#[test]
fn a_stopped_pipeline_goes_on() {
    both(|t| {
        t.press("sh -c 'echo up; read x; echo \"got $x\"' | cat | cat\n");
        t.expect("up\n");
        t.press(CTRL_Z);
        t.expect("prompt> ");
        t.press("fg\n");
        t.press("data\n");
        t.expect("got data\n");
        t.expect("prompt> ");
    });
}

#[test]
fn background_readers_are_stopped() {
    both(|t| {
        in_a_directory(t);
        t.press("sh -c 'read x; echo \"got $x\"' &\n");
        t.expect("prompt> ");
        says(t, &format!("{UNTIL_STOPPED}; echo noticed"), "noticed\n");
        t.press("fg\n");
        t.press("data\n");
        t.expect("got data\n");
        t.expect("prompt> ");
        leave_the_directory(t);
    });
}

#[test]
fn background_writers_are_stopped_if_the_terminal_says_so() {
    both(|t| {
        in_a_directory(t);
        says(t, "stty tostop; echo set", "set\n");
        t.press("sh -c 'echo from the background' &\n");
        t.expect("prompt> ");
        says(t, &format!("{UNTIL_STOPPED}; echo noticed"), "noticed\n");
        t.press("fg\n");
        t.expect("from the background\n");
        t.expect("prompt> ");
        leave_the_directory(t);
    });
}

/// Until it has said so, a job may still ignore SIGTERM, as its interactive shell does.
const SLEEPER: &str = "sh -c 'echo up; exec sleep 100'";

#[test]
fn jobs_are_killed_by_number() {
    both(|t| {
        in_a_directory(t);
        for _ in 0..2 {
            t.press(&format!("{SLEEPER} &\n"));
            t.expect("up\n");
        }
        says(t, "kill %1; wait %1; echo status $?", "status 143\n");
        says(t, "kill -KILL %2; wait %2; echo status $?", "status 137\n");
        t.press(&format!("{SLEEPER}\n"));
        t.expect("up\n");
        t.press(CTRL_Z);
        t.expect("prompt> ");
        t.press("kill -s KILL %%\n");
        t.expect("prompt> ");
        let none = "while jobs > list; grep -q . list; do sleep 0.01; done; rm list; echo none";
        says(t, none, "none\n");
        leave_the_directory(t);
    });
}

#[test]
fn traps_run_at_the_prompt() {
    both(|t| {
        says(t, "trap 'echo usr' USR1; kill -USR1 $$; echo sent", "usr\n");
        says(t, "sh -c 'kill -USR1 $PPID'; echo after", "after\n");
        says(t, "trap - USR1; echo unset", "unset\n");
    });
}

#[test]
fn a_shell_in_a_shell_suspends_itself() {
    each(BASH, |t| {
        t.press("PS1='inner> ' bash --norc --noprofile --noediting -i\n");
        t.expect("inner> ");
        t.press("suspend\n");
        t.expect("prompt> ");
        t.press("fg\n");
        t.expect("bash");
        t.press("echo in again\n");
        t.expect("in again\n");
        t.press(CTRL_D);
        t.expect("prompt> ");
    });
}

/// Whether the job of a shell whose terminal hangs up goes on. It does not afterwards.
fn job_outlives(command: Command) -> bool {
    let mut t = begin(command);
    t.press("sleep 100 & echo job $! end\n");
    t.expect(" end\n");
    t.hang_up();
    // Of the signal, or of the end of what it reads.
    let (_, seen) = t.wait();
    let job = seen
        .rsplit_once("job ")
        .and_then(|(_, rest)| rest.split(' ').next());
    let job: i32 = job
        .and_then(|pid| pid.parse().ok())
        .expect("the job's number");
    std::thread::sleep(std::time::Duration::from_millis(200));
    // (Of a zombie it is empty.)
    let outlives = std::fs::read(format!("/proc/{job}/cmdline")).is_ok_and(|line| !line.is_empty());
    if outlives {
        // SAFETY: a number, of a process of ours.
        unsafe { libc::kill(job, libc::SIGKILL) };
    }
    outlives
}

/// bash sends its jobs SIGHUP, dash does not. (By `ringer run` the shell does not lead the session, and so gets no signal: see
/// docs/limits.md.)
#[test]
fn hang_up_ends_shell_and_jobs() {
    for (shell, outlives) in [(BASH, false), (DASH, true)] {
        assert_eq!(job_outlives(native(shell)), outlives);
        if !native_only() {
            assert_eq!(job_outlives(preloaded(shell)), outlives);
            let _ = job_outlives(ringer_run(&[], shell));
        }
    }
}
