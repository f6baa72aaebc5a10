//! Python's own tests of processes and what they speak through, run by its `unittest`: each test must end as it
//! does natively, and the list of those that were run, and of those that were skipped, must be the same.
//!
//! What is listed here is what a change can be waited for; `RINGER_LONG=1` runs the files from end to end, some
//! ten minutes a world.

use crate::case::bash;
use crate::emulated::Pipes;
use crate::guard;
use std::path::Path;
use std::process::Command;

/// The interpreter whose tests the package `libpython3.N-testsuite` has.
const PYTHON: &str = "/usr/bin/python3";

/// Runs `python3 -m unittest -v` of some classes or modules in a file or package, or of the whole.
fn check(file: &str, parts: &[&str]) {
    let which = match guard::long() {
        true => file.to_string(),
        false => parts.iter().map(|part| format!("{file}.{part} ")).collect(),
    };
    let script = format!(
        r#"
        {PYTHON} -m unittest -v {which} >said 2>&1; echo "status $?"
        # Each test's name, in whatever order, and the verdict; children write between the two.
        grep -oE '^test\w* \([^)]*\)' said | sort >names; cat names
        grep -oE 'skipped .*' said | sort; grep -E '^(FAIL|ERROR):|^OK|^FAILED' said
        grep -oE '^Ran [0-9]* tests' said; [ -s names ] && echo the end
        "#
    );
    let native = bash(&script).pipes(Pipes::Any).check();
    if let Some(native) = native {
        let said = native.stdout();
        assert!(said.ends_with("the end\n"), "natively: {said}");
        assert!(said.starts_with("status 0\n"), "natively: {said}");
    }
}

macro_rules! parts {
    ($($test:ident: $file:literal, [$($part:literal),*];)*) => {
        $(#[test]
        fn $test() {
            if installed() {
                check(concat!("test.", $file), &[$($part),*]);
            }
        })*
    };
}

fn installed() -> bool {
    let version =
        r#"import sysconfig; print(sysconfig.get_path("stdlib") + "/test/test_selectors.py")"#;
    let said = Command::new(PYTHON).args(["-c", version]).output();
    let path = said.map(|said| String::from_utf8_lossy(&said.stdout).trim().to_string());
    let there = path.is_ok_and(|path| Path::new(&path).exists());
    if !there {
        eprintln!("skipped: libpython3-testsuite not installed");
    }
    there
}

parts! {
    selectors: "test_selectors", ["EpollSelectorTestCase", "PollSelectorTestCase"];
    subprocess: "test_subprocess", ["POSIXProcessTestCase"];
    asyncio: "test_asyncio", ["test_unix_events", "test_server", "test_streams", "test_selector_events"];
    multiprocessing_fork: "test_multiprocessing_fork", [
        "WithProcessesTestQueue", "WithProcessesTestPool", "WithProcessesTestLock", "WithProcessesTestSemaphore",
        "WithProcessesTestSharedMemory", "WithProcessesTestConnection", "WithProcessesTestValue"];
    multiprocessing_spawn: "test_multiprocessing_spawn", [
        "WithProcessesTestLock", "WithProcessesTestSemaphore", "WithProcessesTestSharedMemory"];
    multiprocessing_forkserver: "test_multiprocessing_forkserver", [
        "WithProcessesTestQueue", "WithProcessesTestLock", "WithProcessesTestSemaphore", "WithProcessesTestSharedMemory"];
}
