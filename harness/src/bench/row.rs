//! What is measured.

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Logging {
    On,
    Off,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Processors {
    All,
    One,
}

/// What ringer has to do with signals in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signals {
    None,
    /// Masks and handlers of the worker.
    Delivered,
    /// Some are pending in the arena.
    Queued,
}

#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub name: &'static str,
    pub regime: &'static str,
    /// Of the worker: see `workload`.
    pub workload: &'static str,
    pub iterations: u64,
    pub logging: Logging,
    pub processors: Processors,
    /// How many times faster than the kernel it must be.
    pub target: f64,
    /// Whether ringer has pipes to serve in it.
    pub pipes: bool,
    pub signals: Signals,
    /// What goes to the kernel in it, at most: sockets that carry descriptors, a connection whose writer is done first.
    pub demotions: u32,
}

const PLAIN: Row = Row {
    name: "",
    regime: "",
    workload: "",
    iterations: 0,
    logging: Logging::Off,
    processors: Processors::All,
    target: 1.0,
    pipes: true,
    signals: Signals::None,
    demotions: 0,
};

const SIGNAL: Row = Row {
    pipes: false,
    signals: Signals::Delivered,
    ..PLAIN
};

pub const ROWS: &[Row] = &[
    Row {
        name: "pipe.write+read.8B",
        regime: "uncontended, one thread, log off",
        workload: "write+read",
        iterations: 300_000,
        target: 6.0,
        ..PLAIN
    },
    Row {
        name: "pipe.stream.64B",
        regime: "streaming, two processes",
        workload: "stream-64",
        iterations: 400_000,
        target: 5.0,
        ..PLAIN
    },
    Row {
        name: "pipe.stream.64KiB",
        regime: "streaming, two processes",
        workload: "stream-65536",
        iterations: 8_000,
        target: 1.2,
        ..PLAIN
    },
    Row {
        name: "pipe.pingpong.1B",
        regime: "two processors",
        workload: "pingpong",
        iterations: 30_000,
        target: 3.0,
        ..PLAIN
    },
    Row {
        name: "pipe.pingpong.1B",
        regime: "one processor",
        workload: "pingpong",
        iterations: 30_000,
        processors: Processors::One,
        target: 0.8,
        ..PLAIN
    },
    Row {
        name: "pipe.write+read.8B",
        regime: "uncontended, one thread, log on",
        workload: "write+read",
        iterations: 300_000,
        logging: Logging::On,
        target: 3.0,
        ..PLAIN
    },
    Row {
        name: "eventfd.write+read",
        regime: "uncontended, one thread, log off",
        workload: "eventfd",
        iterations: 300_000,
        target: 8.0,
        ..PLAIN
    },
    Row {
        name: "socketpair.stream.write+read.8B",
        regime: "uncontended, one thread, log off",
        workload: "socket-write+read",
        iterations: 300_000,
        target: 8.0,
        ..PLAIN
    },
    Row {
        name: "socketpair.dgram.send+recv.64B",
        regime: "uncontended, one thread, log off",
        workload: "socket-send+recv",
        iterations: 300_000,
        target: 8.0,
        ..PLAIN
    },
    Row {
        name: "socketpair.stream.64B",
        regime: "streaming, two processes",
        workload: "socket-stream",
        iterations: 400_000,
        target: 5.0,
        ..PLAIN
    },
    Row {
        name: "socketpair.pingpong",
        regime: "two processors",
        workload: "socket-pingpong",
        iterations: 30_000,
        target: 3.0,
        ..PLAIN
    },
    Row {
        name: "socketpair.pingpong",
        regime: "one processor",
        workload: "socket-pingpong",
        iterations: 30_000,
        processors: Processors::One,
        target: 0.8,
        ..PLAIN
    },
    Row {
        name: "unix.connected.stream.64B",
        regime: "streaming, two processes",
        workload: "unix-stream",
        iterations: 400_000,
        target: 4.0,
        demotions: 1,
        ..PLAIN
    },
    Row {
        name: "mq.send+receive.64B",
        regime: "uncontended, one thread, log off",
        workload: "mq",
        iterations: 300_000,
        target: 6.0,
        ..PLAIN
    },
    Row {
        name: "mq.stream.64B",
        regime: "streaming, two processes",
        workload: "mq-stream",
        iterations: 200_000,
        target: 3.0,
        ..PLAIN
    },
    Row {
        name: "mq.pingpong.64B",
        regime: "two processors",
        workload: "mq-pingpong",
        iterations: 30_000,
        target: 3.0,
        ..PLAIN
    },
    Row {
        name: "mq.pingpong.64B",
        regime: "one processor",
        workload: "mq-pingpong",
        iterations: 30_000,
        processors: Processors::One,
        target: 0.8,
        ..PLAIN
    },
    Row {
        name: "sem.post+wait",
        regime: "uncontended, one thread, log off",
        workload: "sem",
        iterations: 2_000_000,
        // libc needs no system call either: the hooks must not show.
        target: 0.9,
        pipes: false,
        ..PLAIN
    },
    Row {
        name: "signal.raise+handler",
        regime: "one thread, log off",
        workload: "raise",
        iterations: 300_000,
        target: 8.0,
        ..SIGNAL
    },
    Row {
        name: "signal.sigprocmask.pair",
        regime: "one thread, log off",
        workload: "mask",
        iterations: 500_000,
        target: 8.0,
        ..SIGNAL
    },
    Row {
        name: "signal.sigqueue+sigwaitinfo",
        regime: "to itself, log off",
        workload: "sigqueue",
        iterations: 300_000,
        target: 6.0,
        signals: Signals::Queued,
        ..SIGNAL
    },
    Row {
        name: "signal.kill+signalfd.read",
        regime: "to itself, log off",
        workload: "signalfd",
        iterations: 200_000,
        target: 6.0,
        signals: Signals::Queued,
        ..SIGNAL
    },
    Row {
        name: "signal.kill.pingpong",
        regime: "sigsuspend, two processors",
        workload: "sigsuspend",
        iterations: 30_000,
        target: 1.5,
        signals: Signals::Queued,
        ..SIGNAL
    },
    Row {
        name: "signal.kill.pingpong",
        regime: "sigsuspend, one processor",
        workload: "sigsuspend",
        iterations: 30_000,
        processors: Processors::One,
        target: 0.8,
        signals: Signals::None, // each is sent while the other one sleeps in the kernel
        ..SIGNAL
    },
    Row {
        name: "signal.sigaction",
        regime: "one thread",
        workload: "sigaction",
        iterations: 500_000,
        target: 0.6,
        signals: Signals::None,
        ..SIGNAL
    },
    Row {
        name: "signal.raise+handler",
        regime: "one thread, log on",
        workload: "raise",
        iterations: 300_000,
        logging: Logging::On,
        target: 4.0,
        ..SIGNAL
    },
    Row {
        name: "file.read",
        regime: "ordinary file, 64 bytes",
        workload: "file",
        iterations: 1_000_000,
        target: 0.95,
        pipes: false,
        ..PLAIN
    },
    Row {
        name: "file.read",
        regime: "armed",
        workload: "file-armed",
        iterations: 1_000_000,
        // 27 ns on each call is what Syscall User Dispatch costs: shown, not promised.
        target: 0.0,
        ..PLAIN
    },
    Row {
        name: "start.true",
        regime: "fork, exec and wait",
        workload: "start",
        iterations: 200,
        target: 0.6,
        pipes: false,
        ..PLAIN
    },
    Row {
        name: "sysv.semop.pair",
        regime: "uncontended, one thread",
        workload: "sysv-semop",
        iterations: 500_000,
        target: 6.0,
        ..PLAIN
    },
    Row {
        name: "sysv.semop.pair.undo",
        regime: "uncontended, one thread",
        workload: "sysv-semop-undo",
        iterations: 500_000,
        target: 6.0,
        ..PLAIN
    },
    Row {
        name: "sysv.msg.send+receive.64B",
        regime: "uncontended, one thread",
        workload: "sysv-msg",
        iterations: 300_000,
        target: 6.0,
        ..PLAIN
    },
    Row {
        name: "sysv.sem.pingpong",
        regime: "two processors",
        workload: "sysv-sem-pingpong",
        iterations: 30_000,
        target: 3.0,
        ..PLAIN
    },
    Row {
        name: "sysv.sem.pingpong",
        regime: "one processor",
        workload: "sysv-sem-pingpong",
        iterations: 30_000,
        processors: Processors::One,
        target: 0.8,
        ..PLAIN
    },
    Row {
        name: "sysv.msg.pingpong.64B",
        regime: "two processors",
        workload: "sysv-msg-pingpong",
        iterations: 30_000,
        target: 3.0,
        ..PLAIN
    },
    Row {
        name: "sysv.msg.pingpong.64B",
        regime: "one processor",
        workload: "sysv-msg-pingpong",
        iterations: 30_000,
        processors: Processors::One,
        target: 0.8,
        ..PLAIN
    },
    Row {
        name: "scm_rights.send+recv",
        regime: "one pipe end, two processes",
        workload: "rights",
        iterations: 60_000,
        target: 0.7,
        demotions: 1,
        ..PLAIN
    },
    Row {
        name: "epoll.100.pipes",
        regime: "one of them active, for each event",
        workload: "epoll",
        iterations: 100_000,
        target: 0.7,
        ..PLAIN
    },
    Row {
        name: "hackbench.pipe",
        regime: "10 groups of 20+20 processes, 100 loops",
        workload: "hackbench",
        iterations: 100,
        target: 1.0,
        ..PLAIN
    },
];

impl Row {
    /// `names` are whole names, or their beginnings up to a dot; none means all.
    pub fn is_one_of(&self, names: &[String]) -> bool {
        names.is_empty()
            || names.iter().any(|n| {
                self.name
                    .strip_prefix(n.as_str())
                    .is_some_and(|r| r.is_empty() || r.starts_with('.'))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_chosen_by_name_or_family() {
        let count = |name: &str| {
            ROWS.iter()
                .filter(|r| r.is_one_of(&[name.to_owned()]))
                .count()
        };
        assert_eq!(count("pipe"), 6);
        assert_eq!(count("pipe.stream"), 2);
        assert_eq!(count("pipe.pingpong.1B"), 2);
        assert_eq!(count("signal"), 8);
        assert_eq!(count("pip"), 0);
        assert!(ROWS.iter().all(|r| r.is_one_of(&[])));
    }

    #[test]
    fn no_two_rows_are_the_same() {
        let mut keys: Vec<_> = ROWS.iter().map(|r| (r.name, r.regime)).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), ROWS.len());
    }
}
