//! Locks and sleeping. Every atomic word has a file of its own.

pub mod atomic;
pub mod futex;
pub mod lock_word;
pub mod places;
pub mod robust;
pub mod wait_queue;
