//! An arena full of rubbish: every call ends, soon, without a panic and within the arena's bounds
//! (there is a guard on both sides of it), whatever the words of its tables say.
//!
//! Left out, because nothing can tell it from the truth: a lock whose word names a thread that
//! lives.

mod support;

use std::sync::atomic::Ordering::*;
use std::sync::Arc;

use proptest::prelude::*;
use ringer_kernel::arena::{alloc, layout, Off};
use ringer_kernel::file::{self, fd_table, End};
use ringer_kernel::log::{ring, Cause, Kind, Log};
use ringer_kernel::pipe::watch::{self, Side};
use ringer_kernel::pipe::{self, demote, mode, slot, Ctx};
use ringer_kernel::sync::atomic::AtomicU32;
use ringer_kernel::sys::{pipe_read, pipe_write, Blocking};
use ringer_kernel::task::{self, proc_state, reap};
use support::host::tsc;
use support::pattern::{self, Rng};
use support::{
    ignore, Dst, FakeKernel, FakeTwin, Me, Others, Sleeps, Src, TestHost, Watchdog, World,
};

/// Slots at the beginning of each table, and bytes of the heap, that are made rubbish.
const SLOTS: u32 = 24;
const HEAP_BYTES: usize = 256 * 1024;

/// One 32-bit word: anything, but often something that leads further.
fn word(rng: &mut Rng) -> u32 {
    let heap = (layout::HEAP / 64) as u32;
    match rng.below(12) {
        0..=2 => 0,
        3 => 1,
        4 => rng.below(8) as u32,
        5 => rng.below(70_000) as u32,
        6 => u32::MAX - rng.below(3) as u32,
        7 => heap + rng.below(HEAP_BYTES as u64 / 64) as u32,
        8 => (layout::ARENA_BYTES / 64) as u32 - rng.below(3) as u32,
        9 => 1 << rng.below(32),
        10 => (layout::PIPES / 64) as u32 + rng.below(100) as u32,
        _ => rng.next() as u32,
    }
}

struct Rubbish {
    world: World,
    rng: Rng,
}

impl Rubbish {
    fn fill(&mut self, start: usize, bytes: usize) {
        for at in (start..start + bytes).step_by(4) {
            if let Some(to) = self.world.arena.at::<AtomicU32>(at) {
                to.store(word(&mut self.rng), Relaxed);
            }
        }
    }

    fn fill_all(&mut self) {
        self.fill(layout::HEADER, size_of::<ringer_kernel::arena::Header>());
        self.fill(layout::PROCS, SLOTS as usize * 256);
        self.fill(layout::TASKS, SLOTS as usize * 128);
        self.fill(layout::FILES, SLOTS as usize * 32);
        self.fill(layout::PIPES, SLOTS as usize * size_of::<pipe::Pipe>());
        self.fill(layout::RINGS, SLOTS as usize * size_of::<ring::RingHead>());
        self.fill(layout::HEAP, HEAP_BYTES);
        let arena = self.world.arena;
        // Some pipes that are believed, at least at first sight.
        for slot in 1..SLOTS {
            let (Some(p), Some(f)) = (pipe::get(arena, slot), file::file(arena, slot)) else {
                continue;
            };
            if self.rng.below(4) > 0 {
                p.mode.store(mode::RING, Relaxed);
                f.object.store(slot, Relaxed);
                f.generation.store(p.generation.load(Relaxed), Relaxed);
            }
            if self.rng.below(2) > 0 {
                p.slots.store(1 << self.rng.below(12), Relaxed);
                p.head.store(self.rng.below(100), Relaxed);
                p.tail
                    .store(self.rng.below(100) << 16 | self.rng.below(5000), Relaxed);
                p.data_at.store(
                    (layout::HEAP / 64) as u32 + self.rng.below(4000) as u32,
                    Relaxed,
                );
            }
        }
        // No thread lives: see the file's comment.
        for slot in 0..SLOTS {
            if let Some(task) = task::task(arena, slot) {
                let dead = [0, support::world::task_died() | 7][self.rng.below(2) as usize];
                task.life.store(dead, Relaxed);
            }
        }
    }

    fn index(&mut self) -> u32 {
        match self.rng.below(8) {
            0 => word(&mut self.rng),
            _ => self.rng.below(SLOTS.into()) as u32,
        }
    }

