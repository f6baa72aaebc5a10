//! The gate: every `syscall` instruction that the shim executes, in one range of code that
//! Syscall User Dispatch lets through. The shim never makes a system call through libc.
//!
//! Four of its routines are known to the signal handlers by their addresses:
//!
//! - the futex wait's window: from "is a signal noted?" to the `syscall` itself. A handler that
//!   finds the program counter there moves it to the EINTR exit, so no signal is slept over. (It is a restartable
//!   sequence as well, see halt.rs: then the kernel has moved it, and the note is looked at again);
//! - the copy loop: a fault in it is answered with "EFAULT" instead of a crash;
//! - the restorer, which ends signal handlers;
//! - the end of a trap: see edge.rs.

use core::arch::global_asm;

global_asm!(
    r#"
    .section .text.ringer_gate,"ax",@progbits
    .p2align 6
    .globl ringer_gate_start
    .hidden ringer_gate_start
ringer_gate_start:

    .globl ringer_syscall6
    .hidden ringer_syscall6
    .type ringer_syscall6,@function
    .cfi_startproc
ringer_syscall6:
    mov rax, rdi
    mov rdi, rsi
    mov rsi, rdx
    mov rdx, rcx
    mov r10, r8
    mov r8, r9
    mov r9, qword ptr [rsp + 8]
    syscall
    ret
    .cfi_endproc

    .globl ringer_restore_rt
    .hidden ringer_restore_rt
    .type ringer_restore_rt,@function
    # The unwinder looks at the byte before the restorer.
    nop
ringer_restore_rt:
    mov rax, 15
    syscall
    ud2

    # (note: *u32, word: *u32, value: u32, timeout: *timespec, critical: *u64) -> 0, -errno, or RESTARTED:
    # the kernel was about to make the call again. See halt.rs.
    .globl ringer_futex_wait
    .hidden ringer_futex_wait
    .type ringer_futex_wait,@function
    .globl ringer_futex_window
    .hidden ringer_futex_window
    .globl ringer_futex_window_end
    .hidden ringer_futex_window_end
    .globl ringer_futex_eintr
    .hidden ringer_futex_eintr
ringer_futex_wait:
    mov r9, rdi
    mov rdi, rsi
    xor esi, esi
    mov r10, rcx
    mov eax, 202
ringer_futex_begin:
    lea rcx, [rip + ringer_futex_critical]
    mov qword ptr [r8], rcx
ringer_futex_window:
    cmp dword ptr [r9], 0
    jne ringer_futex_eintr
    syscall
ringer_futex_window_end:
    mov qword ptr [r8], 0
    ret
ringer_futex_eintr:
    mov qword ptr [r8], 0
    mov rax, -4
    ret
    # The signature that glibc registers, in an instruction that nobody executes.
    .byte 0x0f, 0xb9, 0x3d
    .long {signature}
ringer_futex_abort:
    cmp eax, 202
    je ringer_futex_begin
    mov rax, {restarted}
    ret

    # rt_sigreturn on the frame whose ucontext is at rdi
    .globl ringer_sigreturn_to
    .hidden ringer_sigreturn_to
    .type ringer_sigreturn_to,@function
ringer_sigreturn_to:
    mov rsp, rdi
    mov eax, 15
    syscall
    ud2

    # rt_sigreturn on the trap's frame whose ucontext is at rdi, unless something has come that is to go into
    # it: see edge.rs. (The stack below is given up.)
    .globl ringer_trap_end
    .hidden ringer_trap_end
    .type ringer_trap_end,@function
    .globl ringer_trap_window
    .hidden ringer_trap_window
    .globl ringer_trap_counted
    .hidden ringer_trap_counted
    .globl ringer_trap_window_end
    .hidden ringer_trap_window_end
    .globl ringer_trap_again
    .hidden ringer_trap_again
ringer_trap_end:
    mov rsp, rdi
    mov rax, qword ptr [rip + ringer_tls@GOTTPOFF]
ringer_trap_window:
    mov ecx, dword ptr fs:[rax + {note}]
    or rcx, qword ptr fs:[rax + {bounced}]
    jnz ringer_trap_again
    dec dword ptr fs:[rax + {depth}]
ringer_trap_counted:
    mov eax, 15
    syscall
ringer_trap_window_end:
ringer_trap_again:
    call {end}
    ud2

    # (nr, a, b, c, d, e): clone or clone3 with a stack of its own. The top of the new stack has
    # what kind of child it is (three words), the registers that the child is to have, and the
    # address where it goes on.
    .globl ringer_clone_thread
    .hidden ringer_clone_thread
    .type ringer_clone_thread,@function
ringer_clone_thread:
    mov rax, rdi
    mov rdi, rsi
    mov rsi, rdx
    mov rdx, rcx
    mov r10, r8
    mov r8, r9
    syscall
    test rax, rax
    jz 2f
    ret
2:
    mov rbp, rsp
    and rsp, -16
    cld
    mov rdi, rbp
    call {started}
    lea rsp, [rbp + 24]
    pop rdi
    pop rsi
    pop rdx
    pop rbx
    pop rbp
    pop r8
    pop r9
    pop r10
    pop r12
    pop r13
    pop r14
    pop r15
    xor eax, eax
    ret

    # The program's own system call, with all its registers: see pass.rs.
    .globl ringer_pass
    .hidden ringer_pass
    .globl ringer_passed
    .hidden ringer_passed
    .globl ringer_pass_end
    .hidden ringer_pass_end
ringer_pass:
    syscall
ringer_passed:
    mov rcx, qword ptr [rip + ringer_tls@GOTTPOFF]
    mov rcx, qword ptr fs:[rcx + {back}]
    jmp rcx
ringer_pass_end:

    .globl ringer_gate_end
    .hidden ringer_gate_end
    nop
    nop
ringer_gate_end:

    # (to, from, len) -> 0, or 1 after a fault
    .globl ringer_copy
    .hidden ringer_copy
    .type ringer_copy,@function
    .globl ringer_copy_end
    .hidden ringer_copy_end
    .globl ringer_copy_fault
    .hidden ringer_copy_fault
    .p2align 5
ringer_copy:
    cmp rdx, 16
    ja 3f
    cmp edx, 8
    jae 8f
    cmp edx, 4
    jae 4f
    test edx, edx
    jz 9f
    movzx eax, byte ptr [rsi]
    movzx ecx, byte ptr [rsi + rdx - 1]
    mov r8d, edx
    shr r8d, 1
    movzx r9d, byte ptr [rsi + r8]
    mov byte ptr [rdi], al
    mov byte ptr [rdi + r8], r9b
    mov byte ptr [rdi + rdx - 1], cl
9:  xor eax, eax
    ret
4:  mov eax, dword ptr [rsi]
    mov ecx, dword ptr [rsi + rdx - 4]
    mov dword ptr [rdi], eax
    mov dword ptr [rdi + rdx - 4], ecx
    xor eax, eax
    ret
8:  mov rax, qword ptr [rsi]
    mov rcx, qword ptr [rsi + rdx - 8]
    mov qword ptr [rdi], rax
    mov qword ptr [rdi + rdx - 8], rcx
    xor eax, eax
    ret
3:  cmp rdx, 128
    ja 5f
    movups xmm0, xmmword ptr [rsi + rdx - 16]
    lea rcx, [rdx - 16]
    xor eax, eax
6:  movups xmm1, xmmword ptr [rsi + rax]
    movups xmmword ptr [rdi + rax], xmm1
    add rax, 16
    cmp rax, rcx
    jb 6b
    movups xmmword ptr [rdi + rdx - 16], xmm0
    xor eax, eax
    ret
5:  mov rcx, rdx
    rep movsb
    xor eax, eax
    ret
ringer_copy_end:
ringer_copy_fault:
    mov eax, 1
    ret
    # struct rseq_cs
    .section .data.rel.ro.ringer_rseq,"aw",@progbits
    .p2align 5
ringer_futex_critical:
    .long 0, 0
    .quad ringer_futex_window
    .quad ringer_futex_window_end - ringer_futex_window
    .quad ringer_futex_abort
    .text
"#,
    signature = const crate::halt::SIGNATURE,
    restarted = const RESTARTED,
    started = sym crate::call::process::thread_started,
    end = sym crate::trap::end,
    back = const core::mem::offset_of!(crate::tls::Tls, back),
    note = const core::mem::offset_of!(crate::tls::Tls, note),
    bounced = const core::mem::offset_of!(crate::tls::Tls, bounced),
    depth = const core::mem::offset_of!(crate::tls::Tls, depth),
);

