//! The contract of shared memory.

use crate::sync::atomic::{AtomicU32, AtomicU64};

/// A type which may live in the arena.
///
/// # Safety
///
/// 1. `repr(C)` or `repr(transparent)`, no implicit padding, same layout in every build sharing
///    the arena.
/// 2. Every bit pattern is a valid value: a peer may die half way through a store, and a
///    buggy guest may scribble. So no `bool`, no `enum`, no `char`, no reference, no `NonZero`.
/// 3. No pointer and nothing with a vtable: each process maps the arena at its own address
///    and loads the shim at its own ASLR base.
/// 4. Memory reachable by a second process is only reached through atomics or under a lock.
/// 5. All-zero bytes are the value's initial state: fresh arena memory is zero.
pub unsafe trait ArenaSafe: Sync {}

// SAFETY: plain integers/atomics; 1-5 hold by inspection.
unsafe impl ArenaSafe for AtomicU32 {}
// SAFETY: as above.
unsafe impl ArenaSafe for AtomicU64 {}
// SAFETY: an array of what is safe, without padding between elements.
unsafe impl<T: ArenaSafe, const N: usize> ArenaSafe for [T; N] {}
