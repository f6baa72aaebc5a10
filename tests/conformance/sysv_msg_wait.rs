//! Who waits on System V messages, in which order, and for how long. See msgop(2), signal(7).

use libc::{E2BIG, EACCES, EIDRM, ENOMSG, IPC_NOWAIT};
use ringer_support::prelude::*;
use ringer_support::sysv::*;

both_worlds!(a_receiver_waits_for_its_message, worlds = all, {
    let q = Queue::new();
    let child = fork_run(|| {
        assert_eq!(q.receive(9, 4, 0), Ok((4, b"mine".to_vec())));
    });
    child.sleeping();
    q.send(3, b"other", 0).unwrap();
    child.sleeping();
    q.send(4, b"mine", 0).unwrap();
    let pid = child.pid();
    child.succeeds();
    assert_eq!(q.receive(9, 0, 0), Ok((3, b"other".to_vec())));
    assert_eq!(q.receive(9, 0, IPC_NOWAIT), Err(ENOMSG));
    let _ = pid;
});

both_worlds!(a_waiting_receiver_is_the_last_receiver, {
    let q = Queue::new();
    let child = fork_run(|| {
        q.receive(9, 0, 0).unwrap();
    });
    child.sleeping();
    let pid = child.pid();
    q.send(1, b"x", 0).unwrap();
    assert_eq!(msg_stat(q.id).unwrap().msg_lrpid, pid);
    child.succeeds();
});

both_worlds!(receivers_are_served_in_the_order_of_coming, {
    let (q, order) = (Queue::new(), Shared::new());
    let mut children = Vec::new();
    for i in 0..4 {
        let (q, order) = (&q, &order);
        let child = fork_run(move || {
            let (_, text) = q.receive(9, 0, 0).unwrap();
            order.set(usize::from(text[0]), i + 1);
        });
        child.sleeping();
        children.push(child);
    }
    for i in 0..4u8 {
        q.send(1, &[i], 0).unwrap();
    }
    all_succeed(children);
    let got: Vec<u64> = (0..4).map(|i| order.get(i)).collect();
    assert_eq!(got, [1, 2, 3, 4]);
});

both_worlds!(a_waiting_receiver_with_too_little_room_is_e2big, {
    let q = Queue::new();
    let small = fork_run(|| assert_eq!(q.receive(2, 0, 0), Err(E2BIG)));
    small.sleeping();
    let cut = fork_run(|| assert_eq!(q.receive(2, 0, MSG_NOERROR), Ok((1, b"lo".to_vec()))));
    cut.sleeping();
    q.send(1, b"long", 0).unwrap();
    all_succeed([small, cut]);
    assert_eq!(q.len(), 0);
});

both_worlds!(a_sender_waits_for_room, worlds = all, {
    let q = Queue::new();
    q.change(|ds| ds.msg_qbytes = 10).unwrap();
    q.send(1, &[1; 8], 0).unwrap();
    let child = fork_run(|| {
        assert_eq!(q.send(2, &[2; 5], 0), Ok(0));
    });
    child.sleeping();
    assert_eq!(q.send(1, &[3; 2], 0), Ok(0));
    assert_eq!(q.receive(8, 0, 0), Ok((1, vec![1; 8])));
    let pid = child.pid();
    child.succeeds();
    assert_eq!(msg_stat(q.id).unwrap().msg_lspid, pid);
    assert_eq!(q.receive(8, 0, 0), Ok((1, vec![3; 2])));
    assert_eq!(q.receive(8, 0, 0), Ok((2, vec![2; 5])));
});

both_worlds!(a_larger_queue_lets_senders_go_on, {
    let q = Queue::new();
    q.change(|ds| ds.msg_qbytes = 4).unwrap();
    let child = fork_run(|| assert_eq!(q.send(2, &[2; 5], 0), Ok(0)));
    child.sleeping();
    q.change(|ds| ds.msg_qbytes = 5).unwrap();
    child.succeeds();
});

both_worlds!(stricter_permissions_end_a_receivers_wait, {
    if !is_root() {
        return;
    }
    let (q, s) = (Queue::new(), Shared::new());
    q.change(|ds| ds.msg_perm.mode = 0o666).unwrap();
    let child = fork_run(|| {
        become_nobody();
        s.set(0, 1);
        assert_eq!(q.receive(9, 0, 0), Err(EACCES));
    });
    s.wait_for(0, 1);
    child.sleeping();
    q.change(|ds| ds.msg_perm.mode = 0o600).unwrap();
    child.succeeds();
});

