//! Descriptor tables and open file descriptions.

mod support;

use std::sync::atomic::Ordering::*;

use ringer_kernel::abi::Errno;
use ringer_kernel::arena::{alloc, layout, Off};
use ringer_kernel::file::{self, fd_table, End};
use ringer_kernel::pipe;
use ringer_kernel::sync::atomic::AtomicU32;
use ringer_kernel::task::{self, proc_state, reap, Process};
use support::{Me, Others, PipePair, Sleeps, TestHost, World};

struct Session {
    world: World,
    me: Me,
    pair: PipePair,
    process: &'static Process,
}

impl Session {
    fn new() -> Session {
        let world = World::new(TestHost::new(Sleeps::ForEver, Others::Live));
        let me = world.enter();
        let pair = world.pipe(&me, 16);
        Session {
            world,
            me,
            pair,
            process: task::process(world.arena, 1).unwrap(),
        }
    }

    fn install(&self, fd: i32, file: u32) -> Result<u32, Errno> {
        fd_table::install(
            self.world.arena,
            self.me.owner,
            self.world.host,
            self.process,
            fd,
            file,
        )
    }

    fn take(&self, fd: i32) -> u32 {
        fd_table::take(self.world.arena, self.process, fd)
    }

    fn slot_of(&self, fd: i32) -> u32 {
        fd_table::slot_of(self.world.arena, self.process, fd)
    }

    fn listed(&self, from: u32, to: u32) -> Vec<i32> {
        let mut fds = Vec::new();
        fd_table::for_each(self.world.arena, self.process, from, to, |fd, _| {
            fds.push(fd)
        });
        fds
    }

    fn new_file(&self, end: End) -> Result<u32, Errno> {
        let World { arena, host } = self.world;
        file::new_file(arena, self.me.owner, host, self.pair.slot, end, 0)
    }

    fn close_ref(&self, slot: u32) -> bool {
        file::close_ref(self.world.arena, self.me.owner, self.world.host, slot)
    }

    fn refs(&self, slot: u32) -> u32 {
        file::file(self.world.arena, slot)
            .unwrap()
            .refs
            .load(SeqCst)
    }
}

#[test]
fn a_number_names_what_was_installed_until_it_is_taken() {
    let s = Session::new();
    let (r, w) = (s.pair.read_file, s.pair.write_file);
    assert_eq!(s.slot_of(3), 0);
    assert_eq!(s.install(3, r), Ok(0));
    assert_eq!(s.install(4, w), Ok(0));
    assert_eq!(s.process.fd_count.load(SeqCst), 2);
    let found = fd_table::lookup(s.world.arena, s.process, 4)
        .unwrap()
        .pipe()
        .unwrap();
    assert_eq!(
        (found.file_slot(), found.end, found.pipe_slot()),
        (w, End::Write, s.pair.slot)
    );
    assert_eq!(
        s.install(3, w),
        Ok(r),
        "what it named before is the caller's now"
    );
    assert_eq!((s.take(3), s.take(3)), (w, 0));
    assert_eq!(s.process.fd_count.load(SeqCst), 1);
}

#[test]
fn numbers_beyond_the_table_are_the_kernels() {
    let s = Session::new();
    let r = s.pair.read_file;
    for fd in [-1, i32::MIN, fd_table::MAX_FDS as i32, i32::MAX] {
        assert_eq!(s.install(fd, r), Err(Errno::EMFILE), "{fd}");
        assert_eq!((s.slot_of(fd), s.take(fd)), (0, 0), "{fd}");
    }
    let far = [0, 1023, 1024, 70_000, fd_table::MAX_FDS as i32 - 1];
    for fd in far {
        assert_eq!(s.install(fd, r), Ok(0));
    }
    assert_eq!(s.listed(0, u32::MAX), far);
    assert_eq!(s.listed(1023, 1024), [1023, 1024]);
    assert_eq!(s.listed(1025, 69_999), []);
    assert_eq!(s.listed(u32::MAX, u32::MAX), []);
    assert_eq!(
        fd_table::count_of(s.world.arena, s.process, s.pair.slot, End::Read),
        5
    );
    assert_eq!(
        fd_table::count_of(s.world.arena, s.process, s.pair.slot, End::Write),
        0
    );
}

#[test]
fn a_new_block_is_empty_whatever_was_there_before() {
    let s = Session::new();
    let World { arena, host } = s.world;
    for _ in 0..2 {
        let used = alloc::alloc(arena, s.me.owner, host, 4096).unwrap();
        let words: &[AtomicU32; 1024] = arena.get(Off::from_raw(used.raw()).unwrap()).unwrap();
        words.iter().for_each(|w| w.store(7, SeqCst));
        alloc::free(arena, s.me.owner, host, used, 4096);
    }
    assert_eq!(s.install(5, s.pair.read_file), Ok(0));
    assert_eq!(s.listed(0, u32::MAX), [5]);
}

