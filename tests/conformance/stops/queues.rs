//! POSIX message queues: who is stopped is out of line from the stop on, and gets in line again when it is continued.
//! (Linux ipc/mqueue.c: `wq_sleep` ends with -ERESTARTSYS.)

use super::{signal, stop_by, stop_cases};
use libc::{ETIMEDOUT, SIGUSR1};
use ringer_support::mq::*;
use ringer_support::prelude::*;
use std::time::Duration;

fn receiver(q: &Fd, expected: &'static [u8]) -> Child {
    let child = fork_run(|| {
        sig::own_group();
        assert_eq!(take(q), Ok(expected.to_vec()));
    });
    child.sleeping();
    child
}

fn sender(q: &Fd, what: &'static [u8], prio: u32) -> Child {
    let child = fork_run(|| {
        sig::own_group();
        assert_eq!(send(q, what, prio), Ok(0));
    });
    child.sleeping();
    child
}

/// It is in line again: it was asleep at any time, also while it was out.
fn continued(child: &Child) {
    signal(child, SIGCONT);
    child.sleeping();
    pause(Duration::from_millis(50));
}

stop_cases!(queues, {
    "a message for a stopped receiver stays in the queue" => {
        let (_name, q) = queue();
        let stopped = receiver(&q, b"second");
        stop_by(&stopped, SIGSTOP);
        send(&q, b"first", 0).unwrap();
        assert_eq!(curmsgs(&q), 1);
        assert_eq!(take(&q), Ok(b"first".to_vec()));
        continued(&stopped);
        send(&q, b"second", 0).unwrap();
        assert_eq!(curmsgs(&q), 0);
        stopped.succeeds();
    }
    "and is its own, if nobody takes it" => {
        let (_name, q) = queue();
        let stopped = receiver(&q, b"first");
        stop_by(&stopped, SIGSTOP);
        send(&q, b"first", 0).unwrap();
        signal(&stopped, SIGCONT);
        stopped.succeeds();
        assert_eq!(curmsgs(&q), 0);
    }
    "another receiver in line is served instead" => {
        let (_name, q) = queue();
        let stopped = receiver(&q, b"second");
        let next = receiver(&q, b"first");
        stop_by(&stopped, SIGSTOP);
        send(&q, b"first", 0).unwrap();
        assert_eq!(curmsgs(&q), 0);
        next.succeeds();
        continued(&stopped);
        send(&q, b"second", 0).unwrap();
        stopped.succeeds();
    }
    "a stopped receiver is none to a notification" => {
        journal::start();
        journal::on(SIGUSR1, 0);
        let (_name, q) = queue();
        let stopped = receiver(&q, b"told");
        notify(&q, Some(&event(libc::SIGEV_SIGNAL, SIGUSR1, 0))).unwrap();
        stop_by(&stopped, SIGSTOP);
        send(&q, b"told", 0).unwrap();
        assert_eq!(journal::numbers(), [SIGUSR1]);
        signal(&stopped, SIGCONT);
        stopped.succeeds();
    }
    "a stopped sender's message is not sent" => {
        let (_name, q) = queue_of(1, 8);
        send(&q, b"1", 0).unwrap();
        let stopped = sender(&q, b"3", 5);
        let next = sender(&q, b"2", 0);
        stop_by(&stopped, SIGSTOP);
        assert_eq!(take(&q), Ok(b"1".to_vec()));
        next.succeeds();
        assert_eq!(take(&q), Ok(b"2".to_vec()));
        assert_eq!(curmsgs(&q), 0);
        signal(&stopped, SIGCONT);
        stopped.succeeds();
        assert_eq!(receive(&q), Ok((b"3".to_vec(), 5)));
    }
    "its room is another's" => {
        let (_name, q) = queue_of(1, 8);
        send(&q, b"1", 0).unwrap();
        let stopped = sender(&q, b"3", 0);
        stop_by(&stopped, SIGSTOP);
        assert_eq!(take(&q), Ok(b"1".to_vec()));
        send(&q, b"2", 0).unwrap();
        signal(&stopped, SIGCONT);
        stopped.sleeping();
        assert_eq!(take(&q), Ok(b"2".to_vec()));
        stopped.succeeds();
        assert_eq!(take(&q), Ok(b"3".to_vec()));
    }
    "a deadline goes on" => {
        let (_name, q) = queue();
        let child = fork_run(|| assert_eq!(timedreceive(&q, &in_ms(300)), Err(ETIMEDOUT)));
        child.sleeping();
        stop_by(&child, SIGSTOP);
        send(&q, b"not for it", 0).unwrap();
        assert_eq!(take(&q), Ok(b"not for it".to_vec()));
        pause(Duration::from_millis(350));
        signal(&child, SIGCONT);
        child.succeeds();
    }
    "stopped and continued, again and again" => {
        let (_name, q) = queue();
        for n in 0..20_u8 {
            let child = fork_run(|| assert_eq!(take(&q), Ok(vec![n])));
            child.sleeping();
            signal(&child, SIGSTOP);
            signal(&child, SIGCONT);
            send(&q, &[n], 0).unwrap();
            child.succeeds();
        }
    }
    "all threads of a process" => {
        let (_name, q) = queue();
        let child = fork_run(|| {
            std::thread::scope(|scope| {
                let threads: Vec<_> = (0..3).map(|_| scope.spawn(|| take(&q))).collect();
                for thread in threads {
                    assert_eq!(thread.join().unwrap(), Ok(b"x".to_vec()));
                }
            });
        });
        child.sleeping();
        pause(Duration::from_millis(30));
        stop_by(&child, SIGSTOP);
        for n in 1..=3 {
            send(&q, b"x", 0).unwrap();
            assert_eq!(curmsgs(&q), n);
        }
        signal(&child, SIGCONT);
        child.succeeds();
    }
});

cases!(sent_by_the_session, {
    "continued, it is the last in line" => {
        let (_name, q) = queue();
        let first = receiver(&q, b"2");
        let second = receiver(&q, b"1");
        stop_by(&first, SIGSTOP);
        continued(&first);
        send(&q, b"1", 0).unwrap();
        second.succeeds();
        send(&q, b"2", 0).unwrap();
        first.succeeds();
    }
});
