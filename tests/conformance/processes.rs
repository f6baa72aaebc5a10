//! Found with real programs: what a process does to itself (another root, its end) leaves what it has and makes
//! as it was, to itself and to its threads.

use ringer_support::prelude::*;
use ringer_support::socket::pair;
use std::thread;
use std::time::Duration;

/// In a root without /proc: polls and reads what it has from before and what it makes now.
fn polls_everything(p: &Pipe, socket: &Fd) {
    assert_eq!(poll_until(&p.r, libc::POLLIN), libc::POLLIN);
    assert_eq!(read_n(&p.r, 99), Ok(b"question".to_vec()));
    assert_eq!(poll_until(socket, libc::POLLIN), libc::POLLIN);
    assert_eq!(read_n(socket, 99), Ok(b"message".to_vec()));
    let own = pipe();
    assert_eq!(poll_now(&own.r), 0);
    assert_eq!(write(&own.w, b"mine"), Ok(4));
    assert_eq!(poll_now(&own.r) & libc::POLLIN, libc::POLLIN);
    assert_eq!(read_n(&own.r, 99), Ok(b"mine".to_vec()));
    let event = eventfd(3);
    assert_eq!(poll_now(&event) & libc::POLLIN, libc::POLLIN);
    assert_eq!(write(socket, b"done"), Ok(4));
}

both_worlds!(a_process_in_an_empty_root_polls, {
    if !is_root() {
        return;
    }
    let dir = std::env::temp_dir().join(format!("ringer-empty-root-polls.{}", getpid()));
    std::fs::create_dir(&dir).unwrap();
    let (p, (ours, theirs), s) = (pipe(), pair(libc::SOCK_STREAM), Shared::new());
    let child = fork_run(|| {
        std::os::unix::fs::chroot(&dir).unwrap();
        s.set(0, 1);
        polls_everything(&p, &theirs);
    });
    s.wait_for(0, 1);
    write_all(&p.w, b"question");
    write_all(&ours, b"message");
    assert_eq!(read_n(&ours, 99), Ok(b"done".to_vec()));
    child.succeeds();
    std::fs::remove_dir(&dir).unwrap();
});

/// Reads where there is nothing to be read, for as long as the process lives.
fn reads_for_ever(fd: &Fd, s: &Shared) -> ! {
    loop {
        if read_n(fd, 1) != Err(libc::EAGAIN) {
            s.set(0, 1);
        }
    }
}

// As sshd and erl do. exit_group(2): all threads end at once; none may find its descriptors closed before.
both_worlds!(threads_of_a_process_that_exits_see_nothing_of_it, {
    let s = Shared::new();
    for round in 0..20 {
        let child = fork_run(|| {
            let pipes: Vec<Pipe> = (0..20).map(|_| nonblocking_pipe()).collect();
            thread::scope(|scope| {
                for p in pipes.iter().take(3) {
                    scope.spawn(|| reads_for_ever(&p.r, &s));
                }
                thread::sleep(Duration::from_millis(5));
                // SAFETY: nothing of ours has to be finished.
                unsafe { libc::_exit(round) }
            });
        });
        child.exits_with(round);
        assert_eq!(s.get(0), 0, "a thread found another error than EAGAIN");
    }
});
