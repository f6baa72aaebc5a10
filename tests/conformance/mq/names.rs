//! mq_open(3), mq_close(3), mq_unlink(3): names, permissions, limits.

use std::ffi::CString;

use libc::{EACCES, EEXIST, ENAMETOOLONG, ENOENT, ENOSPC};
use ringer_support::mq::*;
use ringer_support::prelude::*;

both_worlds!(a_name_is_a_slash_and_one_component, {
    for (text, refused, gone) in [
        ("", EINVAL, EINVAL),
        ("a", EINVAL, EINVAL),
        ("a/b", EINVAL, EINVAL),
        ("/", ENOENT, ENOENT),
        ("//", EACCES, EACCES),
        ("/.", EACCES, EACCES),
        ("/..", EACCES, EACCES),
        ("/a/b", EACCES, EACCES),
        ("/a/", EACCES, EACCES),
        ("//a", EACCES, EACCES),
    ] {
        let name = CString::new(text).unwrap();
        let made = create(&name, O_RDWR, 0o600, Some((1, 1)));
        assert_eq!(made.map(|_| ()), Err(refused), "{text}");
        assert_eq!(unlink(&name), Err(gone), "{text}");
    }
    for text in ["/...", "/ a b", "/.hidden", "/\u{e9}"] {
        let name = Name::of(&format!("{text}{}", getpid()));
        assert!(name.create(1, 1).is_ok(), "{text}");
        assert_eq!(name.unlink(), Ok(0), "{text}");
    }
});

both_worlds!(a_name_has_at_most_255_bytes, {
    for (len, works) in [
        (254, true),
        (255, true),
        (256, false),
        (4094, false),
        (5000, false),
    ] {
        let name = Name::of(&format!(
            "/{}",
            format!("{:0>8}", getpid()).repeat(700)[..len].to_owned()
        ));
        let made = name.create(1, 1).map(|_| ());
        let expected = if works { Ok(()) } else { Err(ENAMETOOLONG) };
        assert_eq!(made, expected, "{len}");
        let gone = name.unlink().map(|_| ());
        assert_eq!(gone, expected, "{len}");
    }
});

both_worlds!(what_is_not_there_is_not_opened_without_o_creat, {
    let name = Name::new();
    for flags in [O_RDONLY, O_WRONLY, O_RDWR, O_RDWR | O_EXCL] {
        assert_eq!(name.open(flags).unwrap_err(), ENOENT);
    }
    assert_eq!(name.unlink(), Err(ENOENT));
});

both_worlds!(o_excl_makes_only_what_is_not_there, {
    let name = Name::new();
    let q = name.create(3, 8).unwrap();
    let again = name.create_with(O_RDWR | O_EXCL, 0o600, None);
    assert_eq!(again.unwrap_err(), EEXIST);
    let same = name.create_with(O_RDWR, 0o600, Some((7, 7))).unwrap();
    assert_eq!(
        getattr(&same),
        Ok([0, 3, 8, 0]),
        "attributes are the first one's"
    );
    assert!(name.open(O_RDONLY | O_EXCL).is_ok(), "O_EXCL alone");
    drop(q);
});

both_worlds!(a_bad_name_pointer_is_found_by_the_kernel_call, {
    for addr in [NULL.addr, KERNEL.addr] {
        // SAFETY: the kernel judges the address.
        let ret = unsafe { libc::syscall(libc::SYS_mq_open, addr, O_RDWR | O_CREAT, 0o600, 0) };
        assert_eq!((ret, ringer_support::errno()), (-1, EFAULT));
        // SAFETY: as above.
        let ret = unsafe { libc::syscall(libc::SYS_mq_unlink, addr) };
        assert_eq!((ret, ringer_support::errno()), (-1, EFAULT));
    }
});

both_worlds!(a_bad_attribute_pointer_is_found_first, {
    let name = Name::new();
    for addr in [8usize, KERNEL.addr] {
        // SAFETY: the kernel judges the address.
        let q = unsafe { libc::mq_open(name.text.as_ptr(), O_CREAT | O_RDWR, 0o600, addr) };
        assert_eq!((q, ringer_support::errno()), (-1, EFAULT));
        let bad = c"/a/b";
        // SAFETY: as above.
        let q = unsafe { libc::mq_open(bad.as_ptr(), O_CREAT | O_RDWR, 0o600, addr) };
        assert_eq!((q, ringer_support::errno()), (-1, EFAULT));
    }
    assert_eq!(name.open(O_RDWR).unwrap_err(), ENOENT);
});

