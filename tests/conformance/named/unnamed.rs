//! Semaphores that are memory: what threads, cancellation and bad pointers do to them. See sem_init(3), sem_post(3),
//! sem_wait(3), pthreads(7) "Cancellation points".

use std::sync::atomic::AtomicUsize;

use libc::{pthread_t, sem_t, siginfo_t, EOVERFLOW};
use ringer_support::check;
use ringer_support::prelude::*;

/// A semaphore among threads, in memory that does not move.
fn sem(value: u32) -> *mut sem_t {
    let at = Box::leak(Box::new(std::mem::MaybeUninit::<sem_t>::zeroed())).as_mut_ptr();
    // SAFETY: room for a sem_t.
    assert_eq!(check(unsafe { libc::sem_init(at, 0, value) }), Ok(0));
    at
}

fn post(s: *mut sem_t) -> Sys {
    // SAFETY: a semaphore of `sem`'s.
    check(unsafe { libc::sem_post(s) })
}

fn value(s: *mut sem_t) -> c_int {
    let mut value = -1;
    // SAFETY: a semaphore of `sem`'s, and room for an int.
    check(unsafe { libc::sem_getvalue(s, &mut value) }).unwrap();
    value
}

extern "C" {
    fn pthread_cancel(thread: pthread_t) -> c_int;
    fn pthread_setcancelstate(state: c_int, old: *mut c_int) -> c_int;
}
const DISABLE: c_int = 1;
const ENABLE: c_int = 0;
/// `PTHREAD_CANCELED`
const CANCELED: *mut c_void = usize::MAX as *mut c_void;

/// A thread that runs `f` on `s`: for cancellation unwinds through C alone.
fn thread(f: extern "C" fn(*mut c_void) -> *mut c_void, s: *mut sem_t) -> pthread_t {
    let mut thread = 0;
    // SAFETY: `s` stays.
    let ret = unsafe { libc::pthread_create(&mut thread, std::ptr::null(), f, s.cast()) };
    assert_eq!(ret, 0);
    thread
}

fn join(thread: pthread_t) -> *mut c_void {
    let mut ret = std::ptr::null_mut();
    // SAFETY: a thread of `thread`'s, and room for what it returns.
    assert_eq!(unsafe { libc::pthread_join(thread, &mut ret) }, 0);
    ret
}

both_worlds!(who_is_cancelled_as_it_waits_takes_nothing, {
    extern "C" fn wait(s: *mut c_void) -> *mut c_void {
        // SAFETY: a semaphore of `sem`'s.
        unsafe { libc::sem_wait(s.cast()) };
        std::ptr::null_mut()
    }
    let s = sem(0);
    let waiting = thread(wait, s);
    std::thread::sleep(std::time::Duration::from_millis(30));
    // SAFETY: a thread that has not been joined.
    assert_eq!(unsafe { pthread_cancel(waiting) }, 0);
    assert_eq!(join(waiting), CANCELED);
    assert_eq!((post(s), value(s)), (Ok(0), 1));
});

both_worlds!(who_was_cancelled_before_does_not_take_what_is_there, {
    /// Cancelled while that is disabled; then enabled, which is no cancellation point for one of deferred type.
    /// (No assertions: what unwinds through this is not a panic.)
    extern "C" fn wait(s: *mut c_void) -> *mut c_void {
        let mut old = 0;
        // SAFETY: the calling thread's own state; a semaphore of `sem`'s.
        unsafe {
            pthread_setcancelstate(DISABLE, &mut old);
            pthread_cancel(libc::pthread_self());
            libc::sem_wait(s.cast()); // disabled: it takes one
            libc::sem_trywait(s.cast()); // no cancellation point
            pthread_setcancelstate(ENABLE, &mut old);
            libc::sem_trywait(s.cast());
            libc::sem_wait(s.cast());
        }
        std::ptr::null_mut()
    }
    let s = sem(5);
    assert_eq!(join(thread(wait, s)), CANCELED);
    assert_eq!(value(s), 2);
});

both_worlds!(the_largest_value_is_the_last, {
    let s = sem(i32::MAX as u32 - 1);
    assert_eq!((post(s), post(s)), (Ok(0), Err(EOVERFLOW)));
    assert_eq!(value(s), i32::MAX);
});

both_worlds!(threads_neither_lose_nor_invent_one, {
    /// Takes and gives, in three ways.
    extern "C" fn work(s: *mut c_void) -> *mut c_void {
        let s: *mut sem_t = s.cast();
        for round in 0..5000 {
            // SAFETY: a semaphore of `sem`'s, a valid time.
            unsafe {
                match round % 3 {
                    0 => assert_eq!(libc::sem_wait(s), 0),
                    1 => while libc::sem_trywait(s) != 0 {},
                    _ => assert_eq!(
                        libc::sem_timedwait(s, &ringer_support::mq::in_ms(60_000)),
                        0
                    ),
                }
                let now = INSIDE.fetch_add(1, SeqCst);
                assert!(now < 2, "{now} others have one of two");
                INSIDE.fetch_sub(1, SeqCst);
                assert_eq!(libc::sem_post(s), 0);
            }
        }
        std::ptr::null_mut()
    }
    static INSIDE: AtomicUsize = AtomicUsize::new(0);
    let s = sem(2);
    let all: Vec<_> = (0..4).map(|_| thread(work, s)).collect();
    for one in all {
        assert!(join(one).is_null());
    }
    assert_eq!(value(s), 2);
});

both_worlds!(a_bad_pointer_is_a_fault_of_the_programs, {
    extern "C" fn tell(_: c_int, info: *mut siginfo_t, _: *mut c_void) {
        // SAFETY: the kernel's siginfo of a fault.
        let at = unsafe { (*info).si_addr() } as usize;
        // SAFETY: always safe to call.
        unsafe { libc::_exit(if (4096..8192).contains(&at) { 7 } else { 8 }) };
    }
    type Call = unsafe extern "C" fn(*mut sem_t) -> c_int;
    for call in [libc::sem_post as Call, libc::sem_wait, libc::sem_trywait] {
        let told = fork_run(|| {
            signal::handle(libc::SIGSEGV, 0, tell);
            // SAFETY: nobody has mapped page 1: what happens then is what is asked.
            unsafe { call(4096 as *mut sem_t) };
        });
        assert_eq!(told.wait().code(), Some(7));
        // SAFETY: as above.
        let killed = fork_run(|| drop(unsafe { call(4096 as *mut sem_t) }));
        assert_eq!(killed.wait().signal(), Some(libc::SIGSEGV));
    }
});
