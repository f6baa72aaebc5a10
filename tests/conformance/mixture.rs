//! Readiness of everything that has any, by every call that tells it, and of all together. See poll(2),
//! select(2), epoll(7), fcntl(2) O_ASYNC.

use libc::{EPOLLEXCLUSIVE, EPOLLRDHUP};
use ringer_support::prelude::*;
use ringer_support::things::{Kind, Thing};
use std::time::Duration;

/// What the calls say of one descriptor to read and one to write: all the same.
fn told(t: &Thing) -> (bool, bool) {
    let by_poll = |fd: &Fd, events: i16| {
        let mut p = [pollfd(fd, events)];
        poll(&mut p, 0).unwrap();
        p[0].revents & events != 0
    };
    let by_ppoll = |fd: &Fd, events: i16| {
        let mut p = [pollfd(fd, events)];
        ppoll(&mut p, Some(milliseconds(0)), None).unwrap();
        p[0].revents & events != 0
    };
    let (r, w) = (t.r.number(), t.w.number());
    let of_select = |how: Select| {
        let s = select(&[r], &[w], Some(0), how);
        (s.read.has(r), s.write.has(w))
    };
    let of_epoll = {
        let e = Epoll::new();
        e.ctl(EPOLL_CTL_ADD, &t.r, EPOLLIN, 1).unwrap();
        e.ctl(EPOLL_CTL_ADD, &t.w, EPOLLOUT, 2).unwrap();
        let events = e.wait(0).unwrap();
        let has = |data| events.iter().any(|(_, d)| *d == data);
        (has(1), has(2))
    };
    let all = [
        (by_poll(&t.r, POLLIN), by_poll(&t.w, POLLOUT)),
        (by_ppoll(&t.r, POLLIN), by_ppoll(&t.w, POLLOUT)),
        of_select(Select::Timeval),
        of_select(Select::Timespec),
        of_epoll,
    ];
    assert!(all.iter().all(|t| *t == all[0]), "{:?}: {all:?}", t.kind);
    all[0]
}

both_worlds!(all_calls_tell_the_same_level, worlds = all, timeout = 60, {
    for kind in Kind::ALL {
        let t = Thing::new(kind);
        let writable = kind != Kind::Signalfd;
        assert_eq!(told(&t), (false, writable), "{kind:?}");
        assert_eq!(t.take(), Err(EAGAIN), "{kind:?}");
        t.put().unwrap();
        t.put().unwrap();
        assert_eq!(told(&t), (true, writable), "{kind:?}");
        let first = t.take().unwrap();
        assert_eq!(told(&t), (first == 1, writable), "{kind:?}");
        if first == 1 {
            assert_eq!(t.take(), Ok(1), "{kind:?}");
        }
        assert_eq!(told(&t), (false, writable), "{kind:?}");
        if Kind::WITH_ROOM.contains(&kind) {
            t.fill();
            assert_eq!(told(&t), (true, false), "{kind:?}");
            assert_eq!(t.put(), Err(EAGAIN), "{kind:?}");
            t.make_room();
            assert!(told(&t).1, "{kind:?}");
        }
    }
});

both_worlds!(what_was_there_before_anybody_asked_is_told, worlds = all, {
    for kind in Kind::ALL {
        let t = Thing::new(kind);
        t.put().unwrap();
        assert!(told(&t).0, "{kind:?}");
        assert_eq!(t.take(), Ok(1), "{kind:?}");
        assert!(!told(&t).0, "{kind:?}");
    }
});

