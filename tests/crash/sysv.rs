//! Guests that die inside a System V call, at each of its crash points: a sleeper gets through or not
//! together with what the dead one did, its SEM_UNDO is applied, and messages are there once.
//!
//! Natively the victim dies right after its call; the survivors ask for no more than that allows.

use crate::library;
use ringer_support::prelude::*;
use ringer_support::sysv::*;
use ringer_support::world::{self, Test, World, BOTH};
use std::env;

/// What the victim's description is passed in: what it does, and to which object.
const VICTIM: &str = "RINGER_CRASH_SYSV";

/// What it does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Act {
    /// Takes one of number 0, with SEM_UNDO, and gives one to number 1: at once.
    Operate,
    /// Gives two to number 1, for those who sleep.
    Give,
    SetAll,
    Make,
    Remove,
    Send,
    Receive,
}

const ACTS: [Act; 7] = [
    Act::Operate,
    Act::Give,
    Act::SetAll,
    Act::Make,
    Act::Remove,
    Act::Send,
    Act::Receive,
];

/// Runs a victim to its death. `false`: it does not pass there so often.
fn kill(point: &str, nth: u32, act: Act, object: i32) -> bool {
    let child = fork_run(|| {
        env::set_var("RINGER_CRASH_AT", format!("{point}:{nth}"));
        let number = ACTS.iter().position(|a| *a == act).expect("one of all");
        env::set_var(VICTIM, format!("{number} {object}"));
        let program = env::current_exe().expect("the path of this test binary");
        let _ = dup2(&open("/dev/null", O_WRONLY).expect("/dev/null"), 1);
        exec(&program, &["sysv::victim", "--exact", "--test-threads=1"]);
    });
    let status = child.wait();
    match World::current() {
        // It died after its call, whatever the point: one such death is enough.
        Some(World::Native) => nth == 1 && status.signal() == Some(SIGKILL),
        _ => status.signal() == Some(SIGKILL),
    }
}

/// No test: what the victim's process runs. Without a victim's orders it does nothing.
#[test]
fn victim() {
    let Ok(orders) = env::var(VICTIM) else { return };
    let (act, object) = orders.split_once(' ').expect("two numbers");
    let act = ACTS[act.parse::<usize>().expect("a number")];
    let object: i32 = object.parse().expect("a number");
    let queue = std::mem::ManuallyDrop::new(Queue::adopt(object)); // the stage's
    let _ = match act {
        Act::Operate => semop(object, &[op_with(0, -1, SEM_UNDO), op(1, 1)]),
        Act::Give => semop(object, &[op(1, 2)]),
        Act::SetAll => semctl(object, 0, SETALL, [7u16, 8].as_ptr() as usize),
        Act::Make => semget(object, 2, NEW | 0o600).map(drop).map(|()| 0),
        Act::Remove => semctl(object, 0, libc::IPC_RMID, 0),
        Act::Send => queue.send(2, b"two", 0),
        Act::Receive => queue.receive(9, 1, 0).map(|_| 0),
    };
    if World::current() == Some(World::Native) {
        signal::kill(getpid(), SIGKILL);
    }
    // SAFETY: ends the process.
    unsafe { libc::_exit(0) };
}

/// A death at each passage, in the worlds.
macro_rules! deaths {
    ($($name:ident: $point:literal, $scene:expr;)*) => {
        $(
            #[test]
            fn $name() {
                fn body() {
                    let scene: fn(&str, u32) -> bool = $scene;
                    let passages = (1..100).take_while(|nth| scene($point, *nth)).count();
                    assert!(passages > 0, "nobody died at {}", $point);
                }
                library::use_crash_points();
                let path = concat!(module_path!(), "::", stringify!($name));
                world::run(&Test { path, timeout_secs: 100, worlds: BOTH }, body);
            }
        )*
    };
}