both_worlds!(a_queue_outlives_its_descriptors, {
    let name = Name::new();
    let q = name.create(3, 8).unwrap();
    assert_eq!(send(&q, b"kept", 5), Ok(0));
    assert_eq!(q.close(), Ok(0));
    let q = name.open(O_RDONLY).unwrap();
    assert_eq!(receive(&q), Ok((b"kept".to_vec(), 5)));
});

both_worlds!(an_unlinked_queue_lives_until_the_last_close, {
    let (name, q) = queue();
    assert_eq!(name.unlink(), Ok(0));
    assert_eq!(name.open(O_RDWR).unwrap_err(), ENOENT);
    assert_eq!(name.unlink(), Err(ENOENT));
    assert_eq!(send(&q, b"old", 0), Ok(0));
    let new = name.create(1, 8).unwrap();
    assert_eq!(curmsgs(&new), 0, "another queue of the same name");
    assert_eq!(send(&new, b"new", 0), Ok(0));
    assert_eq!(take(&q), Ok(b"old".to_vec()));
    assert_eq!(take(&new), Ok(b"new".to_vec()));
});

both_worlds!(all_descriptors_of_a_name_are_of_one_queue, {
    let (name, q) = queue();
    let (r, w) = (name.open(O_RDONLY).unwrap(), name.open(O_WRONLY).unwrap());
    assert_eq!(send(&w, b"x", 1), Ok(0));
    assert_eq!(curmsgs(&q), 1);
    assert_eq!(receive(&r), Ok((b"x".to_vec(), 1)));
});

both_worlds!(the_access_mode_says_what_a_descriptor_may_do, {
    let (name, q) = queue();
    let (r, w) = (name.open(O_RDONLY).unwrap(), name.open(O_WRONLY).unwrap());
    assert_eq!(send(&r, b"x", 1), Err(EBADF));
    assert_eq!(receive(&w), Err(EBADF));
    assert_eq!(send(&w, b"x", 1), Ok(0));
    assert_eq!(receive(&r).map(|m| m.1), Ok(1));
    assert_eq!(name.open(3).unwrap_err(), EINVAL);
    drop(q);
    let other = Name::new();
    let neither = other.create_with(3, 0o600, Some((1, 1))).unwrap();
    assert_eq!(send(&neither, b"x", 1), Err(EBADF));
    assert_eq!(receive(&neither), Err(EBADF));
});

both_worlds!(the_one_who_makes_it_may_do_what_the_mode_does_not_allow, {
    let name = Name::new();
    let q = name.create_with(O_RDWR, 0, Some((1, 1))).unwrap();
    assert_eq!(send(&q, b"x", 0), Ok(0));
});

both_worlds!(other_users_have_the_permissions_of_the_mode, {
    if !is_root() {
        return;
    }
    // SAFETY: numbers only.
    unsafe { libc::umask(0) };
    let modes = [
        (0o600, [false, false, false]),
        (0o644, [true, false, false]),
        (0o622, [false, true, false]),
        (0o666, [true, true, true]),
        (0o060, [false, false, false]),
    ];
    let names: Vec<Name> = modes
        .iter()
        .map(|(mode, _)| {
            let name = Name::new();
            drop(name.create_with(O_RDWR, *mode, Some((1, 1))).unwrap());
            name
        })
        .collect();
    let child = fork_run(|| {
        become_nobody();
        for ((mode, may), name) in modes.iter().zip(&names) {
            for (flags, may) in [O_RDONLY, O_WRONLY, O_RDWR].into_iter().zip(may) {
                let opened = name.open(flags).map(|_| ());
                assert_eq!(
                    opened,
                    if *may { Ok(()) } else { Err(EACCES) },
                    "{mode:o} {flags}"
                );
            }
            assert_eq!(name.unlink(), Err(EACCES), "the directory is sticky");
        }
    });
    child.succeeds();
});

