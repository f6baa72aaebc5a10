//! Message queues: order, hand-over, names, memory.

mod support;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::*;
use std::thread;

use proptest::prelude::*;
use ringer_kernel::abi::{Errno, Restart, SysError};
use ringer_kernel::mqueue::notify::{self, Notice, Wish};
use ringer_kernel::mqueue::{name, store};
use ringer_kernel::pipe::watch::watched;
use ringer_kernel::sys::mqueue::{mq_receive, mq_send, watch};
use ringer_kernel::sys::Blocking;
use support::mq::{cred, made, wish, Mq, Patience};
use support::{host, Dst, Others, Sleeps, Src, TestHost, Watchdog, World};

const AGAIN: SysError = SysError::Errno(Errno::EAGAIN);

fn world() -> World {
    World::new(TestHost::new(Sleeps::ForEver, Others::Live))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Against a map of queues by priority.
    #[test]
    fn the_oldest_of_the_highest_priority_comes_first(
        maxmsg in 1i64..=10,
        steps in prop::collection::vec((any::<bool>(), 0u32..6, 0usize..100), 1..400),
    ) {
        let mq = Mq::new(world(), maxmsg, 100);
        let mut model: BTreeMap<u32, Vec<Vec<u8>>> = BTreeMap::new();
        let mut number = 0u8;
        for (send, prio, len) in steps {
            let count: usize = model.values().map(Vec::len).sum();
            if send {
                number = number.wrapping_add(1);
                let data = vec![number; len];
                let sent = mq.send(&mq.me, &data, prio);
                if count == maxmsg as usize {
                    prop_assert_eq!(sent, Err(AGAIN));
                } else {
                    prop_assert_eq!(sent, Ok(()));
                    model.entry(prio).or_default().push(data);
                }
            } else {
                let got = mq.receive(&mq.me);
                match model.iter_mut().rev().find(|(_, q)| !q.is_empty()) {
                    None => prop_assert_eq!(got, Err(AGAIN)),
                    Some((&prio, q)) => prop_assert_eq!(got, Ok((q.remove(0), prio))),
                }
            }
            let bytes: usize = model.values().flatten().map(Vec::len).sum();
            prop_assert_eq!(mq.h.q.bytes.load(Relaxed), bytes as u64);
        }
    }
}

#[test]
fn every_message_comes_once_and_in_order_whoever_sends_and_receives() {
    let _dog = Watchdog::step("a test");
    let mq = Mq::new(world(), 7, 16);
    let (senders, receivers, each) = (3u64, 3, 4000u64);
    let got: Vec<Vec<(u64, u64)>> = thread::scope(|s| {
        for who in 0..senders {
            s.spawn(move || {
                let me = mq.world.enter();
                for n in 0..each {
                    let mut data = who.to_le_bytes().to_vec();
                    data.extend(n.to_le_bytes());
                    let how = Patience::endless(120);
                    mq.send_with(&me, &data, 3, Blocking::Yes, &how).unwrap();
                }
            });
        }
        let each_gets = senders * each / receivers;
        let receivers: Vec<_> = (0..receivers)
            .map(|_| {
                s.spawn(move || {
                    let me = mq.world.enter();
                    (0..each_gets)
                        .map(|_| {
                            let how = Patience::endless(120);
                            let (data, _) = mq.receive_with(&me, Blocking::Yes, &how).unwrap();
                            let word = |i| u64::from_le_bytes(data[i..i + 8].try_into().unwrap());
                            (word(0), word(8))
                        })
                        .collect()
                })
            })
            .collect();
        receivers.into_iter().map(|r| r.join().unwrap()).collect()
    });
    let mut all: Vec<_> = got.iter().flatten().copied().collect();
    all.sort_unstable();
    let expected: Vec<_> = (0..senders)
        .flat_map(|w| (0..each).map(move |n| (w, n)))
        .collect();
    assert!(all == expected, "each message once");
    for of_one in &got {
        for who in 0..senders {
            let numbers = of_one.iter().filter(|m| m.0 == who).map(|m| m.1);
            assert!(
                numbers.clone().is_sorted(),
                "of {who}: {:?}",
                numbers.take(20)
            );
        }
    }
    assert_eq!((mq.count(), mq.h.q.busy.load(SeqCst)), (0, 0));
    assert_eq!(mq.h.q.free.load(SeqCst), 7 + store::EXTRA);
}

