//! System V semaphores. See semget(2), semop(2), semctl(2).

use libc::{E2BIG, EFBIG, IPC_STAT};
use libc::{EACCES, EEXIST, EIDRM, ENOENT, ERANGE, IPC_CREAT, IPC_PRIVATE, IPC_RMID, IPC_SET};
use ringer_support::prelude::*;
use ringer_support::sysv::*;
use std::time::Duration;

fn now() -> i64 {
    // SAFETY: no pointer.
    unsafe { libc::time(std::ptr::null_mut()) }
}

both_worlds!(a_new_set_is_zero_and_says_who_made_it, worlds = all, {
    let before = now();
    let s = Sems::new(3);
    assert_eq!(s.all(), [0, 0, 0]);
    assert_eq!(s.pid(1), 0);
    let ds = sem_stat(s.id).unwrap();
    assert_eq!((ds.sem_nsems, ds.sem_otime), (3, 0));
    assert!((before..=now()).contains(&ds.sem_ctime));
    assert_eq!(ds.sem_perm.mode, 0o600);
    // SAFETY: no argument.
    let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
    let p = ds.sem_perm;
    assert_eq!((p.uid, p.cuid, p.gid, p.cgid), (uid, uid, gid, gid));
    assert_eq!(p.__key, IPC_PRIVATE);
});

both_worlds!(semget_finds_makes_and_refuses, {
    let k = key();
    assert_eq!(semget(k, 1, 0o600), Err(ENOENT));
    assert_eq!(semget(k, 0, IPC_CREAT | 0o600), Err(EINVAL));
    assert_eq!(semget(k, -1, IPC_CREAT | 0o600), Err(EINVAL));
    assert_eq!(semget(k, 40_000, IPC_CREAT | 0o600), Err(EINVAL));
    let s = Sems::with_key(k, 2, 0o600);
    assert_eq!(semget(k, 2, 0), Ok(s.id));
    assert_eq!(semget(k, 0, 0), Ok(s.id));
    assert_eq!(semget(k, 1, IPC_CREAT | 0o600), Ok(s.id));
    assert_eq!(semget(k, 3, 0), Err(EINVAL));
    assert_eq!(semget(k, 40_000, NEW), Err(EINVAL));
    assert_eq!(semget(k, 3, NEW), Err(EEXIST));
    assert_eq!(sem_stat(s.id).unwrap().sem_perm.__key, k);
    assert_ne!(Sems::new(1).id, Sems::new(1).id);
    s.remove().unwrap();
    assert_eq!(semget(k, 2, 0), Err(ENOENT));
});

both_worlds!(operations_add_and_subtract, {
    let s = Sems::new(2);
    assert_eq!(s.op(&[op(0, 5)]), Ok(0));
    assert_eq!(s.op(&[op(0, -2)]), Ok(0));
    assert_eq!(s.op(&[op(1, 0)]), Ok(0));
    assert_eq!(s.all(), [3, 0]);
    assert_eq!((s.pid(0), s.pid(1)), (getpid(), getpid()));
    let ds = sem_stat(s.id).unwrap();
    assert!((now() - 5..=now()).contains(&ds.sem_otime));
});

both_worlds!(what_would_wait_is_eagain_with_ipc_nowait, {
    let s = Sems::new(1);
    assert_eq!(s.op(&[op_with(0, -1, NOWAIT)]), Err(EAGAIN));
    s.set(0, 3);
    assert_eq!(s.op(&[op_with(0, -4, NOWAIT)]), Err(EAGAIN));
    assert_eq!(s.op(&[op_with(0, 0, NOWAIT)]), Err(EAGAIN));
    assert_eq!(s.get(0), 3);
});

both_worlds!(several_operations_are_done_all_or_none, {
    let s = Sems::new(3);
    s.set_all(&[1, 1, 0]).unwrap();
    let all = [op(0, -1), op(1, 4), op_with(2, -1, NOWAIT)];
    assert_eq!(s.op(&all), Err(EAGAIN));
    assert_eq!(s.all(), [1, 1, 0]);
    assert_eq!(s.op(&[op(0, -1), op(1, 4), op(2, 0)]), Ok(0));
    assert_eq!(s.all(), [0, 5, 0]);
});

both_worlds!(operations_are_done_in_the_order_of_the_array, {
    let s = Sems::new(1);
    // Down and up again, from one: never below zero.
    s.set(0, 1);
    assert_eq!(s.op(&[op(0, -1), op(0, 0), op(0, 1)]), Ok(0));
    assert_eq!(s.get(0), 1);
    assert_eq!(s.op(&[op_with(0, 0, NOWAIT), op(0, -1)]), Err(EAGAIN));
    assert_eq!(s.op(&[op(0, 2), op(0, -3)]), Ok(0));
    assert_eq!(s.get(0), 0);
    assert_eq!(
        s.op(&[op(0, 2), op_with(0, -3, NOWAIT), op(0, 9)]),
        Err(EAGAIN)
    );
    assert_eq!(s.get(0), 0);
});

