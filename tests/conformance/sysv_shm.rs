//! System V shared memory. See shmget(2), shmop(2), shmctl(2).

use libc::{EACCES, EEXIST, ENOENT, IPC_CREAT, IPC_PRIVATE, IPC_RMID, IPC_SET, IPC_STAT};
use libc::{SHM_RDONLY, SHM_REMAP, SHM_RND};
use ringer_support::prelude::*;
use ringer_support::sysv::*;

fn now() -> i64 {
    // SAFETY: no pointer.
    unsafe { libc::time(std::ptr::null_mut()) }
}

both_worlds!(a_new_segment_is_zero_and_says_who_made_it, worlds = all, {
    let before = now();
    let s = Segment::new(5000);
    let ds = shm_stat(s.id).unwrap();
    assert_eq!((ds.shm_segsz, ds.shm_nattch), (5000, 0));
    assert_eq!((ds.shm_cpid, ds.shm_lpid), (getpid(), 0));
    assert_eq!((ds.shm_atime, ds.shm_dtime), (0, 0));
    assert!((before..=now()).contains(&ds.shm_ctime));
    assert_eq!(ds.shm_perm.mode, 0o600);
    let at = s.attach();
    assert_eq!(at % PAGE, 0);
    assert!((0..2 * PAGE).all(|i| peek(at + i) == 0));
    let ds = shm_stat(s.id).unwrap();
    assert_eq!((ds.shm_nattch, ds.shm_lpid), (1, getpid()));
    assert!((before..=now()).contains(&ds.shm_atime));
    assert_eq!(shmdt(at), Ok(0));
    let ds = shm_stat(s.id).unwrap();
    assert_eq!(ds.shm_nattch, 0);
    assert!((before..=now()).contains(&ds.shm_dtime));
});

both_worlds!(shmget_finds_makes_and_refuses, {
    let k = key();
    assert_eq!(shmget(k, 100, 0o600), Err(ENOENT));
    assert_eq!(shmget(k, 0, IPC_CREAT | 0o600), Err(EINVAL));
    assert_eq!(shmget(k, usize::MAX, IPC_CREAT | 0o600), Err(EINVAL));
    let s = Segment::with_key(k, 100, 0o600);
    assert_eq!(shmget(k, 100, 0), Ok(s.id));
    assert_eq!(shmget(k, 0, 0), Ok(s.id));
    assert_eq!(shmget(k, 50, IPC_CREAT | 0o600), Ok(s.id));
    assert_eq!(shmget(k, 101, 0), Err(EINVAL));
    assert_eq!(shmget(k, 100, NEW), Err(EEXIST));
    assert_ne!(Segment::adopt(shmget(IPC_PRIVATE, 1, 0).unwrap()).id, s.id);
    assert_eq!(shm_stat(s.id).unwrap().shm_perm.__key, k);
    s.remove().unwrap();
    assert_eq!(shmget(k, 100, 0), Err(ENOENT));
});

both_worlds!(what_one_writes_the_other_reads, worlds = all, {
    let s = Segment::with_key(key(), 3 * PAGE, 0o600);
    let at = s.attach();
    poke(at + 10, 1);
    let child = fork_run(|| {
        let mine = s.attach();
        assert_ne!(mine, at);
        assert_eq!((peek(mine + 10), peek(at + 10)), (1, 1));
        poke(mine + 2 * PAGE, 2);
    });
    child.succeeds();
    assert_eq!(peek(at + 2 * PAGE), 2);
    shmdt(at).unwrap();
    // It stays without anybody who has it attached.
    let at = s.attach();
    assert_eq!((peek(at + 10), peek(at + 2 * PAGE)), (1, 2));
});

both_worlds!(unrelated_programs_share_by_key, worlds = all, {
    let k = key();
    let child = fork_run(|| {
        let id = shmget(k, PAGE, IPC_CREAT | 0o600).unwrap();
        poke(shmat(id, 0, 0).unwrap(), 77);
    });
    child.succeeds();
    let s = Segment::adopt(shmget(k, 1, 0).unwrap());
    assert_eq!((s.nattch(), peek(s.attach())), (0, 77));
});

