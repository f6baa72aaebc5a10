//! unistd.h, spawn.h: the exec family, for the environment, and so that the new program is in the
//! process table before it knows of the session itself. What it inherits is seen to by layer III,
//! through which all of them go in an armed process.

use libc::{c_char, c_int, pid_t, posix_spawn_file_actions_t, posix_spawnattr_t};

use crate::arm;
use crate::call::announce::{spawned, Announced};
use crate::call::exec::fixed_environment;
use crate::env;
use crate::next::next;
use crate::tls::tls;

type Strings = *const *const c_char;

next! {
    fn execve(path: *const c_char, argv: Strings, envp: Strings) -> c_int;
    fn execvpe(file: *const c_char, argv: Strings, envp: Strings) -> c_int;
    fn fexecve(fd: c_int, argv: Strings, envp: Strings) -> c_int;
    fn execveat(dir: c_int, path: *const c_char, argv: Strings, envp: Strings, flags: c_int)
        -> c_int;
    fn posix_spawn(pid: *mut pid_t, path: *const c_char,
        actions: *const posix_spawn_file_actions_t, attr: *const posix_spawnattr_t,
        argv: Strings, envp: Strings) -> c_int;
    fn posix_spawnp(pid: *mut pid_t, file: *const c_char,
        actions: *const posix_spawn_file_actions_t, attr: *const posix_spawnattr_t,
        argv: Strings, envp: Strings) -> c_int;
}

fn fixed(envp: Strings) -> Strings {
    if !crate::attach::is_attached() {
        return envp;
    }
    fixed_environment(tls(), envp as usize) as Strings
}

fn own() -> Strings {
    env::own() as Strings
}

/// Runs an exec, which returns only if it failed, with the environment that it is to have.
fn exec(envp: Strings, real: impl FnOnce(Strings) -> c_int) -> c_int {
    let announced = Announced::exec();
    let ret = arm::with_true_mask(tls(), || real(fixed(envp)));
    announced.withdraw();
    ret
}

/// Runs a posix_spawn(3), which writes the child's number to `pid`.
fn spawn(pid: *mut pid_t, envp: Strings, real: impl FnOnce(*mut pid_t, Strings) -> c_int) -> c_int {
    let mut child: pid_t = 0;
    let ret = arm::with_true_mask(tls(), || real(&raw mut child, fixed(envp)));
    if ret == 0 {
        spawned(child as u32);
        if !pid.is_null() {
            // SAFETY: the program's own argument; libc writes to it under the same condition.
            unsafe { pid.write(child) };
        }
    }
    ret
}

redhook::hook! {
    unsafe fn execve(path: *const c_char, argv: Strings, envp: Strings) -> c_int => ringer_execve {
        // SAFETY: the program's own call, with a copy of its environment at most.
        exec(envp, |envp| unsafe { real::execve(path, argv, envp) })
    }
}

redhook::hook! {
    unsafe fn execv(path: *const c_char, argv: Strings) -> c_int => ringer_execv {
        // SAFETY: execv is execve with the process's own environment. [exec(3)]
        exec(own(), |envp| unsafe { real::execve(path, argv, envp) })
    }
}

redhook::hook! {
    unsafe fn execvp(file: *const c_char, argv: Strings) -> c_int => ringer_execvp {
        // SAFETY: execvp is execvpe with the process's own environment. [exec(3)]
        exec(own(), |envp| unsafe { real::execvpe(file, argv, envp) })
    }
}

redhook::hook! {
    unsafe fn execvpe(file: *const c_char, argv: Strings, envp: Strings) -> c_int
        => ringer_execvpe {
        // SAFETY: as execve.
        exec(envp, |envp| unsafe { real::execvpe(file, argv, envp) })
    }
}

redhook::hook! {
    unsafe fn fexecve(fd: c_int, argv: Strings, envp: Strings) -> c_int => ringer_fexecve {
        // SAFETY: as execve.
        exec(envp, |envp| unsafe { real::fexecve(fd, argv, envp) })
    }
}

redhook::hook! {
    unsafe fn execveat(dir: c_int, path: *const c_char, argv: Strings, envp: Strings,
        flags: c_int) -> c_int => ringer_execveat {
        // SAFETY: as execve.
        exec(envp, |envp| unsafe { real::execveat(dir, path, argv, envp, flags) })
    }
}

redhook::hook! {
    unsafe fn posix_spawn(pid: *mut pid_t, path: *const c_char,
        actions: *const posix_spawn_file_actions_t, attr: *const posix_spawnattr_t,
        argv: Strings, envp: Strings) -> c_int => ringer_posix_spawn {
        // SAFETY: as execve.
        spawn(pid, envp, |pid, envp| unsafe { real::posix_spawn(pid, path, actions, attr, argv, envp) })
    }
}

redhook::hook! {
    unsafe fn posix_spawnp(pid: *mut pid_t, file: *const c_char,
        actions: *const posix_spawn_file_actions_t, attr: *const posix_spawnattr_t,
        argv: Strings, envp: Strings) -> c_int => ringer_posix_spawnp {
        // SAFETY: as execve.
        spawn(pid, envp, |pid, envp| unsafe { real::posix_spawnp(pid, file, actions, attr, argv, envp) })
    }
}

// execl, execlp and execle have their arguments one by one: the register part of the list is
// put on the stack right below the rest, so that it is one array; the environment behind its end
// is looked at there, and changed in place. The list itself is never copied.
macro_rules! list_to_array {
    ($name:ident, $kind:literal) => {
        /// # Safety
        ///
        /// As exec(3) says: a list of strings that ends with a null pointer.
        #[unsafe(naked)]
        #[no_mangle]
        pub unsafe extern "C" fn $name() -> c_int {
            core::arch::naked_asm!(
                "pop rax",
                "push r9",
                "push r8",
                "push rcx",
                "push rdx",
                "push rsi",
                "mov rsi, rsp",
                "push rax",
                "push rdi",
                "push rbx",
                "mov edx, {kind}",
                "mov rbx, rsp",
                "and rsp, -16",
                "call {list}",
                "mov rsp, rbx",
                "pop rbx",
                "pop rdi",
                "pop rdx",
                "add rsp, 40",
                "push rdx",
                "ret",
                kind = const $kind,
                list = sym exec_list,
            )
        }
    };
}

list_to_array!(execl, 0);
list_to_array!(execlp, 1);
list_to_array!(execle, 2);

/// `list` is argv, as an array that ends with NULL; for execle the environment is behind that.
unsafe extern "C" fn exec_list(path: *const c_char, list: Strings, kind: usize) -> c_int {
    // SAFETY: the caller's argument list ends with a NULL. [exec(3)]
    let mut end = list;
    // SAFETY: as above.
    while !unsafe { *end }.is_null() {
        // SAFETY: not at the end yet.
        end = unsafe { end.add(1) };
    }
    match kind {
        // SAFETY: execl is execv with a list.
        0 => unsafe { ringer_execv(path, list) },
        // SAFETY: execlp is execvp with a list.
        1 => unsafe { ringer_execvp(path, list) },
        _ => {
            // SAFETY: execle has the environment right behind the NULL.
            let behind = unsafe { end.add(1) };
            // SAFETY: as above.
            let envp = unsafe { *behind }.cast::<*const c_char>();
            // SAFETY: execle is execve with a list.
            unsafe { ringer_execve(path, list, envp) }
        }
    }
}
