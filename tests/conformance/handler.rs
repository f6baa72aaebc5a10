//! What handlers do with pipes, and storms of signals during traffic.

use ringer_support::prelude::*;
use std::sync::atomic::{AtomicI32, AtomicUsize};

static FD: AtomicI32 = AtomicI32::new(-1);
static STEPS: AtomicUsize = AtomicUsize::new(0);

type Info = *mut libc::siginfo_t;

extern "C" fn write_a_byte(signal: c_int, _: Info, _: *mut c_void) {
    let _ = write(FD.load(SeqCst), &[signal as u8]);
}

both_worlds!(a_handler_may_write_to_the_pipe_its_process_reads, {
    let p = pipe();
    FD.store(p.w.number(), SeqCst);
    signal::handle(SIGUSR1, SA_RESTART, write_a_byte);
    let me = getpid();
    for _ in 0..50 {
        let child = fork_run(move || {
            procfs::sleeping(me);
            signal::kill(me, SIGUSR1);
        });
        // The read is restarted, and finds what the handler has written.
        assert_eq!(read_n(&p.r, 10), Ok(vec![SIGUSR1 as u8]));
        child.succeeds();
    }
});

both_worlds!(the_self_pipe_trick_works_with_poll, {
    let p = nonblocking_pipe();
    FD.store(p.w.number(), SeqCst);
    signal::handle(SIGUSR1, SA_RESTART, write_a_byte);
    let me = getpid();
    for _ in 0..50 {
        let child = fork_run(move || {
            procfs::sleeping(me);
            signal::kill(me, SIGUSR1);
        });
        let mut fds = [pollfd(&p.r, POLLIN)];
        let mut n = poll(&mut fds, -1);
        while n == Err(EINTR) {
            n = poll(&mut fds, -1);
        }
        assert_eq!((n, fds[0].revents), (Ok(1), POLLIN));
        assert_eq!(drain(&p.r), [SIGUSR1 as u8]);
        child.succeeds();
    }
});

extern "C" fn make_room(_: c_int, _: Info, _: *mut c_void) {
    let mut page = [0; PAGE];
    let n = read(FD.load(SeqCst), &mut page);
    STEPS.fetch_add(n.unwrap_or(0), SeqCst);
}

both_worlds!(a_handler_may_read_from_the_pipe_its_process_writes, {
    let p = pipe();
    FD.store(p.r.number(), SeqCst);
    write_all(&p.w, &stream(0, CAPACITY));
    signal::handle(SIGUSR1, SA_RESTART, make_room);
    let me = getpid();
    let child = fork_run(move || {
        procfs::sleeping(me);
        signal::kill(me, SIGUSR1);
    });
    assert_eq!(write(&p.w, &stream(CAPACITY, PAGE)), Ok(PAGE));
    assert_eq!(STEPS.load(SeqCst), PAGE);
    child.succeeds();
    assert!(read_exactly(&p.r, CAPACITY) == stream(PAGE, CAPACITY));
});

static INSIDE: AtomicUsize = AtomicUsize::new(0);
static DEEPEST: AtomicUsize = AtomicUsize::new(0);

extern "C" fn raise_the_next(signal: c_int, _: Info, _: *mut c_void) {
    let depth = INSIDE.fetch_add(1, SeqCst) + 1;
    DEEPEST.fetch_max(depth, SeqCst);
    if signal == SIGUSR1 {
        signal::kill(getpid(), SIGUSR2);
        // It was delivered before kill(2) came back.
        assert_eq!(STEPS.load(SeqCst), 1);
    } else {
        STEPS.fetch_add(1, SeqCst);
    }
    INSIDE.fetch_sub(1, SeqCst);
}

both_worlds!(
    a_handler_may_be_interrupted_by_another_and_the_read_goes_on,
    {
        let (p, s) = (pipe(), Shared::new());
        let child = fork_run(|| {
            signal::handle(SIGUSR1, SA_RESTART, raise_the_next);
            // The first signal's flags decide; this one did not interrupt the read.
            signal::handle(SIGUSR2, 0, raise_the_next);
            s.set(0, 1);
            assert_eq!(read_n(&p.r, 10), Ok(b"data".to_vec()));
            assert_eq!(DEEPEST.load(SeqCst), 2);
        });
        s.wait_for(0, 1);
        child.sleeping();
        child.kill(SIGUSR1);
        child.sleeping();
        write_all(&p.w, b"data");
        child.succeeds();
    }
);

static FD_TO_TELL: AtomicI32 = AtomicI32::new(-1);

extern "C" fn read_in_the_handler(_: c_int, _: Info, _: *mut c_void) {
    let mut byte = [0];
    let _ = write(FD_TO_TELL.load(SeqCst), b"!");
    // Blocks within the handler, while the interrupted call waits below it.
    if read(FD.load(SeqCst), &mut byte) == Ok(1) {
        STEPS.store(usize::from(byte[0]), SeqCst);
    }
}

