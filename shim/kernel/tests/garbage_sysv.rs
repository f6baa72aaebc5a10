//! System V objects full of rubbish: every call ends, soon, without a panic and within the arena's
//! bounds, whatever their words say. (See `garbage.rs`, also about what is left out.)

mod support;

use std::sync::atomic::Ordering::*;

use ringer_kernel::arena::layout;
use ringer_kernel::sync::atomic::AtomicU32;
use ringer_kernel::sysv::perm::IPC_NOWAIT;
use ringer_kernel::sysv::{sem_ctl, shm};
use ringer_kernel::task;
use support::pattern::Rng;
use support::sysv::Sysv;
use support::{ignore, Me, Others, Sleeps, TestHost, Watchdog, World};

const HEAP_BYTES: usize = 512 * 1024;

fn word(rng: &mut Rng) -> u32 {
    let heap = (layout::HEAP / 64) as u32;
    match rng.below(8) {
        0..=1 => 0,
        2 => rng.below(8) as u32,
        3 => 1 << rng.below(32),
        4 => heap + rng.below(HEAP_BYTES as u64 / 64) as u32,
        5 => u32::MAX - rng.below(3) as u32,
        6 => rng.below(70_000) as u32,
        _ => rng.next() as u32,
    }
}

/// Spoils one word in `one_in` of the heap's beginning.
fn spoil(s: &Sysv, rng: &mut Rng, one_in: u64) {
    for at in (layout::HEAP..layout::HEAP + HEAP_BYTES).step_by(4) {
        if rng.below(one_in) == 0 {
            if let Some(to) = s.world.arena.at::<AtomicU32>(at) {
                to.store(word(rng), Relaxed);
            }
        }
    }
    // No thread lives but the caller, so no lock's owner does.
    for slot in 2..64 {
        if let Some(t) = task::task(s.world.arena, slot) {
            t.life.store(support::world::task_died() | 7, Relaxed);
        }
    }
}

fn call(s: &Sysv, rng: &mut Rng, me: &Me) {
    let p = s.process_of(rng.below(3) as u32 + 1);
    let id = match rng.below(6) {
        0 => word(rng) as i32 & i32::MAX,
        n => n as i32 - 1,
    };
    let nowait = IPC_NOWAIT as i16;
    let flags = [nowait, nowait | 0x1000][rng.below(2) as usize];
    let op = |rng: &mut Rng| (rng.below(4) as u16, rng.below(5) as i16 - 2, flags);
    match rng.below(14) {
        0..=2 => ignore(s.semop(me, p, id, &[op(rng)])),
        3 => ignore(s.semop(me, p, id, &[op(rng), op(rng), op(rng)])),
        4 => {
            let cmds = [
                sem_ctl::GETVAL,
                sem_ctl::GETNCNT,
                sem_ctl::GETZCNT,
                sem_ctl::IPC_STAT,
                sem_ctl::SEM_STAT,
                sem_ctl::SEM_INFO,
                sem_ctl::GETALL,
                sem_ctl::SETALL,
            ];
            let cmd = cmds[rng.below(8) as usize];
            ignore(s.semctl(me, p, id, cmd, vec![1; 200]));
        }
        5 => ignore(s.semget(me, p, word(rng) as i32, 3)),
        6 => ignore(s.sem_remove(me, id)),
        7 => s.leave(me, p),
        8 => ignore(s.msgget(me, p, word(rng) as i32)),
        9..=10 => ignore(s.send_nowait(me, p, id, 1 + rng.below(3) as i64, b"text")),
        11..=12 => ignore(s.receive(me, p, id, rng.below(5) as i64 - 2, IPC_NOWAIT)),
        _ => {
            let k = s.world.ctx(me);
            shm::settle(&k, s.root, p.slot);
            let _ = shm::nattch(s.world.arena, s.root, id);
            let _ = shm::segments(s.world.arena, s.root).count();
        }
    }
}

#[test]
fn rubbish_is_put_up_with() {
    for seed in 0..60 {
        let _watchdog = Watchdog::step("rubbish in System V objects");
        let mut rng = Rng::new(seed);
        let s = Sysv::new(World::new(TestHost::new(Sleeps::Bounded, Others::Gone)));
        let me = s.world.enter();
        for pid in 501..504 {
            let p = s.process(pid);
            for _ in 0..3 {
                let id = s.semget(&me, p, 0, 4).unwrap() as i32;
                s.set_values(&me, p, id, &[3; 4]).unwrap();
                s.semop(&me, p, id, &[(0, -1, 0x1000), (1, 1, 0)]).unwrap();
                let q = s.msgget(&me, p, 0).unwrap() as i32;
                s.send(&me, p, q, 1, b"one").unwrap();
                s.send(&me, p, q, 2, b"two").unwrap();
            }
        }
        let one_in = [10_000, 1000, 100, 10][seed as usize % 4];
        for _ in 0..10 {
            spoil(&s, &mut rng, one_in);
            for _ in 0..30 {
                call(&s, &mut rng, &me);
            }
        }
    }
}
