//! Surroundings in which ringer cannot have what it needs: the program runs all the same.

use crate::badinput::{assert_as_native, SCRIPT};
use crate::ringer::{native, preloaded, ringer_run, run};
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
