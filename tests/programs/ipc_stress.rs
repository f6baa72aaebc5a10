//! stress-ng(1)'s stressors of everything that processes speak through, hackbench(8), and rt-tests' of message
//! queues and semaphores (svsematest is in `sysv`: its key is the machine's, so there must be one at a time). They
//! check what they do; whether they are content is compared, not what they measure.

use crate::case::{bash, Case};
use crate::emulated::Pipes;
use crate::guard;

/// Bounded by operations, and by time: pipeherd looks at nothing else. With `RINGER_LONG=1` by a longer time only.
fn stress(name: &str, operations: u32) {
    let bound = match guard::long() {
        true => "--timeout 30".to_string(),
        false => format!("--{name}-ops {operations} --timeout 3"),
    };
    let script = format!(
        "stress-ng --verify --quiet --{name} 2 {bound} > said 2>&1; status=$?
         grep -v 'passed\\|successful' said; echo $status"
    );
    check(bash(&script).needs(&["stress-ng"]), "0");
}

/// It ends natively with this as its last line.
fn check(case: Case, last: &str) {
    if let Some(native) = case.pipes(Pipes::Any).check() {
        let said = native.stdout();
        assert_eq!(said.lines().last(), Some(last), "natively: {said}");
    }
}

macro_rules! stressors {
    ($($test:ident: $name:literal, $operations:literal;)*) => {
        $(#[test]
        fn $test() {
            stress($name, $operations);
        })*
    };
}

stressors! {
    mq: "mq", 4000;
    sem: "sem", 4000;
    sem_sysv: "sem-sysv", 4000;
    shm: "shm", 4;
    memfd: "memfd", 20;
    pipe: "pipe", 2000;
    pipeherd: "pipeherd", 200;
    fifo: "fifo", 2000;
    eventfd: "eventfd", 2000;
    epoll: "epoll", 500;
    poll: "poll", 500;
    sockpair: "sockpair", 100;
    sockfd: "sockfd", 200;
    sock: "sock", 20;
    splice: "splice", 500;
    tee: "tee", 500;
    vm_splice: "vm-splice", 500;
    dup: "dup", 20;
    close: "close", 500;
    sigio: "sigio", 200;
}

/// Fills the memory of the machine from many processes, whatever is asked of it: half a minute, so not every day.
#[test]
fn mmapfork() {
    if guard::long() {
        stress("mmapfork", 1);
    } else {
        eprintln!("skipped: only with RINGER_LONG=1");
    }
}

#[test]
fn hackbench() {
    check(
        bash(
            r#"loops=50; [ "$LONG" ] && loops=5000
            for mode in "--pipe --process" "--pipe --threads" "--process" "--threads"; do
                hackbench $mode -g 3 -l $loops >said 2>&1; echo "$mode $?"; grep -c '^Time' said
            done"#,
        )
        .needs(&["hackbench"]),
        "1",
    );
}

#[test]
fn pmqtest() {
    check(
        bash(
            r#"loops=100; [ "$LONG" ] && loops=50000
            for options in "" "-t 2 -d 20" "-T 5" "-S"; do
                pmqtest $options -l $loops -i 200 >said 2>&1; echo "$options $?"
            done"#,
        )
        .needs(&["pmqtest"]),
        "-S 0",
    );
}

#[test]
fn ptsematest() {
    check(
        bash(
            r#"loops=100; [ "$LONG" ] && loops=50000
            for options in "" "-t 2 -d 20" "-S"; do
                ptsematest $options -l $loops -i 200 >said 2>&1; echo "$options $?"
            done"#,
        )
        .needs(&["ptsematest"]),
        "-S 0",
    );
}
