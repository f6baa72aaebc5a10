//! The frames of handlers: what is in them, what may be edited, on which stack they are, and the ways
//! to leave them. See sigaction(2), sigaltstack(2), sigsetjmp(3), makecontext(3).
//!
//! The programs are in tests/c: frames.c, edits.c, altstack.c, jumps.c, leaps.c, vectors.c.

use ringer_support::parts;

parts! { frames:
    edit_rax
    edit_rip
    edit_r15
    edit_rip_to_elsewhere
    edit_all
    keep_all
    red_zone
    keep_errno
    frame_says
    one_argument
    edit_mask
    edit_mask_with_pending
    edit_mask_in_sigsuspend

    see_registers
    direction_flag
    rip_is_behind_the_call
    rip_is_at_a_restarted_call
    rip_is_behind_an_interrupted_call
    calls_in_calls
}

parts! { edits:
    upon_no_call
    upon_what_is_passed_on
    upon_what_is_served
    upon_open
    upon_exec_that_fails
    upon_calls_by_name
    upon_forks
    upon_a_change_of_the_mask
    never_while_blocked
}

parts! { altstack:
    errors
    handler_is_on_it
    without_the_flag_it_is_not_used
    nested_handlers_share_it
    each_thread_has_its_own
    a_child_has_it
    overflow
    overflow_of_a_thread
    overflow_without_it
    read_back
    flag_without_a_stack
    autodisarm
    given_up
    edited_in_the_frame
}

parts! { jumps:
    back_with_the_mask
    back_without_the_mask
    longjmp_keeps_the_handlers_mask
    pending_comes_with_the_jump
    over_two_handlers
    out_of_blocking_calls
    a_storm_of_jumps
    contexts_and_masks
    setcontext_out_of_a_handler
    swapcontext_out_of_a_handler_and_back
    pending_comes_with_the_context
}

parts! { leaps:
    counter_read
    counter_write
    stream_read
    datagram_read
    packet_read
    stream_write
    datagram_write
    queue_receive
    queue_send
    semaphore_down
    semaphore_zero
    message_receive
    message_send
    posix_semaphore
    open_of_a_fifo
    accept_of_a_connection
    who_waits_behind
}

parts! { vectors:
    sse
    avx
    avx_and_kill
    x87
    control_words
}
