//! For tests/planted only (feature `planted-bugs`): the bug whose number RINGER_PLANTED says is awake.

use crate::{env, procfs};

pub fn wake() {
    let Some(entry) = env::find(b"RINGER_PLANTED=") else {
        return;
    };
    let digits = entry.get(15..).unwrap_or(&[]);
    ringer_kernel::planted::awake::set(procfs::number(digits) as u32);
}