    /// One call on something.
    fn call(&mut self, me: &Me, buf: &mut [u8]) {
        let world = self.world;
        let World { arena, host } = world;
        let k = world.ctx(me);
        let index = self.index();
        let kernel = FakeKernel::new(16);
        let twin = FakeTwin::of([&GONE, &HERE][self.rng.below(2) as usize]);
        let len = [1, 100, 4096, 5000, 70_000][self.rng.below(5) as usize];
        let fd = self.rng.below(3000) as i32 - 5;
        let found = pipe::get(arena, index);
        let process = task::process(arena, self.rng.below(SLOTS.into()) as u32).unwrap();
        match self.rng.below(60) {
            0..=9 => {
                if let Some(e) = fd_table::pipe_end(arena, index) {
                    let _ = pipe_read(&k, &e, &twin, Blocking::No, &mut Dst::new(buf), len);
                }
            }
            10..=19 => {
                let kind = [slot::Kind::Stream, slot::Kind::Packet][self.rng.below(2) as usize];
                if let Some(e) = fd_table::pipe_end(arena, index) {
                    let mut src = Src::new(pattern::bytes(3, len));
                    let _ = pipe_write(&k, &e, &twin, Blocking::No, kind, &mut src, len);
                }
            }
            20..=23 => ignore(found.map(|p| pipe::set_size(&k, p, 1 << self.rng.below(13)))),
            24..=25 => ignore(found.map(|p| pipe::queued_bytes(&k, p))),
            26..=28 => ignore(found.map(|p| demote::demote(&k, p, &kernel, Cause::IoUring))),
            29..=30 => ignore(found.map(|p| watch::watch(&k, p, &kernel, index))),
            31..=33 => {
                ignore(found.map(|p| watch::reconcile(&k, watch::known(p), &kernel, Side::Writer)))
            }
            34..=36 => pipe::release(&k, index),
            37..=38 => ignore(pipe::create(&k, 1, 2, 16, mode::RING)),
            39..=40 => ignore(file::new_file(arena, me.owner, host, index, End::Write, 0)),
            41..=42 => ignore(file::close_ref(arena, me.owner, host, index)),
            43..=46 => {
                ignore(fd_table::lookup(arena, process, fd));
                ignore(fd_table::install(arena, me.owner, host, process, fd, index));
                fd_table::take(arena, process, fd);
            }
            47 => {
                let other = task::process(arena, self.rng.below(SLOTS.into()) as u32).unwrap();
                ignore(fd_table::copy(arena, me.owner, host, process, other));
                fd_table::count_of(arena, process, index, End::Read);
            }
            48 => reap::reap_process(arena, me.owner, host, self.rng.below(SLOTS.into()) as u32),
            49..=53 => {
                let block = alloc::alloc(arena, me.owner, host, len);
                let block = block.ok().or_else(|| Off::from_raw(index));
                if let Some(b) = block {
                    alloc::free(arena, me.owner, host, b, len);
                }
            }
            54 => {
                task::find_process(arena, host, index);
                task::claim_process(arena, host, proc_state::LIVE, 1, 0, 0);
                file::find_file_of(arena, index, End::Read);
                ignore(task::claim_task(arena, host, index, 1, 1, 0));
            }
            _ => self.log(&k, me),
        }
    }

    fn log(&mut self, k: &Ctx<'_, TestHost>, me: &Me) {
        let World { arena, host } = self.world;
        let index = self.index();
        if let Some(h) = ring::head(arena, index) {
            ignore(ring::read(arena, h, self.rng.next() << 11 | 7));
            ignore(ring::read(arena, h, u64::MAX));
        }
        let writer = ring::claim(arena, me.owner, host, 1, 1, [0; 16], |_, _| true, tsc);
        if let (Some(writer), Some(p)) = (writer, pipe::get(arena, index)) {
            let log = Log {
                ring: Some(&writer),
                ..k.log
            };
            for n in 0..3 {
                log.pipe(p, Kind::Write, 0, (n, 0, 0));
            }
        }
    }
}

static GONE: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(1);
static HERE: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);

fn world() -> World {
    static WORLD: std::sync::OnceLock<World> = std::sync::OnceLock::new();
    *WORLD.get_or_init(|| World::new(TestHost::new(Sleeps::Bounded, Others::Gone)))
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 120,
        failure_persistence: None,
        max_shrink_iters: 0,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_rubbish_makes_a_call_panic_or_hang(seed in any::<u64>()) {
        let progress = Arc::default();
        let _watchdog = Watchdog::new("garbage", Arc::clone(&progress), move || eprintln!("seed {seed}"));
        let world = world();
        world.wipe();
        let mut rubbish = Rubbish { world, rng: Rng::new(seed) };
        rubbish.fill_all();
        let me = world.enter();
        let mut buf = vec![0; 100_000];
        for _ in 0..60 {
            rubbish.call(&me, &mut buf);
            progress.fetch_add(1, Relaxed);
        }
    }
}

/// Words that change while they are used are no worse than wrong ones.
#[test]
fn rubbish_that_changes_meanwhile() {
    let progress = Arc::default();
    let _watchdog = Watchdog::new("changing garbage", Arc::clone(&progress), || ());
    let world = World::new(TestHost::new(Sleeps::Bounded, Others::Gone));
    let mut rubbish = Rubbish {
        world,
        rng: Rng::new(5),
    };
    let mut buf = vec![0; 100_000];
    for round in 0..20 {
        world.wipe();
        world.initialise();
        let me = world.enter();
        let pair = world.pipe(&me, 16);
        let over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|s| {
            s.spawn(|| {
                let mut rng = Rng::new(round);
                while !over.load(Relaxed) {
                    let p = pair.pipe;
                    let words = [
                        &p.head,
                        &p.tail,
                        &p.seen_head,
                        &p.seen_word,
                        &p.seen_tail,
                        &p.written,
                        &p.read,
                    ];
                    words[rng.below(7) as usize].store(rng.next() << rng.below(64), Relaxed);
                    let words = [&p.slots, &p.slots_at, &p.data_at, &p.tokens, &p.resizing];
                    words[rng.below(5) as usize].store(word(&mut rng), Relaxed);
                    for at in (0..4096).step_by(4) {
                        let cell = world.arena.at::<AtomicU32>(layout::HEAP + at).unwrap();
                        cell.store(rng.next() as u32, Relaxed);
                    }
                }
            });
            for _ in 0..300 {
                rubbish.call(&me, &mut buf);
                progress.fetch_add(1, Relaxed);
            }
            over.store(true, Relaxed);
        });
    }
}
