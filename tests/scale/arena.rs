//! The arena's size: it is paid for in memory, so it may grow with what is in use and no further.

use crate::allow_descriptors;
use ringer_support::prelude::*;
use ringer_support::shared::pause;
use ringer_support::world::{self, Test, World};
use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

const KIB: u64 = 1024;

/// A supervisor looks every so often; who is quicker finds some of the dead unburied.
const SUPERVISION: Duration = Duration::from_millis(3);

/// As `both_worlds!`, in the worlds that have an arena.
macro_rules! arena_tests {
    ($($name:ident $worlds:tt $body:block)*) => {
        $(
            #[test]
            fn $name() {
                fn body() $body
                let path = concat!(module_path!(), "::", stringify!($name));
                let worlds = &$worlds;
                world::run(&Test { path, timeout_secs: 120, worlds }, body);
            }
        )*
    };
}

/// Bytes of memory that the session's arena takes.
fn used() -> u64 {
    let path = env::var("RINGER_SESSION").expect("a session");
    fs::metadata(path).expect("the session's arena").blocks() * 512
}

/// Bytes by which the arena grows while `body` runs.
fn growth<T>(body: impl FnOnce() -> T) -> (u64, T) {
    let before = used();
    let result = body();
    (used().saturating_sub(before), result)
}

/// Prints and compares a cost.
#[track_caller]
fn costs(what: &str, bytes: u64, least: u64, most: u64) {
    eprintln!("{what}: {bytes} bytes");
    assert!(
        (least..=most).contains(&bytes),
        "{what} costs {bytes} bytes, not {least} to {most}"
    );
}

/// Programs that wait, until the word is set.
fn idle_programs(n: u64, s: Shared, page: &Fd) -> Vec<Child> {
    let page = format!("page:{}", page.number());
    let start = || {
        fork_run(|| {
            s.bump(0);
            exec(
                &program("puppet", Linkage::Dynamic),
                &[&page, "set:1:1", "until:2:1"],
            )
        })
    };
    let children: Vec<Child> = (0..n).map(|_| start()).collect();
    s.wait_for(0, n);
    for child in &children {
        wait_until(|| fs::read_to_string(format!("/proc/{}/comm", child.pid())).is_ok());
        child.sleeping();
    }
    s.wait_for(1, 1);
    children
}

