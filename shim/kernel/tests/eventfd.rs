//! eventfds: many threads that add and take, sleepers that are woken, demotion, freeing.

mod support;

use std::sync::atomic::{AtomicU64, Ordering::*};
use std::thread;

use ringer_kernel::abi::{Errno, SysError};
use ringer_kernel::eventfd::{self, Mode};
use ringer_kernel::file::FileRef;
use ringer_kernel::pipe::mode;
use ringer_kernel::sys::Blocking;
use ringer_kernel::task::reap;
use support::counter::Counter;
use support::{Others, Sleeps, TestHost, Watchdog, World};

const AGAIN: SysError = SysError::Errno(Errno::EAGAIN);
const MAX: u64 = u64::MAX - 1;

/// A lost wake-up is a hang here.
fn world() -> World {
    World::new(TestHost::new(Sleeps::ForEver, Others::Live))
}

#[test]
fn what_is_added_is_taken() {
    let c = Counter::new(world(), 3, Mode::Counter);
    assert_eq!(c.write(&c.me, 4, Blocking::No), Ok(8));
    assert_eq!(c.read(&c.me, Blocking::No), Ok(7));
    assert_eq!(c.read(&c.me, Blocking::No), Err(AGAIN));
    assert_eq!(c.write(&c.me, MAX, Blocking::No), Ok(8));
    assert_eq!(c.write(&c.me, 0, Blocking::No), Ok(8));
    assert_eq!(c.write(&c.me, 1, Blocking::No), Err(AGAIN));
    let einval = Err(SysError::Errno(Errno::EINVAL));
    assert_eq!(c.write(&c.me, u64::MAX, Blocking::No), einval);
    assert_eq!(c.read(&c.me, Blocking::No), Ok(MAX));
}

#[test]
fn a_semaphore_gives_one_at_a_time() {
    let c = Counter::new(world(), 2, Mode::Semaphore);
    assert_eq!(c.read(&c.me, Blocking::No), Ok(1));
    assert_eq!(c.read(&c.me, Blocking::No), Ok(1));
    assert_eq!(c.read(&c.me, Blocking::No), Err(AGAIN));
}

/// Everything that was added is taken, and nobody sleeps on beside it.
fn storm(how: Mode, each: u64) {
    let _watchdog = Watchdog::step("storm");
    let world = world();
    let c = Counter::new(world, 0, how);
    let taken = AtomicU64::new(0);
    const WRITERS: u64 = 3;
    let total = WRITERS * each;
    thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| {
                let me = world.enter();
                for _ in 0..each {
                    assert_eq!(c.write(&me, 1, Blocking::Yes), Ok(8));
                }
            });
        }
        for _ in 0..3 {
            scope.spawn(|| {
                let me = world.enter();
                while taken.load(SeqCst) < total {
                    let n = c.read(&me, Blocking::Yes).unwrap();
                    if taken.fetch_add(n, SeqCst) + n >= total {
                        // The others may sleep: each is let go by one more.
                        c.write(&me, 1, Blocking::Yes).unwrap();
                    }
                }
                let _ = c.write(&me, 1, Blocking::Yes);
            });
        }
    });
    assert!(taken.load(SeqCst) >= total);
}

#[test]
fn many_threads_add_and_take() {
    storm(Mode::Counter, 20_000);
    storm(Mode::Semaphore, 10_000);
}

#[test]
fn writers_wait_for_as_much_room_as_each_needs() {
    let _watchdog = Watchdog::step("room");
    let world = world();
    let c = Counter::new(world, MAX, Mode::Semaphore);
    thread::scope(|scope| {
        let large = scope.spawn(|| c.write(&world.enter(), 1_000, Blocking::Yes));
        let small = scope.spawn(|| c.write(&world.enter(), 1, Blocking::Yes));
        while c.file.eventfd.wr_wait.sleepers.load(SeqCst) < 2 {
            thread::yield_now();
        }
        assert_eq!(c.read(&c.me, Blocking::No), Ok(1));
        assert_eq!(small.join().unwrap(), Ok(8));
        for _ in 0..1_000 {
            assert_eq!(c.read(&c.me, Blocking::No), Ok(1));
        }
        assert_eq!(large.join().unwrap(), Ok(8));
    });
    assert_eq!(c.file.eventfd.count.load(SeqCst), MAX);
}

#[test]
fn demotion_takes_the_counter_along_and_wakes_everybody() {
    let _watchdog = Watchdog::step("demotion");
    let world = world();
    let empty = Counter::new(world, 0, Mode::Counter);
    thread::scope(|scope| {
        let reader = scope.spawn(|| empty.read(&world.enter(), Blocking::Yes));
        while empty.file.eventfd.rd_wait.sleepers.load(SeqCst) == 0 {
            thread::yield_now();
        }
        assert_eq!(empty.demote(&empty.me), Ok(0));
        assert_eq!(reader.join().unwrap(), Err(SysError::Demoted));
    });
    let c = Counter::new(world, 41, Mode::Counter);
    c.real.refuses.store(1, SeqCst);
    assert_eq!(c.demote(&c.me), Err(SysError::Errno(Errno::EIO)));
    assert_eq!(c.write(&c.me, 1, Blocking::No), Ok(8));
    c.real.refuses.store(0, SeqCst);
    assert_eq!(c.demote(&c.me), Ok(42));
    assert_eq!(c.real.count.load(SeqCst), 42);
    assert_eq!(c.demote(&c.me), Err(SysError::Demoted));
    assert_eq!(c.read(&c.me, Blocking::No), Err(SysError::Demoted));
    assert_eq!(c.write(&c.me, 1, Blocking::No), Err(SysError::Demoted));
}

#[test]
fn adding_while_it_is_demoted_loses_nothing() {
    let world = world();
    for _ in 0..200 {
        let c = Counter::new(world, 0, Mode::Counter);
        let added = thread::scope(|scope| {
            let adder = scope.spawn(|| {
                let me = world.enter();
                (0..1_000_000u64)
                    .take_while(|_| c.write(&me, 1, Blocking::No) == Ok(8))
                    .count()
            });
            while c.file.eventfd.count.load(SeqCst) == 0 {
                thread::yield_now();
            }
            c.demote(&c.me).unwrap();
            adder.join().unwrap()
        });
        assert_eq!(c.real.count.load(SeqCst), added as u64);
    }
}

#[test]
fn the_last_close_frees_it_and_its_slot_is_another_ones() {
    let world = world();
    let c = Counter::new(world, 5, Mode::Counter);
    let (slot, file) = (c.file.slot(), c.file.file_slot());
    reap::forget_descriptor(&world.ctx(&c.me), file, |_| true);
    assert_eq!(c.file.eventfd.mode.load(SeqCst), mode::FREE);
    let next = Counter::new(world, 0, Mode::Semaphore);
    assert_eq!(next.file.slot(), slot);
    assert_eq!(next.read(&next.me, Blocking::No), Err(AGAIN));
    let Some(FileRef::Eventfd(found)) = FileRef::of(world.arena, next.file.file_slot()) else {
        panic!("the new one is there");
    };
    assert_eq!(found.slot(), slot);
    assert!(eventfd::find(world.arena, 1 << 20).is_none());
}