both_worlds!(a_long_array_of_operations, {
    let s = Sems::new(100);
    let all: Vec<_> = (0..100).map(|i| op(i, i as i16 + 1)).collect();
    assert_eq!(s.op(&all), Ok(0));
    assert_eq!(s.all(), (1..=100).collect::<Vec<u16>>());
    let back: Vec<_> = (0..100).map(|i| op(i, -(i as i16) - 1)).collect();
    assert_eq!(s.op(&back), Ok(0));
    assert_eq!(s.all(), [0; 100]);
    // Number 64 and number 0 look alike to Linux's test for repeats.
    assert_eq!(s.op(&[op(0, 1), op(64, 2), op(0, 3)]), Ok(0));
    assert_eq!((s.get(0), s.get(64)), (4, 2));
});

both_worlds!(a_value_may_not_exceed_semvmx, {
    let s = Sems::new(2);
    assert_eq!(s.op(&[op(0, 32767)]), Ok(0));
    assert_eq!(s.op(&[op(0, 1)]), Err(ERANGE));
    assert_eq!(s.op(&[op(1, 1), op(0, 1)]), Err(ERANGE));
    assert_eq!(s.all(), [32767, 0]);
    assert_eq!(semctl(s.id, 0, SETVAL, 32768), Err(ERANGE));
    assert_eq!(semctl(s.id, 0, SETVAL, usize::MAX), Err(ERANGE));
    assert_eq!(s.set_all(&[1, 32768]), Err(ERANGE));
    assert_eq!(s.all(), [32767, 0]);
});

both_worlds!(bad_arguments_in_linuxs_order, {
    let s = Sems::new(1);
    let one = [op(0, 1)];
    let many = vec![op(0, 0); 501];
    assert_eq!(s.op(&[]), Err(EINVAL));
    assert_eq!(s.op(&many), Err(E2BIG));
    assert_eq!(s.op(&many[..500]), Ok(0));
    assert_eq!(semop(-1, &one), Err(EINVAL));
    assert_eq!(semop(-1, &many), Err(E2BIG));
    assert_eq!(semop(s.id + 32768, &one), Err(EINVAL));
    assert_eq!(semop(0x7fff_0000, &one), Err(EINVAL));
    assert_eq!(s.op(&[op(1, 1)]), Err(EFBIG));
    assert_eq!(s.op(&[op(0, 1), op(7, 1)]), Err(EFBIG));
    assert_eq!(s.get(0), 0);
    let bad = |id, n: usize, at: usize| {
        // SAFETY: the address is meant to be bad.
        ringer_support::check(unsafe { libc::semop(id, at as *mut libc::sembuf, n) })
    };
    assert_eq!(bad(s.id, 1, 0), Err(EFAULT));
    assert_eq!(bad(s.id, 1, usize::MAX - 64), Err(EFAULT));
    assert_eq!(bad(-1, 1, 0), Err(EFAULT));
    assert_eq!(bad(s.id, 0, 0), Err(EINVAL));
    assert_eq!(bad(s.id, 501, 0), Err(E2BIG));
    assert_eq!(bad(s.id, 3, 0), Err(EFAULT));
});

both_worlds!(a_bad_timeout_is_einval_or_efault, {
    let s = Sems::new(1);
    let timed_at = |t: usize| {
        let one = op_with(0, -1, NOWAIT);
        semtimedop_raw(s.id, &raw const one as usize, 1, t)
    };
    let t = |tv_sec, tv_nsec| libc::timespec { tv_sec, tv_nsec };
    let timed = |t: &libc::timespec| timed_at(std::ptr::from_ref(t) as usize);
    assert_eq!(timed(&t(0, -1)), Err(EINVAL));
    assert_eq!(timed(&t(-1, 0)), Err(EINVAL));
    assert_eq!(timed(&t(0, 1_000_000_000)), Err(EINVAL));
    assert_eq!(timed(&t(0, 0)), Err(EAGAIN));
    assert_eq!(timed_at(8), Err(EFAULT));
    assert_eq!(timed_at(0), Err(EAGAIN));
});

both_worlds!(a_timeout_ends_the_wait, {
    let s = Sems::new(1);
    let start = std::time::Instant::now();
    let wait = Duration::from_millis(50);
    assert_eq!(semtimedop(s.id, &[op(0, -1)], wait), Err(EAGAIN));
    assert!(start.elapsed() >= wait);
    assert_eq!(semtimedop(s.id, &[op(0, -1)], Duration::ZERO), Err(EAGAIN));
    assert_eq!(s.ncnt(0), 0);
    s.set(0, 1);
    assert_eq!(semtimedop(s.id, &[op(0, -1)], wait), Ok(0));
});

