//! Surroundings in which ringer cannot have what it needs: the program runs all the same.

use crate::badinput::{assert_as_native, SCRIPT};
use crate::ringer::{native, native_only, preloaded, ringer, ringer_run, run};
use ringer_support::build::BIN_DIR;
use std::path::PathBuf;
use std::process::Command;

/// Runs `sh -c SCRIPT` natively, shimmed and by `ringer run`; `wrap` makes the surroundings.
fn as_native_in(wrap: &dyn Fn(&Command) -> Command) {
    let argv = ["sh", "-c", SCRIPT];
    let expected = run(wrap(&native(&argv)));
    for (what, command) in [
        ("preloaded", preloaded(&argv)),
        ("run", ringer_run(&[], &argv)),
    ] {
        assert_as_native(&run(wrap(&command)), &expected, what);
    }
}

/// The same where the guest limits itself before it execs the script: the limit holds for the shim
/// in the guest, not for `ringer`.
fn as_native_limited(limit: &str) {
    let limited = format!("{limit}; exec sh -c \"$0\"");
    let argv = ["sh", "-c", &limited, SCRIPT];
    let expected = run(native(&argv));
    for (what, command) in [
        ("preloaded", preloaded(&argv)),
        ("run", ringer_run(&[], &argv)),
    ] {
        assert_as_native(&run(command), &expected, &format!("{what}, {limit}"));
    }
}

/// The command in a mount namespace where an unshimmed shell has run `setup`.
fn in_namespace(setup: &str, inner: &Command) -> Command {
    let mut command = native(&["unshare", "-m", "sh", "-c", setup, "sh", "env"]);
    for (name, value) in inner.get_envs() {
        if let Some(value) = value {
            let mut assignment = name.to_owned();
            assignment.push("=");
            assignment.push(value);
            command.arg(assignment);
        }
    }
    command.arg(inner.get_program()).args(inner.get_args());
    command
}

/// Whether a mount namespace of our own is permitted; without one there is nothing to test.
fn may_mount(setup: &str) -> bool {
    let permitted = run(native(&["unshare", "-m", "sh", "-c", setup, "sh", "true"])).status == 0;
    if !permitted {
        eprintln!("skipped: mounting is not permitted here");
    }
    permitted
}

fn as_native_with_mount(mount: &str) {
    let setup = format!("{mount} && exec \"$@\"");
    if may_mount(&setup) {
        as_native_in(&|command| in_namespace(&setup, command));
    }
}

#[test]
fn shared_memory_cannot_be_written() {
    as_native_with_mount("mount -t tmpfs -o ro none /dev/shm");
}

#[test]
fn shared_memory_is_full() {
    as_native_with_mount(
        "mount -t tmpfs -o size=4k none /dev/shm && head -c 4k /dev/zero > /dev/shm/x",
    );
}

#[test]
fn shared_memory_is_scarce() {
    for size in ["64k", "256k", "1m", "4m"] {
        as_native_with_mount(&format!("mount -t tmpfs -o size={size} none /dev/shm"));
    }
}

/// Whatever there is room for: all or nothing of the session, or one of its tables, or a part of one.
const SIZES: [&str; 15] = [
    "4k", "8k", "12k", "16k", "20k", "32k", "64k", "80k", "100k", "160k", "256k", "512k", "1m",
    "3m", "30m",
];

const MANY: &str = "for i in 1 2 3 4 5 6 7 8 9 10; do seq $i 2000 | sort -rn | cat | tail -n 1 & \
                    wait; done; exit 3";

/// The command runs as natively, or `ringer` says in one sentence why not.
#[test]
fn a_log_in_scarce_shared_memory_is_kept_or_refused() {
    let argv = ["sh", "-c", MANY];
    let expected = run(native(&argv));
    for size in SIZES {
        let setup = format!("mount -t tmpfs -o size={size} none /dev/shm && exec \"$@\"");
        if native_only() || !may_mount(&setup) {
            return;
        }
        for how in [
            &["run", "--log", "log", "--"][..],
            &["trace", "-o", "log", "--"],
            &["run", "--mode", "observe", "--"],
            &["run", "--"],
        ] {
            let command = ringer(how.iter().chain(&argv));
            let ended = run(in_namespace(&setup, &command));
            let what = format!("{how:?} with {size}: {}", ended.stderr());
            if ended.status == 125 && how.contains(&"log") {
                assert_eq!(ended.stdout(), "", "{what}");
                assert!(ended.stderr().contains("No space left"), "{what}");
            } else {
                assert_eq!(
                    (ended.status, ended.stdout()),
                    (expected.status, expected.stdout()),
                    "{what}"
                );
            }
        }
    }
}

#[test]
fn many_processes_in_scarce_shared_memory() {
    let argv = ["sh", "-c", MANY];
    let expected = run(native(&argv));
    for size in SIZES {
        let setup = format!("mount -t tmpfs -o size={size} none /dev/shm && exec \"$@\"");
        if may_mount(&setup) {
            let ended = run(in_namespace(&setup, &preloaded(&argv)));
            assert_as_native(&ended, &expected, size);
        }
    }
}

