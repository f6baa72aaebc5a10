//! What a new program, and a child, has of its maker's signals. See execve(2), fork(2), vfork(2),
//! posix_spawn(3), system(3), popen(3).

use libc::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use ringer_support::prelude::*;
use sig::{bit, bits, RTMAX, RTMIN};
use std::ffi::CString;

/// As after the start of any program: Rust's library ignores SIGPIPE.
fn plain() {
    sig::default(SIGPIPE);
}

fn becomes(linkage: Linkage, words: &str) -> ! {
    let words: Vec<&str> = words.split(' ').collect();
    exec(&program("envoy", linkage), &words)
}

/// The same test with a program that a shim can enter, and with one that it can not.
fn with_both(prepare: fn(), words: &str) {
    for linkage in [Linkage::Dynamic, Linkage::Static] {
        fork_run(|| {
            plain();
            prepare();
            becomes(linkage, words)
        })
        .succeeds();
    }
}

cases!(exec_keeps_and_forgets, {
    "in the beginning there is nothing" => {
        with_both(|| {}, "state blocked=0 pending=0 ignored=0 caught=0 alarm=0");
    }
    "handlers are forgotten" => {
        with_both(
            || {
                journal::on(SIGUSR1, SA_RESTART);
                journal::on(RTMIN, 0);
                journal::on(SIGPIPE, 0);
            },
            "state caught=0 ignored=0",
        );
    }
    "what is ignored stays ignored" => {
        let words = format!("state ignored={:x}", bits(&[SIGHUP, SIGUSR1, RTMAX, SIGCHLD]));
        with_both(|| [SIGHUP, SIGUSR1, RTMAX, SIGCHLD].into_iter().for_each(sig::ignore), &words);
    }
    "the mask is kept" => {
        let words = format!("state blocked={:x}", bits(&[SIGUSR1, SIGTERM, RTMAX]));
        with_both(|| assert_eq!(sig::block(bits(&[SIGUSR1, SIGTERM, RTMAX])), 0), &words);
    }
    "a mask of everything but faults" => {
        let all = !bits(&[SIGKILL, SIGSTOP, 32, 33, libc::SIGSEGV, libc::SIGBUS, libc::SIGSYS]);
        with_both(
            || {
                let faults = bits(&[libc::SIGSEGV, libc::SIGBUS, libc::SIGSYS]);
                assert_eq!(sig::set_mask(!faults), 0);
            },
            &format!("state blocked={all:x}"),
        );
    }
    "the mask of a handler" => {
        extern "C" fn in_it(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
            let word = format!("state blocked={:x} caught=0", bits(&[SIGUSR1, SIGHUP]));
            becomes(Linkage::Dynamic, &word);
        }
        fork_run(|| {
            plain();
            let handler = in_it as *const () as usize;
            sig::set_action(SIGUSR1, handler, libc::SA_SIGINFO, bit(SIGHUP)).unwrap();
            sig::raise(SIGUSR1).unwrap();
        })
        .succeeds();
    }
    "what is pending stays pending" => {
        let words = format!("state pending={:x}", bits(&[SIGUSR1, SIGHUP, RTMIN]));
        with_both(
            || {
                sig::block(bits(&[SIGUSR1, SIGHUP, RTMIN]));
                sig::kill(getpid(), SIGUSR1).unwrap();
                sig::raise(SIGHUP).unwrap();
                sig::kill(getpid(), RTMIN).unwrap();
            },
            &words,
        );
    }
    "the queue, with its values, in its order" => {
        with_both(
            || {
                sig::block(bits(&[RTMIN, RTMIN + 1]));
                for value in [5, 6, 7] {
                    sig::sigqueue(getpid(), RTMIN + 1, value).unwrap();
                }
                sig::sigqueue(getpid(), RTMIN, 8).unwrap();
                sig::thread_sigqueue(sig::me(), RTMIN + 1, 9);
            },
            "state take=9 take=8 take=5 take=6 take=7 pending=0",
        );
    }
    "a blocked signal that comes meanwhile is not lost" => {
        for _ in 0..100 {
            let s = Shared::new();
            let child = fork_run(|| {
                plain();
                sig::block(bit(SIGUSR1));
                s.set(0, 1);
                becomes(Linkage::Dynamic, "sleep");
            });
            s.wait_for(0, 1);
            child.kill(SIGUSR1);
            child.kill(SIGTERM);
            assert_eq!(child.wait().signal(), Some(SIGTERM));
        }
    }
    "an alarm goes on" => {
        // SAFETY: a number.
        with_both(|| assert_eq!(unsafe { libc::alarm(1000) }, 0), "state alarm=1");
    }
    "the mask of the thread that calls it" => {
        fork_run(|| {
            plain();
            sig::block(bit(SIGTERM));
            let thread = std::thread::spawn(|| {
                sig::set_mask(bit(SIGHUP));
                sig::raise(SIGHUP).unwrap();
                let words = format!("state blocked={:x} pending={:x}", bit(SIGHUP), bit(SIGHUP));
                becomes(Linkage::Dynamic, &words);
            });
            let _ = thread.join();
        })
        .succeeds();
    }
    "through many programs" => {
        let state = format!("state blocked={:x} ignored={:x}", bit(SIGUSR1), bit(SIGHUP));
        let line = format!("exec env env env sh -c 'exec env env {} {state}'", envoy());
        fork_run(|| {
            plain();
            sig::block(bit(SIGUSR1));
            sig::ignore(SIGHUP);
            exec(std::path::Path::new("/bin/sh"), &["-c", &line])
        })
        .succeeds();
    }
});