both_worlds!(removal_ends_the_wait_with_eidrm, worlds = all, {
    let q = Queue::new();
    q.change(|ds| ds.msg_qbytes = 4).unwrap();
    q.send(1, &[0; 4], 0).unwrap();
    let sender = fork_run(|| assert_eq!(q.send(1, &[0; 2], 0), Err(EIDRM)));
    let receiver = fork_run(|| assert_eq!(q.receive(9, 7, 0), Err(EIDRM)));
    sender.sleeping();
    receiver.sleeping();
    q.remove().unwrap();
    all_succeed([sender, receiver]);
});

both_worlds!(a_handler_ends_the_wait_whatever_its_flags, worlds = all, {
    for flags in [0, SA_RESTART] {
        let q = Queue::new();
        q.change(|ds| ds.msg_qbytes = 4).unwrap();
        q.send(1, &[0; 4], 0).unwrap();
        let (q, count) = (&q, move || signal::count(SIGUSR1, flags));
        let sender = fork_run(|| {
            count();
            assert_eq!(q.send(1, &[0; 2], 0), Err(EINTR));
        });
        let receiver = fork_run(|| {
            count();
            assert_eq!(q.receive(9, 7, 0), Err(EINTR));
        });
        for child in [sender, receiver] {
            child.sleeping();
            child.kill(SIGUSR1);
            child.succeeds();
        }
        assert_eq!(q.len(), 1);
    }
});

both_worlds!(killed_sleepers_take_and_leave_nothing, worlds = all, {
    let q = Queue::new();
    q.change(|ds| ds.msg_qbytes = 4).unwrap();
    q.send(1, &[0; 4], 0).unwrap();
    let sender = fork_run(|| q.send(2, &[0; 2], 0).map(drop).unwrap());
    let receiver = fork_run(|| q.receive(9, 7, 0).map(drop).unwrap());
    sender.sleeping();
    receiver.sleeping();
    sender.kill_9();
    receiver.kill_9();
    q.receive(9, 0, 0).unwrap();
    assert_eq!(q.len(), 0);
    q.send(7, b"x", 0).unwrap();
    assert_eq!(q.receive(9, 7, IPC_NOWAIT), Ok((7, b"x".to_vec())));
});

both_worlds!(nothing_is_lost_or_doubled_between_many, timeout = 60, {
    const EACH: u64 = 500;
    let (q, sum) = (Queue::new(), Shared::new());
    let senders: Vec<_> = (1..=3u64)
        .map(|i| {
            let q = &q;
            fork_run(move || {
                for n in 0..EACH {
                    let text = (i * 1000 + n).to_ne_bytes();
                    let len = 8 * (1 + n as usize % 100);
                    q.send(i as i64, &text.repeat(len / 8), 0).unwrap();
                }
            })
        })
        .collect();
    let receivers: Vec<_> = (1..=3i64)
        .map(|i| {
            let (q, sum) = (&q, &sum);
            fork_run(move || {
                for n in 0..EACH {
                    let (mtype, text) = q.receive(1000, i, 0).unwrap();
                    let value = u64::from_ne_bytes(text[..8].try_into().unwrap());
                    assert_eq!((mtype, value), (i, i as u64 * 1000 + n));
                    assert!(text.chunks(8).all(|c| c == &text[..8]));
                    sum.bump(0);
                }
            })
        })
        .collect();
    all_succeed(senders);
    all_succeed(receivers);
    assert_eq!((sum.get(0), q.len()), (3 * EACH, 0));
});

both_worlds!(a_request_and_its_answer_go_to_and_fro, timeout = 60, {
    let q = Queue::new();
    let server = fork_run(|| {
        for i in 0..2000u32 {
            let (_, text) = q.receive(64, 1, 0).unwrap();
            assert_eq!(text, i.to_ne_bytes());
            q.send(2, &(i + 1).to_ne_bytes(), 0).unwrap();
        }
    });
    for i in 0..2000u32 {
        q.send(1, &i.to_ne_bytes(), 0).unwrap();
        let answer = q.receive(64, 2, 0).unwrap();
        assert_eq!(answer, (2, (i + 1).to_ne_bytes().to_vec()));
    }
    server.succeeds();
});
