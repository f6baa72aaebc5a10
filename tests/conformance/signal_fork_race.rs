//! A signal for a child that has just been forked: it always gets it, whatever it is doing.

use libc::{SIGHUP, SIGTERM};
use ringer_support::prelude::*;
use sig::{bit, RTMIN};
use std::hint::spin_loop;
use std::sync::atomic::AtomicU64;

static HEARD: AtomicU64 = AtomicU64::new(0);
static SENDER: AtomicU64 = AtomicU64::new(0);

extern "C" fn hear(_: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    // SAFETY: it is one of kill.
    SENDER.store(unsafe { (*info).si_pid() } as u64, SeqCst);
    HEARD.fetch_add(1, SeqCst);
}

fn for_ever() -> ! {
    loop {
        let _ = sig::pause();
    }
}

/// A little time, different in each round.
fn linger(round: usize) {
    for _ in 0..(round % 50) * (round % 50) {
        spin_loop();
    }
}

/// A child that ends when it has heard the signal.
fn listening_child() -> Child {
    fork_run(|| {
        while HEARD.load(SeqCst) == 0 {
            // Any call at all; the signal may come before, within and after it.
            std::hint::black_box(getppid());
        }
        assert_eq!(SENDER.load(SeqCst), getppid() as u64);
    })
}

both_worlds!(by_default_it_dies, worlds = armed, timeout = 60, {
    for round in 0..1000 {
        let child = fork_run(|| for_ever());
        linger(round);
        child.kill(SIGTERM);
        assert_eq!(child.wait().signal(), Some(SIGTERM), "round {round}");
    }
});

both_worlds!(
    the_handler_it_inherited_runs,
    worlds = armed,
    timeout = 60,
    {
        signal::handle(SIGUSR1, SA_RESTART, hear);
        for round in 0..1000 {
            let child = listening_child();
            linger(round);
            child.kill(SIGUSR1);
            child.succeeds();
        }
        assert_eq!(HEARD.load(SeqCst), 0);
    }
);

both_worlds!(a_blocked_signal_waits_for_it, timeout = 60, {
    signal::handle(SIGUSR1, 0, hear);
    sig::block(bit(SIGUSR1));
    for round in 0..1000 {
        let child = fork_run(|| {
            assert_eq!(sig::sigsuspend(0), Err(EINTR));
            assert_eq!(HEARD.load(SeqCst), 1);
        });
        linger(round);
        child.kill(SIGUSR1);
        child.succeeds();
    }
});

both_worlds!(real_time_signals_all_come, worlds = armed, timeout = 60, {
    sig::block(bit(RTMIN));
    for round in 0..300 {
        let child = fork_run(|| {
            for value in 0..10 {
                assert_eq!(sig::wait_info(bit(RTMIN), None).unwrap().value(), value);
            }
        });
        linger(round);
        for value in 0..10 {
            sig::sigqueue(child.pid(), RTMIN, value).unwrap();
        }
        child.succeeds();
    }
});

both_worlds!(by_tgkill_and_to_its_group, timeout = 60, {
    for round in 0..500 {
        let child = fork_run(|| for_ever());
        linger(round);
        if round % 2 == 0 {
            sig::tgkill(child.pid(), child.pid(), SIGTERM).unwrap();
        } else {
            // SAFETY: numbers.
            unsafe { libc::setpgid(child.pid(), child.pid()) };
            sig::kill(-child.pid(), SIGTERM).unwrap();
        }
        assert_eq!(child.wait().signal(), Some(SIGTERM));
    }
});

both_worlds!(
    before_within_and_after_its_exec,
    worlds = armed,
    timeout = 60,
    {
        let path = program("envoy", Linkage::Dynamic);
        for round in 0..200 {
            let child = fork_run(|| exec(&path, &["sleep"]));
            for _ in 0..round * 200 {
                spin_loop();
            }
            child.kill(SIGTERM);
            assert_eq!(child.wait().signal(), Some(SIGTERM), "round {round}");
        }
    }
);

// Until the exec it has a handler, afterwards the signal kills: it does one or the other.
both_worlds!(with_a_handler_that_exec_forgets, timeout = 60, {
    let path = program("envoy", Linkage::Dynamic);
    let s = Shared::new();
    signal::publish(s.word(0));
    signal::count(SIGHUP, SA_RESTART);
    for round in 0..200 {
        s.set(0, 0);
        let child = fork_run(|| exec(&path, &["sleep"]));
        for _ in 0..round * 100 {
            spin_loop();
        }
        child.kill(SIGHUP);
        wait_until(|| s.get(0) == 1 || procfs::state(child.pid()) == Some('Z'));
        child.kill(SIGTERM);
        let by = if s.get(0) == 1 { SIGTERM } else { SIGHUP };
        assert_eq!(child.wait().signal(), Some(by), "round {round}");
    }
});

