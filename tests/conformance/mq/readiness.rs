//! Queues in poll(2), select(2) and epoll(7).

use ringer_support::mq::*;
use ringer_support::prelude::*;

const IN: i16 = POLLIN | POLLRDNORM;
const OUT: i16 = POLLOUT | POLLWRNORM;

both_worlds!(
    poll_tells_whether_there_is_a_message_and_whether_there_is_room,
    {
        let (_name, q) = queue_of(2, 8);
        assert_eq!(poll_now(&q), OUT);
        send(&q, b"1", 0).unwrap();
        assert_eq!(poll_now(&q), IN | OUT);
        send(&q, b"2", 0).unwrap();
        assert_eq!(poll_now(&q), IN);
        take(&q).unwrap();
        assert_eq!(poll_now(&q), IN | OUT);
        take(&q).unwrap();
        assert_eq!(poll_now(&q), OUT);
    }
);

both_worlds!(a_queue_of_one_message_is_never_both, {
    let (_name, q) = queue_of(1, 8);
    for _ in 0..3 {
        assert_eq!(poll_now(&q), OUT);
        send(&q, b"1", 0).unwrap();
        assert_eq!(poll_now(&q), IN);
        take(&q).unwrap();
    }
});

both_worlds!(every_descriptor_of_a_queue_tells_the_same, {
    let (name, q) = queue_of(2, 8);
    let others = [O_RDONLY, O_WRONLY, O_RDWR].map(|flags| name.open(flags).unwrap());
    send(&q, b"1", 0).unwrap();
    for other in &others {
        assert_eq!(poll_now(other), IN | OUT);
    }
    send(&others[1], b"2", 0).unwrap();
    assert_eq!(others.each_ref().map(poll_now), [IN; 3]);
    take(&others[0]).unwrap();
    take(&q).unwrap();
    assert_eq!(others.each_ref().map(poll_now), [OUT; 3]);
});

both_worlds!(poll_wakes_for_another_processs_message, {
    let (name, q) = queue_of(2, 8);
    let child = fork_run(|| {
        let own = name.open(O_RDONLY).unwrap();
        assert_eq!(poll_until(&own, POLLIN), POLLIN);
        assert_eq!(take(&own), Ok(b"1".to_vec()));
    });
    child.sleeping();
    send(&q, b"1", 0).unwrap();
    child.succeeds();
});

both_worlds!(poll_wakes_for_room, {
    let (name, q) = queue_of(1, 8);
    send(&q, b"1", 0).unwrap();
    let child = fork_run(|| {
        let own = name.open(O_WRONLY).unwrap();
        assert_eq!(poll_until(&own, POLLOUT), POLLOUT);
    });
    child.sleeping();
    take(&q).unwrap();
    child.succeeds();
});

both_worlds!(a_message_that_goes_to_a_waiting_receiver_is_not_seen, {
    let (_name, q) = queue_of(2, 8);
    assert_eq!(poll_now(&q), OUT);
    let child = fork_run(|| assert_eq!(take(&q), Ok(b"1".to_vec())));
    child.sleeping();
    send(&q, b"1", 0).unwrap();
    assert_eq!(poll_now(&q), OUT);
    child.succeeds();
    assert_eq!(poll_now(&q), OUT);
});

both_worlds!(the_message_of_a_waiting_sender_keeps_the_queue_full, {
    let (_name, q) = queue_of(1, 8);
    send(&q, b"1", 0).unwrap();
    assert_eq!(poll_now(&q), IN);
    let child = fork_run(|| assert_eq!(send(&q, b"2", 0), Ok(0)));
    child.sleeping();
    take(&q).unwrap();
    assert_eq!(poll_now(&q), IN);
    child.succeeds();
    take(&q).unwrap();
    assert_eq!(poll_now(&q), OUT);
});