both_worlds!(a_handler_may_block_on_another_pipe, {
    let (p, q, tell, s) = (pipe(), pipe(), pipe(), Shared::new());
    let child = fork_run(|| {
        FD_TO_TELL.store(tell.w.number(), SeqCst);
        FD.store(q.r.number(), SeqCst);
        signal::handle(SIGUSR1, SA_RESTART, read_in_the_handler);
        s.set(0, 1);
        assert_eq!(read_n(&p.r, 10), Ok(b"outer".to_vec()));
        assert_eq!(STEPS.load(SeqCst), 42);
    });
    s.wait_for(0, 1);
    child.sleeping();
    child.kill(SIGUSR1);
    assert_eq!(read_n(&tell.r, 9), Ok(b"!".to_vec()));
    // The outer data comes first, but it is read after the handler.
    write_all(&p.w, b"outer");
    child.sleeping();
    assert_eq!(bytes_waiting(&p.r), Ok(5));
    write_all(&q.w, &[42]);
    child.succeeds();
});

static STACK_POINTER: AtomicUsize = AtomicUsize::new(0);

extern "C" fn note_stack(_: c_int, _: Info, _: *mut c_void) {
    let here = 0u8;
    STACK_POINTER.store(std::ptr::from_ref(&here).addr(), SeqCst);
}

both_worlds!(a_handler_may_run_on_the_alternate_stack_during_a_read, {
    let (p, s) = (pipe(), Shared::new());
    let child = fork_run(|| {
        let memory = Cliff::protected(16);
        let all = memory.inside(0, memory.len());
        let stack = libc::stack_t {
            ss_sp: all.addr as *mut _,
            ss_flags: 0,
            ss_size: all.len,
        };
        // SAFETY: memory for a stack, which outlives its use.
        let done = unsafe { libc::sigaltstack(&stack, std::ptr::null_mut()) };
        assert_eq!(done, 0);
        signal::handle(SIGUSR1, SA_RESTART | libc::SA_ONSTACK, note_stack);
        s.set(0, 1);
        assert_eq!(read_n(&p.r, 10), Ok(b"data".to_vec()));
        let pointer = STACK_POINTER.load(SeqCst);
        assert!((all.addr..all.addr + all.len).contains(&pointer));
        std::mem::forget(memory);
    });
    s.wait_for(0, 1);
    child.sleeping();
    child.kill(SIGUSR1);
    child.sleeping();
    write_all(&p.w, b"data");
    child.succeeds();
});

const STORM: usize = 20_000_000;

/// Both sides of a transfer are shot at every millisecond.
fn transfer_in_a_storm(flags: c_int) {
    let Pipe { r, w } = pipe();
    let writer = fork_run(move || {
        signal::count(SIGALRM, flags);
        signal::alarm_every(1000);
        let (mut rng, mut at) = (Rng::new(1), 0);
        while at < STORM {
            let n = rng.within(1, 150_000).min(STORM - at);
            match write(&w, &stream(at, n)) {
                Ok(n) => at += n,
                Err(e) => assert_eq!((e, flags), (EINTR, 0)),
            }
        }
    });
    signal::count(SIGALRM, flags);
    signal::alarm_every(1000);
    let (mut rng, mut at) = (Rng::new(2), 0);
    let mut buf = vec![0; 100_000];
    loop {
        let size = rng.within(1, buf.len());
        match read(&r, &mut buf[..size]) {
            Ok(0) => break,
            Ok(n) => {
                assert!(buf[..n] == stream(at, n), "wrong bytes at {at}");
                at += n;
            }
            Err(e) => assert_eq!((e, flags), (EINTR, 0)),
        }
    }
    assert_eq!(at, STORM);
    writer.succeeds();
    wait_until(|| signal::seen(SIGALRM) > 0);
    signal::alarm_every(0);
}

both_worlds!(
    a_transfer_survives_a_storm_of_signals_with_sa_restart,
    timeout = 60,
    {
        transfer_in_a_storm(SA_RESTART);
    }
);

both_worlds!(
    a_transfer_survives_a_storm_of_signals_without_sa_restart,
    timeout = 60,
    {
        transfer_in_a_storm(0);
    }
);

both_worlds!(small_records_survive_a_storm_whole, timeout = 60, {
    let Pipe { r, w } = pipe();
    let writer = fork_run(move || {
        signal::count(SIGALRM, 0);
        signal::alarm_every(500);
        let mut i = 0u64;
        while i < 200_000 {
            match write(&w, &i.to_ne_bytes()) {
                Ok(n) => {
                    assert_eq!(n, 8);
                    i += 1;
                }
                Err(e) => assert_eq!(e, EINTR),
            }
        }
    });
    signal::count(SIGALRM, 0);
    signal::alarm_every(500);
    for i in 0u64..200_000 {
        let got = loop {
            match read_n(&r, 8) {
                Ok(got) => break got,
                Err(e) => assert_eq!(e, EINTR),
            }
        };
        assert_eq!(got, i.to_ne_bytes());
    }
    signal::alarm_every(0);
    writer.succeeds();
});

both_worlds!(a_timer_ends_a_blocked_read_again_and_again, {
    let p = pipe();
    signal::count(SIGALRM, 0);
    signal::alarm_every(500);
    for _ in 0..100 {
        assert_eq!(read_n(&p.r, 1), Err(EINTR));
    }
    signal::alarm_every(0);
    assert!(signal::seen(SIGALRM) >= 100);
});

both_worlds!(
    siglongjmp_out_of_calls_leaves_the_pipe_in_order,
    timeout = 60,
    {
        run(&program("longjmp", Linkage::Dynamic), &[]).succeeds();
    }
);

both_worlds!(threads_blocked_on_a_pipe_can_be_cancelled, {
    run(&program("cancel", Linkage::Dynamic), &[]).succeeds();
});
