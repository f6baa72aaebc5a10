//! System V messages. See msgget(2), msgop(2), msgctl(2).

use libc::{E2BIG, EACCES, EEXIST, ENOENT, ENOMSG, ENOSYS, IPC_CREAT, IPC_NOWAIT, IPC_PRIVATE};
use libc::{IPC_RMID, IPC_SET, IPC_STAT};
use ringer_support::prelude::*;
use ringer_support::sysv::*;

fn now() -> i64 {
    // SAFETY: no pointer.
    unsafe { libc::time(std::ptr::null_mut()) }
}

both_worlds!(a_new_queue_is_empty_and_says_who_made_it, worlds = all, {
    let before = now();
    let k = key();
    let q = Queue::with_key(k, 0o640);
    let ds = msg_stat(q.id).unwrap();
    assert_eq!((ds.msg_qnum, ds.__msg_cbytes), (0, 0));
    assert_eq!((ds.msg_stime, ds.msg_rtime), (0, 0));
    assert_eq!((ds.msg_lspid, ds.msg_lrpid), (0, 0));
    assert!((before..=now()).contains(&ds.msg_ctime));
    let mnb = std::fs::read_to_string("/proc/sys/kernel/msgmnb").unwrap();
    assert_eq!(ds.msg_qbytes.to_string(), mnb.trim());
    assert_eq!((ds.msg_perm.__key, ds.msg_perm.mode), (k, 0o640));
});

both_worlds!(msgget_finds_makes_and_refuses, {
    let k = key();
    assert_eq!(msgget(k, 0o600), Err(ENOENT));
    let q = Queue::with_key(k, 0o600);
    assert_eq!(msgget(k, 0), Ok(q.id));
    assert_eq!(msgget(k, IPC_CREAT | 0o600), Ok(q.id));
    assert_eq!(msgget(k, NEW | 0o600), Err(EEXIST));
    assert_ne!(
        msgget(IPC_PRIVATE, 0).map(|id| Queue::adopt(id).id),
        Ok(q.id)
    );
    q.remove().unwrap();
    assert_eq!(msgget(k, 0), Err(ENOENT));
    assert_eq!(q.send(1, b"x", 0), Err(EINVAL));
    assert_eq!(q.receive(1, 0, 0), Err(EINVAL));
    assert_eq!(q.remove(), Err(EINVAL));
});

both_worlds!(messages_come_in_the_order_of_sending, {
    let q = Queue::new();
    for i in 0..10u8 {
        assert_eq!(q.send(i64::from(10 - i), &[i; 3], 0), Ok(0));
    }
    let ds = msg_stat(q.id).unwrap();
    assert_eq!((ds.msg_qnum, ds.__msg_cbytes), (10, 30));
    assert_eq!((ds.msg_lspid, ds.msg_lrpid), (getpid(), 0));
    assert!((now() - 5..=now()).contains(&ds.msg_stime));
    for i in 0..10u8 {
        assert_eq!(q.receive(3, 0, 0), Ok((i64::from(10 - i), vec![i; 3])));
    }
    let ds = msg_stat(q.id).unwrap();
    assert_eq!(
        (ds.msg_qnum, ds.__msg_cbytes, ds.msg_lrpid),
        (0, 0, getpid())
    );
    assert!((now() - 5..=now()).contains(&ds.msg_rtime));
});

both_worlds!(a_type_is_asked_for, {
    let q = Queue::new();
    for (mtype, text) in [(5, "a"), (3, "b"), (5, "c"), (4, "d")] {
        q.send(mtype, text.as_bytes(), 0).unwrap();
    }
    assert_eq!(q.receive(9, 5, 0), Ok((5, b"a".to_vec())));
    assert_eq!(q.receive(9, 4, 0), Ok((4, b"d".to_vec())));
    assert_eq!(q.receive(9, 9, IPC_NOWAIT), Err(ENOMSG));
    assert_eq!(q.receive(9, 5, 0), Ok((5, b"c".to_vec())));
    assert_eq!(q.receive(9, 3, 0), Ok((3, b"b".to_vec())));
    assert_eq!(q.receive(9, 0, IPC_NOWAIT), Err(ENOMSG));
    // The tail was taken out and in again.
    q.send(1, b"e", 0).unwrap();
    q.send(2, b"f", 0).unwrap();
    assert_eq!(q.receive(9, 2, 0), Ok((2, b"f".to_vec())));
    q.send(3, b"g", 0).unwrap();
    assert_eq!(q.receive(9, 0, 0), Ok((1, b"e".to_vec())));
    assert_eq!(q.receive(9, 0, 0), Ok((3, b"g".to_vec())));
});

