//! An arena with pipes in it, and identities to use them by.

use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering::*};

use ringer_kernel::arena::{layout, Arena};
use ringer_kernel::file::{self, fd_table, End, PipeEnd};
use ringer_kernel::log::{ring, Log};
use ringer_kernel::pipe::slot::Tail;
use ringer_kernel::pipe::{self, mode, Ctx, Pipe};
use ringer_kernel::sync::lock_word::OwnerId;
use ringer_kernel::task::{self, proc_state, Task};

use super::host::TestHost;

const GUARD: usize = 1 << 20;

/// A session in this process's own memory. It is never unmapped.
#[derive(Clone, Copy)]
pub struct World {
    pub arena: &'static Arena,
    pub host: &'static TestHost,
}

/// A thread of the session.
#[derive(Clone, Copy)]
pub struct Me {
    pub owner: OwnerId,
    pub task: &'static Task,
    pub tid: u32,
}

#[derive(Clone, Copy)]
pub struct PipePair {
    pub slot: u32,
    pub pipe: &'static Pipe,
    pub read: PipeEnd,
    pub write: PipeEnd,
    /// Slots of their descriptions.
    pub read_file: u32,
    pub write_file: u32,
}

static NEXT_TID: AtomicU32 = AtomicU32::new(1000);

impl World {
    pub fn new(host: TestHost) -> World {
        // SAFETY: a fresh mapping at an address of the kernel's choice.
        let all = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                layout::ARENA_BYTES + 2 * GUARD,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        assert_ne!(all, libc::MAP_FAILED);
        // SAFETY: inside the mapping just made, with a guard on both sides.
        let base = unsafe {
            libc::mmap(
                all.cast::<u8>().add(GUARD).cast(),
                layout::ARENA_BYTES,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED,
                -1,
                0,
            )
        };
        assert_ne!(base, libc::MAP_FAILED);
        // SAFETY: mapped for good, page-aligned, shared, and as long as that.
        let arena = unsafe { Arena::from_mapping(base.cast(), layout::ARENA_BYTES) };
        let world = World::of(arena, host);
        world.initialise();
        world
    }

    /// On an arena that is mapped already.
    pub fn of(arena: Arena, host: TestHost) -> World {
        World {
            arena: Box::leak(Box::new(arena)),
            host: Box::leak(Box::new(host)),
        }
    }

    pub fn initialise(&self) {
        self.arena
            .header()
            .initialise(self.arena.len() as u64, 1, 0, 1, 0, 0);
        let made = task::claim_process(self.arena, self.host, proc_state::LIVE, 1, 0, 0);
        assert_eq!(made.map(|(slot, _)| slot), Some(1));
    }

    /// All zero again. Nobody may be inside.
    pub fn wipe(&self) {
        // SAFETY: the arena's own pages; they read as zero afterwards.
        let ret = unsafe {
            let base = self.arena.base().cast_mut().cast();
            libc::madvise(base, self.arena.len(), libc::MADV_REMOVE)
        };
        assert_eq!(ret, 0);
    }

    /// A new thread of the session, alive until it is killed.
    pub fn enter(&self) -> Me {
        let tid = NEXT_TID.fetch_add(1, Relaxed);
        let pid = std::process::id();
        let (slot, owner) = task::claim_task(self.arena, self.host, 1, pid, tid, 0).unwrap();
        let task = task::task(self.arena, slot).unwrap();
        task.life.store(tid, Release);
        Me { owner, task, tid }
    }

    pub fn ctx<'a>(&'a self, me: &Me) -> Ctx<'a, TestHost> {
        Ctx {
            arena: self.arena,
            host: self.host,
            me: me.owner,
            log: Log::OFF,
        }
    }

    pub fn logged<'a>(&'a self, me: &Me, ring: &'a ring::Writer) -> Ctx<'a, TestHost> {
        Ctx {
            log: Log {
                ring: Some(ring),
                fd: 3,
                layer: 1,
            },
            ..self.ctx(me)
        }
    }

    /// The log ring that `me` claimed.
    pub fn ring_of(&self, me: &Me) -> &'static ring::RingHead {
        (1..layout::MAX_RINGS)
            .filter_map(|i| ring::head(self.arena, i))
            .find(|h| h.owner.load(Relaxed) == me.owner.raw())
            .expect("a ring was claimed")
    }

    pub fn pipe(&self, me: &Me, slots: u32) -> PipePair {
        let k = self.ctx(me);
        let slot = pipe::create(&k, 7, 8, slots, mode::RING).unwrap();
        let file = |end| file::new_file(self.arena, me.owner, self.host, slot, end, 0).unwrap();
        let (read_file, write_file) = (file(End::Read), file(End::Write));
        let [read, write] =
            [read_file, write_file].map(|f| fd_table::pipe_end(self.arena, f).unwrap());
        let pipe = read.pipe;
        PipePair {
            slot,
            pipe,
            read,
            write,
            read_file,
            write_file,
        }
    }

    /// Both ends are closed, and the pipe is freed.
    pub fn free(&self, me: &Me, pair: &PipePair) {
        for file in [pair.read_file, pair.write_file] {
            file::close_ref(self.arena, me.owner, self.host, file);
        }
        pipe::release(&self.ctx(me), pair.slot);
    }
}

impl Me {
    /// What the kernel does when a thread dies.
    pub fn die(&self) {
        self.task.life.fetch_or(task_died(), Release);
    }
}

pub fn task_died() -> u32 {
    0x4000_0000 // FUTEX_OWNER_DIED, uapi/linux/futex.h
}

/// Slots that are filled.
pub fn filled(p: &Pipe) -> u64 {
    p.head
        .load(Acquire)
        .wrapping_sub(Tail::from_raw(p.tail.load(Acquire)).seq)
}

/// The pipe's words, for a post-mortem.
pub fn dump(p: &Pipe) {
    let mut err = std::io::stderr(); // past libtest
    let tail = Tail::from_raw(p.tail.load(Relaxed));
    let _ = writeln!(
        err,
        "mode {} slots {} head {} tail {}+{} seen_head {} seen_tail {} written {} read {}",
        p.mode.load(Relaxed),
        p.slots.load(Relaxed),
        p.head.load(Relaxed),
        tail.seq,
        tail.off,
        p.seen_head.load(Relaxed),
        p.seen_tail.load(Relaxed),
        p.written.load(Relaxed),
        p.read.load(Relaxed),
    );
    let _ = writeln!(
        err,
        "wlock {:#x} rlock {:#x} rd_wait places {:#x} sleepers {} wr_wait places {:#x} sleepers {}",
        p.wlock.word.load(Relaxed),
        p.rlock.word.load(Relaxed),
        p.rd_wait.places.load(Relaxed),
        p.rd_wait.sleepers.load(Relaxed),
        p.wr_wait.places.load(Relaxed),
        p.wr_wait.sleepers.load(Relaxed),
    );
    let _ = writeln!(
        err,
        "witnesses r {:#x} w {:#x} readers {} writers {} tokens {} resizing {}",
        p.reader_witness.load(Relaxed),
        p.writer_witness.load(Relaxed),
        p.readers.load(Relaxed),
        p.writers.load(Relaxed),
        p.tokens.load(Relaxed),
        p.resizing.load(Relaxed),
    );
}
