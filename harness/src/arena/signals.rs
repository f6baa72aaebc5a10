//! What is pending, blocked, ignored and caught: the kernel's word and the arena's in one.

use std::sync::atomic::Ordering::*;

use serde::Serialize;

use ringer_kernel::arena::Arena;
use ringer_kernel::signal::{bit, State};
use ringer_kernel::task;

use crate::log::signals::Mask;
use crate::sys::procfs::{self, SignalStatus};

/// Of one thread, by the names of proc(5).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct SignalView {
    pub tid: u32,
    #[serde(rename = "SigPnd")]
    pub pending: Mask,
    #[serde(rename = "ShdPnd")]
    pub shared: Mask,
    #[serde(rename = "SigBlk")]
    pub blocked: Mask,
    #[serde(rename = "SigIgn")]
    pub ignored: Mask,
    #[serde(rename = "SigCgt")]
    pub caught: Mask,
}

/// Of all threads of a process that lives.
pub fn of_process(arena: &Arena, pid: u32, s: &State) -> Vec<SignalView> {
    let mut tids = procfs::thread_ids(pid);
    tids.sort_unstable();
    // The one that may have something in the arena: there is no other thread then.
    let only = task::task(arena, s.task.load(Relaxed)).map_or(0, |t| t.tid.load(Relaxed));
    tids.into_iter()
        .filter_map(|tid| {
            let kernel = procfs::signals(pid, tid)?;
            let ours = (s.is_open() && tid == only).then(|| Ours::of(s));
            Some(view(tid, &kernel, &ours.unwrap_or_default()))
        })
        .collect()
}

/// What the kernel does not know.
#[derive(Default)]
struct Ours {
    private: u64,
    shared: u64,
    /// Blocked, by name only or really.
    blocked: u64,
}

impl Ours {
    fn of(s: &State) -> Ours {
        Ours {
            private: s.private.load(Relaxed),
            shared: s.shared.load(Relaxed),
            // SIGKILL's bit says that the process looks into the arena.
            blocked: s.taken.load(Relaxed) & !bit(libc::SIGKILL),
        }
    }
}

/// ringer's own handlers in a process that holds something of its.
const OWN: u64 = bit(libc::SIGSYS) | bit(libc::SIGSEGV) | bit(libc::SIGBUS);

fn view(tid: u32, kernel: &SignalStatus, ours: &Ours) -> SignalView {
    let own = if kernel.caught & bit(libc::SIGSYS) != 0 {
        OWN
    } else {
        0
    };
    SignalView {
        tid,
        pending: Mask(kernel.pending | ours.private),
        shared: Mask(kernel.shared | ours.shared),
        blocked: Mask(kernel.blocked | ours.blocked),
        ignored: Mask(kernel.ignored),
        caught: Mask(kernel.caught & !own),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_views_are_one() {
        let kernel = SignalStatus {
            pending: bit(1),
            shared: bit(15),
            blocked: bit(1) | bit(15),
            ignored: bit(13),
            caught: bit(10) | OWN,
        };
        let ours = Ours {
            private: bit(10),
            shared: bit(34),
            blocked: bit(10) | bit(34),
        };
        let both = SignalView {
            tid: 7,
            pending: Mask(bit(1) | bit(10)),
            shared: Mask(bit(15) | bit(34)),
            blocked: Mask(bit(1) | bit(15) | bit(10) | bit(34)),
            ignored: Mask(bit(13)),
            caught: Mask(bit(10)),
        };
        assert_eq!(view(7, &kernel, &ours), both);
        let json = serde_json::to_string(&both).unwrap();
        assert!(
            json.contains("\"SigPnd\":[\"SIGHUP\",\"SIGUSR1\"]"),
            "{json}"
        );
        let alone = view(
            7,
            &SignalStatus {
                caught: bit(11),
                ..kernel
            },
            &Ours::default(),
        );
        assert_eq!((alone.shared, alone.caught), (Mask(bit(15)), Mask(bit(11))));
    }
}
