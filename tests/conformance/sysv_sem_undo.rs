//! SEM_UNDO. See semop(2), "SEM_UNDO", and exec(3), fork(2) about semadj values.

use libc::ERANGE;
use ringer_support::prelude::*;
use ringer_support::sysv::*;

fn undo(num: u16, value: i16) -> libc::sembuf {
    op_with(num, value, SEM_UNDO)
}

both_worlds!(exit_gives_back_what_was_taken, worlds = all, {
    let s = Sems::new(3);
    s.set_all(&[5, 0, 1]).unwrap();
    let child = fork_run(|| {
        s.op(&[undo(0, -2), undo(1, 3), op(2, -1)]).unwrap();
        s.op(&[undo(0, -1)]).unwrap();
        assert_eq!(s.all(), [2, 3, 0]);
    });
    let pid = child.pid();
    child.succeeds();
    assert_eq!(s.all(), [5, 0, 0]);
    assert_eq!((s.pid(0), s.pid(1)), (pid, pid));
});

both_worlds!(exit_of_every_kind_gives_back, {
    let s = Sems::new(1);
    for how in 0..4 {
        s.set(0, 1);
        let child = fork_run(|| {
            s.op(&[undo(0, -1)]).unwrap();
            match how {
                // SAFETY: ends the process.
                0 => unsafe { libc::exit(0) },
                // SAFETY: as above.
                1 => unsafe { libc::_exit(0) },
                // SAFETY: as above.
                2 => unsafe { libc::syscall(libc::SYS_exit_group, 0) },
                _ => 0,
            };
        });
        child.succeeds();
        assert_eq!(s.get(0), 1, "{how}");
    }
});

both_worlds!(a_killed_process_gives_back, worlds = all, {
    let (s, sync) = (Sems::new(2), Shared::new());
    s.set_all(&[1, 0]).unwrap();
    let child = fork_run(|| {
        s.op(&[undo(0, -1)]).unwrap();
        s.op(&[undo(1, 7)]).unwrap();
        sync.set(0, 1);
        loop {
            // SAFETY: no argument.
            unsafe { libc::pause() };
        }
    });
    sync.wait_for(0, 1);
    assert_eq!(s.all(), [0, 7]);
    let pid = child.pid();
    child.kill_9();
    assert_eq!(s.all(), [1, 0]);
    assert_eq!(s.pid(0), pid);
});

both_worlds!(who_waits_for_a_killed_process_goes_on, worlds = all, {
    let (s, sync) = (Sems::new(1), Shared::new());
    s.set(0, 1);
    let holder = fork_run(|| {
        s.op(&[undo(0, -1)]).unwrap();
        sync.set(0, 1);
        loop {
            // SAFETY: no argument.
            unsafe { libc::pause() };
        }
    });
    sync.wait_for(0, 1);
    let waiter = fork_run(|| assert_eq!(s.op(&[undo(0, -1)]), Ok(0)));
    wait_until(|| s.ncnt(0) == 1);
    waiter.sleeping();
    holder.kill_9();
    waiter.succeeds();
    assert_eq!(s.get(0), 1);
});

both_worlds!(a_taker_finds_it_at_once_after_a_kill, {
    for _ in 0..20 {
        let (s, sync) = (Sems::new(1), Shared::new());
        s.set(0, 1);
        let holder = fork_run(|| {
            s.op(&[undo(0, -1)]).unwrap();
            sync.set(0, 1);
            loop {
                // SAFETY: no argument.
                unsafe { libc::pause() };
            }
        });
        sync.wait_for(0, 1);
        holder.kill_9();
        assert_eq!(s.op(&[op_with(0, -1, NOWAIT)]), Ok(0));
        assert_eq!(s.op(&[op_with(0, -1, NOWAIT)]), Err(EAGAIN));
    }
});

both_worlds!(a_value_does_not_go_below_zero_or_above_the_largest, {
    let s = Sems::new(2);
    s.set_all(&[0, 32767]).unwrap();
    fork_run(|| {
        s.op(&[undo(0, 5), undo(1, -5)]).unwrap();
        fork_run(|| s.op(&[op(0, -3), op(1, 3)]).map(|_| ()).unwrap()).succeeds();
        assert_eq!(s.all(), [2, 32765]);
    })
    .succeeds();
    assert_eq!(s.all(), [0, 32767]);
});

both_worlds!(a_child_owes_nothing_of_its_parents, {
    let s = Sems::new(1);
    s.set(0, 3);
    fork_run(|| {
        s.op(&[undo(0, -1)]).unwrap();
        fork_run(|| {}).succeeds();
        assert_eq!(s.get(0), 2);
        fork_run(|| s.op(&[undo(0, -1)]).map(|_| ()).unwrap()).succeeds();
        assert_eq!(s.get(0), 2);
    })
    .succeeds();
    assert_eq!(s.get(0), 3);
});

both_worlds!(threads_owe_together, {
    let (s, sync) = (Sems::new(1), Shared::new());
    s.set(0, 3);
    let child = fork_run(|| {
        std::thread::scope(|scope| {
            scope.spawn(|| s.op(&[undo(0, -1)]).unwrap());
        });
        s.op(&[undo(0, -1)]).unwrap();
        sync.set(0, 1);
        sync.wait_for(0, 2);
    });
    sync.wait_for(0, 1);
    assert_eq!(s.get(0), 1); // the thread is gone, its process is not
    sync.set(0, 2);
    child.succeeds();
    assert_eq!(s.get(0), 3);
});

