//! What a victim did to sockets, and to what was on its way through them.

use super::*;

/// All until "end".
fn all(fd: &Fd) -> Vec<u8> {
    let mut all = Vec::new();
    while !all.ends_with(b"end") {
        all.extend(unix::receive(fd, 2 * MUCH, 0).unwrap());
    }
    all
}

pub fn sending_(point: &str, nth: u32) -> bool {
    let mut died = false;
    for kind in KINDS {
        let (a, b) = socketpair(kind);
        let receiver = fork_run(|| {
            let got = all(&b);
            assert!(got == b"end" || got == b"twoend", "{got:?}");
        });
        receiver.sleeping();
        died |= kill_at(point, nth, "send", &a);
        unix::send(&a, b"end", 0).unwrap();
        receiver.succeeds();
    }
    died
}

pub fn receiving_(point: &str, nth: u32) -> bool {
    let mut died = false;
    for kind in KINDS {
        let (a, b) = socketpair(kind);
        let full = (0..).take_while(|_| unix::send(&a, &[b'x'; 1000], MSG_DONTWAIT) == Ok(1000));
        let full = full.count();
        let sender = fork_run(|| assert_eq!(unix::send(&a, b"end", 0), Ok(3)));
        sender.sleeping();
        // (A sender is woken when a quarter is left.)
        let what = format!("{}*{}", b.number(), full - 1);
        died |= kill(point, nth, "receive", &what);
        let left = all(&b).len() - 3;
        sender.succeeds();
        assert!(
            left.is_multiple_of(1000) && (1..=full).contains(&(left / 1000)),
            "{left} of {full}"
        );
    }
    died
}

pub fn growing_(point: &str, nth: u32) -> bool {
    let mut died = false;
    for kind in KINDS {
        let (a, b) = socketpair(kind);
        unix::send(&a, b"one", 0).unwrap();
        died |= kill_at(point, nth, "send-much", &a);
        unix::send(&a, b"end", 0).unwrap();
        let got = all(&b);
        let middle = got
            .strip_prefix(b"one")
            .unwrap()
            .strip_suffix(b"end")
            .unwrap();
        assert!(middle.iter().all(|byte| *byte == b'y'));
        assert!(
            kind == SOCK_STREAM || [0, MUCH].contains(&middle.len()),
            "{}",
            middle.len()
        );
    }
    died
}

pub fn polled_socket(point: &str, nth: u32) -> bool {
    let mut died = false;
    for kind in KINDS {
        let (a, b) = socketpair(kind);
        for text in [b"one".as_slice(), b"two"] {
            unix::send(&a, text, 0).unwrap();
        }
        unix::send(&b, b"answer", 0).unwrap();
        died |= kill_at(point, nth, "poll", &b);
        unix::send(&a, b"end", 0).unwrap();
        assert_eq!(all(&b), b"onetwoend");
        assert_eq!(unix::receive(&a, 100, 0), Ok(b"answer".to_vec()));
    }
    died
}

/// An abstract one.
pub fn address(text: &str) -> Address {
    Address::of(format!("\0{text}").as_bytes())
}

fn listener(text: &str) -> Fd {
    let l = unix::socket(SOCK_STREAM);
    unix::bind(&l, &address(text)).unwrap();
    unix::listen(&l, 5).unwrap();
    l
}

pub fn connecting_(point: &str, nth: u32) -> bool {
    let text = format!("ringer-crash-{}-{nth}", getpid());
    let l = listener(&text);
    let died = kill(point, nth, "connect", &text);
    let (s, _) = unix::accept(&l, 0).unwrap();
    let got = unix::receive(&s, 100, 0).unwrap();
    assert!(got == b"early" || got.is_empty(), "{got:?}");
    if !got.is_empty() {
        assert_eq!(unix::receive(&s, 100, 0), Ok(vec![]));
    }
    died
}

pub fn accepting_(point: &str, nth: u32) -> bool {
    let text = format!("ringer-crash-{}-{nth}", getpid());
    let l = listener(&text);
    let c = unix::socket(SOCK_STREAM);
    unix::connect(&c, &address(&text)).unwrap();
    unix::send(&c, b"early", 0).unwrap();
    let act = if point.starts_with("unix.pending") {
        "accept-and-poll"
    } else {
        "accept"
    };
    let died = kill_at(point, nth, act, &l);
    match unix::receive(&c, 100, 0) {
        Ok(got) if got == b"x" => {}
        Ok(got) => assert_eq!(got, b""),
        Err(e) => assert_eq!(e, libc::ECONNRESET),
    }
    died
}

pub fn passing_(point: &str, nth: u32) -> bool {
    let mut died = false;
    for kind in KINDS {
        let (a, b) = socketpair(kind);
        died |= kill_at(point, nth, "pass", &a);
        unix::send(&a, b"end", 0).unwrap();
        let got = all(&b);
        assert!(got == b"end" || got.len() == 4, "{got:?}");
    }
    died
}

pub fn taking_what_was_passed(point: &str, nth: u32) -> bool {
    let mut died = false;
    for kind in KINDS {
        let (a, b) = socketpair(kind);
        let p = pipe();
        send_fds(&a, &[p.w.number()]).unwrap();
        died |= kill_at(point, nth, "receive-passed", &b);
        drop((p.w, a, b));
        assert_eq!(read_to_end(&p.r), b"", "nobody has the other end");
    }
    died
}
