use std::ffi::CString;

use libc::{sem_t, EACCES, EEXIST, ENAMETOOLONG, ENOENT, EOVERFLOW, ETIMEDOUT, O_CREAT, O_EXCL};
use ringer_support::mq::in_ms;
use ringer_support::prelude::*;
use ringer_support::{check, errno};

use super::name;

/// An open semaphore; it is closed, and its name goes, with this.
#[derive(Debug)]
struct Sem {
    at: *mut sem_t,
    name: CString,
    pid: libc::pid_t,
}

fn open(name: &CString, flags: c_int, value: u32) -> Result<*mut sem_t, i32> {
    // SAFETY: a C string.
    let at = unsafe { libc::sem_open(name.as_ptr(), flags, 0o600, value) };
    if at == libc::SEM_FAILED {
        Err(errno())
    } else {
        Ok(at)
    }
}

fn unlink(name: &CString) -> Sys {
    // SAFETY: a C string.
    check(unsafe { libc::sem_unlink(name.as_ptr()) })
}

impl Sem {
    fn new(value: u32) -> Sem {
        Sem::called(name(0), value)
    }

    fn called(name: CString, value: u32) -> Sem {
        let at = open(&name, O_CREAT | O_EXCL, value).expect("sem_open");
        let pid = getpid();
        Sem { at, name, pid }
    }

    fn post(&self) -> Sys {
        // SAFETY: an open semaphore.
        check(unsafe { libc::sem_post(self.at) })
    }

    fn wait(&self) -> Sys {
        // SAFETY: an open semaphore.
        check(unsafe { libc::sem_wait(self.at) })
    }

    fn try_wait(&self) -> Sys {
        // SAFETY: an open semaphore.
        check(unsafe { libc::sem_trywait(self.at) })
    }

    fn value(&self) -> c_int {
        let mut value = -1;
        // SAFETY: an open semaphore, room for an int.
        check(unsafe { libc::sem_getvalue(self.at, &mut value) }).unwrap();
        value
    }
}

impl Drop for Sem {
    fn drop(&mut self) {
        if self.pid == getpid() {
            let _ = unlink(&self.name);
        }
    }
}

both_worlds!(a_semaphore_counts, {
    let s = Sem::new(2);
    assert_eq!(s.value(), 2);
    assert_eq!((s.wait(), s.try_wait()), (Ok(0), Ok(0)));
    assert_eq!(s.try_wait(), Err(EAGAIN));
    assert_eq!((s.post(), s.value()), (Ok(0), 1));
});

both_worlds!(two_opens_in_one_process_give_one_address, {
    let s = Sem::new(1);
    let again = open(&s.name, 0, 0).unwrap();
    assert_eq!(again, s.at);
    // With another number of slashes it is the same semaphore, but not for libc the same name.
    let more = CString::new(format!("//{}", s.name.to_str().unwrap())).unwrap();
    let other = open(&more, 0, 0).unwrap();
    assert_ne!(other, s.at);
    // SAFETY: an open semaphore.
    assert_eq!(check(unsafe { libc::sem_post(other) }), Ok(0));
    // SAFETY: opened twice.
    assert_eq!(check(unsafe { libc::sem_close(s.at) }), Ok(0));
    assert_eq!(s.value(), 2, "open still");
});

both_worlds!(names_are_judged_as_libc_does, {
    for (text, expected) in [
        ("", EINVAL),
        ("/", EINVAL),
        ("/a/b", EINVAL),
        ("/a/", EINVAL),
    ] {
        let bad = CString::new(text).unwrap();
        assert_eq!(open(&bad, O_CREAT, 0), Err(expected), "{text}");
        let gone = unlink(&bad);
        assert!(gone.is_err(), "{text}");
    }
    let none = name(0);
    assert_eq!(open(&none, 0, 0), Err(ENOENT));
    assert_eq!(unlink(&none), Err(ENOENT));
    let bare = CString::new(&none.to_str().unwrap()[1..]).unwrap();
    let s = Sem::called(bare, 0);
    assert!(open(&none, 0, 0).is_ok(), "the slash may be missing");
    assert_eq!(s.value(), 0);
});

both_worlds!(a_name_has_at_most_251_bytes, {
    for len in [100, 200, 240, 250, 251] {
        let s = Sem::called(name(len), 3);
        assert_eq!(open(&s.name, 0, 0), Ok(s.at), "{len}");
        assert_eq!(unlink(&s.name), Ok(0));
        assert_eq!(open(&s.name, 0, 0), Err(ENOENT));
    }
    for len in [252, 253] {
        let long = name(len);
        let (made, gone) = (open(&long, O_CREAT, 0), unlink(&long));
        assert_eq!(made, Err(ENAMETOOLONG), "{len}");
        assert_eq!(gone, Err(ENAMETOOLONG), "{len}");
    }
});