both_worlds!(
    each_put_is_an_edge_and_a_take_is_none,
    worlds = all,
    timeout = 60,
    {
        for kind in Kind::ALL {
            let (t, e) = (Thing::new(kind), Epoll::new());
            e.add(&t.r, EPOLLIN | EPOLLET);
            assert_eq!(e.now(), 0, "{kind:?}");
            for _ in 0..3 {
                t.put().unwrap();
                assert_eq!(e.now() & EPOLLIN, EPOLLIN, "{kind:?}");
                assert_eq!(e.now(), 0, "{kind:?}");
            }
            // (ipc/mqueue.c wakes everybody who polls when a message goes, too.)
            t.take().unwrap();
            assert_eq!(e.now() & EPOLLIN != 0, kind == Kind::Queue, "{kind:?}");
            // From another process.
            fork_run(|| assert!(t.put().is_ok())).succeeds();
            assert_eq!(e.now() & EPOLLIN, EPOLLIN, "{kind:?}");
            assert_eq!(e.now(), 0, "{kind:?}");
            e.modify(&t.r, EPOLLIN | EPOLLET);
            assert_eq!(e.now() & EPOLLIN, EPOLLIN, "{kind:?}");
        }
    }
);

both_worlds!(
    room_is_an_edge_for_the_writer,
    worlds = all,
    timeout = 60,
    {
        for kind in Kind::WITH_ROOM {
            let (t, e) = (Thing::new(kind), Epoll::new());
            e.add(&t.w, EPOLLOUT | EPOLLET);
            assert_eq!(e.now() & EPOLLOUT, EPOLLOUT, "{kind:?}");
            t.fill();
            let _ = e.now();
            assert_eq!(e.now() & EPOLLOUT, 0, "{kind:?}");
            fork_run(|| t.make_room()).succeeds();
            assert_eq!(e.now() & EPOLLOUT, EPOLLOUT, "{kind:?}");
            assert_eq!(e.now() & EPOLLOUT, 0, "{kind:?}");
        }
    }
);

both_worlds!(a_one_shot_tells_once, worlds = all, {
    for kind in Kind::ALL {
        let (t, e) = (Thing::new(kind), Epoll::new());
        e.add(&t.r, EPOLLIN | EPOLLONESHOT);
        t.put().unwrap();
        assert_eq!(e.now(), EPOLLIN, "{kind:?}");
        t.put().unwrap();
        assert_eq!(e.now(), 0, "{kind:?}");
        e.modify(&t.r, EPOLLIN | EPOLLONESHOT);
        assert_eq!(e.now(), EPOLLIN, "{kind:?}");
        assert_eq!(e.now(), 0, "{kind:?}");
    }
});

/// `wait` in a process that sleeps in it, until somebody else has put something in.
fn wakes(t: &Thing, how: &str, wait: impl Fn()) {
    let s = Shared::new();
    let putter = fork_run(|| {
        s.wait_for(0, 1);
        pause(Duration::from_millis(3));
        t.put().unwrap();
    });
    s.set(0, 1);
    wait();
    putter.succeeds();
    assert_eq!(t.take(), Ok(1), "{:?}, {how}", t.kind);
}

both_worlds!(
    each_call_is_woken_by_another_process,
    worlds = all,
    timeout = 60,
    {
        for kind in Kind::ALL {
            let t = Thing::new(kind);
            let fd = t.r.number();
            for _ in 0..5 {
                wakes(&t, "poll", || assert_eq!(poll_until(&t.r, POLLIN), POLLIN));
                wakes(&t, "ppoll", || {
                    let mut p = [pollfd(&t.r, POLLIN)];
                    assert_eq!(ppoll(&mut p, None, None), Ok(1));
                });
                for how in [Select::Timeval, Select::Timespec] {
                    wakes(&t, "select", || {
                        assert_eq!(select(&[fd], &[], None, how).count, Ok(1));
                    });
                }
                for events in [EPOLLIN, EPOLLIN | EPOLLET, EPOLLIN | EPOLLONESHOT] {
                    let e = Epoll::new();
                    e.add(&t.r, events | EPOLLRDHUP);
                    wakes(&t, "epoll_wait", || {
                        assert_eq!(e.wait(-1).unwrap(), [(EPOLLIN, fd as u64)]);
                    });
                }
            }
        }
    }
);