both_worlds!(addresses_are_judged, {
    let s = Segment::new(2 * PAGE);
    let at = s.attach();
    shmdt(at).unwrap();
    assert_eq!(shmat(s.id, at, 0), Ok(at));
    assert_eq!(shmat(s.id, at, 0), Err(EINVAL)); // in use
    assert_eq!(shmat(s.id, at + PAGE, 0), Err(EINVAL));
    assert_eq!(shmat(s.id, at + 1, 0), Err(EINVAL));
    assert_eq!(shmat(s.id, 0, SHM_REMAP), Err(EINVAL));
    assert_eq!(shmat(s.id, 5, SHM_REMAP | SHM_RND), Err(EINVAL));
    shmdt(at).unwrap();
    assert_eq!(shmat(s.id, at + 5, SHM_RND), Ok(at));
    assert_eq!(shmdt(at + 5), Err(EINVAL));
    assert_eq!(shmdt(at + PAGE), Err(EINVAL));
    assert_eq!(s.nattch(), 1);
    assert_eq!(shmdt(at), Ok(0));
    assert_eq!(shmdt(at), Err(EINVAL));
    assert_eq!(shmdt(0), Err(EINVAL));
    assert_eq!(shmat(-1, 0, 0), Err(EINVAL));
    assert_eq!(shmat(s.id + 32768, 0, 0), Err(EINVAL));
    assert_eq!(s.nattch(), 0);
});

both_worlds!(one_segment_is_attached_several_times, {
    let s = Segment::new(PAGE);
    let all: Vec<usize> = (0..10).map(|_| s.attach()).collect();
    assert_eq!(s.nattch(), 10);
    poke(all[3], 9);
    assert!(all.iter().all(|&at| peek(at) == 9));
    for (i, &at) in all.iter().enumerate() {
        shmdt(at).unwrap();
        assert_eq!(s.nattch(), 9 - i as u64);
    }
});

both_worlds!(a_segment_replaces_what_was_there, {
    let (a, b) = (Segment::new(PAGE), Segment::new(PAGE));
    let at = a.attach();
    poke(at, 1);
    assert_eq!(shmat(b.id, at, SHM_REMAP), Ok(at));
    assert_eq!((peek(at), a.nattch(), b.nattch()), (0, 0, 1));
    assert_eq!(shmdt(at), Ok(0));
    assert_eq!((a.nattch(), b.nattch()), (0, 0));
});

both_worlds!(read_only_is_read_only, {
    let s = Segment::new(PAGE);
    poke(s.attach(), 5);
    let at = shmat(s.id, 0, SHM_RDONLY).unwrap();
    assert_eq!(peek(at), 5);
    let child = fork_run(|| poke(at, 6));
    assert_eq!(child.wait().signal(), Some(libc::SIGSEGV));
    assert_eq!(peek(at), 5);
});

both_worlds!(fork_attaches_and_exit_detaches, worlds = all, {
    let (s, sync) = (Segment::new(PAGE), Shared::new());
    let at = s.attach();
    let child = fork_run(|| {
        assert_eq!(s.nattch(), 2);
        let more = s.attach();
        sync.set(0, 1);
        sync.wait_for(0, 2);
        shmdt(more).unwrap();
        shmdt(at).unwrap();
        sync.set(0, 3);
        sync.wait_for(0, 4);
        s.attach();
    });
    sync.wait_for(0, 1);
    assert_eq!(s.nattch(), 3);
    sync.set(0, 2);
    sync.wait_for(0, 3);
    assert_eq!(s.nattch(), 1);
    sync.set(0, 4);
    let pid = child.pid();
    child.succeeds();
    let ds = shm_stat(s.id).unwrap();
    assert_eq!((ds.shm_nattch, ds.shm_lpid), (1, pid));
});

both_worlds!(a_killed_process_is_detached, worlds = all, {
    let (s, sync) = (Segment::new(PAGE), Shared::new());
    s.attach();
    let child = fork_run(|| {
        s.attach();
        sync.set(0, 1);
        loop {
            // SAFETY: no argument.
            unsafe { libc::pause() };
        }
    });
    sync.wait_for(0, 1);
    assert_eq!(s.nattch(), 3);
    child.kill_9();
    assert_eq!(s.nattch(), 1);
});

both_worlds!(exec_detaches, worlds = all, {
    let s = Segment::new(PAGE);
    let (out, go) = (pipe(), pipe());
    s.attach();
    let child = fork_run(|| {
        s.attach();
        dup2(&out.w, 1).unwrap();
        dup2(&go.r, 0).unwrap();
        close_range(3, u32::MAX, 0).unwrap();
        exec("/bin/sh".as_ref(), &["-c", "echo; read line"]);
    });
    drop((out.w, go.r));
    assert_eq!(read_n(&out.r, 1), Ok(b"\n".to_vec()));
    assert_eq!(s.nattch(), 1);
    drop(go.w);
    child.wait();
});

