//! What becomes of a signal that the kernel carries, as /proc/PID/status lets foresee it: whether its target
//! blocks it, and whether one of its number is pending there.

use ringer_kernel::log::sent;
use ringer_kernel::signal;

use crate::procfs::{self, Path};

/// One of [`sent`], for a signal that is about to be sent to a process. Of several threads nobody knows
/// which one gets it.
pub fn becomes(pid: i32, sig: i32) -> u64 {
    let Some(pid) = u32::try_from(pid).ok().filter(|pid| *pid != 0) else {
        return sent::BY_KERNEL;
    };
    let mut text = [0u8; 2048];
    let path = Path::new().text("/proc/").number(pid).text("/status");
    let n = procfs::slurp(&path, &mut text);
    let text = text.get(..n.max(0) as usize).unwrap_or(&[]);
    let set = |name| procfs::set_in(text, name).unwrap_or(0);
    let bit = 1u64 << (sig as u32 - 1).min(63);
    if procfs::number_in(text, b"Threads:") != Some(1) || set(b"SigBlk:") & bit == 0 {
        return sent::BY_KERNEL;
    }
    match (set(b"SigPnd:") | set(b"ShdPnd:")) & bit {
        0 => sent::BLOCKED,
        _ if sig >= signal::SIGRTMIN => sent::BLOCKED,
        _ => sent::COALESCED,
    }
}
