//! Processes and threads of a session, and who of them is dead.

pub mod alive;
mod process;
pub mod reap;
pub mod robust_list;
pub mod stops;
mod table;
mod thread;

pub use alive::{is_dead, is_stopped, living_thread, process_is_gone, Threads};
pub use process::{proc_state, Process};
pub use reap::reap_process;
pub use table::{
    claim_process, claim_spare, claim_task, execing_processes, find_process, has_place,
    live_processes, process, process_of_thread, release_task, replace_twin, retire_process,
    slot_of, task, task_of, yield_to_twin,
};
pub use thread::{task_state, waits, Task};