both_worlds!(long_names_that_differ_at_one_end_are_different, {
    let one = name(251);
    let mut text = one.to_str().unwrap().to_owned();
    text.replace_range(250..251, "y");
    let other = CString::new(text).unwrap();
    let (a, b) = (Sem::called(one, 1), Sem::called(other, 2));
    assert_ne!(a.at, b.at);
    assert_eq!((a.value(), b.value()), (1, 2));
    let (c, d) = (Sem::called(name(251), 3), Sem::called(name(251), 4));
    assert_eq!((c.value(), d.value()), (3, 4));
});

both_worlds!(o_excl_makes_only_what_is_not_there, {
    let s = Sem::new(5);
    assert_eq!(open(&s.name, O_CREAT | O_EXCL, 9), Err(EEXIST));
    assert_eq!(open(&s.name, O_CREAT, 9), Ok(s.at));
    assert_eq!(s.value(), 5, "the first one's");
    assert_eq!(open(&name(0), O_CREAT, 1 << 31), Err(EINVAL));
});

both_worlds!(other_users_have_what_the_mode_allows, {
    if !is_root() {
        return;
    }
    let s = Sem::new(1);
    fork_run(|| {
        become_nobody();
        assert_eq!(open(&s.name, 0, 0), Err(EACCES));
    })
    .succeeds();
});

both_worlds!(processes_meet_by_name, worlds = all, {
    let s = Sem::new(0);
    let child = fork_run(|| {
        let own = open(&s.name, 0, 0).unwrap();
        // SAFETY: an open semaphore.
        assert_eq!(check(unsafe { libc::sem_wait(own) }), Ok(0));
    });
    child.sleeping();
    s.post().unwrap();
    child.succeeds();
    assert_eq!(s.value(), 0);
});

both_worlds!(an_unlinked_semaphore_lives_on, {
    let s = Sem::new(1);
    assert_eq!(unlink(&s.name), Ok(0));
    let other = open(&s.name, O_CREAT | O_EXCL, 7).unwrap();
    assert_ne!(other, s.at);
    assert_eq!(s.value(), 1);
});

both_worlds!(a_post_comes_from_a_handler, {
    extern "C" fn post(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
        let at = AT.load(SeqCst);
        // SAFETY: an open semaphore; async-signal-safe.
        unsafe { libc::sem_post(at) };
    }
    static AT: std::sync::atomic::AtomicPtr<sem_t> =
        std::sync::atomic::AtomicPtr::new(std::ptr::null_mut());
    let s = Sem::new(0);
    AT.store(s.at, SeqCst);
    signal::handle(SIGALRM, SA_RESTART, post);
    signal::alarm_every(2000);
    assert_eq!((s.wait(), s.wait()), (Ok(0), Ok(0)));
});

both_worlds!(a_handler_ends_a_wait, {
    let s = Sem::new(0);
    signal::count(SIGALRM, 0);
    signal::alarm_every(2000);
    assert_eq!(s.wait(), Err(EINTR));
});

both_worlds!(a_deadline_ends_a_wait, {
    let s = Sem::new(0);
    // SAFETY: an open semaphore and a valid time.
    let late = check(unsafe { libc::sem_timedwait(s.at, &in_ms(20)) });
    assert_eq!(late, Err(ETIMEDOUT));
});

both_worlds!(a_semaphore_in_shared_memory_works, {
    let page = Shared::new();
    let at: *mut sem_t = std::ptr::from_ref(page.word(0)).cast_mut().cast();
    // SAFETY: room for a sem_t.
    assert_eq!(check(unsafe { libc::sem_init(at, 1, 0) }), Ok(0));
    // SAFETY: as above; the child's mapping is the same.
    let child = fork_run(|| assert_eq!(check(unsafe { libc::sem_wait(at) }), Ok(0)));
    child.sleeping();
    // SAFETY: as above.
    assert_eq!(check(unsafe { libc::sem_post(at) }), Ok(0));
    child.succeeds();
    // SAFETY: as above.
    unsafe {
        assert_eq!(check(libc::sem_init(at, 0, i32::MAX as u32)), Ok(0));
        assert_eq!(check(libc::sem_post(at)), Err(EOVERFLOW));
        assert_eq!(check(libc::sem_init(at, 0, 1 << 31)), Err(EINVAL));
        assert_eq!(check(libc::sem_destroy(at)), Ok(0));
    }
});

both_worlds!(many_processes_share_a_lock, {
    let (s, page) = (Sem::new(1), Shared::new());
    let all: Vec<Child> = (0..4)
        .map(|_| {
            fork_run(|| {
                for _ in 0..2000 {
                    s.wait().unwrap();
                    page.set(0, page.get(0) + 1);
                    s.post().unwrap();
                }
            })
        })
        .collect();
    all_succeed(all);
    assert_eq!(page.get(0), 8000);
});