both_worlds!(
    a_removed_segment_stays_until_the_last_one_detaches,
    worlds = all,
    {
        let k = key();
        let s = Segment::with_key(k, PAGE, 0o600);
        let at = s.attach();
        poke(at, 3);
        s.remove().unwrap();
        let ds = shm_stat(s.id).unwrap();
        assert_eq!(u32::from(ds.shm_perm.mode) & SHM_DEST, SHM_DEST);
        assert_eq!(ds.shm_perm.__key, IPC_PRIVATE);
        assert_eq!(shmget(k, 1, 0), Err(ENOENT));
        let other = Segment::with_key(k, PAGE, 0o600);
        assert_ne!(other.id, s.id);
        // Whoever knows the number may still attach it.
        let more = s.attach();
        assert_eq!((peek(more), s.nattch()), (3, 2));
        shmdt(at).unwrap();
        assert_eq!(peek(more), 3);
        shmdt(more).unwrap();
        assert_eq!(shm_stat(s.id).err(), Some(EINVAL));
        assert_eq!(shmat(s.id, 0, 0), Err(EINVAL));
    }
);

both_worlds!(removed_while_a_child_has_it, {
    let (s, sync) = (Segment::new(PAGE), Shared::new());
    let at = s.attach();
    let child = fork_run(|| {
        sync.wait_for(0, 1);
        poke(at, 8);
        sync.set(0, 2);
        sync.wait_for(0, 3);
    });
    s.remove().unwrap();
    shmdt(at).unwrap();
    sync.set(0, 1);
    sync.wait_for(0, 2);
    assert_eq!(s.nattch(), 1);
    sync.set(0, 3);
    child.succeeds();
    assert_eq!(shm_stat(s.id).err(), Some(EINVAL));
});

both_worlds!(the_last_holder_is_killed, {
    let (s, sync) = (Segment::new(PAGE), Shared::new());
    let child = fork_run(|| {
        s.attach();
        sync.set(0, 1);
        loop {
            // SAFETY: no argument.
            unsafe { libc::pause() };
        }
    });
    sync.wait_for(0, 1);
    s.remove().unwrap();
    assert_eq!(s.nattch(), 1);
    child.kill_9();
    assert_eq!(shm_stat(s.id).err(), Some(EINVAL));
});

both_worlds!(munmap_detaches_too, {
    let s = Segment::new(2 * PAGE);
    let at = s.attach();
    // SAFETY: nobody uses it any more.
    let done = unsafe { libc::munmap(at as *mut c_void, 2 * PAGE) };
    assert_eq!((done, s.nattch()), (0, 0));
    assert_eq!(shmdt(at), Err(EINVAL));
});

both_worlds!(strangers_get_what_the_mode_says, {
    if !is_root() {
        return;
    }
    let k = key();
    let closed = Segment::with_key(k, PAGE, 0o600);
    let readable = Segment::new(PAGE);
    let open = Segment::new(PAGE);
    readable.change(|ds| ds.shm_perm.mode = 0o604).unwrap();
    open.change(|ds| ds.shm_perm.mode = 0o606).unwrap();
    poke(readable.attach(), 4);
    fork_run(|| {
        become_nobody();
        assert_eq!(shmget(k, 1, 0o400), Err(EACCES));
        assert_eq!(shmget(k, 1, 0), Ok(closed.id));
        assert_eq!(shmat(closed.id, 0, 0), Err(EACCES));
        assert_eq!(shmat(closed.id, 0, SHM_RDONLY), Err(EACCES));
        assert_eq!(shm_stat(closed.id).err(), Some(EACCES));
        assert_eq!(closed.remove(), Err(EPERM));
        assert_eq!(shmctl(closed.id, SHM_LOCK, 0), Err(EPERM));
        assert_eq!(shmat(readable.id, 0, 0), Err(EACCES));
        let at = shmat(readable.id, 0, SHM_RDONLY).unwrap();
        assert_eq!(peek(at), 4);
        poke(open.attach(), 5);
        assert_eq!(open.change(|_| {}), Err(EPERM));
        let mine = Segment::new(PAGE);
        poke(mine.attach(), 1);
        assert_eq!(mine.remove(), Ok(0));
    })
    .succeeds();
    assert_eq!(peek(open.attach()), 5);
});

both_worlds!(ipc_set_changes_owner_and_mode, {
    let s = Segment::new(PAGE);
    s.change(|ds| ds.shm_perm.mode = 0o7640).unwrap();
    assert_eq!(shm_stat(s.id).unwrap().shm_perm.mode, 0o640);
    assert_eq!(s.change(|ds| ds.shm_perm.uid = u32::MAX), Err(EINVAL));
    if is_root() {
        s.change(|ds| (ds.shm_perm.uid, ds.shm_perm.gid) = (65534, 65534))
            .unwrap();
        fork_run(|| {
            become_nobody();
            poke(s.attach(), 1);
            assert_eq!(s.remove(), Ok(0));
        })
        .succeeds();
        assert_eq!(shm_stat(s.id).err(), Some(EINVAL));
    }
});