/// Receivers in line get a message each: by priority, of equals the one that waits longest.
#[test]
fn the_highest_priority_longest_waiting_receiver_is_first() {
    let _dog = Watchdog::step("a test");
    let mq = Mq::new(world(), 7, 16);
    let ranks = [120, 100, 120, 100, 139];
    let got = thread::scope(|s| {
        let threads: Vec<_> = (0..)
            .zip(ranks)
            .map(|(i, rank)| {
                let t = s.spawn(move || {
                    let me = mq.world.enter();
                    mq.receive_with(&me, Blocking::Yes, &Patience::endless(rank))
                        .unwrap()
                        .0
                });
                mq.lined_up(i + 1);
                t
            })
            .collect();
        for n in 0..5u8 {
            mq.send(&mq.me, &[n], 0).unwrap();
            assert_eq!(mq.count(), 0, "handed over");
        }
        threads
            .into_iter()
            .map(|t| t.join().unwrap()[0])
            .collect::<Vec<_>>()
    });
    assert_eq!(got, [2, 0, 3, 1, 4]);
}

/// A waiting sender's message is in the queue as soon as there is room: nobody else takes it.
#[test]
fn a_waiting_senders_message_goes_in_before_any_other() {
    let _dog = Watchdog::step("a test");
    let mq = Mq::new(world(), 2, 16);
    mq.send(&mq.me, b"1", 0).unwrap();
    mq.send(&mq.me, b"2", 0).unwrap();
    thread::scope(|s| {
        let t = s.spawn(move || {
            let me = mq.world.enter();
            let how = Patience::endless(120);
            mq.send_with(&me, b"3", 9, Blocking::Yes, &how)
        });
        mq.lined_up(1);
        assert_eq!(mq.receive(&mq.me).unwrap().0, b"1");
        assert_eq!(mq.send(&mq.me, b"4", 9), Err(AGAIN));
        assert_eq!(t.join().unwrap(), Ok(None));
    });
    assert_eq!(mq.receive(&mq.me), Ok((b"3".to_vec(), 9)));
    assert_eq!(mq.receive(&mq.me), Ok((b"2".to_vec(), 0)));
}

#[test]
fn more_senders_than_there_are_slots_to_wait_in_all_get_through() {
    let _dog = Watchdog::step("a test");
    let mq = Mq::new(world(), 1, 16);
    mq.send(&mq.me, b"0", 0).unwrap();
    let n = store::EXTRA + 8;
    thread::scope(|s| {
        for _ in 0..n {
            s.spawn(move || {
                let me = mq.world.enter();
                let how = Patience::endless(120);
                mq.send_with(&me, b"x", 0, Blocking::Yes, &how).unwrap();
            });
        }
        mq.lined_up(n);
        for _ in 0..=n {
            let how = Patience::endless(120);
            mq.receive_with(&mq.me, Blocking::Yes, &how).unwrap();
        }
    });
    assert_eq!(mq.h.q.free.load(SeqCst), 1 + store::EXTRA);
}

#[test]
fn a_deadline_and_a_signal_end_a_wait_and_leave_nothing() {
    let _dog = Watchdog::step("a test");
    let mq = Mq::new(
        World::new(TestHost::new(Sleeps::Bounded, Others::Live)),
        1,
        16,
    );
    let late = SysError::Errno(Errno::ETIMEDOUT);
    let no_time = Patience::none();
    assert_eq!(mq.receive_with(&mq.me, Blocking::Yes, &no_time), Err(late));
    mq.send(&mq.me, b"1", 0).unwrap();
    let sent = mq.send_with(&mq.me, b"2", 0, Blocking::Yes, &no_time);
    assert_eq!(sent, Err(late));
    host::signal(host::note());
    let sent = mq.send_with(&mq.me, b"2", 0, Blocking::Yes, &Patience::endless(1));
    assert_eq!(sent, Err(SysError::Restart(Restart::Sys)));
    assert!(host::take_signal());
    assert_eq!(
        (mq.h.q.busy.load(SeqCst), mq.h.q.senders.load(SeqCst)),
        (0, 0)
    );
    assert_eq!(mq.h.q.free.load(SeqCst), store::EXTRA);
    assert_eq!(mq.receive(&mq.me), Ok((b"1".to_vec(), 0)));
    assert_eq!(mq.receive(&mq.me), Err(AGAIN));
}

