//! Each kind of descriptor is passed to a child.

use crate::*;
use libc::EPOLLIN;
use ringer_support::mq;
use ringer_support::rights::socketpair;

cases!(to_a_child, {
    "a read end with what is in the pipe and what comes" => {
        for kind in ALL_KINDS {
            let (a, b) = socketpair(kind);
            let child = fork_run(|| {
                let r = take_one(&b);
                assert!(read_exactly(&r, 10_000) == stream(0, 10_000));
                assert_eq!(read_to_end(&r), b"more");
            });
            let p = pipe();
            write_all(&p.w, &stream(0, 10_000));
            pass(&a, &[&p.r]);
            write_all(&p.w, b"more");
            drop(p);
            child.succeeds();
        }
    }
    "a write end, to a reader that sleeps" => {
        let (a, b) = socketpair(SOCK_STREAM);
        let s = Shared::new();
        let child = fork_run(|| {
            let w = take_one(&b);
            s.wait_for(0, 1);
            write_all(&w, b"one");
            s.wait_for(0, 2);
            write_all(&w, b"two");
        });
        let p = pipe();
        pass(&a, &[&p.w]);
        drop(p.w);
        s.set(0, 1);
        assert_eq!(read_n(&p.r, 9), Ok(b"one".to_vec()));
        s.set(0, 2);
        assert_eq!(read_to_end(&p.r), b"two");
        child.succeeds();
    }
    "an eventfd" => {
        let (a, b) = socketpair(SOCK_STREAM);
        let s = Shared::new();
        let child = fork_run(|| {
            let e = take_one(&b);
            s.wait_for(0, 1);
            assert_eq!(count(&e), Ok(7));
            add(&e, 3);
        });
        let e = eventfd(5);
        pass(&a, &[&e]);
        add(&e, 2);
        s.set(0, 1);
        child.succeeds();
        assert_eq!(count(&e), Ok(3));
    }
    "both of a pair of sockets" => {
        for (outer, kind) in [(SOCK_STREAM, SOCK_DGRAM), (SOCK_DGRAM, SOCK_SEQPACKET), (SOCK_SEQPACKET, SOCK_STREAM)] {
            let (a, b) = socketpair(outer);
            let child = fork_run(|| {
                let both = take(&b);
                assert_eq!(receive(&both[1], 99, 0), Ok(b"before".to_vec()));
                send(&both[0], b"from the child", 0).unwrap();
                assert_eq!(receive(&both[1], 99, 0), Ok(b"from the child".to_vec()));
                send(&both[1], b"back", 0).unwrap();
            });
            let (c, d) = socketpair(kind);
            send(&c, b"before", 0).unwrap();
            pass(&a, &[&c, &d]);
            child.succeeds();
            assert_eq!(receive(&c, 99, 0), Ok(b"back".to_vec()));
        }
    }
    "a message queue" => {
        let (a, b) = socketpair(SOCK_STREAM);
        let child = fork_run(|| {
            let q = take_one(&b);
            assert_eq!(mq::receive(&q), Ok((b"urgent".to_vec(), 9)));
            mq::send(&q, b"from the child", 1).unwrap();
        });
        let (_name, q) = mq::queue();
        mq::send(&q, b"urgent", 9).unwrap();
        pass(&a, &[&q]);
        child.succeeds();
        assert_eq!(mq::take(&q), Ok(b"from the child".to_vec()));
    }
    "things of all kinds in one message" => {
        let (a, b) = socketpair(SOCK_STREAM);
        let (file, p, e, (c, d)) = (temp_file(), pipe(), eventfd(0), socketpair(SOCK_STREAM));
        let (_name, q) = mq::queue();
        let child = fork_run(|| {
            let got = take(&b);
            let [file, r, w, e, c, q] = &got[..] else { panic!("{got:?}") };
            write_all(file, b"file");
            write_all(w, b"pipe");
            assert_eq!(read_n(r, 2), Ok(b"pi".to_vec()));
            add(e, 4);
            write_all(c, b"socket");
            mq::send(q, b"queue", 0).unwrap();
        });
        pass(&a, &[&file, &p.r, &p.w, &e, &c, &q]);
        child.succeeds();
        assert_eq!(pread(&file, &mut [0; 9], 0), Ok(4));
        assert_eq!((read_n(&p.r, 9), count(&e)), (Ok(b"pe".to_vec()), Ok(4)));
        assert_eq!((read_n(&d, 9), mq::take(&q)), (Ok(b"socket".to_vec()), Ok(b"queue".to_vec())));
    }
    "status flags are shared" => {
        let (a, b) = socketpair(SOCK_STREAM);
        let s = Shared::new();
        let child = fork_run(|| {
            let r = take_one(&b);
            assert_eq!(read_n(&r, 9), Err(EAGAIN));
            set_nonblocking(&r, false);
            s.set(0, 1);
            s.wait_for(0, 2);
            assert_eq!(read_n(&r, 9), Err(EAGAIN));
        });
        let p = nonblocking_pipe();
        pass(&a, &[&p.r]);
        s.wait_for(0, 1);
        assert_eq!(status_flags(&p.r) & O_NONBLOCK, 0);
        set_nonblocking(&p.r, true);
        assert_eq!(read_n(&p.r, 9), Err(EAGAIN));
        s.set(0, 2);
        child.succeeds();
    }
    "both ends of one pipe, closed here: the data are in it" => {
        let (a, b) = socketpair(SOCK_STREAM);
        let s = Shared::new();
        let child = fork_run(|| {
            s.wait_for(0, 1);
            let got = take(&b);
            assert!(read_exactly(&got[0], 30_000) == stream(0, 30_000));
            write_all(&got[1], b"on");
            assert_eq!(read_n(&got[0], 9), Ok(b"on".to_vec()));
        });
        let p = pipe();
        write_all(&p.w, &stream(0, 30_000));
        pass(&a, &[&p.r, &p.w]);
        drop(p);
        // Others come and go meanwhile.
        for _ in 0..20 {
            let other = pipe();
            write_all(&other.w, b"other");
        }
        s.set(0, 1);
        child.succeeds();
    }
    "what is received is polled" => {
        let (a, b) = socketpair(SOCK_STREAM);
        let s = Shared::new();
        let child = fork_run(|| {
            let (r, epoll) = (take_one(&b), Epoll::new());
            epoll.add(&r, EPOLLIN);
            assert_eq!(epoll.now(), 0);
            s.set(0, 1);
            assert_eq!(epoll.wait(-1).unwrap().len(), 1);
            assert_eq!(read_to_end(&r), b"ready");
        });
        let p = pipe();
        pass(&a, &[&p.r]);
        s.wait_for(0, 1);
        write_all(&p.w, b"ready");
        drop(p);
        child.succeeds();
    }
});
