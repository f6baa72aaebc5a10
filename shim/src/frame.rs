//! Delivery without the kernel: a thread that signals itself, or unblocks what waits for it in the
//! arena, has its handler called on a frame of ringer's making.
//!
//! The frame is at a call: what the C calling convention lets a function destroy need not be
//! kept. So only the other registers are saved; the context that the handler sees is that of the
//! call inside ringer, as it is that of the system call inside libc natively. A handler may edit
//! it: then the kernel restores it from the frame, which has all that the kernel wants to see.

use core::arch::{asm, naked_asm};
use core::mem::MaybeUninit;

use ringer_kernel::signal::{bit, Siginfo, Taken};

use crate::blocked;
use crate::call::mask::Stack;
use crate::gate::{self, sys};
use crate::inbox;
use crate::siglog;
use crate::signal::{self, KSigaction, SA_NODEFER, SA_ONSTACK, SA_RESETHAND, SIG_IGN};
use crate::tls::{tls, Tls};

/// struct ucontext, as the kernel writes and reads it: what is behind it in libc's is not.
/// (arch/x86/include/uapi/asm/{ucontext,sigcontext}.h)
#[repr(C)]
struct Context {
    flags: u64,
    link: usize,
    stack: Stack,
    registers: [u64; 23],
    fpstate: usize,
    reserved: [u64; 8],
    mask: u64,
    /// The rest of libc's sigset_t, and its own room for floating point.
    rest: [MaybeUninit<u64>; REST],
}

const REST: usize = 15 + 64 + 4;

const _: () = assert!(core::mem::offset_of!(Context, mask) == 296);
const _: () = assert!(core::mem::size_of::<Context>() >= core::mem::size_of::<libc::ucontext_t>());

/// FXSAVE's area, without the mark of a larger one.
#[repr(C, align(64))]
struct FpState([MaybeUninit<u64>; 64]);

/// UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS.
const CONTEXT_FLAGS: u64 = 2 | 4;
/// __USER_CS, and __USER_DS for ss, in the halves of REG_CSGSFS.
const SEGMENTS: u64 = 0x33 | 0x2b << 48;

/// Interrupts on, and the bit that is always set.
const EFLAGS: u64 = 0x202;

const REGISTERS: i32 = 40;

/// A context, and whose it is.
#[repr(C)]
struct Pushed {
    context: Context,
    sig: i32,
    /// The log's, of the handler's beginning.
    record: (u64, u64),
}

/// Calls `handler(sig, info, context)` with the context of the return from here in `pushed`. What
/// the convention keeps is on the stack below, so that the return needs nothing but that: a handler that edits one of these
/// registers edits nothing. If it has edited where it returns to, the kernel goes on from there.
///
/// # Safety
///
/// `handler` takes what a signal handler takes.
#[unsafe(naked)]
unsafe extern "C" fn call(sig: i32, info: *mut Siginfo, pushed: *mut Pushed, handler: usize) {
    naked_asm!(
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "push rdx",
        "mov qword ptr [rdx + {regs} + 8*4], r12",
        "mov qword ptr [rdx + {regs} + 8*5], r13",
        "mov qword ptr [rdx + {regs} + 8*6], r14",
        "mov qword ptr [rdx + {regs} + 8*7], r15",
        "mov qword ptr [rdx + {regs} + 8*10], rbp",
        "mov qword ptr [rdx + {regs} + 8*11], rbx",
        "mov qword ptr [rdx + {regs} + 8*15], rsp",
        "lea rax, [rip + 2f]",
        "mov qword ptr [rdx + {regs} + 8*16], rax",
        "xor eax, eax",
        "call rcx",
        "mov rdi, qword ptr [rsp]",
        "lea rcx, [rip + 2f]",
        "sub rcx, qword ptr [rdi + {regs} + 8*16]",
        "mov rax, rsp",
        "sub rax, qword ptr [rdi + {regs} + 8*15]",
        "or rax, rcx",
        "jnz 3f",
        "2:",
        "add rsp, 8",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "ret",
        "3:", // the stack from here on is as the context has it
        "call {restore}",
        "ud2",
        regs = const REGISTERS,
        restore = sym restore,
    )
}

/// Whether the handler of `sig` can be called without the kernel: on this stack, and it stays.
#[inline(always)]
pub fn is_simple(tls: &Tls, sig: i32, a: &KSigaction) -> bool {
    a.handler > SIG_IGN
        && blocked::is_caught(sig)
        && a.flags & SA_RESETHAND == 0
        && (a.flags & SA_ONSTACK == 0 || altstack(tls).size == 0)
}

/// The alternate stack as it was set. (A thread that never set one has size 0 and flags 0.)
#[inline(always)]
fn altstack(tls: &Tls) -> Stack {
    if tls.altstack_known.get() == 0 {
        let mut now = Stack::default();
        sys!(libc::SYS_sigaltstack, 0, &raw mut now);
        now.flags &= if now.size == 0 { 0 } else { !libc::SS_ONSTACK };
        tls.altstack.set(now);
        tls.altstack_known.set(1);
    }
    tls.altstack.get()
}

/// Delivers what was taken out of the arena and is not blocked.
pub fn deliver_or_send(tls: &Tls, taken: &Taken) {
    let a = signal::action(taken.sig as usize);
    if inbox::is_ignored(taken.sig) {
        return;
    }
    if is_simple(tls, taken.sig, &a) {
        let mut info = taken.info;
        deliver(tls, taken.sig, &mut info, &a, taken.cause);
    } else {
        blocked::resend(taken.sig, &raw const taken.info, taken.private);
    }
}

