//! Deaths while others wait: for the lock that the dead one held, for the bytes or the room that
//! it made and could not tell of, for an end that only it held.

#![cfg(feature = "crash-points")]

mod support;

use std::sync::atomic::Ordering::*;
use std::thread::{self, JoinHandle};

use ringer_kernel::abi::{Errno, SysError, SysResult};
use ringer_kernel::sync::atomic::AtomicU32;
use ringer_kernel::sync::wait_queue::WaitQueue;
use ringer_kernel::sys::Blocking;
use support::kit::Kit;
use support::victim::Victim;
use support::{ignore, Others, Sleeps, TestHost, Watchdog, World};

const WAITERS: u32 = 1 << 31;

fn world() -> World {
    World::new(TestHost::new(Sleeps::Bounded, Others::Live))
}

fn until(mut f: impl FnMut() -> bool) {
    while !f() {
        thread::yield_now();
    }
}

fn until_asleep(queue: &WaitQueue) {
    until(|| queue.sleepers.load(SeqCst) > 0);
}

fn blocked_read(kit: Kit, want: usize) -> JoinHandle<SysResult<Vec<u8>>> {
    let reader = thread::spawn(move || kit.read(&kit.world.enter(), want, Blocking::Yes));
    until_asleep(&kit.pair.pipe.rd_wait);
    reader
}

fn blocked_write(kit: Kit, data: &'static [u8]) -> JoinHandle<SysResult> {
    let writer = thread::spawn(move || kit.write(&kit.world.enter(), data, Blocking::Yes));
    until_asleep(&kit.pair.pipe.wr_wait);
    writer
}

/// Nobody here ever looks up by himself: what comes is told to the living.
#[test]
fn who_was_killed_asleep_is_passed_over() {
    let world = World::new(TestHost::new(Sleeps::ForEver, Others::Live));
    let _watchdog = Watchdog::step("asleep");
    let kit = Kit::new(world, 16);
    let asleep = |n| until(|| kit.pair.pipe.rd_wait.sleepers.load(SeqCst) == n);
    let dead = [1, 2].map(|n| {
        let me = world.enter();
        thread::spawn(move || ignore(kit.read(&me, 1, Blocking::Yes)));
        asleep(n);
        me
    });
    let behind = thread::spawn(move || kit.read(&world.enter(), 1, Blocking::Yes));
    asleep(3);
    dead.iter().for_each(|me| me.die());
    assert_eq!(kit.write(&kit.me, b"x", Blocking::No), Ok(1));
    assert_eq!(behind.join().unwrap(), Ok(b"x".to_vec()));
}

#[test]
fn a_sleeping_reader_gets_what_a_dead_writer_published() {
    let world = world();
    for (name, published) in [
        ("pipe.write.locked", false),
        ("pipe.write.publish", false),
        ("pipe.write.published", true),
        ("pipe.write.unlock", true),
        ("pipe.write.wake", true),
    ] {
        let _watchdog = Watchdog::step(name);
        let kit = Kit::new(world, 16);
        let reader = blocked_read(kit, 100);
        assert!(Victim::kill_at(&world, name, move |me| {
            ignore(kit.write(me, b"last words", Blocking::No));
        }));
        if published {
            // Nobody comes to help: the sleeper looks again by itself.
            assert_eq!(reader.join().unwrap(), Ok(b"last words".to_vec()), "{name}");
        } else {
            assert_eq!(kit.write(&kit.me, b"mine", Blocking::No), Ok(4));
            assert_eq!(reader.join().unwrap(), Ok(b"mine".to_vec()), "{name}");
        }
        assert_eq!(
            kit.read(&kit.me, 1, Blocking::No),
            Err(SysError::Errno(Errno::EAGAIN))
        );
    }
}

#[test]
fn a_sleeping_writer_gets_the_room_that_a_dead_reader_made() {
    let world = world();
    for (name, made) in [
        ("pipe.read.locked", false),
        ("pipe.read.publish", false),
        ("pipe.read.published", true),
        ("pipe.read.unlock", true),
        ("pipe.read.wake", true),
    ] {
        let _watchdog = Watchdog::step(name);
        let kit = Kit::new(world, 1);
        kit.prepare(1, &[4096], 0);
        let writer = blocked_write(kit, b"more");
        assert!(Victim::kill_at(&world, name, move |me| ignore(kit.read(
            me,
            4096,
            Blocking::No
        ))));
        if !made {
            assert_eq!(
                kit.read(&kit.me, 4096, Blocking::No).map(|b| b.len()),
                Ok(4096),
                "{name}"
            );
        }
        assert_eq!(writer.join().unwrap(), Ok(4), "{name}");
        assert_eq!(kit.drain(&kit.me), b"more");
    }
}

/// `waits` blocks in the lock until its dead owner is found out.
fn lock_waiter(
    name: &'static str,
    kit: Kit,
    word: &'static AtomicU32,
    dies: impl FnOnce(&support::Me) + Send + 'static,
    waits: impl FnOnce() + Send + 'static,
) {
    let _watchdog = Watchdog::step(name);
    let victim = Victim::start(&kit.world, name, dies).unwrap();
    let others: Vec<_> = [Some(waits), None]
        .into_iter()
        .map(|waits| {
            thread::spawn(move || match waits {
                Some(waits) => waits(),
                None => ignore(kit.queued(&kit.world.enter())), // wants both locks
            })
        })
        .collect();
    until(|| word.load(SeqCst) & WAITERS != 0);
    victim.kill();
    for thread in others {
        thread.join().unwrap();
    }
}

