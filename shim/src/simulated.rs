//! Programs that run in a simulator of the processor are not emulated: Valgrind would pass the prctl that switches
//! dispatch on to the kernel, and its own system calls would trap; qemu-user refuses it.

use core::arch::asm;

/// `VG_USERREQ__RUNNING_ON_VALGRIND` (valgrind.h).
const RUNNING_ON_VALGRIND: u64 = 0x1001;

/// Whether Valgrind runs this code: `RUNNING_ON_VALGRIND` of valgrind.h. Without it the instructions do nothing.
pub fn on_valgrind() -> bool {
    let request = [RUNNING_ON_VALGRIND, 0, 0, 0, 0, 0];
    let mut depth = 0u64;
    // SAFETY: four rotations by 128 bits altogether and a register exchanged with itself; Valgrind, which knows
    // the sequence, reads the request and sets rdx.
    unsafe {
        asm!(
            "rol rdi, 3",
            "rol rdi, 13",
            "rol rdi, 61",
            "rol rdi, 51",
            "xchg rbx, rbx",
            in("rax") request.as_ptr(),
            inout("rdx") depth,
            options(nostack),
        );
    }
    depth != 0
}
