//! What a victim did to message queues.

use super::*;

/// A queue of so many messages, and the victim's name for it.
fn queue(most: i64) -> (Name, Fd, String) {
    let (name, q) = mq::queue_of(most, 8);
    let text = name.text.to_str().unwrap().to_owned();
    (name, q, text)
}

/// The messages until "end".
fn messages(q: &Fd) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    while all.last().is_none_or(|last| last != b"end") {
        all.push(mq::take(q).unwrap());
    }
    all
}

fn is_all_or_without_the_first(got: &[Vec<u8>], all: &[&[u8]]) {
    assert!(got == all || got == &all[1..], "{got:?}");
}

pub fn mq_sending(point: &str, nth: u32) -> bool {
    let (_name, q, text) = queue(3);
    let died = kill(point, nth, "mq-send", &text);
    mq::send(&q, b"end", 0).unwrap();
    is_all_or_without_the_first(&messages(&q), &[b"two", b"end"]);
    died
}

pub fn mq_handing_over(point: &str, nth: u32) -> bool {
    let (_name, q, text) = queue(3);
    let receiver = fork_run(|| is_all_or_without_the_first(&messages(&q), &[b"two", b"end"]));
    receiver.sleeping();
    let died = kill(point, nth, "mq-send", &text);
    mq::send(&q, b"end", 0).unwrap();
    receiver.succeeds();
    died
}

pub fn mq_receiving(point: &str, nth: u32) -> bool {
    let (_name, q, text) = queue(1);
    mq::send(&q, b"one", 0).unwrap();
    let sender = fork_run(|| mq::send(&q, b"end", 0).map(drop).unwrap());
    sender.sleeping();
    let died = kill(point, nth, "mq-receive", &text);
    is_all_or_without_the_first(&messages(&q), &[b"one", b"end"]);
    sender.succeeds();
    died
}

pub fn mq_waiting(point: &str, nth: u32) -> bool {
    let (_name, q, text) = queue(1);
    let died = kill(point, nth, "mq-receive", &text);
    mq::send(&q, b"end", 0).unwrap();
    assert_eq!(messages(&q), [b"end"]);
    died
}

pub fn mq_polled(point: &str, nth: u32) -> bool {
    let (_name, q, text) = queue(2);
    assert_eq!(poll_now(&q) & POLLIN, 0);
    let died = kill(point, nth, "mq-send", &text);
    mq::send(&q, b"end", 0).unwrap();
    assert_eq!(poll_now(&q) & POLLIN, POLLIN);
    is_all_or_without_the_first(&messages(&q), &[b"two", b"end"]);
    assert_eq!(poll_now(&q) & (POLLIN | POLLOUT), POLLOUT);
    died
}

pub fn mq_making(point: &str, nth: u32) -> bool {
    let name = Name::new();
    let died = kill(point, nth, "mq-make", name.text.to_str().unwrap());
    let q = name.create_with(O_RDWR, 0o600, Some((1, 8))).unwrap();
    mq::send(&q, b"end", 0).unwrap();
    assert_eq!(messages(&q), [b"end"]);
    died
}