#[test]
fn who_waits_for_a_dead_owners_lock_gets_it() {
    let world = world();
    for name in [
        "pipe.write.locked",
        "pipe.write.publish",
        "pipe.write.published",
        "pipe.write.unlock",
    ] {
        let kit = Kit::new(world, 16);
        let word = &kit.pair.pipe.wlock.word;
        lock_waiter(
            name,
            kit,
            word,
            move |me| ignore(kit.write(me, b"dead", Blocking::No)),
            move || assert_eq!(kit.write(&kit.world.enter(), b"alive", Blocking::No), Ok(5)),
        );
        let there = kit.drain(&kit.me);
        assert!(there == b"alive" || there == b"deadalive", "{there:?}");
    }
    for name in [
        "pipe.read.locked",
        "pipe.read.publish",
        "pipe.resize.intent",
        "pipe.resize.done",
    ] {
        let kit = Kit::new(world, 16);
        kit.prepare(16, &[3000, 3000], 0);
        let word = &kit.pair.pipe.rlock.word;
        lock_waiter(
            name,
            kit,
            word,
            move |me| match name {
                "pipe.read.locked" | "pipe.read.publish" => ignore(kit.read(me, 10, Blocking::No)),
                _ => ignore(kit.resize(me, 4)),
            },
            move || assert_eq!(kit.drain(&kit.world.enter()).len(), 6000),
        );
    }
}

#[test]
fn the_death_of_the_last_writer_is_end_of_file() {
    let world = world();
    for name in [
        "pipe.write.locked",
        "pipe.write.published",
        "pipe.write.unlock",
    ] {
        let _watchdog = Watchdog::step(name);
        let kit = Kit::new(world, 16);
        let reader = blocked_read(kit, 100);
        let victim = Victim::start(&world, name, move |me| {
            ignore(kit.write(me, b"bye", Blocking::No))
        });
        let victim = victim.unwrap();
        kit.twin.hang_up(); // the kernel closes a dead process's descriptors, and wakes nobody of ours
        victim.kill();
        let got = reader.join().unwrap().unwrap();
        let rest = kit.drain(&kit.me);
        assert_eq!(
            [got, rest].concat(),
            if name == "pipe.write.locked" {
                &b""[..]
            } else {
                b"bye"
            }
        );
    }
}

#[test]
fn the_death_of_the_last_reader_is_a_broken_pipe() {
    let world = world();
    for name in ["pipe.read.locked", "pipe.read.published", "pipe.read.wake"] {
        let _watchdog = Watchdog::step(name);
        let kit = Kit::new(world, 1);
        kit.prepare(1, &[4096], 0);
        let writer = blocked_write(kit, &[7; 9000]);
        let victim = Victim::start(&world, name, move |me| {
            ignore(kit.read(me, 4096, Blocking::No))
        });
        let victim = victim.unwrap();
        kit.twin.hang_up();
        victim.kill();
        let got = writer.join().unwrap();
        assert!(
            matches!(got, Err(SysError::Errno(Errno::EPIPE)) | Ok(4096 | 808)),
            "{got:?}"
        );
    }
}

/// The one who repairs dies, too.
#[test]
fn a_repair_can_be_repaired() {
    let world = world();
    for slots in [4, 64] {
        let kit = Kit::new(world, 16);
        let model = kit.prepare(16, &[5000, 3000], 10);
        assert!(Victim::kill_at(&world, "pipe.resize.intent", move |me| {
            ignore(kit.resize(me, slots));
        }));
        assert!(Victim::kill_at(&world, "pipe.resize.done", move |me| {
            ignore(kit.write(me, b"x", Blocking::No));
        }));
        assert!(Victim::kill_at(&world, "pipe.resize.done", move |me| {
            ignore(kit.read(me, 1, Blocking::No));
        }));
        assert!(kit.drain(&world.enter()) == model.contents());
        assert_eq!(kit.pair.pipe.slots.load(SeqCst), slots);
    }
}

/// Stream positions are for the log; a death must not shift them for good.
#[test]
fn stream_positions_survive_a_death() {
    let world = world();
    for (name, there) in [("pipe.write.publish", 904), ("pipe.write.published", 5000)] {
        let kit = Kit::new(world, 16);
        kit.prepare(16, &[100], 0);
        assert!(Victim::kill_at(&world, name, move |me| {
            ignore(kit.write(me, &[1; 5000], Blocking::No));
        }));
        assert_eq!(kit.write(&kit.me, b"after", Blocking::No), Ok(5));
        let p = kit.pair.pipe;
        assert_eq!(p.written.load(SeqCst), 100 + there + 5, "{name}");
        assert_eq!(kit.drain(&kit.me).len() as u64, 100 + there + 5);
        assert_eq!(p.read.load(SeqCst), p.written.load(SeqCst), "{name}");
    }
}
