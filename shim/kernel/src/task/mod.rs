//! Processes and threads of a session, and who of them is dead.

mod process;
pub mod reap;
mod table;
mod thread;

pub use process::{proc_state, Process};
pub use reap::reap_process;
pub use table::{
    claim_process, claim_spare, claim_task, find_process, is_dead, live_processes, living_thread,
    process, process_is_gone, release_task, replace_twin, retire_process, slot_of, task, task_of,
    yield_to_twin, Threads,
};
pub use thread::{task_state, waits, Task};
