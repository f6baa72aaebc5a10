//! The signal stressors of stress-ng(1), and of rt-tests signaltest(8). They check what they do; whether
//! they are content is compared, not what they measure.

use crate::case::bash;
use crate::emulated::Pipes;

/// `--verify` makes a stressor fail if anything is wrong. Bounded by operations; the time is for a hang.
fn stress(name: &str, instances: u32, operations: u32) {
    let bound = format!("--{name} {instances} --{name}-ops {operations} --timeout 50");
    content(&bound, "[ $SECONDS -lt 45 ] && echo in time;");
}

fn content(stressor: &str, and: &str) {
    let script = format!(
        "stress-ng --verify --quiet {stressor} > said 2>&1; status=$?
         grep -v 'passed\\|successful\\|metrics-check: all bogo-op counters are zero' said
         {and} echo $status"
    );
    let native = bash(&script)
        .needs(&["stress-ng"])
        .pipes(Pipes::Any)
        .check();
    if let Some(native) = native {
        let said = native.stdout();
        assert_eq!(said.lines().last(), Some("0"), "natively: {said}");
    }
}

macro_rules! stressors {
    ($($test:ident: $name:literal, $instances:literal, $operations:literal;)*) => {
        $(#[test]
        fn $test() {
            stress($name, $instances, $operations);
        })*
    };
}

stressors! {
    kill: "kill", 2, 2000;
    sigabrt: "sigabrt", 1, 100;
    sigchld: "sigchld", 2, 200;
    sigfd: "sigfd", 2, 2000;
    sigfpe: "sigfpe", 1, 500;
    signal: "signal", 2, 2000;
    signest: "signest", 1, 500;
    sigpending: "sigpending", 2, 2000;
    sigpipe: "sigpipe", 1, 100;
    sigq: "sigq", 2, 2000;
    sigrt: "sigrt", 2, 1000;
    sigsegv: "sigsegv", 1, 1000;
    sigsuspend: "sigsuspend", 2, 2000;
    sigtrap: "sigtrap", 1, 1000;
    timer: "timer", 1, 500;
    itimer: "itimer", 1, 100;
    switch: "switch", 1, 2000;
}

/// Its handler reads until there is nothing: as long as the writer is as fast as it is, also natively. So the time
/// bounds it.
#[test]
fn sigio() {
    content("--sigio 1 --sigio-ops 1000 --timeout 3", "");
}

/// Threads, and processes, that wait for each other's signals by sigwait(3). (They signal each other before
/// all have blocked the signal, so that one run in ten dies or waits for ever, also natively.)
#[test]
fn sigwaittest() {
    bash(
        "once() { timeout 10 sigwaittest $1 -l 100 -i 200 -q > said; }
        for how in '' -f '-t 4'; do
            for try in 1 2 3 4 5 6 7 8 9; do once \"$how\" 2> /dev/null && break; done
            echo $?; grep -c Max said
        done 2> /dev/null",
    )
    .needs(&["sigwaittest"])
    .pipes(Pipes::Any)
    .check();
}

#[test]
fn signaltest() {
    bash("signaltest -l 500 -q -t 4 > said; echo $?; grep -c Max said")
        .needs(&["signaltest"])
        .pipes(Pipes::Any)
        .check();
}
