//! Many signals at once, from and to many: each is counted, and each storm has its end.

use libc::{SIGCHLD, SIGTERM};
use ringer_support::prelude::*;
use sig::{bit, RTMIN};
use std::sync::atomic::AtomicU64;

static HEARD: AtomicU64 = AtomicU64::new(0);

extern "C" fn hear(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
    HEARD.fetch_add(1, SeqCst);
}

fn send(to: i32, value: u64) {
    while let Err(e) = sig::sigqueue(to, RTMIN, value) {
        assert_eq!(e, EAGAIN);
        pause(std::time::Duration::from_micros(100));
    }
}

both_worlds!(
    everybody_sends_to_everybody,
    worlds = armed,
    timeout = 60,
    {
        const MEMBERS: usize = 4;
        const EACH: u64 = 1000;
        let s = Shared::new();
        let members: Vec<Child> = (0..MEMBERS)
            .map(|me| {
                fork_run(|| {
                    signal::handle(RTMIN, SA_RESTART, hear);
                    s.set(10 + me, getpid() as u64);
                    s.barrier(0, MEMBERS as u64);
                    for n in 0..EACH {
                        for other in (0..MEMBERS).filter(|other| *other != me) {
                            send(s.get(10 + other) as i32, n);
                        }
                    }
                    wait_until(|| HEARD.load(SeqCst) == EACH * (MEMBERS as u64 - 1));
                    s.barrier(1, MEMBERS as u64);
                    assert_eq!(HEARD.load(SeqCst), EACH * (MEMBERS as u64 - 1));
                })
            })
            .collect();
        all_succeed(members);
    }
);

both_worlds!(
    standard_signals_coalesce_but_the_last_is_heard,
    timeout = 60,
    {
        let s = Shared::new();
        let target = fork_run(|| {
            signal::publish(s.word(1));
            signal::count(SIGUSR1, 0);
            signal::count(SIGUSR2, SA_RESTART);
            s.set(0, 1);
            s.wait_for(3, 1);
        });
        s.wait_for(0, 1);
        let to = target.pid();
        let senders = [SIGUSR1, SIGUSR2]
            .map(|number| fork_run(move || (0..3000).for_each(|_| signal::kill(to, number))));
        all_succeed(senders);
        for n in 0..200 {
            let before = s.get(1);
            target.kill(if n % 2 == 0 { SIGUSR1 } else { SIGUSR2 });
            wait_until(|| s.get(1) > before);
        }
        assert!(s.get(1) <= 6200);
        s.set(3, 1);
        target.succeeds();
    }
);

both_worlds!(ping_pong_with_sigsuspend, worlds = armed, timeout = 60, {
    const ROUNDS: u64 = 3000;
    let me = getpid();
    signal::handle(SIGUSR1, 0, hear);
    sig::block(bit(SIGUSR1));
    let child = fork_run(|| {
        for _ in 0..ROUNDS {
            assert_eq!(sig::sigsuspend(0), Err(EINTR));
            sig::kill(me, SIGUSR1).unwrap();
        }
        assert_eq!(HEARD.load(SeqCst), ROUNDS);
    });
    for _ in 0..ROUNDS {
        child.kill(SIGUSR1);
        assert_eq!(sig::sigsuspend(0), Err(EINTR));
    }
    child.succeeds();
    assert_eq!(HEARD.load(SeqCst), ROUNDS);
});

both_worlds!(ping_pong_with_sigwait, timeout = 60, {
    const ROUNDS: u64 = 3000;
    let me = getpid();
    sig::block(bit(SIGUSR1));
    let child = fork_run(|| {
        for _ in 0..ROUNDS {
            assert_eq!(sig::sigwait(bit(SIGUSR1)), Ok(SIGUSR1));
            sig::kill(me, SIGUSR1).unwrap();
        }
    });
    for _ in 0..ROUNDS {
        child.kill(SIGUSR1);
        assert_eq!(sig::sigwait(bit(SIGUSR1)), Ok(SIGUSR1));
    }
    child.succeeds();
});