both_worlds!(the_umask_applies, {
    if !is_root() {
        return;
    }
    let name = Name::new();
    // SAFETY: numbers only.
    unsafe { libc::umask(0o022) };
    drop(name.create_with(O_RDWR, 0o666, Some((1, 1))).unwrap());
    fork_run(|| {
        become_nobody();
        assert!(name.open(O_RDONLY).is_ok());
        assert_eq!(name.open(O_WRONLY).unwrap_err(), EACCES);
    })
    .succeeds();
});

both_worlds!(no_descriptor_is_left, {
    let name = Name::new();
    drop(name.create(1, 1).unwrap());
    limit(libc::RLIMIT_NOFILE, 0);
    assert_eq!(name.open(O_RDWR).unwrap_err(), EMFILE);
    assert_eq!(Name::new().open(O_RDWR).unwrap_err(), EMFILE);
});

fn limit(what: u32, soft: u64) {
    let mut l = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: a valid rlimit, filled in, changed, and set.
    unsafe {
        libc::getrlimit(what as _, &mut l);
        l.rlim_cur = soft;
        assert_eq!(libc::setrlimit(what as _, &l), 0);
    }
}

both_worlds!(rlimit_msgqueue_bounds_the_bytes_of_a_user, {
    let name = Name::new();
    limit(libc::RLIMIT_MSGQUEUE, 0);
    assert_eq!(name.create(1, 1).unwrap_err(), EMFILE);
    let first = name.create_with(O_RDWR | O_EXCL, 0o600, Some((0, 1)));
    assert_eq!(first.unwrap_err(), EINVAL, "attributes are looked at first");
    limit(libc::RLIMIT_MSGQUEUE, 819_200);
    assert!(name.create(1, 1).is_ok());
});

both_worlds!(attributes_are_bounded_by_the_limits_in_proc, {
    let may_exceed = std::fs::read_to_string("/proc/self/status")
        .unwrap()
        .lines()
        .find_map(|l| {
            l.strip_prefix("CapEff:")
                .map(|c| u64::from_str_radix(c.trim(), 16).unwrap())
        })
        .is_some_and(|caps| caps & 1 << 24 != 0);
    let max = |what: &str| -> i64 {
        let path = format!("/proc/sys/fs/mqueue/{what}");
        std::fs::read_to_string(path)
            .unwrap()
            .trim()
            .parse()
            .unwrap()
    };
    let (messages, size) = match may_exceed {
        true => (65_536, 16 << 20),
        false => (max("msg_max"), max("msgsize_max")),
    };
    for (maxmsg, msgsize, works) in [
        (0, 1, false),
        (1, 0, false),
        (-1, 1, false),
        (1, -1, false),
        (messages + 1, 1, false),
        (1, size + 1, false),
        (i64::MAX, i64::MAX, false),
        (messages.min(100), 1, true),
        (1, size.min(8192), true),
    ] {
        let name = Name::new();
        let made = name.create(maxmsg, msgsize);
        match works {
            true => assert_eq!(getattr(&made.unwrap()), Ok([0, maxmsg, msgsize, 0])),
            false => assert_eq!(made.unwrap_err(), EINVAL, "{maxmsg} {msgsize}"),
        }
    }
});

both_worlds!(without_attributes_the_defaults_of_proc_hold, {
    let of = |what: &str| -> i64 {
        let path = format!("/proc/sys/fs/mqueue/{what}");
        std::fs::read_to_string(path)
            .unwrap()
            .trim()
            .parse()
            .unwrap()
    };
    let name = Name::new();
    match name.create_with(O_RDWR, 0o600, None) {
        Ok(q) => {
            let maxmsg = of("msg_default").min(of("msg_max"));
            let msgsize = of("msgsize_default").min(of("msgsize_max"));
            assert_eq!(getattr(&q), Ok([0, maxmsg, msgsize, 0]));
        }
        // Other tests have the user's bytes just now.
        Err(e) => assert!(e == EMFILE || e == ENOSPC, "{e}"),
    }
});

both_worlds!(the_checked_open_of_fortified_programs_works, {
    extern "C" {
        fn __mq_open_2(name: *const libc::c_char, flags: c_int) -> mqd_t;
    }
    let (name, _q) = queue();
    // SAFETY: a C string; no O_CREAT.
    let q = unsafe { __mq_open_2(name.text.as_ptr(), O_RDWR) };
    assert!(q >= 0);
    let q = Fd::own(q as usize);
    assert_eq!(send(&q, b"x", 0), Ok(0));
});
