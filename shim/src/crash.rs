//! For tests/crash only (feature `crash-points`): the process kills itself at the crash point that
//! RINGER_CRASH_AT names, as "NAME" or "NAME:N" for the N-th time that it is reached.

use core::sync::atomic::{AtomicU32, Ordering::*};

use crate::gate::sys;
use crate::{env, host};

static REACHED: AtomicU32 = AtomicU32::new(0);

pub fn install() {
    ringer_kernel::host::crash::set_handler(reached);
}

fn reached(name: &str) {
    let Some(entry) = env::find(b"RINGER_CRASH_AT=") else {
        return;
    };
    let wanted = entry.get(16..).unwrap_or(&[]);
    let mut parts = wanted.split(|&b| b == b':');
    if parts.next() != Some(name.as_bytes()) {
        return;
    }
    let nth = parts.next().map_or(1, |digits| {
        digits.iter().fold(0u32, |n, b| {
            n.wrapping_mul(10)
                .wrapping_add(u32::from(b.wrapping_sub(b'0')))
        })
    });
    if REACHED.fetch_add(1, Relaxed) + 1 == nth {
        sys!(libc::SYS_kill, host::getpid(), libc::SIGKILL);
    }
}