both_worlds!(by_clone_past_libc, timeout = 60, {
    for round in 0..500 {
        let child = raw_clone_child(|| for_ever());
        linger(round);
        child.kill(SIGTERM);
        assert_eq!(child.wait().signal(), Some(SIGTERM));
    }
});

both_worlds!(two_threads_fork_and_kill, worlds = armed, timeout = 60, {
    signal::handle(SIGUSR1, SA_RESTART, hear);
    let threads = [0, 1].map(|which| {
        std::thread::spawn(move || {
            for round in 0..300 {
                if which == 0 {
                    let child = fork_run(|| for_ever());
                    linger(round);
                    child.kill(SIGTERM);
                    assert_eq!(child.wait().signal(), Some(SIGTERM));
                } else {
                    let child = listening_child();
                    linger(round);
                    child.kill(SIGUSR1);
                    child.succeeds();
                }
            }
        })
    });
    threads.into_iter().for_each(|t| t.join().unwrap());
});

// While signals come in all the time, also between fork and what it does to the child.
both_worlds!(
    a_parent_that_is_itself_under_fire,
    worlds = armed,
    timeout = 60,
    {
        signal::handle(SIGALRM, SA_RESTART, hear);
        signal::alarm_every(200);
        for round in 0..500 {
            let child = fork_run(|| for_ever());
            linger(round);
            child.kill(SIGTERM);
            assert_eq!(child.wait().signal(), Some(SIGTERM));
        }
        signal::alarm_every(0);
        assert_ne!(HEARD.load(SeqCst), 0);
    }
);

both_worlds!(
    the_child_signals_its_parent_at_once,
    worlds = armed,
    timeout = 60,
    {
        signal::handle(SIGUSR1, SA_RESTART, hear);
        for round in 1..=1000 {
            let child = fork_run(|| sig::kill(getppid(), SIGUSR1).map(|_| ()).unwrap());
            child.succeeds();
            assert_eq!(HEARD.load(SeqCst), round, "it came before wait returned");
        }
    }
);

both_worlds!(a_grandchild_of_a_parent_that_dies, timeout = 60, {
    become_subreaper().unwrap();
    let s = Shared::new();
    for round in 0..200 {
        s.set(0, 0);
        let child = fork_run(|| {
            let grandchild = fork_run(|| for_ever());
            s.set(0, grandchild.leak() as u64);
            for_ever();
        });
        s.wait_for(0, 1);
        let grandchild = Child::adopt(s.get(0) as i32);
        linger(round);
        child.kill(SIGKILL);
        grandchild.kill(SIGTERM);
        assert_eq!(child.wait().signal(), Some(SIGKILL));
        assert_eq!(grandchild.wait().signal(), Some(SIGTERM));
    }
});

fn bash(line: &str) {
    fork_run(|| {
        sig::default(SIGPIPE);
        exec(std::path::Path::new("/bin/bash"), &["-c", line])
    })
    .succeeds();
}

both_worlds!(
    bash_kills_what_it_has_just_started,
    worlds = armed,
    timeout = 60,
    {
        bash("for i in $(seq 200); do sleep 100 & kill $!; wait $!; [ $? = 143 ] || exit 1; done");
    }
);

both_worlds!(bash_kills_a_subshell_with_a_trap, timeout = 60, {
    bash(
        "for i in $(seq 100); do
            (trap 'exit 9' USR1; kill -STOP $BASHPID; while :; do :; done) &
            while [ \"$(cut -d' ' -f3 /proc/$!/stat)\" != T ]; do :; done
            kill -USR1 $!; kill -CONT $!; wait $!; [ $? = 9 ] || exit 1
        done",
    );
});

both_worlds!(dash_kills_what_it_has_just_started, timeout = 60, {
    fork_run(|| {
        sig::default(SIGPIPE);
        let line = "i=0; while [ $i -lt 200 ]; do
            sleep 100 & kill $!; wait $!; [ $? = 143 ] || exit 1; i=$((i+1)); done";
        exec(std::path::Path::new("/bin/dash"), &["-c", line])
    })
    .succeeds();
});
