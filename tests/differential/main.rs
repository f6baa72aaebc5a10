//! The logs of the kernel and of ringer: mode `observe` tells what ringer's own calls tell, and `ringer diff`
//! finds what differs.

mod diff;
mod observe;
mod page;
mod tools;
