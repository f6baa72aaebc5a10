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
};

pub const ROWS: [Row; 9] = [
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
