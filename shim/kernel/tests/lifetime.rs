//! Pipes that are closed, freed and used again while others are still at it.

mod support;

use std::sync::atomic::Ordering::*;
use std::sync::Arc;
use std::thread;

use ringer_kernel::abi::SysError;
use ringer_kernel::file::{self, fd_table, End};
use ringer_kernel::pipe::{self, mode};
use ringer_kernel::sys::Blocking;
use ringer_kernel::task::{self, proc_state, reap};
use support::kit::Kit;
use support::pattern::Rng;
use support::{Others, PipePair, Sleeps, TestHost, Watchdog, World};

fn world() -> World {
    World::new(TestHost::new(Sleeps::ForEver, Others::Live))
}

fn close(world: &World, me: &support::Me, pair: &PipePair, end: End) {
    let file = match end {
        End::Read => pair.read_file,
        End::Write => pair.write_file,
    };
    reap::forget_descriptor(&world.ctx(me), file, |_| true);
}

#[test]
fn the_last_close_frees_the_pipe_and_its_memory() {
    let world = world();
    let me = world.enter();
    let first = world.pipe(&me, 16);
    for _ in 0..1000 {
        let kit = Kit::new(world, 16);
        assert_eq!(kit.write(&me, b"x", Blocking::No), Ok(1));
        close(&world, &me, &kit.pair, End::Read);
        close(&world, &me, &kit.pair, End::Write);
        assert_eq!(kit.pair.pipe.mode.load(SeqCst), mode::FREE);
        kit.me.die();
    }
    let header = world.arena.header();
    assert_eq!(header.pipes_live.load(SeqCst), 1);
    assert!(header.pipes_used.load(SeqCst) < 5 && header.files_used.load(SeqCst) < 8);
    assert!(
        header.object_ids.load(SeqCst) > 1000,
        "names are never used again"
    );
    assert_eq!(first.pipe.mode.load(SeqCst), mode::RING);
}

/// Each of two closers may find the pipe unused; the slower one must not free what came after.
#[test]
fn a_pipe_is_freed_once() {
    let world = world();
    let me = world.enter();
    let old = world.pipe(&me, 16);
    let generation = old.pipe.generation.load(SeqCst);
    world.free(&me, &old);
    let new = world.pipe(&me, 16);
    assert_eq!(new.slot, old.slot);
    pipe::release_if(&world.ctx(&me), old.slot, generation);
    assert_eq!(new.pipe.mode.load(SeqCst), mode::RING);
}

/// A thread sleeps in read(2) while others close both ends, and the slot becomes another pipe's
/// before it gets the processor back. It must not read what is not its own.
#[test]
fn a_late_sleeper_finds_its_pipe_gone() {
    let _watchdog = Watchdog::step("a_late_sleeper_finds_its_pipe_gone");
    let world = world();
    let me = world.enter();
    for reads in [true, false] {
        let kit = Kit::new(world, 1);
        if !reads {
            kit.prepare(1, &[4096], 0);
        }
        let sleeper = thread::spawn(move || match reads {
            true => kit.read(&world.enter(), 10, Blocking::Yes).map(|b| b.len()),
            false => kit.write(&world.enter(), b"stray", Blocking::Yes),
        });
        let p = kit.pair.pipe;
        let queue = if reads { &p.rd_wait } else { &p.wr_wait };
        while queue.sleepers.load(SeqCst) == 0 {
            thread::yield_now();
        }
        thread::sleep(std::time::Duration::from_millis(5));
        world.host.late.store(true, SeqCst);
        close(&world, &me, &kit.pair, End::Read);
        close(&world, &me, &kit.pair, End::Write);
        let other = Kit::new(world, 1);
        assert_eq!(other.pair.slot, kit.pair.slot);
        assert_eq!(other.write(&me, b"secret", Blocking::No), Ok(6));
        world.host.late.store(false, SeqCst);
        assert_eq!(sleeper.join().unwrap(), Err(SysError::Demoted));
        assert_eq!(other.drain(&me), b"secret");
        world.free(&me, &other.pair);
    }
}

#[test]
fn who_closes_what_another_reads_wakes_it() {
    let _watchdog = Watchdog::step("who_closes_what_another_reads_wakes_it");
    let world = world();
    let me = world.enter();
    for first in [End::Read, End::Write] {
        let kit = Kit::new(world, 1);
        let sleeper = thread::spawn(move || kit.read(&world.enter(), 10, Blocking::Yes));
        while kit.pair.pipe.rd_wait.sleepers.load(SeqCst) == 0 {
            thread::yield_now();
        }
        kit.twin.hang_up();
        close(&world, &me, &kit.pair, first);
        close(
            &world,
            &me,
            &kit.pair,
            if first == End::Read {
                End::Write
            } else {
                End::Read
            },
        );
        let got = sleeper.join().unwrap();
        assert!(
            got == Ok(vec![]) || got == Err(SysError::Demoted),
            "{got:?}"
        );
    }
}