/// Calls the handler of `sig`, which is not blocked, here and now. Outside the shim. What else is due
/// afterwards is the caller's to deliver.
#[inline(always)]
pub fn deliver(tls: &Tls, sig: i32, info: &mut Siginfo, a: &KSigaction, cause: u64) {
    let mask = blocked::mask(tls);
    deliver_over(tls, sig, info, a, cause, (mask, mask));
}

/// As [`deliver`], with one mask in the frame, which is in force afterwards, and another that the call puts in
/// force: sigsuspend(2) has two.
pub fn deliver_over(
    tls: &Tls,
    sig: i32,
    info: &mut Siginfo,
    a: &KSigaction,
    cause: u64,
    (shown, now): (u64, u64),
) {
    let mut during = now | a.mask & !signal::UNBLOCKABLE;
    if a.flags & SA_NODEFER == 0 {
        during |= bit(sig);
    }
    let mut fp = FpState([const { MaybeUninit::uninit() }; 64]);
    fp.save();
    let mut pushed = Pushed {
        context: Context::new(shown, altstack(tls), &mut fp),
        sig,
        record: (0, 0),
    };
    if during != blocked::mask(tls) {
        blocked::set(tls, during);
    }
    // Linux pushes the next frame on top of this one before any handler runs.
    inbox::deliver(tls);
    pushed.record = siglog::handler(tls, sig, info, a.handler, cause);
    let words = ControlWords::begin();
    // SAFETY: the program gave this address to sigaction(2); the frame is whole.
    unsafe { call(sig, info, &raw mut pushed, a.handler) };
    words.restore();
    let (context, record) = (&pushed.context, pushed.record);
    let then = context.mask & !signal::UNBLOCKABLE;
    if then != shown {
        tls.edits.set(tls.edits.get().wrapping_add(1));
    }
    siglog::returned(tls, sig, record, then);
    if context.stack != tls.altstack.get() {
        set_altstack(tls, context.stack);
    }
    blocked::set(tls, then);
}

/// The handler has edited uc_stack. (Errors go unseen, as in sigreturn(2).)
#[cold]
fn set_altstack(tls: &Tls, stack: Stack) {
    sys!(libc::SYS_sigaltstack, &raw const stack, 0);
    tls.altstack_known.set(0);
}

/// MXCSR and the x87 control word, which a handler finds as a program does that begins.
struct ControlWords {
    mxcsr: u32,
    x87: u16,
}

const MXCSR: u32 = 0x1f80;
const X87: u16 = 0x37f;

impl ControlWords {
    #[inline(always)]
    fn begin() -> ControlWords {
        let (mut mxcsr, mut x87) = (0u32, 0u16);
        // SAFETY: two stores to locals.
        unsafe {
            asm!("stmxcsr [{m}]", "fnstcw [{x}]", m = in(reg) &raw mut mxcsr,
                x = in(reg) &raw mut x87, options(nostack, preserves_flags));
        }
        if mxcsr != MXCSR || x87 != X87 {
            ControlWords::load(MXCSR, X87);
        }
        ControlWords { mxcsr, x87 }
    }

    #[inline(always)]
    fn restore(&self) {
        ControlWords::load(self.mxcsr, self.x87);
    }

    #[inline(always)]
    fn load(mxcsr: u32, x87: u16) {
        // SAFETY: words that were in force before, or the processor's own first ones.
        unsafe {
            asm!("ldmxcsr [{m}]", "fldcw [{x}]", m = in(reg) &raw const mxcsr,
                x = in(reg) &raw const x87, options(nostack, readonly, preserves_flags));
        }
    }
}

/// The handler has edited where it returns to: the kernel goes on from there.
#[cold]
unsafe extern "C" fn restore(pushed: *mut Pushed) -> ! {
    let tls = tls();
    // SAFETY: of `call`'s caller, who waits for it.
    let Pushed {
        context,
        sig,
        record,
    } = unsafe { &mut *pushed };
    let mask = context.mask & !signal::UNBLOCKABLE;
    siglog::returned(tls, *sig, *record, mask);
    blocked::set(tls, mask);
    inbox::send_at_return(tls, mask);
    context.mask = blocked::real(tls);
    // SAFETY: a whole ucontext, which the program has made what it wants to go on with.
    unsafe { gate::sigreturn_to(core::ptr::from_mut(context) as usize) }
}

impl FpState {
    /// Takes the processor's.
    #[inline(always)]
    fn save(&mut self) {
        // SAFETY: 512 bytes, aligned to 64.
        unsafe { core::arch::x86_64::_fxsave64(self.0.as_mut_ptr().cast()) };
        // Bytes 464 to 511 are software's; all zero, there is no extension behind.
        for word in self.0.iter_mut().skip(58) {
            word.write(0);
        }
    }
}

impl Context {
    #[inline(always)]
    fn new(mask: u64, stack: Stack, fp: &mut FpState) -> Context {
        let mut registers = [0; 23];
        for (register, value) in [(libc::REG_EFL, EFLAGS), (libc::REG_CSGSFS, SEGMENTS)] {
            if let Some(to) = registers.get_mut(register as usize) {
                *to = value;
            }
        }
        Context {
            flags: CONTEXT_FLAGS,
            link: 0,
            stack,
            registers,
            fpstate: core::ptr::from_mut(fp) as usize,
            reserved: [0; 8],
            mask,
            rest: [const { MaybeUninit::uninit() }; REST],
        }
    }
}
