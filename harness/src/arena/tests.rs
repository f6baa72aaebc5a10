//! Looking at arenas that are in order, and at garbage.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::*;

use proptest::prelude::*;

use ringer_kernel::abi::limits::PIPE_DEF_BUFFERS;
use ringer_kernel::arena::{layout, Arena};
use ringer_kernel::file::{self, fd_table, End};
use ringer_kernel::host::UserRead;
use ringer_kernel::log::Log;
use ringer_kernel::pipe::{self, mode, Ctx};
use ringer_kernel::task::{self, proc_state};

use super::descriptors::{holders, Holder};
use super::pipes::pipes;
use super::processes::processes;
use crate::session::tests::Temporary;
use crate::sys::clock::{self, Clock};
use crate::sys::{procfs, Here};
use ringer_kernel::task::waits::TO_WRITE;

struct Bytes<'a>(&'a [u8], usize);

impl UserRead for Bytes<'_> {
    fn copy_in(&mut self, dst: *mut u8, len: usize) -> bool {
        let Some(from) = self.0.get(self.1..self.1 + len) else {
            return false;
        };
        // SAFETY: the kernel gives room for `len` bytes; `from` is that long.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), dst, len) };
        self.1 += len;
        true
    }
    fn rewind(&mut self, to: usize) {
        self.1 = to;
    }
    fn position(&self) -> usize {
        self.1
    }
}

#[test]
fn a_pipe_is_shown_with_its_bytes_and_its_holders() {
    let made = Temporary::new(0);
    let arena = &made.0.arena;
    let me = std::process::id();
    let start = procfs::start_of(me);
    let (slot, p) = task::claim_process(arena, &Here, proc_state::LIVE, me, 0, start).unwrap();
    let (task_slot, owner) = task::claim_task(arena, &Here, slot, me, me, start).unwrap();
    let k = Ctx {
        arena,
        host: &Here,
        me: owner,
        log: Log::OFF,
    };
    let pipe_slot = pipe::create(&k, 1, 2, PIPE_DEF_BUFFERS, mode::RING).unwrap();
    for (fd, end) in [(3, End::Read), (4, End::Write)] {
        let f = file::new_file(arena, owner, &Here, pipe_slot, end, 0).unwrap();
        fd_table::install(arena, owner, &Here, p, fd, f).unwrap();
    }
    let pipe = pipe::get(arena, pipe_slot).unwrap();
    let hello = &mut Bytes(b"hello", 0);
    let kind = ringer_kernel::pipe::slot::Kind::Stream;
    let _ = pipe::try_write(&k, pipe, hello, 5, true, kind).unwrap();
    let t = task::task(arena, task_slot).unwrap();
    t.waits_for.store(pipe_slot | TO_WRITE, Relaxed);
    t.waits_since.store(clock::tsc(), Relaxed);

    let views = pipes(arena, &mut holders(arena));
    assert_eq!(views.len(), 1);
    let v = &views[0];
    assert_eq!(
        (v.id, v.mode, v.queued, v.written, v.read),
        (1, "ring", 5, 5, 0)
    );
    assert_eq!(
        v.readers,
        [Holder {
            pid: me,
            fd: 3,
            here: Some(me)
        }]
    );
    assert_eq!(
        v.writers,
        [Holder {
            pid: me,
            fd: 4,
            here: Some(me)
        }]
    );

    let all = processes(arena, &Clock::of(arena.header()), clock::tsc());
    assert_eq!(all.len(), 1);
    assert_eq!(
        (all[0].pid, all[0].state, all[0].descriptors),
        (me, "live", 2)
    );
    assert_eq!(
        (&*all[0].waits[0].object, all[0].waits[0].purpose),
        ("pipe#1", "write")
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn garbage_is_looked_at_without_harm(
        seed in any::<u64>(),
        words in prop::collection::vec(any::<u64>(), 64),
    ) {
        let made = Temporary::new(0);
        scribble(&made.0.arena, seed, &words);
        let arena = &made.0.arena;
        let clock = Clock::of(arena.header());
        let _ = processes(arena, &clock, clock::tsc());
        let _ = pipes(arena, &mut holders(arena));
        let _ = super::check::check(arena);
        let mut drainer = crate::log::drainer_for_tests(*arena);
        let _ = drainer.sweep(0);
    }
}

/// Garbage in every table and in the counts, behind a header that passes its check.
fn scribble(arena: &Arena, seed: u64, words: &[u64]) {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // Half of it plausible: small numbers reach further than wild ones.
        if state & 1 == 0 {
            state
        } else {
            words[(state >> 8) as usize % 64] & 0x7ff
        }
    };
    let starts = [
        layout::PROCS,
        layout::TASKS,
        layout::FILES,
        layout::PIPES,
        layout::RINGS,
        layout::HEAP,
    ];
    for start in starts {
        for i in 0..2048 {
            let word: &'static AtomicU64 = arena.at(start + i * 8).unwrap();
            word.store(next(), Relaxed);
        }
    }
    let h = arena.header();
    for word in [
        &h.procs_used,
        &h.tasks_used,
        &h.files_used,
        &h.pipes_used,
        &h.rings_used,
        &h.files_free,
        &h.pipes_free,
        &h.bump,
        &h.populated,
        &h.supervisor,
    ] {
        word.store((next() as u32) & 0x3f | 8, Relaxed);
    }
    h.free.iter().for_each(|f| f.store(next() as u32, Relaxed));
}