extern "C" {
    static ringer_gate_start: u8;
    static ringer_gate_end: u8;
    static ringer_futex_window: u8;
    static ringer_futex_window_end: u8;
    static ringer_futex_eintr: u8;
    static ringer_copy_end: u8;
    static ringer_copy_fault: u8;
    fn ringer_syscall6(
        nr: usize,
        a: usize,
        b: usize,
        c: usize,
        d: usize,
        e: usize,
        f: usize,
    ) -> isize;
    fn ringer_futex_wait(
        note: *const u32,
        word: *const u32,
        value: u32,
        timeout: *const Timespec,
        critical: *mut u64,
    ) -> isize;
    fn ringer_copy(to: *mut u8, from: *const u8, len: usize) -> usize;
    fn ringer_sigreturn_to(ucontext: usize) -> !;
    fn ringer_trap_end(ucontext: usize) -> !;
    fn ringer_clone_thread(nr: usize, a: usize, b: usize, c: usize, d: usize, e: usize) -> isize;
    pub fn ringer_restore_rt();
}

/// struct timespec.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Timespec {
    pub sec: i64,
    pub nsec: i64,
}

/// A system call through the gate: the kernel's own result, -errno in case of an error.
///
/// # Safety
///
/// As the system call itself: what it does to this process's memory must be wanted.
#[inline(always)]
pub unsafe fn syscall6(nr: i64, args: [usize; 6]) -> isize {
    let [a, b, c, d, e, f] = args;
    // SAFETY: the caller's.
    unsafe { ringer_syscall6(nr as usize, a, b, c, d, e, f) }
}