/// `load_msg` comes first; `store_msg` comes last, and the message is gone.
#[test]
fn bad_memory_is_found_before_a_send_and_after_a_receive() {
    let mq = Mq::new(world(), 1, 16);
    let k = mq.world.ctx(&mq.me);
    let how = Patience::endless(120);
    let fault = SysError::Errno(Errno::EFAULT);
    mq.send(&mq.me, b"1234", 0).unwrap();
    let mut src = Src::faulting(b"5678", Some(2));
    let sent = mq_send(&k, &mq.h, mq.twin, Blocking::No, &mut src, (4, 0), &how);
    assert_eq!(sent, Err(fault), "not EAGAIN");
    let (mut buf, mut prio) = ([0; 16], [0; 4]);
    let (mut dst, mut to) = (Dst::faulting(&mut buf, Some(3)), Dst::new(&mut prio));
    let got = mq_receive(&k, &mq.h, mq.twin, Blocking::No, &mut dst, &mut to, &how);
    assert_eq!(got, Err(fault));
    assert_eq!(mq.receive(&mq.me), Err(AGAIN));
}

#[test]
fn the_registered_process_is_told_once_of_the_first_message_that_nobody_waits_for() {
    let _dog = Watchdog::step("a test");
    let mq = Mq::new(world(), 3, 16);
    let k = mq.world.ctx(&mq.me);
    let how = Patience::endless(120);
    let signal = Wish::Signal {
        signo: 10,
        value: 7,
    };
    let register = |wish| {
        mq.h.lock(&k);
        let result = notify::register(&k, &mq.h, 1, 1, wish);
        mq.h.unlock(&k);
        result
    };
    let send = || mq.send_with(&mq.me, b"m", 0, Blocking::No, &how).unwrap();
    assert_eq!(register(signal), Ok(()));
    assert_eq!(register(Wish::Silent), Err(Errno::EBUSY));
    thread::scope(|s| {
        s.spawn(move || {
            let me = mq.world.enter();
            mq.receive_with(&me, Blocking::Yes, &Patience::endless(1))
                .unwrap();
        });
        mq.lined_up(1);
        assert_eq!(send(), None, "somebody waits");
    });
    let told = Notice {
        pid: 1,
        signo: 10,
        value: 7,
    };
    assert_eq!(send(), Some(told));
    assert_eq!(send(), None);
    mq.receive(&mq.me).unwrap();
    mq.receive(&mq.me).unwrap();
    assert_eq!(send(), None, "once");
    assert_eq!(register(signal), Ok(()));
    assert_eq!(send(), None, "it was not empty");
    notify::remove(&k, &mq.h, 1);
    assert_eq!(register(Wish::Silent), Ok(()));
}

#[test]
fn a_note_goes_into_the_box_of_the_process() {
    let mq = Mq::new(world(), 3, 16);
    let k = mq.world.ctx(&mq.me);
    let of = notify::new_box(&k).unwrap();
    for cookie in [5, 6] {
        let note = notify::new_note(&k, cookie).unwrap();
        mq.h.lock(&k);
        notify::register(&k, &mq.h, 1, 1, Wish::Thread { note, of }).unwrap();
        mq.h.unlock(&k);
        mq.send(&mq.me, b"m", 0).unwrap();
        mq.receive(&mq.me).unwrap();
    }
    let mut seen = Vec::new();
    assert!(notify::collect(&k, of, |fate, cookie| seen.push((fate, cookie))));
    assert_eq!(seen, [(notify::fate::FIRED, 5), (notify::fate::FIRED, 6)]);
    assert!(!notify::collect(&k, of, |_, _| ()));
}

#[test]
fn readiness_is_mirrored_into_the_twin() {
    let mq = Mq::new(world(), 2, 16);
    let k = mq.world.ctx(&mq.me);
    mq.send(&mq.me, b"1", 0).unwrap();
    watch(&k, &mq.h, mq.twin, watched::LEVEL);
    let tokens = || mq.twin.0.load(SeqCst);
    assert_eq!(tokens(), 1);
    mq.send(&mq.me, b"2", 0).unwrap();
    assert_eq!(tokens(), 2);
    mq.receive(&mq.me).unwrap();
    mq.receive(&mq.me).unwrap();
    assert_eq!(tokens(), 0);
}