/// Fills a small /dev/shm (and only a small one) while pipes are in use: threads and processes that
/// find no place in the session any more get the same bytes.
const FILLS: &str = r#"
import os, threading
st = os.statvfs("/dev/shm")
assert st.f_blocks * st.f_frsize <= 4 << 20, "not that one"
pipes = [os.pipe() for i in range(20)]
for i in range(10):
    os.write(pipes[i][1], bytes([i]) * 50000)
r, w = os.pipe()
os.write(w, b"s")
fill = open("/dev/shm/fill", "wb", buffering=0)
try:
    while True:
        fill.write(b"x" * 4096)
except OSError:
    pass
for i in range(10, 20):
    assert os.write(pipes[i][1], bytes([i]) * 50000) == 50000
    assert os.read(pipes[i][0], 60000) == bytes([i]) * 50000
N = 100
begin, end, right = threading.Barrier(N), threading.Barrier(N), []
def work(i):
    begin.wait()
    os.write(w, bytes([i]))
    right.append(os.read(pipes[i % 10][0], 400) == bytes([i % 10]) * 400)
    end.wait()
threads = [threading.Thread(target=work, args=(i,)) for i in range(N)]
for t in threads: t.start()
for t in threads: t.join()
assert right == [True] * N, right
got = b""
while len(got) < N + 1:
    got += os.read(r, 1000)
assert sorted(got) == sorted(b"s" + bytes(range(N))), got
for i in range(10):
    want = 50000 - 400 * (N // 10)
    assert os.read(pipes[i][0], 60000) == bytes([i]) * want
children = []
for i in range(60):
    child = os.fork()
    if child == 0:
        os.dup2(w, 1)
        os.execvp("sh", ["sh", "-c", "echo line"])
    children.append(child)
got = b""
while len(got) < 5 * 60:
    got += os.read(r, 1000)
assert got == b"line\n" * 60, got
assert all(os.waitpid(c, 0)[1] == 0 for c in children)
os.unlink("/dev/shm/fill")
print("right")
"#;

#[test]
fn shared_memory_fills_up_meanwhile() {
    let argv = ["python3", "-c", FILLS];
    for size in ["200k", "512k", "3m"] {
        let setup = format!("mount -t tmpfs -o size={size} none /dev/shm && exec \"$@\"");
        if native_only() || !may_mount(&setup) {
            return;
        }
        let commands = [
            preloaded(&argv),
            ringer_run(&[], &argv),
            ringer_run(&["--log", "log"], &argv),
        ];
        for command in commands {
            let ended = run(in_namespace(&setup, &command));
            let what = format!("{command:?} with {size}: {}", ended.stderr());
            assert_eq!(
                (ended.status, ended.stdout()),
                (0, "right\n".into()),
                "{what}"
            );
        }
    }
}

#[test]
fn shared_memory_has_no_more_files() {
    as_native_with_mount("mount -t tmpfs -o nr_inodes=1 none /dev/shm");
}

#[test]
fn shared_memory_does_not_exist() {
    as_native_with_mount("mount -t tmpfs -o mode=000 none /dev && mknod -m 666 /dev/null c 1 3");
}

#[test]
fn proc_is_not_mounted() {
    as_native_with_mount("mount -t tmpfs none /proc");
}

#[test]
fn temporary_directories_cannot_be_written() {
    // Except where the binaries are: the command has to be found.
    let exe = std::env::current_exe().expect("this test binary");
    let bin = std::env::var_os(BIN_DIR)
        .map(PathBuf::from)
        .unwrap_or_default();
    let mut dirs = vec!["/tmp", "/var/tmp", "/dev/shm", "/run"];
    dirs.retain(|dir| !exe.starts_with(dir) && !bin.starts_with(dir));
    let dirs = dirs.join(" ");
    as_native_with_mount(&format!(
        "cd / && for d in {dirs}; do mount -t tmpfs -o ro none $d; done"
    ));
}

#[test]
fn address_space_is_limited() {
    for kilobytes in [20_000, 50_000, 100_000, 500_000] {
        as_native_limited(&format!("ulimit -v {kilobytes}"));
    }
}

#[test]
fn descriptors_are_scarce() {
    for most in [4, 5, 6, 7, 8, 10, 16] {
        as_native_limited(&format!("ulimit -n {most}"));
    }
}

#[test]
fn files_may_not_grow() {
    let argv = [
        "sh",
        "-c",
        "ulimit -f 0; x=$(seq 9 | cat | tail -n 1); exit $x",
    ];
    let expected = run(native(&argv));
    for (what, command) in [
        ("preloaded", preloaded(&argv)),
        ("run", ringer_run(&[], &argv)),
    ] {
        assert_as_native(&run(command), &expected, what);
    }
}

#[test]
fn locked_memory_stacks_and_processes_are_scarce() {
    as_native_limited("ulimit -l 0; ulimit -s 256; ulimit -c 0");
}

/// The limit holds for `ringer` itself, too, whose session is a file: no SIGXFSZ.
#[test]
fn ringers_own_files_may_not_grow() {
    for blocks in ["0", "100000"] {
        as_native_in(&|inner| {
            let mut command = native(&["sh", "-c", "ulimit -f $0; exec \"$@\"", blocks]);
            for (name, value) in inner.get_envs() {
                if let Some(value) = value {
                    command.env(name, value);
                }
            }
            command.arg(inner.get_program()).args(inner.get_args());
            command
        });
    }
}
