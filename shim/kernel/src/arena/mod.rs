//! The arena: one shared-memory file per session. See docs/architecture.md, "The arena".

pub mod alloc;
pub mod header;
pub mod layout;
pub mod off;
pub mod pages;
pub mod safe;

pub use header::Header;
pub use off::{Arena, Off};
pub use safe::ArenaSafe;

include!(concat!(env!("OUT_DIR"), "/build_id.rs"));
