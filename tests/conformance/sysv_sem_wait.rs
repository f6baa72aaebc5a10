//! Who waits on System V semaphores, in which order, and for how long. See semop(2), signal(7).

use libc::EIDRM;
use ringer_support::prelude::*;
use ringer_support::sysv::*;
use std::time::Duration;

both_worlds!(a_decrement_waits_for_an_increment, worlds = all, {
    let s = Sems::new(1);
    let child = fork_run(|| assert_eq!(s.op(&[op(0, -2)]), Ok(0)));
    wait_until(|| s.ncnt(0) == 1);
    child.sleeping();
    s.op(&[op(0, 1)]).unwrap();
    child.sleeping();
    assert_eq!((s.get(0), s.ncnt(0)), (1, 1));
    s.op(&[op(0, 1)]).unwrap();
    let pid = child.pid();
    child.succeeds();
    assert_eq!((s.get(0), s.ncnt(0), s.pid(0)), (0, 0, pid));
});

both_worlds!(zero_is_waited_for, {
    let s = Sems::new(1);
    s.set(0, 2);
    let children: Vec<_> = (0..3)
        .map(|_| fork_run(|| assert_eq!(s.op(&[op(0, 0)]), Ok(0))))
        .collect();
    wait_until(|| s.zcnt(0) == 3);
    s.op(&[op(0, -1)]).unwrap();
    assert_eq!((s.zcnt(0), s.ncnt(0)), (3, 0));
    s.op(&[op(0, -1)]).unwrap();
    assert_eq!(s.zcnt(0), 0);
    all_succeed(children);
});

both_worlds!(a_zero_in_passing_is_seen, {
    let s = Sems::new(1);
    s.set(0, 1);
    // One waits to take, one for zero. SETVAL to 1 lets the first take it, which makes zero.
    let zero = fork_run(|| assert_eq!(s.op(&[op(0, 0)]), Ok(0)));
    wait_until(|| s.zcnt(0) == 1);
    let taker = fork_run(|| assert_eq!(s.op(&[op(0, -2)]), Ok(0)));
    wait_until(|| s.ncnt(0) == 1);
    s.op(&[op(0, 1)]).unwrap();
    all_succeed([zero, taker]);
    assert_eq!(s.get(0), 0);
});

both_worlds!(a_thread_is_woken_by_another_thread, {
    let s = Sems::new(1);
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| s.op(&[op(0, -1)]));
        wait_until(|| s.ncnt(0) == 1);
        s.op(&[op(0, 1)]).unwrap();
        assert_eq!(waiter.join().unwrap(), Ok(0));
    });
});

both_worlds!(setval_and_setall_wake, {
    let s = Sems::new(2);
    for way in 0..2 {
        let child = fork_run(|| assert_eq!(s.op(&[op(1, -1)]), Ok(0)));
        wait_until(|| s.ncnt(1) == 1);
        if way == 0 {
            s.set(1, 1);
        } else {
            s.set_all(&[0, 1]).unwrap();
        }
        child.succeeds();
        assert_eq!(s.all(), [0, 0]);
    }
});

/// Each child takes `amount` and writes its number down; they come to wait in this order.
fn takers(s: &Sems, order: &Shared, amounts: &[i16]) -> Vec<Child> {
    let mut children = Vec::new();
    for (i, &amount) in amounts.iter().enumerate() {
        let child = fork_run(|| {
            s.op(&[op(0, -amount)]).unwrap();
            let place = order.bump(0);
            order.set(place as usize, i as u64 + 1);
            // The next one may go on only now.
            s.op(&[op(1, 1)]).unwrap();
        });
        wait_until(|| s.ncnt(0) == i + 1);
        children.push(child);
    }
    children
}

both_worlds!(the_first_to_come_is_served_first, {
    let (s, order) = (Sems::new(2), Shared::new());
    let children = takers(&s, &order, &[1, 1, 1, 1, 1, 1]);
    for _ in 0..6 {
        s.op(&[op(0, 1)]).unwrap();
        s.op(&[op(1, -1)]).unwrap();
    }
    all_succeed(children);
    let got: Vec<u64> = (1..=6).map(|i| order.get(i)).collect();
    assert_eq!(got, [1, 2, 3, 4, 5, 6]);
});

both_worlds!(who_wants_less_overtakes_who_wants_more, {
    let (s, order) = (Sems::new(2), Shared::new());
    let children = takers(&s, &order, &[3, 1, 2, 1]);
    for _ in 0..7 {
        s.op(&[op(0, 1)]).unwrap();
        // Whoever is served says so; three times nobody is.
        while s.get(0) == 0 && semtimedop(s.id, &[op(1, -1)], Duration::from_millis(1)).is_err() {
            std::thread::yield_now();
        }
    }
    all_succeed(children);
    let got: Vec<u64> = (1..=4).map(|i| order.get(i)).collect();
    assert_eq!(got, [2, 4, 3, 1]);
});

