//! Who traces this process with ptrace(2): he would be shown each of ringer's traps, as a SIGSYS.

use ringer_kernel::task;

use crate::attach;
use crate::host::Shim;
use crate::procfs::{self, Path};

/// Whether a process of the session traces this one, and is to see what it would see natively. (Who traces from
/// outside, `ringer` itself along with everything that it runs perhaps, is to see what there is.)
pub fn is_of_session() -> bool {
    let Some(arena) = attach::arena().filter(|_| crate::namespace::has_proc()) else {
        return false;
    };
    let thread = number(Path::new().text("/proc/self/status"), b"TracerPid:");
    if thread == 0 {
        return false;
    }
    let process = number(
        Path::new().text("/proc/").number(thread).text("/status"),
        b"Tgid:",
    );
    task::has_place(arena, &Shim, process)
}

/// A number near the beginning of /proc/PID/status, see proc(5). 0: there is none.
fn number(status: Path, name: &[u8]) -> u32 {
    let mut text = [0u8; 512];
    let n = procfs::slurp(&status, &mut text);
    let text = text.get(..n.max(0) as usize).unwrap_or(&[]);
    procfs::number_in(text, name).unwrap_or(0) as u32
}