both_worlds!(a_set_in_a_set_in_a_poll, worlds = all, timeout = 60, {
    let (inner, outer) = (Epoll::new(), Epoll::new());
    outer.add(&inner.0, EPOLLIN);
    for kind in Kind::ALL {
        let t = Thing::new(kind);
        inner.add(&t.r, EPOLLIN);
        assert_eq!(poll_now(&outer.0), 0, "{kind:?}");
        wakes(&t, "nested", || {
            assert_eq!(poll_until(&outer.0, POLLIN), POLLIN);
            assert_eq!(outer.now(), EPOLLIN);
            assert_eq!(inner.now(), EPOLLIN);
        });
        assert_eq!(poll_now(&outer.0), 0, "{kind:?}");
        inner.ctl(EPOLL_CTL_DEL, &t.r, 0, 0).unwrap();
    }
});

both_worlds!(a_set_is_shared_after_fork, worlds = all, timeout = 60, {
    for kind in Kind::ALL.into_iter().filter(|k| *k != Kind::Signalfd) {
        let (t, e, s) = (Thing::new(kind), Epoll::new(), Shared::new());
        // The child adds it, and waits; then the parent does.
        let child = fork_run(|| {
            e.add(&t.r, EPOLLIN | EPOLLET);
            s.set(0, 1);
            assert_eq!(e.wait(-1).unwrap(), [(EPOLLIN, t.r.number() as u64)]);
            assert_eq!(t.take(), Ok(1));
            s.set(0, 2);
        });
        s.wait_for(0, 1);
        t.put().unwrap();
        s.wait_for(0, 2);
        child.succeeds();
        assert_eq!(e.now(), 0, "{kind:?}");
        t.put().unwrap();
        assert_eq!(e.now(), EPOLLIN, "{kind:?}");
        assert_eq!(t.take(), Ok(1));
    }
});

both_worlds!(
    exclusive_waiters_lose_nothing,
    worlds = all,
    timeout = 100,
    {
        const ITEMS: u64 = 300;
        for kind in Kind::ALL.into_iter().filter(|k| *k != Kind::Signalfd) {
            let (t, s) = (Thing::new(kind), Shared::new());
            let consumers: Vec<Child> = (0..2)
                .map(|_| {
                    fork_run(|| {
                        let e = Epoll::new();
                        e.add(&t.r, EPOLLIN | EPOLLEXCLUSIVE);
                        s.bump(0);
                        while s.get(1) < ITEMS {
                            e.wait(50).unwrap();
                            while let Ok(n) = t.take() {
                                s.word(1).fetch_add(n, SeqCst);
                            }
                        }
                    })
                })
                .collect();
            s.wait_for(0, 2);
            for n in 0..ITEMS {
                while t.put() == Err(EAGAIN) {
                    poll_until(&t.w, POLLOUT);
                }
                if n % 50 == 0 {
                    // Nobody has to look a second time.
                    s.wait_for(1, n + 1);
                }
            }
            all_succeed(consumers);
            assert_eq!(s.get(1), ITEMS, "{kind:?}");
        }
    }
);

both_worlds!(sigio_tells_what_has_it, worlds = armed, timeout = 60, {
    for kind in Kind::ALL {
        let t = Thing::new(kind);
        signal::count(SIGIO, SA_RESTART);
        let before = signal::seen(SIGIO);
        fcntl(&t.r, libc::F_SETOWN, getpid() as usize).unwrap();
        let flags = status_flags(&t.r);
        set_status_flags(&t.r, flags | libc::O_ASYNC).unwrap();
        fork_run(|| assert!(t.put().is_ok())).succeeds();
        if kind.has_sigio() {
            wait_until(|| signal::seen(SIGIO) > before);
            let now = signal::seen(SIGIO);
            t.put().unwrap();
            wait_until(|| signal::seen(SIGIO) > now);
        } else {
            pause(Duration::from_millis(2));
            assert_eq!(signal::seen(SIGIO), before, "{kind:?}");
        }
        set_status_flags(&t.r, flags).unwrap();
        let now = signal::seen(SIGIO);
        t.put().unwrap();
        pause(Duration::from_millis(2));
        assert_eq!(signal::seen(SIGIO), now, "{kind:?}");
    }
});