/// A system call that touches no memory of ours but what its arguments say.
macro_rules! sys {
    ($nr:expr $(, $arg:expr)* $(,)?) => {{
        let args = $crate::gate::padded([$($arg as usize),*]);
        // SAFETY: each caller passes pointers to live memory of its own, or the guest's own
        // arguments, which the kernel checks.
        unsafe { $crate::gate::syscall6($nr, args) }
    }};
}
pub(crate) use sys;

/// Up to six arguments as six.
#[inline(always)]
pub fn padded<const N: usize>(given: [usize; N]) -> [usize; 6] {
    let mut args = [0; 6];
    for (to, from) in args.iter_mut().zip(given) {
        *to = from;
    }
    args
}

/// First byte and length of the range that dispatch lets through. The kernel compares the address
/// *after* the `syscall` instruction, hence the padding at the end.
pub fn range() -> (usize, usize) {
    let start = &raw const ringer_gate_start as usize;
    let end = &raw const ringer_gate_end as usize;
    (start, end - start)
}

/// What [`futex_wait`] returns if the kernel broke the sleep off without a signal for a handler: -ERESTARTSYS, which it
/// never tells anybody.
pub const RESTARTED: isize = -512;

/// FUTEX_WAIT unless `note` is set; see the module's comment, and halt.rs.
pub fn futex_wait(note: *const u32, word: *const u32, value: u32, timeout: &Timespec) -> isize {
    let critical = crate::halt::critical();
    // SAFETY: both words are live: one is this thread's, the other is in the arena. `critical` is this thread's.
    unsafe { ringer_futex_wait(note, word, value, timeout, critical) }
}

/// Where to go on instead, if `rip` is in the futex wait's window.
pub fn leave_window(rip: usize) -> Option<usize> {
    let window =
        (&raw const ringer_futex_window as usize)..(&raw const ringer_futex_window_end as usize);
    window
        .contains(&rip)
        .then_some(&raw const ringer_futex_eintr as usize)
}

/// Copies `len` bytes, of which either side may be the guest's. `false`: a fault.
///
/// The other side is ringer's own memory or the arena's, `len` bytes of it. The guest's may be
/// anything: no reference to it is made.
#[inline(always)]
pub fn copy(to: *mut u8, from: *const u8, len: usize) -> bool {
    // SAFETY: a fault inside ends in `ringer_copy_fault`; see the signal handler.
    unsafe { ringer_copy(to, from, len) == 0 }
}

/// Where to go on instead, if a fault at `rip` came in the copy loop.
pub fn fault_exit(rip: usize) -> Option<usize> {
    let code = (ringer_copy as *const () as usize)..(&raw const ringer_copy_end as usize);
    code.contains(&rip)
        .then_some(&raw const ringer_copy_fault as usize)
}

/// Ends a signal handler: everything is restored from the frame.
///
/// # Safety
///
/// `ucontext` is the address of the ucontext of a live signal frame of this thread.
pub unsafe fn sigreturn_to(ucontext: usize) -> ! {
    // SAFETY: the caller's.
    unsafe { ringer_sigreturn_to(ucontext) }
}

/// Leaves a trap: everything is restored from its frame, once nothing is noted.
///
/// # Safety
///
/// `ucontext` is the address of the ucontext of a live signal frame of this thread, and the trap counts in `depth`.
pub unsafe fn trap_end(ucontext: usize) -> ! {
    // SAFETY: the caller's.
    unsafe { ringer_trap_end(ucontext) }
}

/// clone or clone3 whose child has a stack of its own, prepared as the assembly says.
///
/// # Safety
///
/// The top of the child's stack holds a `process::Start`.
pub unsafe fn clone_thread(nr: i64, args: [usize; 5]) -> isize {
    let [a, b, c, d, e] = args;
    // SAFETY: the caller's.
    unsafe { ringer_clone_thread(nr as usize, a, b, c, d, e) }
}
