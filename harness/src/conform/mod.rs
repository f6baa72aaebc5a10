//! The rules that have to hold, the tests that show it, and what these say in both worlds.
//!
//! ```text
//! rules      tests/spec.toml and tests/deviations.toml, as they were when this was built
//! verdicts   what the tests said: `cargo test`'s output in each world
//! report     both, for a person and as docs/conformance.md
//! ```

#[path = "../../../tests/support/kernel_range.rs"]
mod kernel_range;
pub mod report;
pub mod rules;
#[path = "../../../tests/support/table.rs"]
mod table;
pub mod verdicts;