/// What is in each, and what the calls must say then.
struct Model {
    things: Vec<Thing>,
    counts: Vec<u64>,
}

impl Model {
    fn new() -> Model {
        let things: Vec<Thing> = Kind::ALL.map(Thing::new).into_iter().collect();
        let counts = vec![0; things.len()];
        Model { things, counts }
    }

    fn put(&mut self, i: usize) -> bool {
        let done = self.things[i].put();
        assert!(matches!(done, Ok(_) | Err(EAGAIN)), "{done:?}");
        self.counts[i] += u64::from(done.is_ok());
        done.is_ok()
    }

    fn take(&mut self, i: usize) {
        match self.things[i].take() {
            Ok(n) => {
                assert!(n <= self.counts[i] && n > 0);
                self.counts[i] -= n;
            }
            Err(e) => assert_eq!(
                (e, self.counts[i]),
                (EAGAIN, 0),
                "{:?}",
                self.things[i].kind
            ),
        }
    }

    fn ready(&self) -> Vec<usize> {
        (0..self.counts.len())
            .filter(|i| self.counts[*i] > 0)
            .collect()
    }

    fn check(&self, e: &Epoll) {
        let expected = self.ready();
        let mut fds: Vec<_> = self.things.iter().map(|t| pollfd(&t.r, POLLIN)).collect();
        poll(&mut fds, 0).unwrap();
        let by_poll: Vec<usize> = (0..fds.len()).filter(|i| fds[*i].revents != 0).collect();
        assert_eq!(by_poll, expected, "poll");
        let numbers: Vec<c_int> = self.things.iter().map(|t| t.r.number()).collect();
        let s = select(&numbers, &[], Some(0), Select::Timeval);
        let by_select: Vec<usize> = (0..fds.len()).filter(|i| s.read.has(numbers[*i])).collect();
        assert_eq!(by_select, expected, "select");
        let events = e.wait(0).unwrap();
        let mut by_epoll: Vec<usize> = events.iter().map(|(_, d)| *d as usize).collect();
        by_epoll.sort_unstable();
        assert_eq!(by_epoll, expected, "epoll");
    }
}

both_worlds!(
    a_mixture_of_everything_is_told_after_each_step,
    worlds = all,
    timeout = 100,
    {
        for seed in 1..=4 {
            let (mut m, mut rng, e, edges) =
                (Model::new(), Rng::new(seed), Epoll::new(), Epoll::new());
            for (i, t) in m.things.iter().enumerate() {
                e.ctl(EPOLL_CTL_ADD, &t.r, EPOLLIN, i as u64).unwrap();
                edges
                    .ctl(EPOLL_CTL_ADD, &t.r, EPOLLIN | EPOLLET, i as u64)
                    .unwrap();
            }
            for _ in 0..400 {
                let i = rng.below(m.things.len());
                let puts = rng.below(2) == 0;
                let done = if puts {
                    m.put(i)
                } else {
                    m.take(i);
                    false
                };
                let told = edges.wait(0).unwrap();
                let told: Vec<usize> = told
                    .iter()
                    .filter(|(events, _)| events & EPOLLIN != 0)
                    .map(|(_, d)| *d as usize)
                    .collect();
                if done {
                    assert!(told.contains(&i), "an edge of {:?}", m.things[i].kind);
                }
                // Nothing tells of another one's, and only what is true.
                assert!(told.iter().all(|n| *n == i), "{told:?}");
                assert!(told.iter().all(|n| m.counts[*n] > 0), "{told:?}");
                m.check(&e);
            }
            // Signals are the process's, and would be there for the next one.
            m.ready().into_iter().for_each(|i| {
                while m.counts[i] > 0 {
                    m.take(i)
                }
            });
        }
    }
);