/// What the last writer wrote just before it closed comes before end of file.
#[test]
fn no_byte_comes_after_end_of_file() {
    let _watchdog = Watchdog::step("no_byte_comes_after_end_of_file");
    let world = world();
    let mut rng = Rng::new(1);
    for _ in 0..3000 {
        let kit = Kit::new(world, 16);
        let n = 1 + rng.below(20_000) as usize;
        let writer = thread::spawn(move || {
            let me = world.enter();
            let data = support::pattern::bytes(0, n);
            assert_eq!(kit.write(&me, data, Blocking::Yes), Ok(n));
            kit.twin.hang_up();
            close(&world, &me, &kit.pair, End::Write);
            me.die();
        });
        let mut got = Vec::new();
        loop {
            let bytes = kit.read(&kit.me, 3000, Blocking::Yes).unwrap();
            if bytes.is_empty() {
                break;
            }
            got.extend(bytes);
        }
        assert!(got == support::pattern::bytes(0, n), "{} of {n}", got.len());
        writer.join().unwrap();
        close(&world, &kit.me, &kit.pair, End::Read);
        kit.me.die();
    }
}

/// The witness of an end may be wrong: a program can take the robust list away, by which the kernel
/// marks its death. So a sleeper that hears nothing asks the twin.
#[test]
fn a_witness_that_lives_for_ever_delays_the_end_and_no_more() {
    let _watchdog = Watchdog::step("a_witness_that_lives_for_ever");
    let world = World::new(TestHost::new(Sleeps::Bounded, Others::Live));
    for reads in [true, false] {
        let kit = Kit::new(world, 1);
        kit.pair.pipe.testify(
            if reads { End::Write } else { End::Read },
            world.enter().owner,
        );
        let sleeper = thread::spawn(move || match reads {
            true => kit.read(&world.enter(), 10, Blocking::Yes).map(|b| b.len()),
            false => kit.write(&world.enter(), &[1; 5000], Blocking::Yes),
        });
        let p = kit.pair.pipe;
        let queue = if reads { &p.rd_wait } else { &p.wr_wait };
        while queue.sleepers.load(SeqCst) == 0 {
            thread::yield_now();
        }
        kit.twin.hang_up();
        let ended = sleeper.join().unwrap();
        assert_eq!(ended, Ok(if reads { 0 } else { 4096 }));
    }
}

/// Threads that all make, use and close pipes: no pipe is given to two.
#[test]
fn many_threads_make_and_close_pipes() {
    let progress = Arc::default();
    let _watchdog = Watchdog::new("many_threads", Arc::clone(&progress), || ());
    let world = world();
    thread::scope(|s| {
        for n in 0..4u64 {
            let progress = Arc::clone(&progress);
            s.spawn(move || {
                let (me, mut rng) = (world.enter(), Rng::new(n));
                for round in 0..2000 {
                    let kit = Kit::new(world, 1 << rng.below(5));
                    let text = format!("{n} {round}");
                    assert_eq!(
                        kit.write(&me, text.as_bytes(), Blocking::No),
                        Ok(text.len())
                    );
                    assert_eq!(kit.queued(&me), Ok(text.len()));
                    assert_eq!(kit.drain(&me), text.as_bytes());
                    close(&world, &me, &kit.pair, End::Read);
                    close(&world, &me, &kit.pair, End::Write);
                    kit.me.die();
                    progress.fetch_add(1, Relaxed);
                }
            });
        }
    });
    assert_eq!(world.arena.header().pipes_live.load(SeqCst), 0);
}

/// fork(2) in one thread while another opens and closes: a description that is copied just when
/// it is closed must not come back from the dead.
#[test]
fn a_table_is_copied_while_it_changes() {
    let _watchdog = Watchdog::step("a_table_is_copied_while_it_changes");
    let world = world();
    let (arena, host) = (world.arena, world.host);
    let me = world.enter();
    let pair = world.pipe(&me, 16);
    let parent = task::process(arena, 1).unwrap();
    let child = task::claim_process(arena, host, proc_state::LIVE, 2, 0, 0)
        .unwrap()
        .1;
    thread::scope(|s| {
        let opener = s.spawn(|| {
            let me = world.enter();
            for _ in 0..60_000 {
                let end = file::new_file(arena, me.owner, host, pair.slot, End::Read, 0).unwrap();
                assert_eq!(
                    fd_table::install(arena, me.owner, host, parent, 3, end),
                    Ok(0)
                );
                assert_eq!(fd_table::take(arena, parent, 3), end);
                file::close_ref(arena, me.owner, host, end);
            }
        });
        while !opener.is_finished() {
            fd_table::copy(arena, me.owner, host, parent, child).unwrap();
            let copied = fd_table::take(arena, child, 3);
            if copied != 0 {
                file::close_ref(arena, me.owner, host, copied);
            }
        }
    });
    assert_eq!(pair.pipe.readers.load(SeqCst), 1);
    let mut slots: Vec<_> = (0..50)
        .map(|_| file::new_file(arena, me.owner, host, pair.slot, End::Read, 0).unwrap())
        .collect();
    slots.sort_unstable();
    slots.dedup();
    assert_eq!(slots.len(), 50, "a slot was given away twice");
}

/// Somebody was killed with the count of tokens in his hands, or it is wrong for another reason: who finds fewer than there
/// should be counts them.
#[test]
fn a_wrong_count_of_tokens_is_mended() {
    let kit = Kit::new(world(), 16);
    kit.pair.pipe.tokens.store(1, SeqCst);
    let k = kit.world.ctx(&kit.me);
    pipe::watch::watch(&k, kit.pair.pipe, kit.kernel, 0);
    assert_eq!(kit.kernel.readiness(), (false, true));
    assert_eq!(kit.write(&kit.me, b"x", Blocking::No), Ok(1));
    let known = pipe::watch::known(kit.pair.pipe);
    pipe::watch::reconcile(&k, known, kit.kernel, pipe::watch::Side::Writer);
    assert_eq!(kit.kernel.readiness(), (true, true));
}