arena_tests! {
    an_idle_process_costs_at_most_64_kib [World::Shim, World::Run] {
        const N: u64 = 50;
        let (s, page) = Shared::with_fd();
        let (grown, children) = growth(|| idle_programs(N, s, &page));
        costs("an idle process", grown / N, 0, 64 * KIB);
        s.set(2, 1);
        all_succeed(children);
    }

    an_idle_process_with_a_pipe_costs_at_most_64_kib [World::Shim, World::Run] {
        const N: u64 = 50;
        let (s, page) = Shared::with_fd();
        let _p = pipe();
        let (grown, children) = growth(|| idle_programs(N, s, &page));
        costs("an idle process with a pipe", grown / N, 0, 64 * KIB);
        s.set(2, 1);
        all_succeed(children);
    }

    a_process_that_uses_a_pipe_costs_at_most_64_kib [World::Shim, World::Run] {
        const N: u64 = 50;
        let (p, s) = (pipe(), Shared::new());
        write_all(&p.w, &[0; 100]);
        let (grown, children) = growth(|| {
            let child = |_| {
                fork_run(|| {
                    assert_eq!(read_n(&p.r, 1), Ok(vec![0]));
                    s.bump(0);
                    s.wait_for(1, 1);
                })
            };
            let children: Vec<Child> = (0..N).map(child).collect();
            s.wait_for(0, N);
            children
        });
        costs("a process that uses a pipe", grown / N, 0, 64 * KIB);
        s.set(1, 1);
        all_succeed(children);
    }

    an_unused_pipe_costs_little_and_a_used_one_its_64_kib [World::Shim] {
        const N: u64 = 500;
        if !allow_descriptors(2 * N + 100) {
            return;
        }
        drop(pipe());
        let (grown, pipes) = growth(|| (0..N).map(|_| pipe()).collect::<Vec<_>>());
        costs("an unused pipe", grown / N, 0, 4 * KIB);
        let (grown, ()) = growth(|| {
            for p in &pipes {
                write_all(&p.w, b"x");
            }
        });
        costs("the buffer of a used pipe", grown / N, 60 * KIB, 72 * KIB);
        let (grown, ()) = growth(|| {
            for p in &pipes {
                write_all(&p.w, &[1; CAPACITY - PAGE]);
            }
        });
        costs("what is then written into it", grown / N, 0, KIB);
    }

    pipes_that_are_used_as_soon_as_they_are_made_cost_no_more [World::Shim] {
        const N: u64 = 200;
        let used_pipe = |_| {
            let p = pipe();
            write_all(&p.w, b"x");
            p
        };
        let (grown, _pipes) = growth(|| (0..N).map(used_pipe).collect::<Vec<_>>());
        costs("a pipe that is used at once", grown / N, 60 * KIB, 76 * KIB);
    }

    a_hundred_thousand_pipes_one_after_the_other_take_the_memory_of_one [World::Shim] {
        drop(pipe());
        let (grown, ()) = growth(|| {
            for i in 0..100_000 {
                let p = pipe();
                if i % 10 == 0 {
                    write_all(&p.w, b"x");
                }
                if i % 2 == 0 {
                    drop(p.w);
                    drop(p.r);
                }
            }
        });
        costs("a hundred thousand pipes", grown, 0, 256 * KIB);
    }

    pipes_in_changing_numbers_take_the_memory_of_the_most [World::Shim] {
        let batch = |n: usize| {
            let pipes: Vec<Pipe> = (0..n).map(|_| pipe()).collect();
            for p in &pipes {
                write_all(&p.w, b"x");
            }
        };
        batch(100);
        let (grown, ()) = growth(|| (0..200).for_each(|i| batch(1 + i * 37 % 100)));
        costs("two hundred times up to a hundred pipes", grown, 0, 256 * KIB);
    }

    resized_pipes_give_their_memory_back [World::Shim] {
        let cycle = || {
            let p = pipe();
            for size in [PAGE, 1 << 20, 1 << 16, 1 << 18] {
                write_all(&p.w, b"x");
                set_pipe_size(&p.w, size).unwrap();
                assert_eq!(read_n(&p.r, 9), Ok(b"x".to_vec()));
            }
        };
        cycle();
        let (grown, ()) = growth(|| (0..1000).for_each(|_| cycle()));
        costs("four thousand resizes", grown, 0, 256 * KIB);
    }

    processes_one_after_the_other_take_the_memory_of_one [World::Shim, World::Run] {
        let p = pipe();
        let cycle = || {
            let child = fork_run(|| write_all(&p.w, b"x"));
            assert_eq!(read_n(&p.r, 9), Ok(b"x".to_vec()));
            child.succeeds();
        };
        cycle();
        let (grown, ()) = growth(|| (0..1000).for_each(|_| cycle()));
        costs("a thousand processes", grown, 0, 256 * KIB);
    }

    demoted_pipes_give_their_memory_back [World::Shim, World::Run] {
        let cycle = || {
            let p = pipe();
            write_all(&p.w, b"x");
            let open = format!("open:{}", p.r.number());
            run(&program("puppet", Linkage::Static), &[&open]).succeeds();
            assert_eq!(read_n(&p.r, 9), Ok(b"x".to_vec()));
            pause(SUPERVISION);
        };
        (0..20).for_each(|_| cycle());
        let (grown, ()) = growth(|| (0..300).for_each(|_| cycle()));
        costs("three hundred demotions", grown, 0, 4096 * KIB);
    }

    threads_one_after_the_other_take_the_memory_of_one [World::Shim] {
        let p = pipe();
        let (r, w) = (p.r.number(), p.w.number());
        let cycle = || {
            let writer = std::thread::spawn(move || write_all(w, b"x"));
            assert_eq!(read_n(r, 9), Ok(b"x".to_vec()));
            writer.join().unwrap();
        };
        cycle();
        let (grown, ()) = growth(|| (0..2000).for_each(|_| cycle()));
        costs("two thousand threads", grown, 0, 64 * KIB);
    }

    what_the_killed_had_is_given_back [World::Shim, World::Run] {
        let cycle = || {
            let p = pipe();
            let child = fork_run(|| {
                write_all(&p.w, b"x");
                loop {
                    pause(Duration::from_secs(1));
                }
            });
            assert_eq!(read_n(&p.r, 9), Ok(b"x".to_vec()));
            child.kill_9();
            drop(p.w);
            assert_eq!(read_n(&p.r, 9), Ok(vec![]));
            pause(SUPERVISION);
        };
        (0..20).for_each(|_| cycle());
        let (grown, ()) = growth(|| (0..300).for_each(|_| cycle()));
        costs("three hundred that were killed", grown, 0, 4096 * KIB);
    }
}
