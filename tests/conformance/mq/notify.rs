//! mq_notify(3): once, one process, only for a message that comes into the empty queue and that
//! nobody waits for.

use std::sync::atomic::AtomicUsize;

use libc::{SIGEV_NONE, SIGEV_SIGNAL};
use ringer_support::mq::*;
use ringer_support::prelude::*;

const SI_MESGQ: c_int = -3;

/// Registers for SIGUSR1, which counts.
fn register(q: &Fd) -> Sys {
    signal::count(SIGUSR1, 0);
    notify(q, Some(&event(SIGEV_SIGNAL, SIGUSR1, 77)))
}

both_worlds!(a_signal_comes_for_the_first_message, {
    let (_name, q) = queue();
    assert_eq!(register(&q), Ok(0));
    send(&q, b"1", 0).unwrap();
    assert_eq!(signal::seen(SIGUSR1), 1);
    assert_eq!(signal::code(SIGUSR1), SI_MESGQ);
    assert_eq!(signal::sender(SIGUSR1), getpid());
    send(&q, b"2", 0).unwrap();
    take(&q).unwrap();
    take(&q).unwrap();
    send(&q, b"3", 0).unwrap();
    assert_eq!(signal::seen(SIGUSR1), 1, "once");
});

both_worlds!(the_signal_brings_its_value_and_the_senders_pid, {
    let (_name, q) = queue();
    let set = signal::set(&[SIGUSR1]);
    // SAFETY: a valid set.
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) };
    assert_eq!(notify(&q, Some(&event(SIGEV_SIGNAL, SIGUSR1, 77))), Ok(0));
    let child = fork_run(|| assert_eq!(send(&q, b"1", 0), Ok(0)));
    let pid = child.pid();
    // SAFETY: all zero bits are a valid siginfo.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: a valid set, room for a siginfo.
    assert_eq!(unsafe { libc::sigwaitinfo(&set, &mut info) }, SIGUSR1);
    assert_eq!(info.si_code, SI_MESGQ);
    // SAFETY: plain data.
    unsafe {
        assert_eq!(info.si_pid(), pid);
        assert_eq!(info.si_uid(), libc::getuid());
        assert_eq!(info.si_value().sival_ptr as usize, 77);
    }
    child.succeeds();
});

both_worlds!(only_one_process_is_registered, {
    let (name, q) = queue();
    assert_eq!(register(&q), Ok(0));
    assert_eq!(register(&q), Err(EBUSY), "not even itself");
    let child = fork_run(|| {
        let own = name.open(O_RDWR).unwrap();
        assert_eq!(register(&own), Err(EBUSY));
        assert_eq!(notify(&own, None), Ok(0), "nothing to take back");
        assert_eq!(register(&own), Err(EBUSY));
    });
    child.succeeds();
    send(&q, b"1", 0).unwrap();
    assert_eq!(
        signal::seen(SIGUSR1),
        1,
        "the child's close changed nothing"
    );
    assert_eq!(register(&q), Ok(0), "it is free again");
});

both_worlds!(a_null_event_takes_the_registration_back, {
    let (_name, q) = queue();
    assert_eq!(notify(&q, None), Ok(0));
    assert_eq!(register(&q), Ok(0));
    assert_eq!(notify(&q, None), Ok(0));
    send(&q, b"1", 0).unwrap();
    assert_eq!(signal::seen(SIGUSR1), 0);
    assert_eq!(register(&q), Ok(0));
});

both_worlds!(it_waits_until_the_queue_was_empty, {
    let (_name, q) = queue();
    send(&q, b"1", 0).unwrap();
    assert_eq!(register(&q), Ok(0));
    send(&q, b"2", 0).unwrap();
    take(&q).unwrap();
    send(&q, b"3", 0).unwrap();
    assert_eq!(signal::seen(SIGUSR1), 0);
    take(&q).unwrap();
    take(&q).unwrap();
    send(&q, b"4", 0).unwrap();
    assert_eq!(signal::seen(SIGUSR1), 1);
});