#[test]
fn no_memory_for_the_table_is_enomem_and_leaves_it_as_it_was() {
    let s = Session::new();
    assert_eq!(s.install(3, s.pair.read_file), Ok(0));
    s.world.host.memory.store(0, SeqCst);
    let header = s.world.arena.header();
    header.bump.store((layout::ARENA_BYTES / 64) as u32, SeqCst);
    header.populated.store(0, SeqCst); // nor in the chunk that small blocks come from
    assert_eq!(s.install(5000, s.pair.read_file), Err(Errno::ENOMEM));
    assert_eq!(s.listed(0, u32::MAX), [3]);
}

#[test]
fn a_dead_owner_of_the_table_is_replaced() {
    let s = Session::new();
    let dead = s.world.enter();
    dead.die();
    s.process.fd_lock.word.store(dead.owner.raw(), SeqCst);
    assert_eq!(s.install(3, s.pair.read_file), Ok(0));
    assert_eq!(s.process.fd_lock.word.load(SeqCst), 0);
}

#[test]
fn a_forked_child_names_the_same_descriptions() {
    let s = Session::new();
    let World { arena, host } = s.world;
    let r = s.pair.read_file;
    s.install(3, r).unwrap();
    s.install(2000, s.pair.write_file).unwrap();
    let (slot, child) = task::claim_process(arena, host, proc_state::ANNOUNCED, 0, 1, 0).unwrap();
    fd_table::copy(arena, s.me.owner, host, s.process, child).unwrap();
    assert_eq!(fd_table::slot_of(arena, child, 3), r);
    assert_eq!((s.refs(r), s.pair.pipe.readers.load(SeqCst)), (2, 1));
    // The child dies; whoever finds it closes its descriptors, and gives its table's blocks back.
    let before = arena.header().free_lists();
    child.state.store(proc_state::LIVE, SeqCst);
    reap::reap_process(arena, s.me.owner, host, slot);
    assert_eq!((s.refs(r), child.fd_count.load(SeqCst)), (1, 0));
    assert_ne!(arena.header().free_lists(), before);
    assert_eq!(child.state.load(SeqCst), proc_state::DEAD);
    assert!(s.pair.pipe.is_ring());
    reap::reap_process(arena, s.me.owner, host, slot); // once is enough
    assert_eq!(s.refs(r), 1);
}

#[test]
fn the_last_holders_death_frees_the_pipe() {
    let s = Session::new();
    let World { arena, host } = s.world;
    s.install(3, s.pair.read_file).unwrap();
    s.install(4, s.pair.write_file).unwrap();
    reap::reap_process(arena, s.me.owner, host, 1);
    assert!(!s.pair.pipe.is_ring());
    assert_eq!(arena.header().pipes_live.load(SeqCst), 0);
}

#[test]
fn a_description_lives_until_its_last_reference_goes() {
    let s = Session::new();
    let slot = s.new_file(End::Read).unwrap();
    assert_eq!(s.pair.pipe.readers.load(SeqCst), 2);
    assert!(file::get_ref(s.world.arena, slot));
    assert!(!s.close_ref(slot), "one is left");
    assert!(s.close_ref(slot), "that was the last");
    assert_eq!(s.pair.pipe.readers.load(SeqCst), 1);
    assert!(
        !s.close_ref(slot) && !file::get_ref(s.world.arena, slot),
        "it is gone"
    );
    assert_eq!(s.pair.pipe.readers.load(SeqCst), 1);
    assert_eq!(s.new_file(End::Write), Ok(slot), "the slot is used again");
}

#[test]
fn a_description_that_outlives_its_pipe_leads_nowhere() {
    let s = Session::new();
    let k = s.world.ctx(&s.me);
    let (r, w) = (s.pair.read_file, s.pair.write_file);
    pipe::release(&k, s.pair.slot);
    let other = s.world.pipe(&s.me, 16);
    assert_eq!(other.slot, s.pair.slot, "the slot is another pipe's");
    assert!(fd_table::pipe_end(s.world.arena, r).is_none());
    assert!(s.close_ref(r) && s.close_ref(w));
    assert_eq!(other.pipe.readers.load(SeqCst), 1, "not its reader");
}

#[test]
fn a_description_is_found_by_its_end() {
    let s = Session::new();
    let find = |end| file::find_file_of(s.world.arena, s.pair.slot, end);
    assert_eq!(find(End::Read), Some(s.pair.read_file));
    assert_eq!(find(End::Write), Some(s.pair.write_file));
    s.close_ref(s.pair.read_file);
    assert_eq!(find(End::Read), None);
}

#[test]
fn full_tables_are_enfile() {
    let s = Session::new();
    let header = s.world.arena.header();
    header.files_used.store(layout::MAX_FILES - 1, SeqCst);
    assert_eq!(s.new_file(End::Read), Ok(layout::MAX_FILES - 1));
    assert_eq!(s.new_file(End::Read), Err(Errno::ENFILE));
    header.pipes_used.store(layout::MAX_PIPES, SeqCst);
    let before = header.free_lists();
    let k = s.world.ctx(&s.me);
    assert_eq!(
        pipe::create(&k, 1, 1, 16, pipe::mode::RING),
        Err(Errno::ENFILE)
    );
    assert_ne!(header.free_lists(), before, "its slots were given back");
    s.close_ref(s.pair.read_file);
    assert_eq!(s.new_file(End::Read), Ok(s.pair.read_file));
}