both_worlds!(a_negative_type_is_the_lowest_up_to_it, {
    let q = Queue::new();
    for (mtype, text) in [(7, "a"), (3, "b"), (2, "c"), (3, "d"), (2, "e"), (9, "f")] {
        q.send(mtype, text.as_bytes(), 0).unwrap();
    }
    assert_eq!(q.receive(9, -1, IPC_NOWAIT), Err(ENOMSG));
    assert_eq!(q.receive(9, -3, 0), Ok((2, b"c".to_vec())));
    assert_eq!(q.receive(9, -3, 0), Ok((2, b"e".to_vec())));
    assert_eq!(q.receive(9, -3, 0), Ok((3, b"b".to_vec())));
    assert_eq!(q.receive(9, i64::MIN, 0), Ok((3, b"d".to_vec())));
    assert_eq!(q.receive(9, i64::MIN, 0), Ok((7, b"a".to_vec())));
    assert_eq!(q.receive(9, -8, IPC_NOWAIT), Err(ENOMSG));
});

both_worlds!(any_type_but_one, {
    let q = Queue::new();
    for mtype in [2, 2, 5, 2] {
        q.send(mtype, &[], 0).unwrap();
    }
    assert_eq!(q.receive(0, 2, MSG_EXCEPT), Ok((5, vec![])));
    assert_eq!(q.receive(0, 2, MSG_EXCEPT | IPC_NOWAIT), Err(ENOMSG));
    assert_eq!(q.receive(0, 5, MSG_EXCEPT), Ok((2, vec![])));
    assert_eq!(q.receive(0, -2, MSG_EXCEPT), Ok((2, vec![])));
    assert_eq!(q.receive(0, 0, MSG_EXCEPT), Ok((2, vec![])));
});

both_worlds!(a_message_that_is_too_long_stays_or_is_cut, {
    let q = Queue::new();
    q.send(1, b"too long", 0).unwrap();
    assert_eq!(q.receive(3, 0, 0), Err(E2BIG));
    assert_eq!(q.len(), 1);
    assert_eq!(q.receive(3, 0, MSG_NOERROR), Ok((1, b"too".to_vec())));
    assert_eq!(q.len(), 0);
    q.send(1, b"x", 0).unwrap();
    assert_eq!(q.receive(0, 0, MSG_NOERROR), Ok((1, vec![])));
});

both_worlds!(a_copy_leaves_the_message, {
    let q = Queue::new();
    for (mtype, text) in [(4, "one"), (2, "two"), (6, "three")] {
        q.send(mtype, text.as_bytes(), 0).unwrap();
    }
    let copy = |room, n| q.receive(room, n, MSG_COPY | IPC_NOWAIT);
    // It is there together with this one. (CONFIG_CHECKPOINT_RESTORE, ipc/ipc_sysctl.c)
    if !std::path::Path::new("/proc/sys/kernel/msg_next_id").exists() {
        assert_eq!(copy(9, 0), Err(ENOSYS));
        return;
    }
    assert_eq!(copy(9, 0), Ok((4, b"one".to_vec())));
    assert_eq!(copy(9, 1), Ok((2, b"two".to_vec())));
    assert_eq!(copy(9, 2), Ok((6, b"three".to_vec())));
    assert_eq!(copy(9, 3), Err(ENOMSG));
    assert_eq!(copy(9, -1), Err(ENOMSG));
    assert_eq!(copy(2, 1), Err(E2BIG));
    let cut = q.receive(2, 1, MSG_COPY | IPC_NOWAIT | MSG_NOERROR);
    assert_eq!(cut, Err(EINVAL));
    assert_eq!(q.receive(9, 0, MSG_COPY), Err(EINVAL));
    let except = MSG_COPY | IPC_NOWAIT | MSG_EXCEPT;
    assert_eq!(q.receive(9, 0, except), Err(EINVAL));
    assert_eq!((q.len(), msg_stat(q.id).unwrap().msg_lrpid), (3, 0));
});

