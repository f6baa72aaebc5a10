//! mq_getattr(3), mq_setattr(3), and what fcntl(2) shows of them.

use ringer_support::mq::*;
use ringer_support::prelude::*;

both_worlds!(the_messages_are_counted, {
    let (_name, q) = queue_of(5, 16);
    assert_eq!(getattr(&q), Ok([0, 5, 16, 0]));
    for n in 1..=5 {
        send(&q, b"x", n as u32).unwrap();
        assert_eq!(getattr(&q), Ok([0, 5, 16, n]));
    }
    take(&q).unwrap();
    assert_eq!(getattr(&q), Ok([0, 5, 16, 4]));
});

both_worlds!(o_nonblock_is_the_descriptions_own, {
    let (name, q) = queue_of(1, 8);
    let other = name.open(O_RDWR | O_NONBLOCK).unwrap();
    let same = dup(&other).unwrap();
    let nonblock = i64::from(O_NONBLOCK);
    assert_eq!(getattr(&q).unwrap()[0], 0);
    assert_eq!(getattr(&other).unwrap()[0], nonblock);
    assert_eq!(take(&other), Err(EAGAIN));
    assert_eq!(setflags(&same, 0), Ok([nonblock, 1, 8, 0]), "the old ones");
    assert_eq!(getattr(&other).unwrap()[0], 0);
    assert_eq!(setflags(&q, nonblock), Ok([0, 1, 8, 0]));
    assert_eq!(take(&q), Err(EAGAIN));
    assert_eq!(getattr(&other).unwrap()[0], 0);
    assert_eq!(fcntl(&q, F_GETFL, 0), Ok((O_RDWR | O_NONBLOCK) as usize));
});

both_worlds!(f_setfl_and_mq_setattr_are_the_same, {
    let (_name, q) = queue_of(1, 8);
    fcntl(&q, F_SETFL, O_NONBLOCK as usize).unwrap();
    assert_eq!(getattr(&q).unwrap()[0], i64::from(O_NONBLOCK));
    assert_eq!(take(&q), Err(EAGAIN));
    send(&q, b"x", 0).unwrap();
    assert_eq!(send(&q, b"x", 0), Err(EAGAIN));
    fcntl(&q, F_SETFL, 0).unwrap();
    assert_eq!(getattr(&q).unwrap()[0], 0);
    let on: c_int = 1;
    // SAFETY: FIONBIO takes a pointer to an int.
    assert_eq!(unsafe { libc::ioctl(q.number(), libc::FIONBIO, &on) }, 0);
    assert_eq!(getattr(&q).unwrap()[0], i64::from(O_NONBLOCK));
});

both_worlds!(only_o_nonblock_can_be_set, {
    let (_name, q) = queue_of(1, 8);
    for flags in [1, i64::from(libc::O_APPEND), -1, 1 << 40] {
        assert_eq!(setflags(&q, flags), Err(EINVAL), "{flags:#x}");
    }
    assert_eq!(getattr(&q), Ok([0, 1, 8, 0]));
});

both_worlds!(bad_descriptors_and_pointers, {
    let (_name, q) = queue_of(1, 8);
    let p = pipe();
    assert_eq!(getattr(&p.r), Err(EBADF));
    assert_eq!(setflags(&p.r, 0), Err(EBADF));
    let set = |fd: i32, new: usize, old: usize| {
        // SAFETY: the kernel judges the addresses.
        let ret = unsafe { libc::syscall(libc::SYS_mq_getsetattr, fd, new, old) };
        ringer_support::check(ret)
    };
    let fd = q.number();
    assert_eq!(set(fd, 0, 0), Ok(0));
    assert_eq!(set(fd, 8, 0), Err(EFAULT));
    assert_eq!(set(fd, 0, 8), Err(EFAULT));
    assert_eq!(set(-1, 8, 0), Err(EFAULT), "before the descriptor");
    assert_eq!(set(-1, 0, 8), Err(EBADF), "after it");
    assert_eq!(set(12345, 0, 0), Err(EBADF));
    let bad = attr(1, 0, 0, 0);
    assert_eq!(set(-1, std::ptr::from_ref(&bad) as usize, 0), Err(EINVAL));
});