both_worlds!(a_waiting_receiver_comes_first, {
    let (_name, q) = queue();
    assert_eq!(register(&q), Ok(0));
    let child = fork_run(|| assert_eq!(take(&q), Ok(b"1".to_vec())));
    child.sleeping();
    send(&q, b"1", 0).unwrap();
    child.succeeds();
    assert_eq!(signal::seen(SIGUSR1), 0);
    send(&q, b"2", 0).unwrap();
    assert_eq!(signal::seen(SIGUSR1), 1, "registered still");
});

both_worlds!(sigev_none_registers_and_tells_nobody, {
    let (_name, q) = queue();
    assert_eq!(notify(&q, Some(&event(SIGEV_NONE, 0, 0))), Ok(0));
    assert_eq!(register(&q), Err(EBUSY));
    send(&q, b"1", 0).unwrap();
    assert_eq!(register(&q), Ok(0), "the message used it up");
});

both_worlds!(
    closing_any_descriptor_of_the_queue_takes_the_registration_back,
    {
        let (name, q) = queue();
        let other = name.open(O_RDWR).unwrap();
        assert_eq!(register(&q), Ok(0));
        drop(other);
        assert_eq!(register(&q), Ok(0), "it was gone");
        let twin = dup(&q).unwrap();
        drop(twin);
        send(&q, b"1", 0).unwrap();
        assert_eq!(signal::seen(SIGUSR1), 0);
    }
);

both_worlds!(a_childs_close_leaves_its_parents_registration, {
    let (_name, q) = queue();
    assert_eq!(register(&q), Ok(0));
    let number = q.number();
    fork_run(|| {
        close(number).unwrap();
    })
    .succeeds();
    fork_run(|| ()).succeeds();
    send(&q, b"1", 0).unwrap();
    assert_eq!(signal::seen(SIGUSR1), 1);
});

both_worlds!(death_takes_the_registration_back, worlds = all, {
    let (_name, q) = queue();
    let s = Shared::new();
    for kill in [false, true] {
        let child = fork_run(|| {
            assert_eq!(register(&q), Ok(0));
            s.bump(0);
            s.wait_for(1, 1);
        });
        s.wait_for(0, 1);
        assert_eq!(register(&q), Err(EBUSY));
        if kill {
            child.kill_9();
        } else {
            s.set(1, 1);
            child.succeeds();
        }
        assert_eq!(register(&q), Ok(0));
        assert_eq!(notify(&q, None), Ok(0));
        s.set(0, 0);
        s.set(1, 0);
    }
});

both_worlds!(bad_events_are_refused, {
    let (_name, q) = queue();
    for (how, signal) in [
        (3, 0),
        (5, 0),
        (-1, 0),
        (SIGEV_SIGNAL, 65),
        (SIGEV_SIGNAL, -1),
    ] {
        assert_eq!(
            notify(&q, Some(&event(how, signal, 0))),
            Err(EINVAL),
            "{how} {signal}"
        );
    }
    let p = pipe();
    assert_eq!(notify(&p.r, Some(&event(SIGEV_NONE, 0, 0))), Err(EBADF));
    assert_eq!(notify(&p.r, None), Err(EBADF));
    assert_eq!(
        notify(&p.r, Some(&event(7, 0, 0))),
        Err(EINVAL),
        "before the descriptor"
    );
    // SAFETY: the kernel judges the address.
    let ret = unsafe { libc::syscall(libc::SYS_mq_notify, q.number(), 8) };
    assert_eq!((ret, ringer_support::errno()), (-1, EFAULT));
    assert_eq!(
        notify(&q, Some(&event(SIGEV_SIGNAL, 0, 0))),
        Ok(0),
        "no signal is one, too"
    );
    send(&q, b"1", 0).unwrap();
    assert_eq!(register(&q), Ok(0));
});

both_worlds!(a_descriptor_to_write_can_register_too, {
    let (name, _q) = queue();
    let w = name.open(O_WRONLY).unwrap();
    assert_eq!(register(&w), Ok(0));
    send(&w, b"1", 0).unwrap();
    assert_eq!(signal::seen(SIGUSR1), 1);
});

static CALLS: AtomicUsize = AtomicUsize::new(0);
static VALUE: AtomicUsize = AtomicUsize::new(0);
static THREAD: AtomicUsize = AtomicUsize::new(0);

extern "C" fn called(value: usize) {
    VALUE.store(value, SeqCst);
    THREAD.store(gettid() as usize, SeqCst);
    CALLS.fetch_add(1, SeqCst);
}

