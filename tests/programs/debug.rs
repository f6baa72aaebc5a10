//! Programs that look into others by ptrace(2).

use crate::case::bash;
use crate::emulated::Pipes;

#[test]
fn gdb() {
    let native = bash(include_str!("scripts/gdb.sh"))
        .file("debuggee.c", include_str!("scripts/debuggee.c"))
        .needs(&["gdb"])
        .pipes(Pipes::Any)
        .check();
    if let Some(native) = native {
        let said = native.stdout();
        assert!(said.ends_with("the end\n"), "natively: {said}");
        assert!(said.contains("exited with code 03"), "natively: {said}");
    }
}

#[test]
fn strace() {
    let script = "exec 2> said; strace -f -o calls sh -c 'seq 3 | cat; kill -USR1 $$; echo no'; echo $?
        grep -c -- '--- SIGUSR1' calls; grep -c -- '--- SIGSYS' calls; grep -c '+++ killed by SIGUSR1' calls
        strace -e trace=none sh -c 'exit 3' 2>&1 | cat; echo ${PIPESTATUS[*]}";
    bash(script).needs(&["strace"]).pipes(Pipes::Any).check();
}