both_worlds!(children_die_by_the_hundred, worlds = armed, timeout = 60, {
    static REAPED: AtomicU64 = AtomicU64::new(0);
    extern "C" fn reap(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
        // SAFETY: no status wanted.
        while unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) } > 0 {
            REAPED.fetch_add(1, SeqCst);
        }
    }
    signal::handle(SIGCHLD, SA_RESTART | libc::SA_NOCLDSTOP, reap);
    let p = pipe();
    for n in 1..=500u64 {
        fork_run(|| write_all(&p.w, b"x")).leak();
        // The parent reads while they die around it.
        assert_eq!(read_exactly(&p.r, 1), b"x");
        if n % 100 == 0 {
            wait_until(|| REAPED.load(SeqCst) == n);
        }
    }
    assert_eq!(wait_pid(-1, libc::WNOHANG), Err(libc::ECHILD));
});

both_worlds!(stops_and_continues, timeout = 60, {
    let s = Shared::new();
    let child = fork_run(|| loop {
        s.bump(0);
    });
    for _ in 0..200 {
        let before = s.get(0);
        child.kill(SIGSTOP);
        let status = wait_pid(child.pid(), libc::WUNTRACED).unwrap().1 .0;
        assert!(libc::WIFSTOPPED(status));
        child.kill(SIGCONT);
        s.wait_for(0, before + 1);
    }
    child.kill_9();
});

both_worlds!(
    work_goes_on_in_a_storm_of_timers_and_senders,
    worlds = armed,
    timeout = 60,
    {
        for number in [SIGALRM, SIGUSR1, RTMIN] {
            signal::handle(number, SA_RESTART, hear);
        }
        let me = getpid();
        let s = Shared::new();
        let sender = fork_run(|| {
            for value in 0..3000 {
                sig::kill(me, SIGUSR1).unwrap();
                send(me, value);
            }
            s.set(0, 1);
        });
        signal::alarm_every(300);
        let p = pipe();
        let mut at = 0;
        while s.get(0) == 0 {
            assert_eq!(write(&p.w, &stream(at, 3000)), Ok(3000));
            assert!(read_exactly(&p.r, 3000) == stream(at, 3000));
            let child = fork_child(|| 5);
            child.exits_with(5);
            at += 3000;
        }
        signal::alarm_every(0);
        sender.succeeds();
        assert!(HEARD.load(SeqCst) > 3000);
    }
);

both_worlds!(masks_in_a_storm, timeout = 60, {
    signal::handle(RTMIN, 0, hear);
    let (me, s) = (getpid(), Shared::new());
    let sender = fork_run(|| {
        (0..5000).for_each(|value| send(me, value));
        s.set(0, 1);
    });
    while s.get(0) == 0 {
        sig::block(bit(RTMIN));
        let now = HEARD.load(SeqCst);
        std::hint::black_box(stream(0, 500));
        assert_eq!(HEARD.load(SeqCst), now, "it came although it was blocked");
        sig::unblock(bit(RTMIN));
    }
    sender.succeeds();
    wait_until(|| HEARD.load(SeqCst) == 5000);
});

both_worlds!(
    a_process_that_is_killed_in_a_storm_leaves_the_others_well,
    worlds = armed,
    timeout = 60,
    {
        let s = Shared::new();
        for round in 0..30u64 {
            let target = fork_run(|| {
                signal::handle(RTMIN, 0, hear);
                s.set(0, round + 1);
                loop {
                    sig::block(bit(RTMIN));
                    sig::unblock(bit(RTMIN));
                }
            });
            s.wait_for(0, round + 1);
            let to = target.pid();
            let senders: Vec<Child> = (0..2)
                .map(|_| {
                    fork_run(move || {
                        while sig::sigqueue(to, RTMIN, 1) != Err(libc::ESRCH) {
                            // A zombie takes them, until it is waited for.
                        }
                    })
                })
                .collect();
            pause(std::time::Duration::from_micros(round * 50));
            target.kill(if round % 2 == 0 { SIGKILL } else { SIGTERM });
            assert!(target.wait().signal().is_some());
            all_succeed(senders);
        }
    }
);