cases!(exec_keeps_all_of_the_mask, {
    "a mask of everything" => {
        let all = !bits(&[SIGKILL, SIGSTOP, 32, 33]);
        with_both(|| assert_eq!(sig::set_mask(u64::MAX), 0), &format!("state blocked={all:x}"));
    }
});

/// posix_spawn(3) of the envoy.
fn spawn(words: &str, tune: impl FnOnce(&mut libc::posix_spawnattr_t)) -> Child {
    let path = program("envoy", Linkage::Dynamic);
    let path = CString::new(path.to_str().unwrap()).unwrap();
    let words: Vec<CString> = words.split(' ').map(|w| CString::new(w).unwrap()).collect();
    let args: Vec<*mut libc::c_char> = std::iter::once(path.as_ptr().cast_mut())
        .chain(words.iter().map(|w| w.as_ptr().cast_mut()))
        .chain([std::ptr::null_mut()])
        .collect();
    extern "C" {
        static environ: *const *mut libc::c_char;
    }
    let mut pid = 0;
    // SAFETY: room for attributes, which are made before they are used.
    unsafe {
        let mut attributes: libc::posix_spawnattr_t = std::mem::zeroed();
        libc::posix_spawnattr_init(&mut attributes);
        tune(&mut attributes);
        let none = std::ptr::null();
        let to = path.as_ptr();
        assert_eq!(
            libc::posix_spawn(&mut pid, to, none, &attributes, args.as_ptr(), environ),
            0
        );
    }
    Child::adopt(pid)
}

fn flags(attributes: &mut libc::posix_spawnattr_t, flags: c_int) {
    // SAFETY: attributes that were made.
    let done = unsafe { libc::posix_spawnattr_setflags(attributes, flags as i16) };
    assert_eq!(done, 0);
}

cases!(posix_spawn_sets_what_it_is_told, {
    "without attributes as exec" => {
        plain();
        sig::block(bit(SIGUSR1));
        sig::ignore(SIGHUP);
        journal::on(SIGUSR2, 0);
        sig::raise(SIGUSR1).unwrap();
        let words = format!(
            "state blocked={:x} ignored={:x} caught=0 pending=0",
            bit(SIGUSR1),
            bit(SIGHUP)
        );
        spawn(&words, |_| {}).succeeds();
        assert_eq!((sig::mask(), sig::pending()), (bit(SIGUSR1), bit(SIGUSR1)));
    }
    "SETSIGMASK" => {
        plain();
        sig::block(bit(SIGUSR1));
        let words = format!("state blocked={:x}", bits(&[SIGTERM, RTMIN]));
        spawn(&words, |a| {
            flags(a, libc::POSIX_SPAWN_SETSIGMASK);
            // SAFETY: attributes that were made, a valid set.
            unsafe { libc::posix_spawnattr_setsigmask(a, &sig::set(bits(&[SIGTERM, RTMIN]))) };
        })
        .succeeds();
        assert_eq!(sig::mask(), bit(SIGUSR1));
    }
    "SETSIGDEF" => {
        plain();
        [SIGHUP, SIGUSR1, RTMIN].into_iter().for_each(sig::ignore);
        spawn(&format!("state ignored={:x}", bit(SIGUSR1)), |a| {
            flags(a, libc::POSIX_SPAWN_SETSIGDEF);
            // SAFETY: attributes that were made, a valid set.
            unsafe { libc::posix_spawnattr_setsigdefault(a, &sig::set(bits(&[SIGHUP, RTMIN]))) };
        })
        .succeeds();
        assert_eq!(sig::action(SIGHUP).unwrap().handler, libc::SIG_IGN);
    }
    "a signal right after it" => {
        for _ in 0..100 {
            let child = spawn("sleep", |_| {});
            child.kill(SIGTERM);
            assert_eq!(child.wait().signal(), Some(SIGTERM));
        }
    }
});

