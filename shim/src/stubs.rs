//! The trampoline has eight entrances. A signal whose action changes gets the next one: so a frame that the
//! kernel has pushed before tells by where it begins which action it was pushed for, as in Linux it has a copy of
//! that action (kernel/signal.c get_signal: `ksig->ka = *ka`). A handler that changes the action of a signal below its own
//! eight times in a row comes round.

use core::arch::global_asm;
use core::sync::atomic::{AtomicUsize, Ordering::*};

use crate::signal::{trampoline, Action, KSigaction, NSIG};

const STUBS: usize = 8;
/// Bytes from one to the next.
const SIZE: usize = 16;

// A handler's arguments are in rdi, rsi and rdx; the stub adds its number.
global_asm!(
    ".p2align 4",
    ".globl ringer_stubs",
    ".hidden ringer_stubs",
    "ringer_stubs:",
    ".irp number, 0, 1, 2, 3, 4, 5, 6, 7",
    "mov ecx, \\number",
    "jmp {trampoline}",
    ".p2align 4",
    ".endr",
    trampoline = sym trampoline,
);

extern "C" {
    static ringer_stubs: u8;
}

/// The actions for which the kernel has been given each stub.
static GIVEN: [[Action; STUBS]; NSIG] = [const { [const { Action::none() }; STUBS] }; NSIG];
/// How many there have been: the last one's number, and how often it came round.
static COUNT: [AtomicUsize; NSIG] = [const { AtomicUsize::new(0) }; NSIG];

fn given(sig: usize, stub: usize) -> Option<&'static Action> {
    GIVEN.get(sig)?.get(stub)
}

/// The action that a frame was pushed for which begins at this stub.
pub fn action(sig: usize, stub: usize) -> KSigaction {
    given(sig, stub).map_or_else(KSigaction::default, Action::load)
}

/// Which stub this address is.
pub fn number_of(at: usize) -> Option<usize> {
    let from = at.checked_sub(&raw const ringer_stubs as usize)?;
    (from.is_multiple_of(SIZE) && from / SIZE < STUBS).then_some(from / SIZE)
}

/// Where the kernel is to begin a handler of this action: at the stub that it has already, or at the next one.
pub fn entrance(sig: usize, a: &KSigaction) -> usize {
    let Some(count) = COUNT.get(sig) else {
        return 0;
    };
    let last = count.load(Acquire) % STUBS;
    let stub = if action(sig, last) == *a {
        last
    } else {
        count.fetch_add(1, AcqRel).wrapping_add(1) % STUBS
    };
    if let Some(given) = given(sig, stub).filter(|given| given.load() != *a) {
        given.store(a);
    }
    (&raw const ringer_stubs as usize).wrapping_add(stub * SIZE)
}
