//! Default actions: who dies with which status. See signal(7) "Standard
//! signals", wait(2), core(5).

use libc::{
    SIGABRT, SIGBUS, SIGCHLD, SIGFPE, SIGHUP, SIGILL, SIGQUIT, SIGSEGV, SIGSYS, SIGTERM, SIGTRAP,
    SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH, SIGXCPU, SIGXFSZ,
};
use ringer_support::prelude::*;
use sig::{bit, bits, RTMAX, RTMIN};

const STOPS: [c_int; 4] = [SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU];
const IGNORED: [c_int; 4] = [SIGCHLD, SIGCONT, SIGURG, SIGWINCH];
const CORES: [c_int; 10] = [
    SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGSYS, SIGXCPU, SIGXFSZ,
];

/// All that kill, but for libc's own.
fn deadly() -> impl Iterator<Item = c_int> {
    (1..=64).filter(|n| !STOPS.contains(n) && !IGNORED.contains(n) && ![32, 33].contains(n))
}

/// A child in a group of its own, which is not orphaned: so the terminal's stops stop it.
fn child(body: impl FnOnce()) -> Child {
    let s = Shared::new();
    let child = fork_run(|| {
        sig::own_group();
        for number in [SIGSEGV, SIGBUS, SIGPIPE] {
            sig::default(number); // Rust's library has other ideas
        }
        sig::no_core();
        body();
        s.set(0, 1);
        loop {
            let _ = sig::pause();
        }
    });
    s.wait_for(0, 1);
    child
}

cases!(signals_that_kill, {
    "each, from another process" => {
        for number in deadly() {
            let child = child(|| {});
            child.kill(number);
            assert_eq!(child.wait().signal(), Some(number));
        }
    }
    "each, from itself" => {
        for number in deadly().filter(|n| *n != SIGKILL) {
            let child = fork_run(|| {
                sig::default(number);
                sig::no_core();
                sig::raise(number).unwrap();
            });
            assert_eq!(child.wait().signal(), Some(number), "raise");
            let child = fork_run(|| {
                sig::default(number);
                sig::no_core();
                sig::kill(getpid(), number).unwrap();
            });
            assert_eq!(child.wait().signal(), Some(number), "kill");
        }
    }
    "each, when it is unblocked" => {
        for number in deadly().filter(|n| *n != SIGKILL) {
            let child = fork_run(|| {
                sig::default(number);
                sig::no_core();
                sig::block(bit(number));
                sig::raise(number).unwrap();
                assert_eq!(sig::pending(), bit(number));
                sig::unblock(bit(number));
            });
            assert_eq!(child.wait().signal(), Some(number));
        }
    }
    "each, sent to one thread, takes all" => {
        for number in [SIGHUP, SIGTERM, SIGUSR1, SIGSEGV, SIGABRT, RTMIN, RTMAX] {
            let s = Shared::new();
            let child = child(|| {
                std::thread::spawn(move || {
                    s.set(1, gettid() as u64);
                    loop {
                        let _ = sig::pause();
                    }
                });
                s.wait_for(1, 1);
            });
            sig::tgkill(child.pid(), s.get(1) as i32, number).unwrap();
            assert_eq!(child.wait().signal(), Some(number));
        }
    }
    "SIGKILL, whatever the process does" => {
        let child = child(|| {
            sig::block(u64::MAX);
            for number in 1..=64 {
                let _ = sig::set_action(number, libc::SIG_IGN, 0, 0);
            }
        });
        child.kill(SIGKILL);
        assert_eq!(child.wait().signal(), Some(SIGKILL));
    }
    "the lowest of several decides" => {
        let child = fork_run(|| {
            sig::block(bits(&[SIGTERM, SIGUSR1, RTMIN]));
            for number in [SIGTERM, RTMIN, SIGUSR1] {
                sig::raise(number).unwrap();
            }
            sig::set_mask(0);
        });
        assert_eq!(child.wait().signal(), Some(SIGUSR1));
    }
    "in a handler of another" => {
        extern "C" fn die(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
            sig::raise(SIGTERM).unwrap();
        }
        let child = fork_run(|| {
            signal::handle(SIGUSR1, 0, die);
            sig::raise(SIGUSR1).unwrap();
        });
        assert_eq!(child.wait().signal(), Some(SIGTERM));
    }
    "exit handlers do not run" => {
        static RAN: std::sync::OnceLock<Shared> = std::sync::OnceLock::new();
        extern "C" fn at_exit() {
            RAN.get().unwrap().set(0, 1);
        }
        let s = *RAN.get_or_init(Shared::new);
        let child = child(|| {
            // SAFETY: a function.
            assert_eq!(unsafe { libc::atexit(at_exit) }, 0);
        });
        child.kill(SIGTERM);
        assert_eq!(child.wait().signal(), Some(SIGTERM));
        assert_eq!(s.get(0), 0);
    }
});

fn core_flag(number: c_int, limit: u64) -> bool {
    let dir = std::env::temp_dir().join(format!("ringer-core-{}", getpid()));
    std::fs::create_dir_all(&dir).unwrap();
    let status = fork_run(|| {
        std::env::set_current_dir(&dir).unwrap();
        let both = libc::rlimit {
            rlim_cur: limit,
            rlim_max: limit,
        };
        // SAFETY: a valid limit.
        unsafe { libc::setrlimit(libc::RLIMIT_CORE, &both) };
        sig::default(number);
        sig::raise(number).unwrap();
    })
    .wait();
    let _ = std::fs::remove_dir_all(&dir);
    assert_eq!(status.signal(), Some(number));
    libc::WCOREDUMP(status.0)
}

cases!(core_dumps, {
    "with a limit of nothing there is none" => {
        for number in CORES {
            assert!(!core_flag(number, 0), "{number}");
        }
    }
    "of the signals that dump" => {
        let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
        // Where files in the current directory are made.
        if !pattern.contains(['|', '/', '@']) {
            for number in CORES {
                assert!(core_flag(number, libc::RLIM_INFINITY), "{number}");
            }
            for number in [SIGHUP, SIGTERM, SIGUSR1, RTMIN] {
                assert!(!core_flag(number, libc::RLIM_INFINITY), "{number}");
            }
        }
    }
});

cases!(signals_that_are_ignored_by_default, {
    "have no effect at all" => {
        for number in IGNORED {
            let child = child(|| {});
            for _ in 0..5 {
                child.kill(number);
            }
            child.sleeping();
            child.kill(SIGTERM);
            assert_eq!(child.wait().signal(), Some(SIGTERM));
        }
    }
});