both_worlds!(semctl_refuses_what_it_does_not_know, {
    let s = Sems::new(2);
    assert_eq!(semctl(s.id, 0, 99, 0), Err(EINVAL));
    assert_eq!(semctl(-1, 0, GETVAL, 0), Err(EINVAL));
    assert_eq!(semctl(s.id + 32768, 0, GETVAL, 0), Err(EINVAL));
    for command in [GETVAL, GETPID, GETNCNT, GETZCNT] {
        assert_eq!(semctl(s.id, 2, command, 0), Err(EINVAL), "{command}");
        assert_eq!(semctl(s.id, -1, command, 0), Err(EINVAL), "{command}");
    }
    assert_eq!(semctl(s.id, 2, SETVAL, 1), Err(EINVAL));
    assert_eq!(semctl(s.id, -1, SETVAL, 1), Err(EINVAL));
    assert_eq!(semctl(s.id, 9, SETVAL, 40_000), Err(ERANGE));
    for command in [GETALL, SETALL, IPC_STAT, IPC_SET] {
        assert_eq!(semctl(s.id, 0, command, 0), Err(EFAULT), "{command}");
        assert_eq!(semctl(s.id, 0, command, usize::MAX), Err(EFAULT));
    }
    assert_eq!(semctl(-1, 0, IPC_STAT, 0), Err(EINVAL));
});

both_worlds!(setval_and_setall_change_ctime_and_pid_but_not_otime, {
    let s = Sems::new(2);
    s.set(0, 7);
    assert_eq!((s.pid(0), s.pid(1)), (getpid(), 0));
    s.set_all(&[1, 2]).unwrap();
    assert_eq!(s.all(), [1, 2]);
    assert_eq!((s.pid(0), s.pid(1)), (getpid(), getpid()));
    assert_eq!(sem_stat(s.id).unwrap().sem_otime, 0);
    let child = fork_run(|| s.set(1, 9));
    let pid = child.pid();
    child.succeeds();
    assert_eq!((s.pid(0), s.pid(1)), (getpid(), pid));
});

both_worlds!(info_has_the_limits, {
    let s = Sems::new(7);
    let mut info = [0i32; 10];
    let at = info.as_mut_ptr() as usize;
    let max = semctl(0, 0, libc::IPC_INFO, at).unwrap();
    let limits = std::fs::read_to_string("/proc/sys/kernel/sem").unwrap();
    let l: Vec<i32> = limits
        .split_whitespace()
        .map(|n| n.parse().unwrap())
        .collect();
    let max_sems = 32000 * 32000;
    let all = [
        max_sems, l[3], l[1], max_sems, l[0], l[2], 500, 20, 32767, 32767,
    ];
    assert_eq!(info, all);
    assert!(max >= s.id as usize & 0x7fff);
    semctl(0, 0, SEM_INFO, at).unwrap();
    assert!(info[7] >= 1 && info[9] >= 7, "{info:?}");
    assert_eq!(info[..7], all[..7]);
    assert_eq!(semctl(0, 0, libc::IPC_INFO, 0), Err(EFAULT));
    assert_eq!(semctl(-1, 0, libc::IPC_INFO, at), Err(EINVAL));
});

both_worlds!(sem_stat_goes_by_index, {
    let s = Sems::new(4);
    // SAFETY: all zero bits are valid.
    let mut ds: libc::semid_ds = unsafe { std::mem::zeroed() };
    let at = &raw mut ds as usize;
    let index = s.id & 0x7fff;
    assert_eq!(semctl(index, 0, SEM_STAT, at), Ok(s.id as usize));
    assert_eq!(ds.sem_nsems, 4);
    assert_eq!(semctl(index, 0, SEM_STAT_ANY, at), Ok(s.id as usize));
    assert_eq!(semctl(32767, 0, SEM_STAT, at), Err(EINVAL));
    s.remove().unwrap();
    assert_ne!(semctl(index, 0, SEM_STAT, at), Ok(s.id as usize));
});