both_worlds!(a_newcomer_does_not_overtake_by_an_atomic_operation, {
    let s = Sems::new(1);
    let first = fork_run(|| assert_eq!(s.op(&[op(0, -1)]), Ok(0)));
    wait_until(|| s.ncnt(0) == 1);
    // Up and at once down again: the sleeper sees none of it, and stays.
    assert_eq!(s.op(&[op(0, 1), op(0, -1)]), Ok(0));
    first.sleeping();
    assert_eq!(s.ncnt(0), 1);
    // Given up, it belongs to the sleeper already.
    s.op(&[op(0, 1)]).unwrap();
    assert_eq!(s.op(&[op_with(0, -1, NOWAIT)]), Err(EAGAIN));
    first.succeeds();
});

both_worlds!(several_semaphores_are_taken_at_once, {
    let s = Sems::new(2);
    let both = fork_run(|| assert_eq!(s.op(&[op(0, -1), op(1, -1)]), Ok(0)));
    wait_until(|| s.ncnt(0) == 1);
    // It waits for the first of its operations that can not be done.
    assert_eq!((s.ncnt(0), s.ncnt(1)), (1, 0));
    s.op(&[op(0, 1)]).unwrap();
    wait_until(|| s.ncnt(1) == 1);
    assert_eq!((s.ncnt(0), s.all()), (0, vec![1, 0]));
    // Who wants only the one takes it away meanwhile.
    assert_eq!(s.op(&[op_with(0, -1, NOWAIT)]), Ok(0));
    s.op(&[op(1, 1)]).unwrap();
    assert_eq!((s.ncnt(0), s.ncnt(1)), (1, 0));
    s.op(&[op(0, 1)]).unwrap();
    both.succeeds();
    assert_eq!(s.all(), [0, 0]);
});

both_worlds!(complex_and_simple_operations_share_one_order, {
    let (s, order) = (Sems::new(3), Shared::new());
    let served = |n| {
        let place = order.bump(0);
        order.set(place as usize, n);
    };
    let both = fork_run(|| {
        s.op(&[op(0, -1), op(1, -1)]).unwrap();
        served(1);
    });
    wait_until(|| s.ncnt(0) == 1);
    let simple = fork_run(|| {
        s.op(&[op(0, -1)]).unwrap();
        served(2);
    });
    wait_until(|| s.ncnt(0) == 2);
    s.op(&[op(1, 1)]).unwrap();
    s.op(&[op(0, 1)]).unwrap(); // the first one takes both
    both.succeeds();
    assert_eq!((s.all(), s.ncnt(0)), (vec![0, 0, 0], 1));
    s.op(&[op(0, 1)]).unwrap();
    simple.succeeds();
    assert_eq!((order.get(1), order.get(2)), (1, 2));
});

both_worlds!(one_completed_operation_lets_an_earlier_one_go_on, {
    let s = Sems::new(2);
    // The first waits for what the second, when it is served, gives.
    let first = fork_run(|| assert_eq!(s.op(&[op(1, -1)]), Ok(0)));
    wait_until(|| s.ncnt(1) == 1);
    let second = fork_run(|| assert_eq!(s.op(&[op(0, -1), op(1, 1)]), Ok(0)));
    wait_until(|| s.ncnt(0) == 1);
    s.op(&[op(0, 1)]).unwrap();
    all_succeed([first, second]);
    assert_eq!(s.all(), [0, 0]);
});

both_worlds!(a_sleeper_is_told_when_its_operation_becomes_impossible, {
    let s = Sems::new(2);
    // It would make number 1 too large, but has to wait for number 0 first.
    let child = fork_run(|| assert_eq!(s.op(&[op(0, -1), op(1, 32767)]), Err(libc::ERANGE)));
    wait_until(|| s.ncnt(0) == 1);
    s.set(1, 5);
    child.sleeping();
    s.op(&[op(0, 1)]).unwrap();
    child.succeeds();
    assert_eq!(s.all(), [1, 5]);
});

both_worlds!(a_handler_ends_the_wait_whatever_its_flags, worlds = all, {
    for flags in [0, SA_RESTART] {
        let (s, round) = (Sems::new(1), Shared::new());
        let child = fork_run(|| {
            signal::count(SIGUSR1, flags);
            assert_eq!(s.op(&[op(0, -1)]), Err(EINTR));
            assert_eq!(signal::seen(SIGUSR1), 1);
            assert_eq!(s.ncnt(0), 0);
            round.set(0, 1);
            let long = Duration::from_secs(100);
            assert_eq!(semtimedop(s.id, &[op(0, -1)], long), Err(EINTR));
        });
        for now in 0..2 {
            round.wait_for(0, now);
            wait_until(|| s.ncnt(0) == 1);
            child.sleeping();
            child.kill(SIGUSR1);
        }
        child.succeeds();
    }
});