both_worlds!(exec_keeps_what_is_owed, worlds = all, {
    let s = Sems::new(1);
    s.set(0, 1);
    let (r, w) = (pipe(), pipe());
    let child = fork_run(|| {
        s.op(&[undo(0, -1)]).unwrap();
        dup2(&r.w, 1).unwrap();
        dup2(&w.r, 0).unwrap();
        close_range(3, u32::MAX, 0).unwrap();
        exec("/bin/sh".as_ref(), &["-c", "echo; read line"]);
    });
    drop((r.w, w.r));
    assert_eq!(read_n(&r.r, 1), Ok(b"\n".to_vec()));
    assert_eq!(s.get(0), 0);
    drop(w.w);
    child.wait();
    assert_eq!(s.get(0), 1);
});

both_worlds!(a_process_killed_after_exec_gives_back, {
    let s = Sems::new(1);
    s.set(0, 1);
    let p = pipe();
    let child = fork_run(|| {
        s.op(&[undo(0, -1)]).unwrap();
        dup2(&p.w, 1).unwrap();
        close_range(3, u32::MAX, 0).unwrap();
        exec("/bin/sh".as_ref(), &["-c", "echo; exec sleep 1000"]);
    });
    drop(p.w);
    assert_eq!(read_n(&p.r, 1), Ok(b"\n".to_vec()));
    assert_eq!(s.get(0), 0);
    child.kill_9();
    assert_eq!(s.get(0), 1);
});

both_worlds!(setval_and_setall_forget_what_is_owed, {
    let (s, sync) = (Sems::new(2), Shared::new());
    for way in 0..2u64 {
        s.set_all(&[5, 5]).unwrap();
        let child = fork_run(|| {
            s.op(&[undo(0, -2), undo(1, -2)]).unwrap();
            sync.set(0, 1);
            sync.wait_for(0, 2);
        });
        sync.wait_for(0, 1);
        if way == 0 {
            s.set(0, 1);
        } else {
            s.set_all(&[1, 1]).unwrap();
        }
        sync.set(0, 2);
        child.succeeds();
        let expected = if way == 0 { [1, 5] } else { [1, 1] };
        assert_eq!(s.all(), expected);
        sync.set(0, 0);
    }
});

both_worlds!(what_is_owed_has_a_range, {
    let s = Sems::new(1);
    s.set(0, 32767);
    fork_run(|| {
        s.op(&[undo(0, -32767)]).unwrap();
        s.op(&[op(0, 10)]).unwrap();
        assert_eq!(s.op(&[undo(0, -1)]), Err(ERANGE));
        assert_eq!(s.get(0), 10);
        assert_eq!(s.op(&[op(0, -1)]), Ok(0));
    })
    .succeeds();
    assert_eq!(s.get(0), 32767);
});

both_worlds!(removal_forgets_what_is_owed, {
    let s = Sems::new(1);
    s.set(0, 1);
    fork_run(|| {
        s.op(&[undo(0, -1)]).unwrap();
        s.remove().unwrap();
        let other = Sems::new(1);
        other.set(0, 1);
        assert_eq!(other.op(&[undo(0, -1)]), Ok(0));
    })
    .succeeds();
    assert_eq!(sem_stat(s.id).err(), Some(EINVAL));
});

both_worlds!(undo_of_one_wakes_another, {
    let s = Sems::new(1);
    s.set(0, 1);
    let sync = Shared::new();
    let holder = fork_run(|| {
        s.op(&[undo(0, -1)]).unwrap();
        sync.set(0, 1);
        sync.wait_for(0, 2);
    });
    sync.wait_for(0, 1);
    let waiter = fork_run(|| assert_eq!(s.op(&[op(0, -1)]), Ok(0)));
    wait_until(|| s.ncnt(0) == 1);
    sync.set(0, 2);
    all_succeed([holder, waiter]);
    assert_eq!(s.get(0), 0);
});

both_worlds!(many_sets_are_given_back, {
    let all: Vec<Sems> = (0..20).map(|_| Sems::new(4)).collect();
    for s in &all {
        s.set_all(&[3; 4]).unwrap();
    }
    let child = fork_run(|| {
        for s in &all {
            s.op(&[undo(0, -1), undo(3, 2)]).unwrap();
        }
    });
    child.succeeds();
    assert!(all.iter().all(|s| s.all() == [3; 4]));
});

both_worlds!(a_sleepers_undo_counts_when_it_is_served, {
    let (s, sync) = (Sems::new(1), Shared::new());
    let child = fork_run(|| {
        s.op(&[undo(0, -1)]).unwrap();
        sync.set(0, 1);
        sync.wait_for(0, 2);
    });
    wait_until(|| s.ncnt(0) == 1);
    s.op(&[op(0, 1)]).unwrap();
    sync.wait_for(0, 1);
    assert_eq!(s.get(0), 0);
    sync.set(0, 2);
    child.succeeds();
    assert_eq!(s.get(0), 1);
});

both_worlds!(one_of_many_is_killed, timeout = 60, {
    const MANY: i32 = 50;
    let (s, sync) = (Sems::new(1), Shared::new());
    s.set(0, MANY);
    let mut children: Vec<_> = (0..MANY)
        .map(|_| {
            fork_run(|| {
                s.op(&[undo(0, -1)]).unwrap();
                sync.bump(0);
                sync.wait_for(1, 1);
            })
        })
        .collect();
    sync.wait_for(0, MANY as u64);
    for (i, n) in [(0, 1), (40, 2), (20, 3)] {
        assert_eq!(s.op(&[op_with(0, -n, NOWAIT)]), Err(EAGAIN));
        children.remove(i).kill_9();
        assert_eq!(s.get(0), i32::from(n));
    }
    children.remove(0).kill_9();
    assert_eq!(s.op(&[op_with(0, -4, NOWAIT)]), Ok(0));
    sync.set(1, 1);
    all_succeed(children);
    assert_eq!(s.get(0), MANY - 4);
});
