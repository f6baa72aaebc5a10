//! What each thread has of its own, by the initial-exec model: no `__tls_get_addr`, which may
//! allocate. A new thread's is all zero.

use core::arch::{asm, global_asm};
use core::cell::Cell;
use core::cell::UnsafeCell;

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use ringer_kernel::file::{Head, OpenFile};
use ringer_kernel::log::ring::Writer;
use ringer_kernel::sync::lock_word::OwnerId;
use ringer_kernel::task::{Process, Task};

use crate::call::mask::Stack;

global_asm!(
    r#"
    .section .tbss,"awT",@nobits
    .p2align 6
    .globl ringer_tls
    .hidden ringer_tls
    .type ringer_tls,@tls_object
    .size ringer_tls, 2048
ringer_tls:
    .zero 2048
    .text
"#
);

/// siginfo_t, as the kernel has it.
pub type Siginfo = [u64; 16];

/// Entries of the cache of descriptors.
pub const SEEN: usize = 16;

/// A descriptor, as the table and the arena had it: true as long as `entry` still holds
/// `file_slot` and `process` is still this process. Field by field, so that a look loads into
/// registers only what it needs.
#[repr(C, align(64))]
pub struct Seen {
    pub fd: Cell<i32>,
    pub file_slot: Cell<u32>,
    pub object_slot: Cell<u32>,
    /// See `file::role`.
    pub role: Cell<u32>,
    pub process: Cell<*const Process>,
    /// Null: an empty cache entry.
    pub entry: Cell<*const AtomicU32>,
    pub file: Cell<*const OpenFile>,
    /// The pipe, the eventfd ...: as `role` says.
    pub object: Cell<*const Head>,
}

/// One thread's own. Every field is valid when zero. Signal handlers see and change it, so it is
/// all cells, and nothing in it is ever borrowed across a call that could run one.
#[repr(C, align(64))]
pub struct Tls {
    /// Selector byte of Syscall User Dispatch: 0 lets everything through, 1 traps.
    pub selector: Cell<u8>,
    /// prctl has been called for this thread.
    pub dispatched: Cell<u8>,
    /// Whether this thread runs between vfork and exec in its parent's memory.
    pub in_vfork: Cell<u8>,
    /// Whether this thread borrows descriptors: see `borrow`.
    pub borrowing: Cell<u8>,
    /// How deep in the shim: above 0, signals are only noted.
    pub depth: Cell<u32>,
    /// Signals are noted: bits of pending.rs. Read by the gate's futex window, and where a trap ends.
    pub note: AtomicU32,
    /// OwnerId, 0 before registration.
    pub owner: Cell<u32>,
    /// Slot in the task table.
    pub task_slot: Cell<u32>,
    /// That slot, null before registration.
    pub task: Cell<*const Task>,
    /// Slot of the process instead of the global one, for a vfork child; 0 otherwise.
    pub process_slot: Cell<u32>,
    /// SIGSYS, SIGSEGV, SIGBUS in the mask, as the program believes.
    pub masked: Cell<u64>,
    /// Of these, sent to this thread and waiting to be unblocked: see pending.rs.
    pub pending: Cell<u64>,
    /// The noted signal: the mask to be restored, and whether its handler has SA_RESTART.
    pub saved_mask: Cell<u64>,
    pub restart: Cell<u32>,
    /// A real-time signal that is kept for the way out, 0 for none, and its siginfo: see held.rs.
    pub held: Cell<i32>,
    pub held_info: Cell<Siginfo>,
    /// The signal, a bit, that this thread has left in its own inbox last, and the time-stamp counter then.
    pub just_kept: Cell<(u64, u64)>,
    pub tid: Cell<u32>,
    /// Layer by which the call came, for the log.
    pub layer: Cell<u32>,
    writer: UnsafeCell<Option<Writer>>,
    /// Descriptors looked up lately: see `call::lookup`.
    pub seen: [Seen; SEEN],
    /// Address and length of an environment made for exec.
    pub scratch: Cell<(usize, usize)>,
    /// What is `pending`, and when it was kept.
    pub kept: [(Cell<Siginfo>, Cell<u32>); 3],
    /// The thread's place among those that block forced signals, plus 1.
    pub blocker: Cell<u32>,
    /// A call runs for which the kernel has the truth about the forced signals: see call/truth.rs.
    pub truth: Cell<u32>,
    /// What the program believes of them when that call is over, and which of them it waits for.
    pub truth_masked: Cell<u64>,
    pub truth_waiting: Cell<u64>,
    /// Blocked by name only, and the kernel's mask as far as it is known: see blocked.rs.
    pub named: AtomicU64,
    pub real: AtomicU64,
    pub real_known: Cell<u32>,
    /// Whether `altstack` is this thread's. (Of a thread that is not armed it is not known.)
    pub altstack_known: Cell<u32>,
    /// sigaltstack(2).
    pub altstack: Cell<Stack>,
    /// Whether spinning for a signal pays: see call/sigwait.rs.
    pub spin_misses: Cell<u32>,
    pub spin_skip: Cell<u32>,
    /// Real-time signals by the kernel that were looked for: see call/sigwait.rs.
    pub sent_seen: Cell<u32>,
    /// A signal that was taken out of the inbox and whose handler is about to be called; 0: none.
    pub in_hand: Cell<i32>,
    pub in_hand_private: Cell<u32>,
    /// How often a handler has edited the mask in its frame.
    pub edits: Cell<u32>,
    /// Signals that have come although they were blocked by name, and that a trap may not have seen yet.
    pub bounced: AtomicU64,
    /// Where a call that the program makes itself goes on: see pass.rs.
    pub back: Cell<u64>,
    /// The number of the last one.
    pub passing: Cell<u32>,
    /// How often a sleep was broken off: see halt.rs.
    pub halts: Cell<u32>,
    /// A frame whose handler has not begun, and the forced signals that a handler on top of it, which
    /// has returned, has left blocked: see stacked.rs.
    pub left: Cell<(usize, u64)>,
    pub in_hand_info: Cell<Siginfo>,
    /// Effective user and group, and when they were asked for: see call/sysv.rs.
    pub credentials: Cell<(u32, u32, u32)>,
}