/// Two processes put, this one takes, told by epoll alone: whatever is not told is waited for for ever.
fn storm(events: c_int, seed: u64) {
    const EACH: u64 = 400;
    let things: Vec<Thing> = Kind::ALL.map(Thing::new).into_iter().collect();
    let e = Epoll::new();
    for (i, t) in things.iter().enumerate() {
        e.ctl(EPOLL_CTL_ADD, &t.r, EPOLLIN | events, i as u64)
            .unwrap();
    }
    let putters: Vec<Child> = (0..2)
        .map(|n| {
            fork_run(|| {
                let mut rng = Rng::new(seed * 2 + n);
                let mut left = vec![EACH; things.len()];
                while left.iter().any(|n| *n > 0) {
                    let i = rng.below(things.len());
                    if left[i] == 0 {
                        continue;
                    }
                    match things[i].put() {
                        Ok(_) => left[i] -= 1,
                        Err(EAGAIN) if things[i].kind == Kind::Signalfd => {
                            pause(Duration::from_millis(1))
                        }
                        Err(EAGAIN) => drop(poll_until(&things[i].w, POLLOUT)),
                        Err(other) => panic!("{:?}: errno {other}", things[i].kind),
                    }
                    if rng.below(64) == 0 {
                        pause(Duration::from_micros(300));
                    }
                }
            })
        })
        .collect();
    let mut left = vec![2 * EACH; things.len()];
    while left.iter().any(|n| *n > 0) {
        for (what, i) in e.wait(-1).unwrap() {
            let i = i as usize;
            assert_eq!(what & EPOLLIN, EPOLLIN, "{:?}", things[i].kind);
            let mut taken = 0;
            while let Ok(n) = things[i].take() {
                taken += n;
                if events & EPOLLET == 0 {
                    break;
                }
            }
            // Only edges may come late, when it has been taken already.
            assert!(taken > 0 || events & EPOLLET != 0, "{:?}", things[i].kind);
            left[i] -= taken;
            if events & EPOLLONESHOT != 0 {
                e.ctl(EPOLL_CTL_MOD, &things[i].r, EPOLLIN | events, i as u64)
                    .unwrap();
            }
        }
    }
    all_succeed(putters);
    for t in &things {
        assert_eq!(t.take(), Err(EAGAIN), "{:?}", t.kind);
    }
}

both_worlds!(a_storm_told_by_levels, worlds = all, timeout = 100, {
    storm(0, 1);
});

both_worlds!(a_storm_told_by_edges, worlds = all, timeout = 100, {
    storm(EPOLLET, 2);
});

both_worlds!(a_storm_told_by_one_shots, worlds = all, timeout = 100, {
    storm(EPOLLONESHOT, 3);
});

both_worlds!(
    a_ppoll_of_everything_is_ended_by_a_signal_or_an_event,
    worlds = armed,
    timeout = 60,
    {
        let m = Model::new();
        signal::count(SIGUSR1, 0);
        for (i, t) in m.things.iter().enumerate() {
            let s = Shared::new();
            let me = getpid();
            let child = fork_run(|| {
                s.wait_for(0, 1);
                pause(Duration::from_millis(3));
                signal::kill(me, SIGUSR1);
                s.wait_for(0, 2);
                pause(Duration::from_millis(3));
                t.put().unwrap();
            });
            let mut fds: Vec<_> = m.things.iter().map(|t| pollfd(&t.r, POLLIN)).collect();
            s.set(0, 1);
            assert_eq!(ppoll(&mut fds, None, None), Err(EINTR));
            assert_eq!(signal::seen(SIGUSR1), i as u32 + 1);
            s.set(0, 2);
            assert_eq!(ppoll(&mut fds, None, None), Ok(1));
            assert_eq!(fds[i].revents, POLLIN, "{:?}", t.kind);
            child.succeeds();
            assert_eq!(t.take(), Ok(1));
        }
    }
);
