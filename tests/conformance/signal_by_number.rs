//! The same signal sent in several ways, while it is blocked: by libc's functions, by the system call's number, from outside.
//! See signal(7) "Queueing and delivery semantics", rt_sigqueueinfo(2), tgkill(2).

use libc::{SIGHUP, SI_QUEUE, SI_TKILL, SI_USER};
use ringer_support::prelude::*;
use sig::{bit, Info, RTMIN};

fn queue_by_number(to: libc::pid_t, number: c_int, value: u64) {
    let mut info = Info::new(SI_QUEUE);
    info.payload[0] = getpid() as u64;
    info.payload[1] = value;
    sig::rt_sigqueueinfo(to, number, &info).unwrap();
}

/// Codes and values of what is pending, which is taken.
fn take_all(number: c_int) -> Vec<(c_int, u64)> {
    let one = || sig::poll_info(bit(number)).ok();
    let value = |info: &Info| {
        if info.code == SI_QUEUE {
            info.value()
        } else {
            0
        }
    };
    std::iter::from_fn(one)
        .map(|i| (i.code, value(&i)))
        .collect()
}

/// A child that blocks `number`, and takes what `send` sends to it.
fn to_a_child(number: c_int, send: impl FnOnce(libc::pid_t), expected: &[(c_int, u64)]) {
    let s = Shared::new();
    let child = fork_run(|| {
        sig::block(bit(number));
        s.set(0, 1);
        s.wait_for(1, 1);
        assert_eq!(take_all(number), expected);
        assert_eq!(sig::pending(), 0);
    });
    s.wait_for(0, 1);
    send(child.pid());
    s.set(1, 1);
    child.succeeds();
}

cases!(a_standard_signal_is_one, {
    "to oneself, by number first" => {
        sig::block(bit(SIGUSR1));
        sig::sys_kill(getpid(), SIGUSR1).unwrap();
        sig::sigqueue(getpid(), SIGUSR1, 5).unwrap();
        assert_eq!(take_all(SIGUSR1), [(SI_USER, 0)]);
    }
    "to oneself, by name first" => {
        sig::block(bit(SIGUSR1));
        sig::sigqueue(getpid(), SIGUSR1, 5).unwrap();
        sig::sys_kill(getpid(), SIGUSR1).unwrap();
        queue_by_number(getpid(), SIGUSR1, 6);
        assert_eq!(take_all(SIGUSR1), [(SI_QUEUE, 5)]);
    }
    "but for the thread and for the process there may be one each" => {
        sig::block(bit(SIGUSR1));
        sig::kill(getpid(), SIGUSR1).unwrap();
        sig::tgkill(getpid(), gettid(), SIGUSR1).unwrap();
        sig::tkill(gettid(), SIGUSR1).unwrap();
        sig::raise(SIGUSR1).unwrap();
        // libc says SI_USER for SI_TKILL.
        assert_eq!(take_all(SIGUSR1), [(SI_USER, 0), (SI_USER, 0)]);
    }
    "to another process, by number first" => {
        to_a_child(SIGUSR1, |to| {
            queue_by_number(to, SIGUSR1, 8);
            sig::kill(to, SIGUSR1).unwrap();
        }, &[(SI_QUEUE, 8)]);
    }
    "to another process, by name first" => {
        to_a_child(SIGUSR1, |to| {
            sig::kill(to, SIGUSR1).unwrap();
            queue_by_number(to, SIGUSR1, 8);
            sig::sys_kill(to, SIGUSR1).unwrap();
        }, &[(SI_USER, 0)]);
    }
    "to another process that has had it pending before it blocked another" => {
        to_a_child(SIGHUP, |to| {
            sig::kill(to, SIGHUP).unwrap();
            sig::sigqueue(to, SIGHUP, 3).unwrap();
        }, &[(SI_USER, 0)]);
    }
    "in a handler, when it is unblocked" => {
        journal::on(SIGUSR1, 0);
        sig::block(bit(SIGUSR1));
        sig::sys_kill(getpid(), SIGUSR1).unwrap();
        sig::kill(getpid(), SIGUSR1).unwrap();
        queue_by_number(getpid(), SIGUSR1, 1);
        sig::unblock(bit(SIGUSR1));
        assert_eq!(journal::only().code, SI_USER);
    }
});

