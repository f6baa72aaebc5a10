//! sys/prctl.h, sys/ptrace.h: calls by which a process restricts itself, or lets itself be traced.

use libc::{c_int, c_long, c_uint};

use crate::next::next;
use crate::quit;

next! {
    fn prctl(option: c_int, a: usize, b: usize, c: usize, d: usize) -> c_int;
    fn ptrace(request: c_uint, pid: usize, address: usize, data: usize) -> c_long;
}

redhook::hook! {
    unsafe fn prctl(option: c_int, a: usize, b: usize, c: usize, d: usize) -> c_int
        => ringer_prctl {
        if option == libc::PR_SET_SECCOMP {
            quit::by_hook(libc::SYS_prctl, [option as usize, a, b, c, d, 0]);
        }
        // SAFETY: the program's own call. On x86-64 an optional argument is one register more.
        unsafe { real::prctl(option, a, b, c, d) }
    }
}

redhook::hook! {
    unsafe fn ptrace(request: c_uint, pid: usize, address: usize, data: usize) -> c_long
        => ringer_ptrace {
        if request == libc::PTRACE_TRACEME {
            quit::by_hook(libc::SYS_ptrace, [request as usize, pid, address, data, 0, 0]);
        }
        // SAFETY: the program's own call.
        unsafe { real::ptrace(request, pid, address, data) }
    }
}