#[test]
fn names_are_found_refused_and_free_again() {
    let w = world();
    let me = w.enter();
    let k = w.ctx(&me);
    let open = |name: &[u8], create, who: u32| {
        name::open(&k, &wish(name, create, None), &cred(who), made).map(|(h, new)| (h.slot, new))
    };
    assert_eq!(open(b"a", false, 0), Err(Errno::ENOENT));
    let (a, new) = open(b"a", true, 0).unwrap();
    assert!(new);
    assert_eq!(open(b"a", true, 0), Ok((a, false)));
    assert_eq!(open(b"a", true, 5), Err(Errno::EACCES));
    let exclusive = name::Wish {
        exclusive: true,
        ..wish(b"a", true, None)
    };
    let again = name::open(&k, &exclusive, &cred(0), made).map(|_| ());
    assert_eq!(again, Err(Errno::EEXIST));
    assert_eq!(name::unlink(&k, b"a", &cred(5)), Err(Errno::EACCES));
    assert_eq!(name::unlink(&k, b"a", &cred(0)), Ok(()));
    assert_eq!(name::unlink(&k, b"a", &cred(0)), Err(Errno::ENOENT));
    let (other, _) = open(b"a", true, 0).unwrap();
    assert_ne!(other, a, "the old one is open still");
    let old = ringer_kernel::mqueue::handle(w.arena, a).unwrap();
    name::close(&k, &old);
    assert!(old.q.is_live());
    name::close(&k, &old);
    assert!(!old.q.is_live());
    assert_eq!(open(b"b", true, 0), Ok((a, true)), "its place is free");
}

#[test]
fn a_user_has_so_many_bytes_and_the_session_so_many_queues() {
    let w = world();
    let me = w.enter();
    let k = w.ctx(&me);
    let open = |name: &str, who| {
        let name = name.as_bytes();
        name::open(&k, &wish(name, true, None), &cred(who), made).map(|_| ())
    };
    for i in 0..9 {
        assert_eq!(open(&format!("q{i}"), 0), Ok(()), "{i}");
    }
    assert_eq!(open("q9", 0), Err(Errno::EMFILE)); // 10 * (8192 + 96) * 10 > 819200
    assert_eq!(open("other", 7), Ok(()));
    for i in 0..246 {
        let name = format!("s{i}");
        let small = wish(name.as_bytes(), true, Some((1, 1)));
        assert!(name::open(&k, &small, &cred(i), made).is_ok(), "{i}");
    }
    assert_eq!(open("one too many", 1000), Err(Errno::ENOSPC));
}

#[test]
fn messages_longer_than_a_block_and_queues_larger_than_one_work() {
    let _dog = Watchdog::step("a test");
    let w = world();
    let me = w.enter();
    let root = support::mq::cred(0);
    let root = ringer_kernel::mqueue::limits::Cred {
        may_exceed: true,
        ..root
    };
    for (maxmsg, msgsize) in [(2, 9_000_001i64), (700, 20_000), (65_536, 1)] {
        let mut large = wish(b"large", true, Some((maxmsg, msgsize)));
        large.bytes_max = u64::MAX;
        let free = w.arena.header().free_lists();
        let (h, _) = name::open(&w.ctx(&me), &large, &root, made).unwrap();
        let twin = Box::leak(Box::new(support::mq::Twin(0.into())));
        let mq = Mq {
            world: w,
            me,
            h,
            twin,
        };
        let message = |n: i64| -> Vec<u8> {
            (0..msgsize as usize)
                .map(|i| (i as i64 * 7 + n) as u8)
                .collect()
        };
        for n in 0..maxmsg {
            mq.send(&me, &message(n), (n % 3) as u32).unwrap();
        }
        assert_eq!(mq.send(&me, b"", 0), Err(AGAIN));
        for prio in (0..3).rev() {
            for n in (0..maxmsg).filter(|n| n % 3 == prio) {
                assert!(mq.receive(&me) == Ok((message(n), prio as u32)), "{n}");
            }
        }
        name::unlink(&w.ctx(&me), b"large", &root).unwrap();
        name::close(&w.ctx(&me), &h);
        let _ = free;
    }
}
