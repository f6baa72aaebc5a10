//! POSIX semaphores: one that has a name, and one in shared memory.

use super::small::{handler, of_the_first, Small};
use super::waits::{by, fork, kill, restarting_handler, small, A};
use crate::fuzz::program::{Call, Reg, SemWay};

/// What this register holds: none, so that it stands for one without a name.
const UNNAMED: Reg = 1;

/// Of the first name; 2 is the same name without its slash.
fn open(to: Reg, name: u8, flags: i32, value: u32) -> Call {
    Call::SemOpen {
        to,
        name,
        flags,
        value,
    }
}

fn init(value: u32) -> Call {
    Call::SemInit {
        sem: UNNAMED,
        shared: true,
        value,
    }
}

fn post(sem: Reg) -> Call {
    Call::SemPost { sem }
}

fn wait(sem: Reg, way: SemWay) -> Call {
    Call::SemWait { sem, way }
}

fn value(sem: Reg) -> Call {
    Call::SemValue { sem }
}

/// Without waiting.
pub fn calls() -> Small {
    let close = |sem| Call::SemClose { sem };
    let letters = vec![
        post(0),
        wait(0, SemWay::Try),
        wait(0, SemWay::Past),
        value(0),
        close(0),
        Call::SemUnlink { name: 0 },
        open(0, 0, libc::O_CREAT, 2),
        open(2, 0, 0, 0),
        open(2, 0, libc::O_CREAT | libc::O_EXCL, 0),
        open(2, 2, libc::O_CREAT, 0),
        post(2),
        wait(2, SemWay::Try),
        value(2),
        close(2),
        post(UNNAMED),
        wait(UNNAMED, SemWay::Try),
        init(i32::MAX as u32),
        value(UNNAMED),
    ];
    Small {
        before: of_the_first(vec![open(0, 0, libc::O_CREAT, 1), init(0)]),
        letters: of_the_first(letters),
        after: vec![],
        waits: false,
    }
}

/// Between three processes.
pub fn waits() -> Small {
    let before = vec![
        handler(A),
        open(0, 0, libc::O_CREAT, 0),
        init(0),
        fork(1),
        fork(2),
    ];
    let letters = vec![
        by(0, post(0)),
        by(1, post(0)),
        by(0, post(UNNAMED)),
        by(0, wait(0, SemWay::Wait)),
        by(1, wait(0, SemWay::Wait)),
        by(2, wait(0, SemWay::Wait)),
        by(1, wait(UNNAMED, SemWay::Wait)),
        by(2, wait(UNNAMED, SemWay::Wait)),
        by(0, wait(0, SemWay::Try)),
        by(2, wait(0, SemWay::Past)),
        by(0, kill(1, A)),
        by(0, kill(2, A)),
        by(1, kill(0, A)),
        by(1, restarting_handler(A)),
        by(0, kill(2, libc::SIGKILL)),
        by(0, Call::SemUnlink { name: 0 }),
    ];
    let after = vec![by(0, value(0)), by(0, value(UNNAMED))];
    small(before, letters, after)
}
