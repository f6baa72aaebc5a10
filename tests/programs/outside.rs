//! Programs that LD_PRELOAD cannot reach, in the middle of a pipeline: the pipes that they have go
//! back to the kernel, with all that is in them.

use crate::case::{bash, Case};
use crate::emulated::Pipes;
use crate::fixture::{self, TempDir};
use ringer_support::child::is_root;
use std::fs::{self, Permissions};
use std::os::unix::fs::{chown, PermissionsExt};

/// A user who is not root, on any system.
const SOMEBODY: u32 = 65534;

/// A script that finds a static `static-cat` in its PATH.
fn with_static_cat(dir: &TempDir, script: &str) -> Case {
    fixture::own_cat(&dir.path().join("static-cat"), &["-static"]);
    bash(script).bin(dir.path()).pipes(Pipes::Demoted)
}

#[test]
fn static_program_in_the_middle() {
    let dir = TempDir::new();
    with_static_cat(
        &dir,
        "seq 200000 | static-cat | md5sum; seq 9 | static-cat | static-cat | tac",
    )
    .check();
}

#[test]
fn static_program_at_the_ends() {
    let dir = TempDir::new();
    with_static_cat(
        &dir,
        "seq 3 > f; static-cat < f | tac; seq 3 | static-cat; x=$(static-cat < f); echo $x
        static-cat < /dev/zero | head -c 3 | od; echo ${PIPESTATUS[*]}",
    )
    .check();
}

/// What was written before the exec must not be lost, and must not be overtaken.
#[test]
fn static_program_inherits_what_is_buffered() {
    let dir = TempDir::new();
    with_static_cat(
        &dir,
        "seq 30000 | (read -r a; read -r b; echo $a $b; exec static-cat) | md5sum
        (echo first; echo second; exec static-cat < <(echo third)) | (sleep 0.1; cat)",
    )
    .check();
}

#[test]
fn static_program_among_other_readers_and_writers() {
    let dir = TempDir::new();
    with_static_cat(
        &dir,
        "{ seq 5; seq 6 9 | static-cat; seq 10 12; } | cat
        seq 100000 | { head -c 10 > /dev/null; static-cat | wc -c; cat | wc -c; }
        for i in 1 2 3; do (yes $i | head -n 5000 | static-cat) & done | sort | uniq -c; wait",
    )
    .check();
}

#[test]
fn static_program_by_python() {
    let dir = TempDir::new();
    let script = r#"
import subprocess as s
r = s.run(["static-cat"], input=b"x" * 3000000, stdout=s.PIPE); print(len(r.stdout))
a = s.Popen(["static-cat"], stdin=s.PIPE, stdout=s.PIPE)
b = s.Popen(["tr", "a-z", "A-Z"], stdin=a.stdout, stdout=s.PIPE); a.stdout.close()
a.stdin.write(b"text"); a.stdin.close(); print(b.communicate(), a.wait())
"#;
    fixture::own_cat(&dir.path().join("static-cat"), &["-static"]);
    Case::new(["python3", "-c", script])
        .bin(dir.path())
        .pipes(Pipes::Demoted)
        .check();
}

/// In secure-execution mode ld.so ignores LD_PRELOAD without a word. See ld.so(8).
#[test]
fn set_user_id_program_in_the_middle() {
    if !is_root() {
        eprintln!("skipped: only root can make a file somebody else's");
        return;
    }
    let dir = TempDir::new();
    let cat = dir.path().join("setuid-cat");
    fixture::own_cat(&cat, &[]);
    chown(&cat, Some(SOMEBODY), None).expect("chown of our own file");
    fs::set_permissions(&cat, Permissions::from_mode(0o4755)).expect("chmod of our own file");
    bash("seq 200000 | setuid-cat | md5sum; seq 3 | (read -r x; exec setuid-cat) | tac")
        .bin(dir.path())
        .pipes(Pipes::Demoted)
        .check();
}

/// An installed one; for its owner, root, it is an ordinary program.
#[test]
fn su_into_a_pipe() {
    bash("su --version | cut -d ' ' -f 1; su --help 2>&1 | wc -l")
        .needs(&["su"])
        .pipes(Pipes::Any)
        .check();
}

#[test]
fn privileges_are_dropped() {
    if !is_root() {
        eprintln!("skipped: only root has privileges to drop");
        return;
    }
    bash(
        "seq 3 | setpriv --reuid 65534 --regid 65534 --clear-groups cat | tac
        seq 9 | setpriv --reuid 65534 --regid 65534 --clear-groups sh -c 'cat | tail -n 1' | cat",
    )
    .needs(&["setpriv"])
    .pipes(Pipes::Any)
    .check();
}
