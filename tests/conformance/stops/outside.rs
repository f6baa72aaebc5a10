//! A stop that comes from outside the session: from a program that ringer is not in, or the terminal.

use super::waiter;
use ringer_support::prelude::*;
use ringer_support::sysv::*;

/// kill(2) by a statically linked program.
fn outsider_kills(child: &Child, number: c_int) {
    let words = format!("kill {} {number}", child.pid());
    fork_run(|| {
        let words: Vec<&str> = words.split(' ').collect();
        exec(&program("envoy", Linkage::Static), &words)
    })
    .succeeds();
}

deviates!(an_outsiders_stop_is_noticed, "stop-from-outside", {
    let s = Sems::new(1);
    let child = waiter(&s, Err(EINTR));
    outsider_kills(&child, SIGSTOP);
    procfs::stopped(child.pid());
    s.op(&[op(0, 1)]).unwrap();
    assert_eq!(s.get(0), 1);
    outsider_kills(&child, SIGCONT);
    child.succeeds();
});