fn system(line: &str) -> c_int {
    let line = CString::new(line).unwrap();
    // SAFETY: a C string.
    unsafe { libc::system(line.as_ptr()) }
}

fn envoy() -> String {
    program("envoy", Linkage::Dynamic).display().to_string()
}

cases!(system_and_popen, {
    "the command has its caller's mask and what is ignored" => {
        plain();
        sig::block(bit(SIGUSR1));
        sig::ignore(SIGHUP);
        journal::on(SIGINT, 0);
        let words = format!("state blocked={:x} ignored={:x}", bit(SIGUSR1), bit(SIGHUP));
        assert_eq!(system(&format!("exec {} {words} caught=0", envoy())), 0);
        assert_eq!(sig::mask(), bit(SIGUSR1));
        assert_ne!(sig::action(SIGINT).unwrap().handler, libc::SIG_DFL);
    }
    "meanwhile INT and QUIT are ignored" => {
        journal::on(SIGINT, 0);
        journal::on(SIGQUIT, 0);
        assert_eq!(system("kill -INT $PPID; kill -QUIT $PPID"), 0);
        assert_eq!(journal::count(), 0);
        sig::raise(SIGINT).unwrap();
        assert_eq!(journal::count(), 1);
    }
    "others are not" => {
        journal::on(SIGUSR1, SA_RESTART);
        assert_eq!(system("kill -USR1 $PPID"), 0);
        assert_eq!(journal::count(), 1);
    }
    "the status of a command that dies" => {
        assert_eq!(system("kill -TERM $$"), SIGTERM);
        assert_eq!(system("exit 5"), 5 << 8);
    }
    "SIGCHLD does not disturb it" => {
        journal::on(SIGCHLD, 0);
        for _ in 0..10 {
            assert_eq!(system("exit 3"), 3 << 8);
        }
    }
    "popen" => {
        plain();
        sig::block(bit(SIGUSR1));
        let words = format!("state blocked={:x} caught=0 pending=0", bit(SIGUSR1));
        let line = CString::new(format!("exec {} {words}", envoy())).unwrap();
        // SAFETY: C strings.
        let file = unsafe { libc::popen(line.as_ptr(), c"r".as_ptr()) };
        assert!(!file.is_null());
        // SAFETY: a stream of popen's.
        assert_eq!(unsafe { libc::pclose(file) }, 0);
    }
});

cases!(fork_and_its_kin, {
    "a child has the handlers and not what is pending" => {
        journal::on(SIGUSR1, 0);
        sig::block(bit(SIGUSR1));
        sig::kill(getpid(), SIGUSR1).unwrap();
        sig::raise(SIGUSR1).unwrap();
        fork_run(|| {
            sig::unblock(bit(SIGUSR1));
            assert_eq!(journal::count(), 0);
            sig::raise(SIGUSR1).unwrap();
            assert_eq!(journal::only().tid, getpid());
        })
        .succeeds();
    }
    "what a child changes is its own" => {
        journal::on(SIGUSR1, 0);
        fork_run(|| {
            sig::ignore(SIGUSR1);
            sig::block(bit(SIGUSR2));
        })
        .succeeds();
        sig::raise(SIGUSR1).unwrap();
        assert_eq!((journal::count(), sig::mask()), (1, 0));
    }
    "in a child of a thread" => {
        journal::on(SIGUSR1, 0);
        std::thread::spawn(|| {
            sig::block(bit(SIGUSR2));
            fork_run(|| {
                assert_eq!((getpid(), sig::mask()), (gettid(), bit(SIGUSR2)));
                sig::kill(getpid(), SIGUSR1).unwrap();
                assert_eq!(journal::only().tid, getpid());
            })
            .succeeds();
        })
        .join()
        .unwrap();
    }
    "generations" => {
        fn down(n: usize) {
            journal::start();
            journal::on(SIGUSR1, 0);
            sig::raise(SIGUSR1).unwrap();
            assert_eq!(journal::only().tid, getpid());
            if n > 0 {
                fork_run(|| down(n - 1)).succeeds();
            }
        }
        down(20);
    }
});