both_worlds!(bad_arguments_in_linuxs_order, {
    let q = Queue::new();
    assert_eq!(q.send(0, b"x", 0), Err(EINVAL));
    assert_eq!(q.send(-5, b"x", 0), Err(EINVAL));
    let max: usize = std::fs::read_to_string("/proc/sys/kernel/msgmax")
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let long = vec![7u8; max + 1];
    assert_eq!(q.send(1, &long, 0), Err(EINVAL));
    assert_eq!(q.send(1, &long[..max], 0), Ok(0));
    assert_eq!(q.receive(max, 0, 0), Ok((1, vec![7; max])));
    let good = [1i64, 0];
    let at = good.as_ptr() as usize;
    assert_eq!(msgsnd_raw(-1, at, 4, 0), Err(EINVAL));
    assert_eq!(msgsnd_raw(q.id + 32768, at, 4, 0), Err(EINVAL));
    assert_eq!(msgsnd_raw(q.id, at, usize::MAX, 0), Err(EINVAL));
    assert_eq!(msgsnd_raw(q.id, 0, 4, 0), Err(EFAULT));
    assert_eq!(msgsnd_raw(-1, 0, usize::MAX, 0), Err(EFAULT));
    assert_eq!(msgrcv_raw(-1, at, 4, 0, IPC_NOWAIT), Err(EINVAL));
    assert_eq!(msgrcv_raw(q.id, at, usize::MAX, 0, IPC_NOWAIT), Err(EINVAL));
    assert_eq!(msgrcv_raw(q.id, 0, 4, 0, IPC_NOWAIT), Err(ENOMSG));
    assert_eq!(msgrcv_raw(0x7fff_0000, at, 4, 0, IPC_NOWAIT), Err(EINVAL));
    assert_eq!(q.len(), 0);
});

both_worlds!(bad_memory, {
    let q = Queue::new();
    let cliff = Cliff::unmapped(1);
    // The type can be read, the text can not.
    cliff.put_before_edge(&1i64.to_ne_bytes());
    let at = cliff.across(8, 8).addr;
    assert_eq!(msgsnd_raw(q.id, at, 0, 0), Ok(0));
    assert_eq!(msgsnd_raw(q.id, at, 1, 0), Err(EFAULT));
    assert_eq!(msgsnd_raw(q.id + 32768, at, 1, 0), Err(EFAULT));
    assert_eq!(q.receive(4, 0, 0), Ok((1, vec![])));
    // What can not be delivered is lost.
    q.send(3, b"lost", 0).unwrap();
    assert_eq!(msgrcv_raw(q.id, at, 4, 0, 0), Err(EFAULT));
    assert_eq!(q.len(), 0);
    q.send(3, b"lost", 0).unwrap();
    assert_eq!(msgrcv_raw(q.id, 0, 4, 0, 0), Err(EFAULT));
    assert_eq!(q.len(), 0);
    q.send(3, b"kept", 0).unwrap();
    assert_eq!(msgrcv_raw(q.id, 0, 3, 0, 0), Err(E2BIG));
    assert_eq!(q.len(), 1);
});

both_worlds!(a_full_queue_is_eagain, {
    let q = Queue::new();
    q.change(|ds| ds.msg_qbytes = 10).unwrap();
    q.send(1, &[0; 6], 0).unwrap();
    assert_eq!(q.send(1, &[0; 5], IPC_NOWAIT), Err(EAGAIN));
    assert_eq!(q.send(1, &[0; 4], IPC_NOWAIT), Ok(0));
    assert_eq!(q.send(1, &[0; 11], IPC_NOWAIT), Err(EAGAIN));
    // Empty messages count by their number.
    for _ in 0..8 {
        assert_eq!(q.send(1, &[], IPC_NOWAIT), Ok(0));
    }
    assert_eq!(q.send(1, &[], IPC_NOWAIT), Err(EAGAIN));
    q.receive(6, 0, 0).unwrap();
    assert_eq!(q.send(1, &[0; 6], IPC_NOWAIT), Ok(0));
});

both_worlds!(msgctl_refuses_what_it_does_not_know, {
    let q = Queue::new();
    assert_eq!(msgctl(q.id, 99, 0), Err(EINVAL));
    assert_eq!(msgctl(q.id, -1, 0), Err(EINVAL));
    assert_eq!(msgctl(-1, IPC_STAT, 0), Err(EINVAL));
    assert_eq!(msgctl(q.id, IPC_STAT, 0), Err(EFAULT));
    assert_eq!(msgctl(q.id, IPC_SET, 0), Err(EFAULT));
    assert_eq!(msgctl(q.id + 32768, IPC_RMID, 0), Err(EINVAL));
});