both_worlds!(locking_shows_in_the_mode, {
    let s = Segment::new(PAGE);
    let at = s.attach();
    assert_eq!(shmctl(s.id, SHM_LOCK, 0), Ok(0));
    let mode = || u32::from(shm_stat(s.id).unwrap().shm_perm.mode);
    assert_eq!(mode(), SHM_LOCKED | 0o600);
    poke(at, 1);
    assert_eq!(shmctl(s.id, SHM_UNLOCK, 0), Ok(0));
    assert_eq!(mode(), 0o600);
    assert_eq!(shmctl(s.id, SHM_UNLOCK, 0), Ok(0));
});

both_worlds!(shmctl_refuses_what_it_does_not_know, {
    let s = Segment::new(PAGE);
    assert_eq!(shmctl(s.id, 99, 0), Err(EINVAL));
    assert_eq!(shmctl(s.id, -1, 0), Err(EINVAL));
    assert_eq!(shmctl(-1, IPC_STAT, 0), Err(EINVAL));
    assert_eq!(shmctl(s.id, IPC_STAT, 0), Err(EFAULT));
    assert_eq!(shmctl(s.id, IPC_SET, 0), Err(EFAULT));
    assert_eq!(shmctl(s.id + 32768, IPC_RMID, 0), Err(EINVAL));
});

both_worlds!(info_has_the_limits, {
    let s = Segment::new(3 * PAGE);
    let mut info = [0u64; 9];
    let at = info.as_mut_ptr() as usize;
    let read = |name: &str| -> u64 {
        let text = std::fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap();
        text.trim().parse().unwrap()
    };
    let max = shmctl(0, libc::IPC_INFO, at).unwrap();
    assert!(max >= s.id as usize & 0x7fff);
    let mni = read("shmmni");
    assert_eq!(info[..5], [read("shmmax"), 1, mni, mni, read("shmall")]);
    poke(s.attach(), 1);
    shmctl(0, SHM_INFO, at).unwrap();
    assert!(
        info[0] & 0xffff_ffff >= 1 && info[1] >= 3 && info[2] >= 1,
        "{info:?}"
    );
    // SAFETY: all zero bits are valid.
    let mut ds: libc::shmid_ds = unsafe { std::mem::zeroed() };
    let to = &raw mut ds as usize;
    assert_eq!(shmctl(s.id & 0x7fff, SHM_STAT, to), Ok(s.id as usize));
    assert_eq!((ds.shm_segsz, ds.shm_nattch), (3 * PAGE, 1));
    assert_eq!(shmctl(s.id & 0x7fff, SHM_STAT_ANY, to), Ok(s.id as usize));
    assert_eq!(shmctl(32767, SHM_STAT, to), Err(EINVAL));
});

both_worlds!(an_address_in_a_segment_is_a_good_buffer, {
    let s = Segment::new(PAGE);
    let at = s.attach();
    let p = pipe();
    poke(at, b'x');
    assert_eq!(write_span(&p.w, at, 1), Ok(1));
    assert_eq!(read_n(&p.r, 9), Ok(b"x".to_vec()));
    shmdt(at).unwrap();
    assert_eq!(write_span(&p.w, at, 1), Err(EFAULT));
});

fn write_span(fd: &Fd, at: usize, len: usize) -> Sys {
    // SAFETY: the kernel judges the address.
    ringer_support::check(unsafe { libc::write(fd.number(), at as *const c_void, len) } as i64)
}

both_worlds!(many_processes_count_in_it, timeout = 60, {
    use std::sync::atomic::AtomicU64;
    let s = Segment::with_key(key(), PAGE, 0o600);
    let children: Vec<_> = (0..4)
        .map(|_| {
            fork_run(|| {
                for _ in 0..100 {
                    let at = s.attach();
                    // SAFETY: attached, aligned, and used by atomics only.
                    let word = unsafe { &*(at as *const AtomicU64) };
                    word.fetch_add(1, SeqCst);
                    shmdt(at).unwrap();
                }
            })
        })
        .collect();
    all_succeed(children);
    let at = s.attach();
    // SAFETY: as above.
    assert_eq!(unsafe { &*(at as *const AtomicU64) }.load(SeqCst), 400);
    assert_eq!(s.nattch(), 1);
});
