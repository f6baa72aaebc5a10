//! What Linux shows of things that ringer serves without it: see deviations.toml and docs/limits.md. Each passes natively, and
//! has to fail under the shim.

use std::fs;

use libc::SIGUSR1;
use ringer_support::check;
use ringer_support::mq;
use ringer_support::prelude::*;

fn procfs_of_self(file: &str) -> String {
    fs::read_to_string(format!("/proc/self/{file}")).expect("/proc")
}

deviates!(
    an_eventfds_counter_is_in_fdinfo,
    "eventfd-count-in-fdinfo",
    {
        // SAFETY: numbers.
        let fd = Fd::own(check(unsafe { libc::eventfd(5, 0) }).unwrap());
        let told = procfs_of_self(&format!("fdinfo/{}", fd.number()));
        let line = told.lines().find(|l| l.starts_with("eventfd-count:"));
        let count = line.and_then(|l| l.split_whitespace().nth(1));
        assert_eq!(count, Some("5"), "{told}");
    }
);

deviates!(
    what_is_pending_is_in_proc_status,
    "pending-in-proc-status",
    {
        fork_run(|| {
            sig::block(sig::bit(SIGUSR1));
            sig::kill(getpid(), SIGUSR1).unwrap();
            let status = procfs_of_self("status");
            let line = status.lines().find_map(|l| l.strip_prefix("ShdPnd:"));
            let set = u64::from_str_radix(line.expect("ShdPnd").trim(), 16).unwrap();
            assert_eq!(set, sig::bit(SIGUSR1));
        })
        .succeeds();
    }
);

deviates!(fstat_of_a_queue_tells_of_a_file, "queue-in-fstat", {
    let (_name, q) = mq::queue();
    let st = fstat(&q).unwrap();
    // FILENT_SIZE. [ipc/mqueue.c]
    assert_eq!((st.st_mode & libc::S_IFMT, st.st_size), (libc::S_IFREG, 80));
});

/// A segment of three pages, attached; it is gone with its last detachment.
fn attached() -> (i32, *mut libc::c_void) {
    // SAFETY: numbers.
    let id = unsafe { libc::shmget(libc::IPC_PRIVATE, 3 * 4096, 0o600) };
    // SAFETY: wherever there is room.
    let at = unsafe { libc::shmat(id, std::ptr::null(), 0) };
    assert_ne!(at as isize, -1);
    (id, at)
}

fn remove(id: i32) {
    // SAFETY: a number.
    unsafe { libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut()) };
}

deviates!(segments_go_by_their_keys_in_maps, "segments-in-maps", {
    let (id, at) = attached();
    remove(id);
    let maps = procfs_of_self("maps");
    let here = format!("{:x}-", at as usize);
    let line = maps.lines().find(|l| l.starts_with(&here)).expect("it");
    assert!(line.contains("/SYSV00000000"), "{line}");
});

deviates!(
    a_segment_in_two_pieces_is_attached_twice,
    "segment-in-pieces",
    {
        let (id, at) = attached();
        let middle = at.cast::<u8>().wrapping_add(4096);
        // SAFETY: a page of the segment, which nobody uses.
        check(unsafe { libc::munmap(middle.cast(), 4096) }).unwrap();
        // SAFETY: plain data; zeros are valid.
        let mut state: libc::shmid_ds = unsafe { std::mem::zeroed() };
        // SAFETY: room for it.
        check(unsafe { libc::shmctl(id, libc::IPC_STAT, &mut state) }).unwrap();
        remove(id);
        assert_eq!(state.shm_nattch, 2);
    }
);