both_worlds!(select_tells_the_same, {
    let (_name, q) = queue_of(1, 8);
    let n = q.number();
    let empty = select(&[n], &[n], Some(0), Select::Timeval);
    assert_eq!(
        (empty.count, empty.read.has(&q), empty.write.has(&q)),
        (Ok(1), false, true)
    );
    send(&q, b"1", 0).unwrap();
    let full = select(&[n], &[n], Some(0), Select::Timespec);
    assert_eq!(
        (full.count, full.read.has(&q), full.write.has(&q)),
        (Ok(1), true, false)
    );
});

both_worlds!(level_triggered_epoll_tells_as_long_as_it_is_so, {
    let (name, q) = queue_of(2, 8);
    let reader = name.open(O_RDONLY).unwrap();
    let ep = Epoll::new();
    ep.add(&reader, EPOLLIN as u32, 5);
    assert_eq!(ep.wait(0), []);
    send(&q, b"1", 0).unwrap();
    for _ in 0..3 {
        assert_eq!(ep.wait(0), [(EPOLLIN as u32, 5)]);
    }
    take(&reader).unwrap();
    assert_eq!(ep.wait(0), []);
});

both_worlds!(edge_triggered_epoll_tells_of_every_message, {
    let (name, q) = queue_of(3, 8);
    let reader = name.open(O_RDONLY).unwrap();
    let ep = Epoll::new();
    ep.add(&reader, (EPOLLIN | EPOLLET) as u32, 5);
    assert_eq!(ep.wait(0), []);
    for _ in 0..3 {
        send(&q, b"1", 0).unwrap();
        assert_eq!(ep.wait(-1), [(EPOLLIN as u32, 5)]);
        assert_eq!(ep.wait(0), []);
    }
    take(&reader).unwrap();
    send(&q, b"1", 0).unwrap();
    assert_eq!(ep.wait(-1), [(EPOLLIN as u32, 5)]);
});

both_worlds!(edge_triggered_epoll_tells_of_room, {
    let (name, q) = queue_of(2, 8);
    send(&q, b"1", 0).unwrap();
    send(&q, b"1", 0).unwrap();
    let writer = name.open(O_WRONLY).unwrap();
    let ep = Epoll::new();
    ep.add(&writer, (EPOLLOUT | EPOLLET) as u32, 6);
    assert_eq!(ep.wait(0), []);
    for _ in 0..2 {
        take(&q).unwrap();
        assert_eq!(ep.wait(-1), [(EPOLLOUT as u32, 6)]);
        assert_eq!(ep.wait(0), []);
    }
});

both_worlds!(a_poller_and_a_process_that_does_not_poll_agree, {
    let (_name, q) = queue_of(2, 8);
    assert_eq!(poll_now(&q), OUT);
    fork_run(|| {
        send(&q, b"1", 0).unwrap();
        send(&q, b"2", 0).unwrap();
    })
    .succeeds();
    assert_eq!(poll_now(&q), IN);
    fork_run(|| {
        take(&q).unwrap();
    })
    .succeeds();
    assert_eq!(poll_now(&q), IN | OUT);
});

/// epoll(7).
struct Epoll(Fd);

impl Epoll {
    fn new() -> Epoll {
        // SAFETY: a flag.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        Epoll(Fd::own(fd as usize))
    }

    fn add(&self, fd: &Fd, events: u32, data: u64) {
        let mut event = libc::epoll_event { events, u64: data };
        let (ep, fd) = (self.0.number(), fd.number());
        // SAFETY: a valid event.
        let done = unsafe { libc::epoll_ctl(ep, EPOLL_CTL_ADD, fd, &mut event) };
        assert_eq!(done, 0);
    }

    fn wait(&self, ms: c_int) -> Vec<(u32, u64)> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 8];
        // SAFETY: room for eight events.
        let n = unsafe { libc::epoll_wait(self.0.number(), events.as_mut_ptr(), 8, ms) };
        assert!(n >= 0);
        events[..n as usize]
            .iter()
            .map(|e| (e.events, e.u64))
            .collect()
    }
}