both_worlds!(an_ignored_signal_does_not_end_the_wait, {
    let s = Sems::new(1);
    let child = fork_run(|| {
        signal::ignore(SIGUSR1);
        assert_eq!(s.op(&[op(0, -1)]), Ok(0));
    });
    wait_until(|| s.ncnt(0) == 1);
    child.sleeping();
    child.kill(SIGUSR1);
    child.sleeping();
    s.op(&[op(0, 1)]).unwrap();
    child.succeeds();
});

both_worlds!(a_handler_may_use_the_semaphores_too, {
    static ID: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(0);
    extern "C" fn up(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
        semop(ID.load(SeqCst), &[op(0, 1)]).unwrap();
    }
    let s = Sems::new(1);
    ID.store(s.id, SeqCst);
    let child = fork_run(|| {
        signal::handle(SIGUSR1, SA_RESTART, up);
        assert_eq!(s.op(&[op(0, -2)]), Err(EINTR));
        assert_eq!(s.op(&[op(0, -1)]), Ok(0));
    });
    wait_until(|| s.ncnt(0) == 1);
    child.sleeping();
    child.kill(SIGUSR1);
    child.succeeds();
});

both_worlds!(a_killed_sleeper_waits_no_more, worlds = all, {
    let s = Sems::new(1);
    let doomed = fork_run(|| {
        let _ = s.op(&[op(0, -1)]);
    });
    wait_until(|| s.ncnt(0) == 1);
    let next = fork_run(|| assert_eq!(s.op(&[op(0, -1)]), Ok(0)));
    wait_until(|| s.ncnt(0) == 2);
    doomed.kill_9();
    assert_eq!(s.ncnt(0), 1);
    s.op(&[op(0, 1)]).unwrap();
    next.succeeds();
    assert_eq!(s.get(0), 0);
});

both_worlds!(many_processes_exclude_each_other, timeout = 60, {
    const TURNS: u64 = 400;
    let (s, count) = (Sems::new(1), Shared::new());
    s.set(0, 1);
    let children: Vec<_> = (0..6)
        .map(|i| {
            let (s, count) = (&s, &count);
            fork_run(move || {
                let flags = if i % 2 == 0 { SEM_UNDO } else { 0 };
                for _ in 0..TURNS {
                    s.op(&[op_with(0, -1, flags)]).unwrap();
                    count.set(1, count.get(1) + 1); // not atomic
                    s.op(&[op_with(0, 1, flags)]).unwrap();
                }
            })
        })
        .collect();
    all_succeed(children);
    assert_eq!((count.get(1), s.get(0)), (6 * TURNS, 1));
});

both_worlds!(philosophers_do_not_starve, timeout = 60, {
    const N: u16 = 5;
    let s = Sems::new(c_int::from(N));
    s.set_all(&[1; N as usize]).unwrap();
    let children: Vec<_> = (0..N)
        .map(|i| {
            let s = &s;
            fork_run(move || {
                for _ in 0..200 {
                    s.op(&[op(i, -1), op((i + 1) % N, -1)]).unwrap();
                    s.op(&[op(i, 1), op((i + 1) % N, 1)]).unwrap();
                }
            })
        })
        .collect();
    all_succeed(children);
    assert_eq!(s.all(), [1; N as usize]);
});

both_worlds!(two_processes_take_turns, timeout = 60, {
    let s = Sems::new(2);
    let child = fork_run(|| {
        for _ in 0..3000 {
            s.op(&[op(0, -1)]).unwrap();
            s.op(&[op(1, 1)]).unwrap();
        }
    });
    for _ in 0..3000 {
        s.op(&[op(0, 1)]).unwrap();
        s.op(&[op(1, -1)]).unwrap();
    }
    child.succeeds();
    assert_eq!(s.all(), [0, 0]);
});

both_worlds!(a_set_is_removed_while_others_come_and_go, timeout = 60, {
    for _ in 0..30 {
        let s = Sems::new(1);
        let children: Vec<_> = (0..4)
            .map(|_| {
                fork_run(|| loop {
                    match s.op(&[op(0, -1)]) {
                        Ok(_) => {}
                        Err(e) => {
                            assert!(e == EIDRM || e == EINVAL, "{e}");
                            break;
                        }
                    }
                })
            })
            .collect();
        for _ in 0..20 {
            s.op(&[op(0, 2)]).unwrap();
        }
        s.remove().unwrap();
        all_succeed(children);
    }
});

both_worlds!(a_stop_ends_a_waiting_operation, worlds = all, {
    let s = Sems::new(1);
    let child = fork_run(|| assert_eq!(s.op(&[op(0, -1)]), Err(EINTR)));
    wait_until(|| s.ncnt(0) == 1);
    child.sleeping();
    child.kill(SIGSTOP);
    procfs::stopped(child.pid());
    child.kill(SIGCONT);
    child.succeeds();
});