deaths! {
    operation_committed: "sysv.committed", operation;
    values_committed: "sysv.committed", values;
    service_committed: "sysv.committed", service;
    service_settled: "sysv.settled", service;
    making_done: "sysv.made", making;
    removal_done: "sysv.made", removal;
    sending_done: "sysv.queued", sending;
    receiving_done: "sysv.queued", receiving;
    handing_over_done: "sysv.handed", handing_over;
}

fn operation(point: &str, nth: u32) -> bool {
    let s = Sems::new(2);
    s.set_all(&[5, 0]).unwrap();
    let taker = fork_run(|| assert_eq!(s.op(&[op(1, -1)]), Ok(0)));
    wait_until(|| s.ncnt(1) == 1);
    let died = kill(point, nth, Act::Operate, s.id);
    // What it took it gives back; what it gave was given, to the sleeper.
    assert_eq!(s.all(), [5, 0], "{nth}");
    taker.succeeds();
    died
}

fn values(point: &str, nth: u32) -> bool {
    let s = Sems::new(2);
    let died = kill(point, nth, Act::SetAll, s.id);
    assert_eq!(s.all(), [7, 8], "{nth}");
    died
}

fn service(point: &str, nth: u32) -> bool {
    let s = Sems::new(2);
    let mut sleepers = Vec::new();
    for n in 1..=3 {
        sleepers.push(fork_run(|| assert_eq!(s.op(&[op(1, -1), op(0, 1)]), Ok(0))));
        wait_until(|| s.ncnt(1) == n);
    }
    let died = kill(point, nth, Act::Give, s.id);
    wait_until(|| s.get(0) == 2);
    assert_eq!((s.get(1), s.ncnt(1)), (0, 1), "{nth}");
    s.op(&[op(1, 1)]).unwrap();
    all_succeed(sleepers);
    assert_eq!(s.all(), [3, 0], "{nth}");
    died
}

fn making(point: &str, nth: u32) -> bool {
    let k = key();
    let died = kill(point, nth, Act::Make, k);
    let s = Sems::adopt(semget(k, 2, libc::IPC_CREAT | 0o600).unwrap());
    assert_eq!(s.all(), [0, 0]);
    died
}

fn removal(point: &str, nth: u32) -> bool {
    let s = Sems::new(1);
    let sleeper = fork_run(|| assert_eq!(s.op(&[op(0, -1)]), Err(libc::EIDRM)));
    wait_until(|| s.ncnt(0) == 1);
    let died = kill(point, nth, Act::Remove, s.id);
    sleeper.succeeds();
    assert_eq!(sem_stat(s.id).err(), Some(EINVAL));
    died
}

fn sending(point: &str, nth: u32) -> bool {
    let q = Queue::new();
    q.send(1, b"one", 0).unwrap();
    let died = kill(point, nth, Act::Send, q.id);
    q.send(3, b"end", 0).unwrap();
    assert_eq!(msg_stat(q.id).unwrap().__msg_cbytes, 9);
    for text in [b"one", b"two", b"end"] {
        assert_eq!(q.receive(9, 0, libc::IPC_NOWAIT).unwrap().1, text);
    }
    died
}

fn receiving(point: &str, nth: u32) -> bool {
    let q = Queue::new();
    q.change(|ds| ds.msg_qbytes = 6).unwrap();
    q.send(1, b"one", 0).unwrap();
    q.send(3, b"end", 0).unwrap();
    let sender = fork_run(|| assert_eq!(q.send(2, b"two", 0), Ok(0)));
    sender.sleeping();
    let died = kill(point, nth, Act::Receive, q.id);
    sender.succeeds();
    assert_eq!(q.len(), 2);
    for text in [b"end", b"two"] {
        assert_eq!(q.receive(9, 0, libc::IPC_NOWAIT).unwrap().1, text);
    }
    died
}

fn handing_over(point: &str, nth: u32) -> bool {
    let q = Queue::new();
    let receiver = fork_run(|| assert_eq!(q.receive(9, 2, 0), Ok((2, b"two".to_vec()))));
    receiver.sleeping();
    let died = kill(point, nth, Act::Send, q.id);
    receiver.succeeds();
    assert_eq!(q.len(), 0);
    died
}