fn calls(n: usize) {
    wait_until(|| CALLS.load(SeqCst) == n);
}

both_worlds!(a_function_is_called_in_a_thread, {
    let (_name, q) = queue();
    for n in 1..=5 {
        assert_eq!(notify(&q, Some(&thread_event(called, 40 + n))), Ok(0));
        assert_eq!(notify(&q, Some(&thread_event(called, 0))), Err(EBUSY));
        send(&q, b"1", 0).unwrap();
        calls(n);
        assert_eq!(VALUE.load(SeqCst), 40 + n);
        assert_ne!(THREAD.load(SeqCst), gettid() as usize);
        take(&q).unwrap();
    }
    send(&q, b"1", 0).unwrap();
    assert_eq!(CALLS.load(SeqCst), 5);
});

both_worlds!(a_function_is_called_for_another_processs_message, {
    let (_name, q) = queue();
    assert_eq!(notify(&q, Some(&thread_event(called, 9))), Ok(0));
    fork_run(|| assert_eq!(send(&q, b"1", 0), Ok(0))).succeeds();
    calls(1);
    assert_eq!(notify(&q, Some(&thread_event(called, 9))), Ok(0));
    assert_eq!(notify(&q, None), Ok(0));
    take(&q).unwrap();
    send(&q, b"1", 0).unwrap();
    assert_eq!(register(&q), Ok(0));
    assert_eq!(CALLS.load(SeqCst), 1);
});

static QUEUE: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(-1);

/// As mq_notify(3) has it: registers again, then empties the queue.
extern "C" fn serve(value: usize) {
    let q = std::mem::ManuallyDrop::new(Fd::own(QUEUE.load(SeqCst) as usize));
    assert_eq!(notify(&q, Some(&thread_event(serve, value))), Ok(0));
    while let Ok(message) = take(&q) {
        VALUE.fetch_add(message[0] as usize, SeqCst);
        CALLS.fetch_add(1, SeqCst);
    }
}

both_worlds!(a_server_by_threads_misses_no_message, {
    let (_name, q) = queue();
    fcntl(&q, F_SETFL, O_NONBLOCK as usize).unwrap();
    QUEUE.store(q.number(), SeqCst);
    assert_eq!(notify(&q, Some(&thread_event(serve, 0))), Ok(0));
    let mut sum = 0;
    for n in 0..200u8 {
        sum += n as usize;
        wait_until(|| send(&q, &[n], 0) == Ok(0));
    }
    calls(200);
    assert_eq!(VALUE.load(SeqCst), sum);
});

both_worlds!(a_thread_has_the_attributes_that_were_given, {
    extern "C" fn look(_: usize) {
        // SAFETY: all zero bits are storage for an attribute object.
        let mut attr: libc::pthread_attr_t = unsafe { std::mem::zeroed() };
        let mut size = 0;
        // SAFETY: this thread's own attributes.
        unsafe {
            libc::pthread_getattr_np(libc::pthread_self(), &mut attr);
            libc::pthread_attr_getstacksize(&attr, &mut size);
            libc::pthread_attr_destroy(&mut attr);
        }
        VALUE.store(size, SeqCst);
        CALLS.fetch_add(1, SeqCst);
    }
    let (_name, q) = queue();
    // SAFETY: all zero bits are storage for an attribute object.
    let mut attr: libc::pthread_attr_t = unsafe { std::mem::zeroed() };
    // SAFETY: valid storage.
    unsafe {
        libc::pthread_attr_init(&mut attr);
        libc::pthread_attr_setstacksize(&mut attr, 1 << 20);
    }
    let mut event = thread_event(look, 0);
    let p: *mut *const libc::pthread_attr_t = std::ptr::from_mut(&mut event).cast();
    // SAFETY: the attributes' place in sigevent.
    unsafe { *p.add(3) = &attr };
    assert_eq!(notify(&q, Some(&event)), Ok(0));
    // SAFETY: initialised above; mq_notify has copied what it needs.
    unsafe { libc::pthread_attr_destroy(&mut attr) };
    send(&q, b"1", 0).unwrap();
    calls(1);
    assert_eq!(VALUE.load(SeqCst), 1 << 20);
});