both_worlds!(ipc_set_changes_owner_and_mode, {
    let s = Sems::new(1);
    let mut ds = sem_stat(s.id).unwrap();
    ds.sem_perm.mode = 0o7640;
    assert_eq!(semctl(s.id, 0, IPC_SET, &raw mut ds as usize), Ok(0));
    assert_eq!(sem_stat(s.id).unwrap().sem_perm.mode, 0o640);
    ds.sem_perm.uid = u32::MAX;
    assert_eq!(semctl(s.id, 0, IPC_SET, &raw mut ds as usize), Err(EINVAL));
    if is_root() {
        (ds.sem_perm.uid, ds.sem_perm.gid) = (65534, 65533);
        semctl(s.id, 0, IPC_SET, &raw mut ds as usize).unwrap();
        let p = sem_stat(s.id).unwrap().sem_perm;
        assert_eq!((p.uid, p.gid, p.cuid, p.cgid), (65534, 65533, 0, 0));
    }
});

both_worlds!(strangers_get_what_the_mode_says, {
    if !is_root() {
        return;
    }
    let k = key();
    let closed = Sems::with_key(k, 1, 0o600);
    let readable = Sems::new(1);
    let open = Sems::new(1);
    for (s, mode) in [(&readable, 0o604), (&open, 0o606)] {
        let mut ds = sem_stat(s.id).unwrap();
        ds.sem_perm.mode = mode;
        semctl(s.id, 0, IPC_SET, &raw mut ds as usize).unwrap();
    }
    fork_run(|| {
        become_nobody();
        assert_eq!(semget(k, 1, 0o400), Err(EACCES));
        assert_eq!(semget(k, 1, 0), Ok(closed.id));
        assert_eq!(semget(k, 5, 0o400), Err(EINVAL));
        assert_eq!(semctl(closed.id, 0, GETVAL, 0), Err(EACCES));
        assert_eq!(semctl(closed.id, 0, SETVAL, 0), Err(EACCES));
        assert_eq!(sem_stat(closed.id).err(), Some(EACCES));
        assert_eq!(closed.op(&[op(0, 1)]), Err(EACCES));
        assert_eq!(closed.op(&[op(0, 0)]), Err(EACCES));
        assert_eq!(closed.op(&[op(9, 0)]), Err(EFBIG));
        assert_eq!(closed.remove(), Err(EPERM));
        assert_eq!(readable.op(&[op(0, 0)]), Ok(0));
        assert_eq!(readable.op(&[op(0, 1)]), Err(EACCES));
        assert_eq!(readable.all(), [0]);
        assert_eq!(semctl(readable.id, 0, SETVAL, 1), Err(EACCES));
        assert_eq!(readable.set_all(&[1]), Err(EACCES));
        assert_eq!(open.op(&[op(0, 1)]), Ok(0));
        let mut ds = sem_stat(open.id).unwrap();
        let set = semctl(open.id, 0, IPC_SET, &raw mut ds as usize);
        assert_eq!(set, Err(EPERM));
        assert_eq!(open.remove(), Err(EPERM));
        // What one makes oneself is one's own.
        let mine = Sems::new(1);
        assert_eq!(mine.op(&[op(0, 1)]), Ok(0));
        let shut = Sems::with_key(key(), 1, 0);
        assert_eq!(shut.op(&[op(0, 1)]), Err(EACCES));
    })
    .succeeds();
});

both_worlds!(a_removed_set_is_einval, {
    let s = Sems::new(1);
    s.remove().unwrap();
    assert_eq!(s.op(&[op(0, 1)]), Err(EINVAL));
    assert_eq!(s.remove(), Err(EINVAL));
    assert_eq!(sem_stat(s.id).err(), Some(EINVAL));
    let next = Sems::new(1);
    assert_ne!(next.id, s.id);
});

both_worlds!(ids_are_not_used_again_soon, {
    let mut seen = std::collections::HashSet::new();
    for _ in 0..200 {
        let s = Sems::new(1);
        assert!(seen.insert(s.id), "{}", s.id);
    }
});

both_worlds!(removal_ends_the_wait_with_eidrm, worlds = all, {
    let s = Sems::new(2);
    s.set(1, 1);
    let wait = |ops: &'static [libc::sembuf]| {
        let id = s.id;
        fork_run(move || assert_eq!(semop(id, ops), Err(EIDRM)))
    };
    const OPS: [libc::sembuf; 3] = [
        libc::sembuf {
            sem_num: 0,
            sem_op: -1,
            sem_flg: 0,
        },
        libc::sembuf {
            sem_num: 1,
            sem_op: 0,
            sem_flg: 0,
        },
        libc::sembuf {
            sem_num: 0,
            sem_op: -2,
            sem_flg: SEM_UNDO,
        },
    ];
    let children = [
        wait(&OPS[..1]),
        wait(&OPS[1..2]),
        wait(&OPS),
        wait(&OPS[2..]),
    ];
    wait_until(|| s.ncnt(0) == 3 && s.zcnt(1) == 1);
    children.iter().for_each(Child::sleeping);
    assert_eq!(semctl(s.id, 0, IPC_RMID, 0), Ok(0));
    all_succeed(children);
});
