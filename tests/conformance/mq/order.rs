//! Priorities, order, sizes. See mq_send(3), mq_receive(3).

use libc::EMSGSIZE;
use ringer_support::mq::*;
use ringer_support::prelude::*;

both_worlds!(the_highest_priority_comes_first_and_of_it_the_oldest, {
    let (_name, q) = queue();
    for (text, prio) in [
        ("a", 0),
        ("b", 5),
        ("c", 5),
        ("d", 32767),
        ("e", 0),
        ("f", 32767),
        ("g", 1),
    ] {
        send(&q, text.as_bytes(), prio).unwrap();
    }
    let got: String = (0..7).map(|_| take(&q).unwrap()[0] as char).collect();
    assert_eq!(got, "dfbcgae");
});

both_worlds!(priorities_are_below_32768, {
    let (_name, q) = queue();
    assert_eq!(send(&q, b"x", 32767), Ok(0));
    for prio in [32768, u32::MAX] {
        assert_eq!(send(&q, b"x", prio), Err(EINVAL));
    }
    let p = pipe();
    assert_eq!(
        send(&p.w, b"x", 32768),
        Err(EINVAL),
        "before the descriptor"
    );
    assert_eq!(receive(&q), Ok((b"x".to_vec(), 32767)));
});

both_worlds!(a_message_has_at_most_msgsize_bytes, {
    let (_name, q) = queue_of(3, 8);
    assert_eq!(send(&q, &[1; 9], 0), Err(EMSGSIZE));
    assert_eq!(send(&q, &[2; 8], 0), Ok(0));
    assert_eq!(send(&q, &[], 0), Ok(0));
    assert_eq!(take(&q), Ok(vec![2; 8]));
    assert_eq!(take(&q), Ok(vec![]));
    let p = pipe();
    assert_eq!(send(&p.w, &[1; 9], 0), Err(EBADF));
});

both_worlds!(a_receiver_needs_room_for_msgsize_bytes, {
    let (_name, q) = queue_of(3, 8);
    send(&q, b"1", 0).unwrap();
    let mut buf = [0u8; 8];
    for len in [0, 1, 7] {
        // SAFETY: the buffer is longer than that.
        let n = unsafe {
            libc::mq_receive(
                q.number(),
                buf.as_mut_ptr().cast(),
                len,
                std::ptr::null_mut(),
            )
        };
        assert_eq!((n, ringer_support::errno()), (-1, EMSGSIZE));
    }
    // SAFETY: as long as that.
    let n =
        unsafe { libc::mq_receive(q.number(), buf.as_mut_ptr().cast(), 8, std::ptr::null_mut()) };
    assert_eq!((n, buf[0]), (1, b'1'));
});

both_worlds!(a_send_from_bad_memory_sends_nothing, {
    let (_name, q) = queue_of(1, 8);
    let cliff = Cliff::protected(1);
    let edge = cliff.across(4, 0).addr;
    let send_at = |addr: usize, len: usize| {
        // SAFETY: the kernel judges the address.
        ringer_support::check(unsafe { libc::mq_send(q.number(), addr as *const _, len, 0) })
    };
    assert_eq!(send_at(NULL.addr, 1), Err(EFAULT));
    assert_eq!(send_at(KERNEL.addr, 1), Err(EFAULT));
    assert_eq!(send_at(edge, 5), Err(EFAULT));
    assert_eq!(send_at(NULL.addr, 0), Ok(0), "no bytes");
    assert_eq!(curmsgs(&q), 1);
    // The queue is full, and yet the memory is looked at first.
    fcntl(&q, F_SETFL, O_NONBLOCK as usize).unwrap();
    assert_eq!(send_at(edge, 5), Err(EFAULT));
    assert_eq!(send_at(edge, 4), Err(EAGAIN));
});

both_worlds!(a_receive_into_bad_memory_loses_the_message, {
    let (_name, q) = queue_of(4, 8);
    for text in [b"1", b"2", b"3", b"4"] {
        send(&q, text, 0).unwrap();
    }
    let mut buf = [0u8; 8];
    let cliff = Cliff::protected(1);
    let edge = cliff.across(0, 0).addr;
    let receive_at = |addr: usize, prio: usize| {
        // SAFETY: the kernel judges the addresses.
        let n = unsafe { libc::mq_receive(q.number(), addr as *mut _, 8, prio as *mut _) };
        ringer_support::check(n as i64)
    };
    assert_eq!(receive_at(edge, 0), Err(EFAULT));
    assert_eq!(receive_at(NULL.addr, 0), Err(EFAULT));
    assert_eq!(receive_at(buf.as_mut_ptr() as usize, 8), Err(EFAULT));
    assert_eq!(curmsgs(&q), 1);
    assert_eq!(receive_at(buf.as_mut_ptr() as usize, 0), Ok(1));
    assert_eq!(buf[0], b'4');
});

both_worlds!(many_messages_of_all_sizes_and_priorities, {
    let (_name, q) = queue_of(10, 200);
    let mut rng = Rng::new(7);
    let mut model: Vec<(u32, usize, Vec<u8>)> = Vec::new();
    for n in 0..3000 {
        if rng.within(0, 1) == 0 && model.len() < 10 {
            let data = stream(n, rng.within(0, 200));
            let prio = rng.within(0, 3) as u32 * 10_000;
            send(&q, &data, prio).unwrap();
            model.push((prio, n, data));
        } else if let Some(best) =
            (0..model.len()).max_by_key(|&i| (model[i].0, std::cmp::Reverse(model[i].1)))
        {
            let (prio, _, data) = model.remove(best);
            assert!(receive(&q) == Ok((data, prio)), "{n}");
        }
        assert_eq!(curmsgs(&q), model.len() as i64);
    }
});