cases!(a_child_that_inherits_what_is_blocked, {
    "what it is sent before its first call goes before what comes later" => {
        sig::block(bit(SIGUSR1));
        let s = Shared::new();
        let child = fork_run(|| {
            s.wait_for(0, 1);
            sig::block(bit(SIGUSR2));
            s.set(1, 1);
            s.wait_for(2, 1);
            assert_eq!(take_all(SIGUSR1), [(SI_USER, 0)]);
            assert_eq!(take_all(RTMIN), []);
        });
        sig::kill(child.pid(), SIGUSR1).unwrap();
        s.set(0, 1);
        s.wait_for(1, 1);
        sig::sigqueue(child.pid(), SIGUSR1, 4).unwrap();
        s.set(2, 1);
        child.succeeds();
    }
    "and of real-time ones all come, in their order" => {
        sig::block(bit(RTMIN));
        let s = Shared::new();
        let child = fork_run(|| {
            s.wait_for(0, 1);
            sig::block(bit(SIGUSR2));
            s.set(1, 1);
            s.wait_for(2, 1);
            let values: Vec<u64> = take_all(RTMIN).iter().map(|(_, value)| *value).collect();
            assert_eq!(values, (0..20).collect::<Vec<_>>());
        });
        for n in 0..10 {
            sig::sigqueue(child.pid(), RTMIN, n).unwrap();
        }
        s.set(0, 1);
        s.wait_for(1, 1);
        for n in 10..20 {
            sig::sigqueue(child.pid(), RTMIN, n).unwrap();
        }
        s.set(2, 1);
        child.succeeds();
    }
});

cases!(real_time_signals_keep_their_order, {
    "by number and by name in turn, to oneself" => {
        sig::block(bit(RTMIN));
        for n in 0..50 {
            queue_by_number(getpid(), RTMIN, 2 * n);
            sig::sigqueue(getpid(), RTMIN, 2 * n + 1).unwrap();
        }
        let values: Vec<u64> = take_all(RTMIN).iter().map(|(_, value)| *value).collect();
        assert_eq!(values, (0..100).collect::<Vec<_>>());
    }
    "by number and by name in turn, to another process" => {
        let expected: Vec<(c_int, u64)> = (0..100).map(|n| (SI_QUEUE, n)).collect();
        to_a_child(RTMIN, |to| {
            for n in 0..50 {
                sig::sigqueue(to, RTMIN, 2 * n).unwrap();
                queue_by_number(to, RTMIN, 2 * n + 1);
            }
        }, &expected);
    }
});

cases!(by_number_what_the_kernel_refuses, {
    "another process may not be told what only the kernel says" => {
        to_a_child(RTMIN, |to| {
            for code in [SI_USER, SI_TKILL, 1] {
                assert_eq!(sig::rt_sigqueueinfo(to, RTMIN, &Info::new(code)), Err(libc::EPERM));
            }
            assert_eq!(sig::rt_sigqueueinfo(to, RTMIN, 8_usize), Err(libc::EFAULT));
            assert_eq!(sig::tgkill(to, getpid(), RTMIN), Err(libc::ESRCH));
        }, &[]);
    }
});

cases!(from_outside_and_from_inside, {
    "a standard signal that is taken is one" => {
        sig::block(bit(SIGUSR1));
        sig::sigqueue(getpid(), SIGUSR1, 7).unwrap();
        let words = format!("kill {} {SIGUSR1}", getpid());
        let words: Vec<&str> = words.split(' ').collect();
        fork_run(|| exec(&program("envoy", Linkage::Static), &words)).succeeds();
        assert_eq!(take_all(SIGUSR1).len(), 1);
        assert_eq!(sig::pending(), 0);
    }
});
