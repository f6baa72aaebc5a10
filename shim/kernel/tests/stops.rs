//! Waits that a stop ends: what the waiters and those who would serve them do, with a sender that the test plays.

mod support;

use std::sync::atomic::Ordering::*;
use std::thread;
use std::time::Duration;

use ringer_kernel::abi::Errno;
use ringer_kernel::sysv::perm::IPC_NOWAIT;
use ringer_kernel::task;
use support::sysv::{Process, Sysv};
use support::{Others, Sleeps, TestHost, Watchdog, World};

const NOWAIT: i16 = IPC_NOWAIT as i16;

fn session() -> Sysv {
    Sysv::new(World::new(TestHost::new(Sleeps::Bounded, Others::Live)))
}

fn asleep(s: Sysv, id: i32, n: u32) {
    while s.set(id).asleep.load(Acquire) != n {
        thread::yield_now();
    }
}

impl Sysv {
    fn stop_begins(&self, p: Process) {
        task::process(self.world.arena, p.slot)
            .unwrap()
            .stops
            .begin();
    }

    fn stop_ends(&self, p: Process) {
        let p = task::process(self.world.arena, p.slot).unwrap();
        p.stops.end(self.world.host);
    }
}

#[test]
fn who_is_stopped_is_passed_over() {
    let _watchdog = Watchdog::step("stops");
    let s = session();
    let (stopped, other, me) = (s.process(50), s.process(51), s.world.enter());
    let id = s.semget(&me, other, 0, 1).unwrap() as i32;
    let first = thread::spawn(move || s.semop(&s.world.enter(), stopped, id, &[(0, -1, 0)]));
    asleep(s, id, 1);
    let second = thread::spawn(move || s.semop(&s.world.enter(), other, id, &[(0, -1, 0)]));
    asleep(s, id, 2);
    s.stop_begins(stopped);
    assert_eq!(s.semop(&me, other, id, &[(0, 1, 0)]), Ok(0));
    assert_eq!(second.join().unwrap(), Ok(0));
    s.stop_ends(stopped);
    assert_eq!(first.join().unwrap(), Err(Errno::EINTR.into()));
    assert_eq!(s.set(id).asleep.load(Acquire), 0);
    assert_eq!(
        s.semop(&me, stopped, id, &[(0, 1, 0), (0, -1, NOWAIT)]),
        Ok(0)
    );
}

#[test]
fn a_wait_that_begins_after_the_stop_is_a_new_one() {
    let _watchdog = Watchdog::step("stops");
    let s = session();
    let (p, me) = (s.process(50), s.world.enter());
    let id = s.semget(&me, p, 0, 1).unwrap() as i32;
    s.stop_begins(p);
    s.stop_ends(p);
    let waiter = thread::spawn(move || s.semop(&s.world.enter(), p, id, &[(0, -1, 0)]));
    asleep(s, id, 1);
    assert_eq!(s.semop(&me, p, id, &[(0, 1, 0)]), Ok(0));
    assert_eq!(waiter.join().unwrap(), Ok(0));
}

#[test]
fn the_stop_of_one_process_is_not_anothers() {
    let _watchdog = Watchdog::step("stops");
    let s = session();
    let (p, other, me) = (s.process(50), s.process(51), s.world.enter());
    let id = s.semget(&me, p, 0, 1).unwrap() as i32;
    let waiter = thread::spawn(move || s.semop(&s.world.enter(), p, id, &[(0, -1, 0)]));
    asleep(s, id, 1);
    s.stop_begins(other);
    s.stop_ends(other);
    thread::sleep(Duration::from_millis(50));
    assert_eq!(s.semop(&me, p, id, &[(0, 1, 0)]), Ok(0));
    assert_eq!(waiter.join().unwrap(), Ok(0));
}
