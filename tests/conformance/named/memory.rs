use std::ffi::CString;

use libc::{EEXIST, ENAMETOOLONG, ENOENT, O_CREAT, O_EXCL, O_TRUNC};
use ringer_support::check;
use ringer_support::prelude::*;

use super::name;

fn open(name: &CString, flags: c_int) -> Result<Fd, i32> {
    // SAFETY: a C string.
    check(unsafe { libc::shm_open(name.as_ptr(), flags, 0o600) }).map(Fd::own)
}

fn unlink(name: &CString) -> Sys {
    // SAFETY: a C string.
    check(unsafe { libc::shm_unlink(name.as_ptr()) })
}

/// A name that goes with this.
struct Named(CString, libc::pid_t);

impl Named {
    fn new(len: usize) -> Named {
        Named(name(len), getpid())
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        if self.1 == getpid() {
            let _ = unlink(&self.0);
        }
    }
}

both_worlds!(memory_is_shared_by_name, worlds = all, {
    let n = Named::new(0);
    let fd = open(&n.0, O_CREAT | O_EXCL | O_RDWR).unwrap();
    assert!(close_on_exec(&fd));
    assert_eq!(write(&fd, b"from the parent"), Ok(15));
    fork_run(|| {
        let own = open(&n.0, O_RDWR).unwrap();
        assert_eq!(read_n(&own, 100), Ok(b"from the parent".to_vec()));
        assert_eq!(pwrite(&own, b"by", 0), Ok(2));
    })
    .succeeds();
    let mut bytes = [0; 4];
    assert_eq!(pread(&fd, &mut bytes, 0), Ok(4));
    assert_eq!(&bytes, b"byom");
});

both_worlds!(names_are_judged_as_libc_does, {
    for (text, expected) in [
        ("", EINVAL),
        ("/", EINVAL),
        ("/a/b", EINVAL),
        ("//", EINVAL),
    ] {
        let bad = CString::new(text).unwrap();
        assert_eq!(
            open(&bad, O_CREAT | O_RDWR).unwrap_err(),
            expected,
            "{text}"
        );
    }
    for text in ["/.", "/.."] {
        let directory = CString::new(text).unwrap();
        assert_eq!(
            open(&directory, O_CREAT | O_RDWR).unwrap_err(),
            EINVAL,
            "{text}"
        );
    }
    let n = Named::new(0);
    assert_eq!(open(&n.0, O_RDWR).unwrap_err(), ENOENT);
    assert_eq!(unlink(&n.0), Err(ENOENT));
    drop(open(&n.0, O_CREAT | O_RDWR).unwrap());
    assert_eq!(open(&n.0, O_CREAT | O_EXCL | O_RDWR).unwrap_err(), EEXIST);
    assert_eq!(unlink(&n.0), Ok(0));
    assert_eq!(unlink(&n.0), Err(ENOENT));
});

both_worlds!(a_name_has_at_most_255_bytes, {
    for len in [150, 230, 254, 255] {
        let n = Named::new(len);
        let fd = open(&n.0, O_CREAT | O_EXCL | O_RDWR).unwrap();
        write(&fd, b"x").unwrap();
        let again = open(&n.0, O_RDONLY).unwrap();
        assert_eq!(read_n(&again, 9), Ok(b"x".to_vec()), "{len}");
        assert_eq!(unlink(&n.0), Ok(0));
    }
    for len in [256, 257] {
        let n = Named::new(len);
        let made = open(&n.0, O_CREAT | O_RDWR).map(|_| ());
        assert_eq!(made, Err(ENAMETOOLONG), "{len}");
        assert_eq!(unlink(&n.0), Err(ENAMETOOLONG), "{len}");
    }
});

both_worlds!(flags_are_the_files, {
    let n = Named::new(0);
    let fd = open(&n.0, O_CREAT | O_RDWR).unwrap();
    write(&fd, b"some").unwrap();
    let read_only = open(&n.0, O_RDONLY).unwrap();
    assert_eq!(write(&read_only, b"x"), Err(EBADF));
    drop(open(&n.0, O_RDWR | O_TRUNC).unwrap());
    assert_eq!(fstat(&fd).unwrap().st_size, 0);
    assert_eq!(fstat(&fd).unwrap().st_mode & 0o777, 0o600);
});

both_worlds!(a_program_that_was_execed_finds_it, {
    let n = Named::new(0);
    let fd = open(&n.0, O_CREAT | O_RDWR).unwrap();
    write(&fd, b"python").unwrap();
    let script = format!(
        "import _posixshmem as p, os; f = p.shm_open({:?}, os.O_RDWR, mode=0o600); \
         assert os.read(f, 9) == b'python'; os.pwrite(f, b'PY', 0)",
        n.0.to_str().unwrap()
    );
    let child = fork_run(|| exec("/usr/bin/python3".as_ref(), &["-c", &script]));
    child.succeeds();
    let mut bytes = [0; 6];
    pread(&fd, &mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"PYthon");
});

both_worlds!(anonymous_memory_is_the_kernels, {
    // SAFETY: a C string.
    let fd = unsafe { libc::memfd_create(c"memory".as_ptr(), libc::MFD_CLOEXEC) };
    let fd = check(fd).map(Fd::own).unwrap();
    assert_eq!(write(&fd, b"x"), Ok(1));
    // SAFETY: the kernel judges the address.
    let bad = check(unsafe { libc::memfd_create(std::ptr::null(), 0) });
    assert_eq!(bad, Err(EFAULT));
});
