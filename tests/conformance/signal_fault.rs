//! Signals that the processor raises: what they say, handlers that repair, and those that kill
//! although they are blocked or ignored. The program is tests/c/faults.c.

use ringer_support::parts;

parts! { faults:
    unmapped
    protected
    not_canonical
    beyond_a_file
    division
    illegal
    breakpoint
    single_steps
    seccomp_trap
    repaired
    in_several_threads
    by_default
    ignored
    blocked
    within_its_own_handler
    in_a_thread_kills_all
    sent
}
