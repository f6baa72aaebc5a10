//! Who may signal whom. See kill(2), credentials(7).

use libc::{EAGAIN, EPERM, SIGWINCH};
use ringer_support::prelude::*;
use sig::RTMIN;

cases!(who_may_signal_whom, {
    "another user's process is EPERM" => {
        let child = journal::listener(&[SIGUSR1], || {});
        fork_run(|| {
            if sig::become_nobody_else().is_some() {
                for number in [0, SIGUSR1, SIGKILL, RTMIN] {
                    assert_eq!(sig::kill(child.pid(), number), Err(EPERM));
                    assert_eq!(sig::tgkill(child.pid(), child.pid(), number), Err(EPERM));
                    assert_eq!(sig::sigqueue(child.pid(), number, 0), Err(EPERM));
                }
                assert_eq!(sig::kill(1, 0), Err(EPERM));
            }
        })
        .succeeds();
        assert_eq!(journal::count(), 0);
    }
    "EINVAL comes before EPERM" => {
        let child = journal::listener(&[SIGUSR1], || {});
        fork_run(|| {
            if sig::become_nobody_else().is_some() {
                assert_eq!(sig::kill(child.pid(), 65), Err(EINVAL));
                assert_eq!(sig::tgkill(child.pid(), child.pid(), 65), Err(EINVAL));
            }
        })
        .succeeds();
    }
    "the sender's real or effective user is the target's real or saved one" => {
        if is_root() {
            let child = journal::listener(&[SIGWINCH], || sig::set_users(2001, 2002, 2003));
            // Real, effective, saved, and whether they may.
            let rows = [
                (2001, 9, 9, true),
                (9, 2001, 9, true),
                (9, 9, 2001, false),
                (2003, 9, 9, true),
                (9, 2003, 9, true),
                (2002, 9, 9, false),
                (9, 2002, 9, false),
                (9, 9, 9, false),
                (0, 9, 9, false),
                (9, 0, 9, true),
            ];
            for (real, effective, saved, may) in rows {
                let expected = if may { Ok(0) } else { Err(EPERM) };
                fork_run(|| {
                    sig::set_users(real, effective, saved);
                    assert_eq!(sig::kill(child.pid(), 0), expected, "{real} {effective} {saved}");
                })
                .succeeds();
            }
        }
    }
    "SIGCONT may be sent to any process of the session" => {
        let child = journal::listener(&[SIGCONT], || {});
        fork_run(|| {
            if sig::become_nobody_else().is_some() {
                assert_eq!(sig::kill(child.pid(), SIGCONT), Ok(0));
                journal::wait_for(1);
                // SAFETY: no argument.
                unsafe { libc::setsid() };
                assert_eq!(sig::kill(child.pid(), SIGCONT), Err(EPERM));
            }
        })
        .succeeds();
    }
    "a group where one may be signalled is no error" => {
        sig::own_group();
        let s = Shared::new();
        let child = journal::listener(&[SIGWINCH], || {
            if is_root() {
                sig::set_users(3001, 3001, 3001);
            }
        });
        let group = getpid();
        fork_run(|| {
            if is_root() {
                sig::set_users(3001, 3001, 3001);
                assert_eq!(sig::kill(-group, SIGWINCH), Ok(0));
                sig::set_users(3001, 3001, 3001);
                journal::wait_for(1);
                assert_eq!(journal::only().tid, child.pid());
            }
            s.set(0, 1);
        })
        .succeeds();
    }
    "a group where none may be signalled is EPERM" => {
        let child = fork_run(|| {
            sig::own_group();
            loop {
                let _ = sig::pause();
            }
        });
        // SAFETY: numbers.
        wait_until(|| unsafe { libc::getpgid(child.pid()) } == child.pid());
        fork_run(|| {
            if sig::become_nobody_else().is_some() {
                assert_eq!(sig::kill(-child.pid(), 0), Err(EPERM));
                assert_eq!(sig::kill(-child.pid(), EAGAIN), Err(EPERM));
            }
        })
        .succeeds();
    }
});
