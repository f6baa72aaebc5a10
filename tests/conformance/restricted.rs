//! Processes whose system calls somebody else looks at: one that traces them, or a filter. The programs are tests/c/traced.c
//! and tests/c/sandbox.c.

use ringer_support::parts;

parts! { traced:
    vfork_and_exec
    fork_and_exec
    by_number
    goes_on_without_exec
    its_children_are_traced
    is_let_go
}

parts! { sandbox:
    a_few_calls_by_prctl
    a_few_calls_by_syscall
    a_few_calls_by_instruction
    strict
    harmless_filter
    handlers_go_on
    is_killed
    first_of_all
    refused
    torn
    with_threads
}