both_worlds!(ipc_set_changes_owner_mode_and_size, {
    let q = Queue::new();
    q.change(|ds| {
        ds.msg_perm.mode = 0o7066;
        ds.msg_qbytes = 100;
    })
    .unwrap();
    let ds = msg_stat(q.id).unwrap();
    assert_eq!((ds.msg_perm.mode, ds.msg_qbytes), (0o66, 100));
    assert_eq!(q.change(|ds| ds.msg_perm.gid = u32::MAX), Err(EINVAL));
    if is_root() {
        // It takes CAP_SYS_RESOURCE, which root may lack.
        let large = q.change(|ds| ds.msg_qbytes = 1 << 20);
        assert!([Ok(0), Err(EPERM)].contains(&large), "{large:?}");
        q.change(|ds| ds.msg_perm.uid = 65534).unwrap();
        assert_eq!(msg_stat(q.id).unwrap().msg_perm.uid, 65534);
    }
});

both_worlds!(the_owner_may_not_exceed_the_limit, {
    if !is_root() {
        return;
    }
    fork_run(|| {
        become_nobody();
        let q = Queue::new();
        assert_eq!(q.change(|ds| ds.msg_qbytes = 1 << 20), Err(EPERM));
        assert_eq!(q.change(|ds| ds.msg_qbytes = 100), Ok(0));
    })
    .succeeds();
});

both_worlds!(info_has_the_limits, {
    let q = Queue::new();
    q.send(1, b"12345", 0).unwrap();
    let mut info = [0i32; 8];
    let at = info.as_mut_ptr() as usize;
    let read = |name: &str| -> i32 {
        let text = std::fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap();
        text.trim().parse().unwrap()
    };
    let max = msgctl(0, libc::IPC_INFO, at).unwrap();
    assert!(max >= q.id as usize & 0x7fff);
    assert_eq!(info[2..5], [read("msgmax"), read("msgmnb"), read("msgmni")]);
    assert_eq!(
        (info[0], info[1], info[5], info[6]),
        (512_000, 16384, 16, 16384)
    );
    assert_eq!(info[7] & 0xffff, 0xffff);
    msgctl(0, MSG_INFO, at).unwrap();
    assert!(info[0] >= 1 && info[1] >= 1 && info[6] >= 5, "{info:?}");
    // SAFETY: all zero bits are valid.
    let mut ds: libc::msqid_ds = unsafe { std::mem::zeroed() };
    let to = &raw mut ds as usize;
    assert_eq!(msgctl(q.id & 0x7fff, MSG_STAT, to), Ok(q.id as usize));
    assert_eq!(ds.__msg_cbytes, 5);
    assert_eq!(msgctl(q.id & 0x7fff, MSG_STAT_ANY, to), Ok(q.id as usize));
    assert_eq!(msgctl(32767, MSG_STAT, to), Err(EINVAL));
});

both_worlds!(strangers_get_what_the_mode_says, {
    if !is_root() {
        return;
    }
    let k = key();
    let closed = Queue::with_key(k, 0o600);
    let readable = Queue::new();
    let writable = Queue::new();
    readable.change(|ds| ds.msg_perm.mode = 0o604).unwrap();
    writable.change(|ds| ds.msg_perm.mode = 0o602).unwrap();
    for q in [&closed, &readable, &writable] {
        q.send(1, b"x", 0).unwrap();
    }
    fork_run(|| {
        become_nobody();
        assert_eq!(msgget(k, 0o400), Err(EACCES));
        assert_eq!(msgget(k, 0), Ok(closed.id));
        assert_eq!(closed.send(1, b"x", 0), Err(EACCES));
        assert_eq!(closed.receive(9, 0, 0), Err(EACCES));
        assert_eq!(msg_stat(closed.id).err(), Some(EACCES));
        assert_eq!(closed.remove(), Err(EPERM));
        assert_eq!(readable.receive(9, 0, 0), Ok((1, b"x".to_vec())));
        assert_eq!(readable.send(1, b"x", 0), Err(EACCES));
        assert_eq!(writable.send(1, b"x", 0), Ok(0));
        assert_eq!(writable.receive(9, 0, 0), Err(EACCES));
        assert_eq!(msgsnd_raw(closed.id, 8, 1, 0), Err(EFAULT));
    })
    .succeeds();
});