const _: () = assert!(core::mem::size_of::<Tls>() <= 2048);

/// This thread's.
#[inline(always)]
pub fn tls() -> &'static Tls {
    let p: *const Tls;
    // SAFETY: two loads, of the symbol's offset and of the thread pointer; both never change.
    unsafe {
        asm!(
            "mov {p}, qword ptr [rip + ringer_tls@GOTTPOFF]",
            "add {p}, qword ptr fs:[0]",
            p = out(reg) p,
            options(pure, readonly, nostack)
        );
    }
    // SAFETY: 2048 zeroed bytes, aligned to 64, that live as long as the thread; `Tls` is valid
    // when zero (an `Option<Writer>` is, too: its reference's niche is null) and is not `Sync`.
    unsafe { &*p }
}

impl Tls {
    pub fn owner_id(&self) -> Option<OwnerId> {
        OwnerId::from_raw(self.owner.get())
    }

    /// What is noted: see `note`.
    #[inline(always)]
    pub fn noted(&self) -> u32 {
        self.note.load(Relaxed)
    }

    /// (A signal of another kind may be noted in the midst of it.)
    pub fn add_note(&self, bits: u32) {
        self.note.fetch_or(bits, Relaxed);
    }

    pub fn take_note(&self) -> u32 {
        self.note.swap(0, Relaxed)
    }

    pub fn is_armed(&self) -> bool {
        self.selector.get() != 0
    }

    /// The thread's log ring, if it has one.
    #[inline(always)]
    pub fn writer(&self) -> Option<&'static Writer> {
        // SAFETY: only `set_writer` changes it, on registration and after fork, when no call of
        // this thread holds the reference; other threads do not reach it.
        unsafe { (*self.writer.get()).as_ref() }
    }

    /// Takes the ring away: the thread is about to be another's for a while.
    pub fn take_writer(&self) -> Option<Writer> {
        // SAFETY: see `writer`.
        unsafe { (*self.writer.get()).take() }
    }

    pub fn set_writer(&self, writer: Option<Writer>) {
        // SAFETY: see `writer`.
        unsafe { *self.writer.get() = writer };
    }
}
