//! Somebody scribbles over a live arena. What is in it may be lost, and who waits for that waits in vain;
//! nobody may crash, nor be past SIGTERM.

use crate::guard::{self, Ended};
use crate::ringer::{native_only, ringer_run};
use crate::session::Session;
use ringer_support::cc;
use ringer_support::rng::Rng;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

/// Forty pipelines, the statuses of their stages on stdout. (A descriptor that is scribbled out of the
/// table is the kernel's: its reader finds nothing there, and its writer waits for room in the arena.)
const SCRIPT: &str = "for i in {1..40}; do
    timeout -k 10 10 bash -c 'seq 20000 | cat | tail -n 1 > /dev/null 2> /dev/null
        echo ${PIPESTATUS[*]}'
    [ $? != 137 ] || echo $((128 + 6)); done";

/// The parts of a sparse file that exist.
fn data(file: &File, len: u64) -> Vec<(u64, u64)> {
    let mut parts = Vec::new();
    let mut at = 0;
    let seek = |at: u64, whence| {
        // SAFETY: lseek(2) takes numbers.
        let found = unsafe { libc::lseek(file.as_raw_fd(), at as libc::off_t, whence) };
        u64::try_from(found).ok()
    };
    while let Some(from) = seek(at, libc::SEEK_DATA) {
        at = seek(from, libc::SEEK_HOLE).unwrap_or(len);
        parts.push((from, at));
    }
    parts
}

/// Runs pipelines in a session whose arena `scribble` is applied to all the while.
fn run_while(topic: &str, scribble: impl Fn(&File, &mut Rng, u64, u64)) -> Ended {
    let session = Session::start(topic);
    let arena = File::options().read(true).write(true).open(session.arena());
    let arena = arena.expect("the arena is a file");
    let len = arena.metadata().expect("the arena").len();
    let mut rng = Rng::new(20);
    let dir = crate::fixture::TempDir::new();
    let command = ringer_run(&["--session", session.name()], &["bash", "-c", SCRIPT]);
    let ended = std::thread::scope(|scope| {
        let guest = scope.spawn(|| guard::run(command, dir.path()));
        let deadline = guard::deadline();
        while !guest.is_finished() && Instant::now() < deadline {
            let parts = data(&arena, len);
            let (from, to) = rng.pick(&parts);
            let at = from + rng.below((to - from) as usize) as u64;
            scribble(&arena, &mut rng, at, len);
            std::thread::yield_now();
        }
        guest.join()
    });
    // By its path: nobody can join what is left of it, so its name does not lead there any more.
    let path = session.arena();
    session.kill();
    let _ = std::fs::remove_file(path); // a guest may have taken it for one that goes by itself
    ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Nobody died of a bug: neither a stage nor the shell.
fn assert_no_crash(ended: &Ended) {
    let crashes = [
        libc::SIGSEGV,
        libc::SIGBUS,
        libc::SIGILL,
        libc::SIGABRT,
        libc::SIGFPE,
        libc::SIGSYS,
    ];
    let crashed = |status: i32| crashes.iter().any(|signal| status == 128 + signal);
    assert!(
        !crashed(ended.status),
        "{}: {}",
        ended.status,
        ended.stderr()
    );
    for line in ended.stdout().lines() {
        let statuses = line.split(' ').filter_map(|status| status.parse().ok());
        assert!(
            !statuses.into_iter().any(crashed),
            "{line}: {}",
            ended.stderr()
        );
    }
}

#[test]
fn random_bytes() {
    if native_only() {
        return;
    }
    assert_no_crash(&run_while("scribble", |arena, rng, at, len| {
        let bytes: Vec<u8> = (0..rng.within(1, 16)).map(|_| rng.next() as u8).collect();
        if at + bytes.len() as u64 <= len {
            arena.write_all_at(&bytes, at).expect("the arena");
        }
    }));
}

#[test]
fn single_bits() {
    if native_only() {
        return;
    }
    assert_no_crash(&run_while("bits", |arena, rng, at, _| {
        let mut byte = [0];
        arena.read_exact_at(&mut byte, at).expect("the arena");
        byte[0] ^= 1 << rng.below(8);
        arena.write_all_at(&byte, at).expect("the arena");
    }));
}

#[test]
fn words_of_ones_and_zeroes() {
    if native_only() {
        return;
    }
    assert_no_crash(&run_while("words", |arena, rng, at, _| {
        let word = rng.pick(&[[0_u8; 4], [0xff; 4], [1, 0, 0, 0], [0, 0, 0, 0x80]]);
        arena.write_all_at(&word, at & !3).expect("the arena");
    }));
}

/// The lock's owner lives and will never give it up.
#[test]
fn who_leaves_waits_for_no_lock() {
    if native_only() {
        return;
    }
    let program = cc::cc(include_str!("locked.c"));
    let script = format!("true | true; {}; echo $?", program.display());
    let command = ringer_run(&[], &["bash", "-c", &script]);
    let from = Instant::now();
    let ended = guard::run(command, crate::fixture::TempDir::new().path());
    assert_eq!((ended.stdout().as_str(), ended.status), ("damaged\n7\n", 0));
    assert!(from.elapsed() < Duration::from_secs(20));
}
