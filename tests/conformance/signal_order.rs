//! In which order signals come: by a model of Linux's rules, and by examples. See signal(7)
//! "Execution of signal handlers", "Queueing and delivery semantics"; kernel/signal.c next_signal.

use libc::{
    SA_NODEFER, SA_SIGINFO, SIGFPE, SIGHUP, SIGILL, SIGQUIT, SIGTERM, SIGTRAP, SIGWINCH, SIGXFSZ,
};
use ringer_support::prelude::*;
use sig::{bit, bits, RTMAX, RTMIN};

/// What a fault raises comes first.
const SYNCHRONOUS: [c_int; 6] = [
    SIGFPE,
    SIGILL,
    SIGTRAP,
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGSYS,
];

#[derive(Clone, Copy)]
struct Rule {
    number: c_int,
    mask: u64,
    nodefer: bool,
}

/// What a handler is expected to see: signal, value, mask, mask to come back to.
type Seen = (c_int, u64, u64, u64);

#[derive(Default)]
struct Model {
    private: Vec<(c_int, u64)>,
    shared: Vec<(c_int, u64)>,
    rules: Vec<Rule>,
}

impl Model {
    /// A standard signal that is pending already is dropped: the first siginfo is kept.
    fn send(queue: &mut Vec<(c_int, u64)>, number: c_int, value: u64) {
        if number >= RTMIN || queue.iter().all(|(n, _)| *n != number) {
            queue.push((number, value));
        }
    }

    fn take(queue: &mut Vec<(c_int, u64)>, blocked: u64) -> Option<(c_int, u64)> {
        let open = queue.iter().filter(|(n, _)| blocked & bit(*n) == 0);
        let first = open.min_by_key(|(n, _)| (!SYNCHRONOUS.contains(n), *n))?.0;
        let at = queue.iter().position(|(n, _)| *n == first)?;
        Some(queue.remove(at))
    }

    /// Unblocks everything but `mask`: what handlers see, in the order in which they run.
    fn run(&mut self, mask: u64) -> Vec<Seen> {
        let (mut blocked, mut frames, mut seen) = (mask, Vec::new(), Vec::new());
        loop {
            // On the way to user space a frame is pushed for each that may come.
            while let Some((number, value)) = Model::take(&mut self.private, blocked)
                .or_else(|| Model::take(&mut self.shared, blocked))
            {
                let rule = self.rules.iter().find(|r| r.number == number).unwrap();
                let own = if rule.nodefer { 0 } else { bit(number) };
                let saved = blocked;
                blocked |= rule.mask | own;
                frames.push((number, value, blocked, saved));
            }
            // The last one runs; and its return opens the mask, perhaps for others.
            let Some(frame) = frames.pop() else {
                return seen;
            };
            seen.push(frame);
            blocked = frame.3;
        }
    }
}

/// Random signals, pending for thread and process, with random masks of their handlers.
fn compare(seed: u64, numbers: &[c_int]) {
    let mut rng = Rng::new(seed);
    let mut model = Model::default();
    journal::start();
    for number in numbers {
        let others = (0..rng.below(4)).map(|_| rng.pick(numbers));
        let mask = others.fold(0, |set, n| set | bit(n));
        let nodefer = rng.below(4) == 0;
        model.rules.push(Rule {
            number: *number,
            mask,
            nodefer,
        });
        let flags = if nodefer { SA_NODEFER } else { 0 };
        journal::on_masked(*number, flags, mask);
    }
    sig::block(bits(numbers));
    for value in 0..rng.within(1, 12) as u64 {
        let number = rng.pick(numbers);
        if rng.below(2) == 0 {
            assert_eq!(sig::thread_sigqueue(sig::me(), number, value), 0);
            Model::send(&mut model.private, number, value);
        } else {
            sig::sigqueue(getpid(), number, value).unwrap();
            Model::send(&mut model.shared, number, value);
        }
    }
    let stay = (0..rng.below(3)).fold(0, |set, _| set | bit(rng.pick(numbers)));
    let expected = model.run(stay);
    sig::set_mask(stay);
    let events = journal::events();
    let seen: Vec<Seen> = events
        .iter()
        .map(|e| (e.number, e.value(), e.blocked, e.saved))
        .collect();
    assert_eq!(seen, expected, "seed {seed}");
    assert!(events.iter().all(|e| e.depth == 0));
    let left = model.private.iter().chain(&model.shared);
    assert_eq!(sig::pending(), left.fold(0, |set, (n, _)| set | bit(*n)));
    // And all the rest.
    let expected = model.run(0);
    journal::start();
    sig::set_mask(0);
    let seen: Vec<c_int> = journal::numbers();
    let expected: Vec<c_int> = expected.iter().map(|s| s.0).collect();
    assert_eq!(seen, expected, "the rest, seed {seed}");
}

cases!(the_order_is_that_of_the_model, {
    "standard signals" => {
        let numbers = [SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM, SIGTERM, SIGXFSZ, SIGWINCH];
        (0..60).for_each(|seed| compare(seed, &numbers));
    }
    "real-time signals" => {
        let numbers = [RTMIN, RTMIN + 1, RTMIN + 2, 50, RTMAX - 1, RTMAX];
        (100..160).for_each(|seed| compare(seed, &numbers));
    }
    "both" => {
        let numbers = [SIGHUP, SIGUSR1, SIGUSR2, SIGTERM, RTMIN, RTMIN + 1, RTMAX];
        (200..260).for_each(|seed| compare(seed, &numbers));
    }
    "with those of faults, which come first" => {
        let numbers = [SIGHUP, SIGILL, SIGTRAP, SIGFPE, SIGUSR2, RTMIN];
        (300..360).for_each(|seed| compare(seed, &numbers));
    }
});

cases!(those_of_faults_come_first_when_they_are_sent, {
    "SEGV, BUS and SYS by kill come before all" => {
        let numbers = [SIGHUP, libc::SIGSEGV, libc::SIGBUS, libc::SIGSYS, SIGTERM];
        for number in numbers {
            journal::on_masked(number, 0, u64::MAX);
        }
        sig::block(u64::MAX);
        for number in numbers {
            sig::kill(getpid(), number).unwrap();
        }
        sig::set_mask(0);
        assert_eq!(journal::numbers(), [libc::SIGBUS, libc::SIGSEGV, libc::SIGSYS, SIGHUP, SIGTERM]);
    }
});

cases!(what_a_sent_signal_of_a_fault_blocks, {
    "its handler's sa_mask keeps others away, when it was pending and when it was not" => {
        extern "C" fn sends(number: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
            sig::kill(getpid(), SIGHUP).unwrap();
            sig::kill(getpid(), if number == libc::SIGSEGV { libc::SIGBUS } else { libc::SIGSEGV }).unwrap();
            assert!(journal::numbers().is_empty());
            assert_eq!(sig::pending() & bit(SIGHUP), bit(SIGHUP));
        }
        let all = [libc::SIGSEGV, libc::SIGBUS, libc::SIGSYS];
        for number in all {
            for blocked in [0, bit(number), bit(number) | bit(SIGHUP), u64::MAX] {
                journal::start();
                for other in all {
                    journal::on(other, 0);
                }
                journal::on(SIGHUP, 0);
                let mask = bit(SIGHUP) | bits(&SYNCHRONOUS);
                sig::set_action(number, sends as *const () as usize, SA_SIGINFO, mask).unwrap();
                sig::set_mask(blocked);
                sig::kill(getpid(), number).unwrap();
                sig::set_mask(0);
                let other = if number == libc::SIGSEGV { libc::SIGBUS } else { libc::SIGSEGV };
                assert_eq!(journal::numbers(), [SIGHUP, other], "{number} {blocked:x}");
                assert_eq!(sig::mask(), 0);
            }
        }
    }
    "with frames on top of each other" => {
        let numbers = [libc::SIGBUS, libc::SIGSEGV, libc::SIGSYS, SIGTERM, RTMIN];
        for round in 0..32u32 {
            journal::start();
            // Each blocks some of the others.
            for (i, number) in numbers.iter().enumerate() {
                let others = numbers.iter().enumerate().filter(|(j, _)| round >> ((i + j) % 5) & 1 != 0);
                journal::on_masked(*number, 0, others.fold(0, |set, (_, n)| set | bit(*n)));
            }
            sig::block(u64::MAX);
            for number in numbers {
                sig::kill(getpid(), number).unwrap();
            }
            sig::set_mask(0);
            assert_eq!(sig::mask(), 0, "{round}");
            let mut seen = journal::numbers();
            seen.sort_unstable();
            assert_eq!(seen, [7, 11, 15, 31, RTMIN], "{round}");
        }
    }
});

cases!(several_pending_signals, {
    "the lowest is taken first, so its handler runs last" => {
        for number in [SIGHUP, SIGUSR1, SIGTERM, RTMIN] {
            journal::on(number, 0);
        }
        sig::block(u64::MAX);
        for number in [SIGTERM, RTMIN, SIGHUP, SIGUSR1] {
            sig::kill(getpid(), number).unwrap();
        }
        sig::set_mask(0);
        assert_eq!(journal::numbers(), [RTMIN, SIGTERM, SIGUSR1, SIGHUP]);
    }
    "with full masks, in the order of their numbers" => {
        for number in [SIGHUP, SIGUSR1, SIGTERM, RTMIN] {
            journal::on_masked(number, 0, u64::MAX);
        }
        sig::block(u64::MAX);
        for number in [SIGTERM, RTMIN, SIGHUP, SIGUSR1] {
            sig::kill(getpid(), number).unwrap();
        }
        sig::set_mask(0);
        assert_eq!(journal::numbers(), [SIGHUP, SIGUSR1, SIGTERM, RTMIN]);
    }
    "of one that is pending twice the first siginfo is kept" => {
        journal::on(SIGUSR1, 0);
        sig::block(bit(SIGUSR1));
        for value in 1..=5 {
            sig::sigqueue(getpid(), SIGUSR1, value).unwrap();
        }
        sig::kill(getpid(), SIGUSR1).unwrap();
        sig::unblock(bit(SIGUSR1));
        let e = journal::only();
        assert_eq!((e.code, e.value()), (libc::SI_QUEUE, 1));
    }
    "it is kept also if it says less" => {
        journal::on(SIGUSR1, 0);
        sig::block(bit(SIGUSR1));
        sig::kill(getpid(), SIGUSR1).unwrap();
        sig::sigqueue(getpid(), SIGUSR1, 9).unwrap();
        sig::unblock(bit(SIGUSR1));
        assert_eq!(journal::only().code, libc::SI_USER);
    }
    "for the thread and for the process it is pending twice" => {
        journal::on(SIGUSR1, 0);
        sig::block(bit(SIGUSR1));
        sig::kill(getpid(), SIGUSR1).unwrap();
        sig::raise(SIGUSR1).unwrap();
        sig::unblock(bit(SIGUSR1));
        let codes: Vec<c_int> = journal::events().iter().map(|e| e.code).collect();
        assert_eq!(codes, [libc::SI_TKILL, libc::SI_USER]);
    }
    "real-time signals of kill and sigqueue keep their order" => {
        journal::on(RTMIN, 0);
        sig::block(bit(RTMIN));
        for value in 0..50 {
            if value % 3 == 0 {
                sig::kill(getpid(), RTMIN).unwrap();
            } else {
                sig::sigqueue(getpid(), RTMIN, value).unwrap();
            }
        }
        sig::unblock(bit(RTMIN));
        let values: Vec<u64> = journal::events().iter().map(|e| e.value()).collect();
        let expected: Vec<u64> = (0..50).map(|v| if v % 3 == 0 { 0 } else { v }).collect();
        assert_eq!(values, expected);
    }
    "thousands of them" => {
        journal::on(RTMIN + 3, 0);
        sig::block(bit(RTMIN + 3));
        for value in 0..5000 {
            sig::sigqueue(getpid(), RTMIN + 3, value).unwrap();
        }
        sig::unblock(bit(RTMIN + 3));
        let values: Vec<u64> = journal::events().iter().map(|e| e.value()).collect();
        assert_eq!(values, (0..5000).collect::<Vec<_>>());
    }
});

extern "C" fn raise_the_next(number: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    journal::note(number, info, context);
    if number < RTMAX {
        sig::raise(number + 1).unwrap();
    }
    journal::note(number, info, context);
}

extern "C" fn raise_its_own(number: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    journal::note(number, info, context);
    if journal::count() < 10 {
        sig::raise(number).unwrap();
    }
}

cases!(handlers_within_handlers, {
    "each interrupts the one before, thirty deep" => {
        journal::start();
        for number in RTMIN..=RTMAX {
            signal::handle(number, 0, raise_the_next);
        }
        sig::raise(RTMIN).unwrap();
        let down: Vec<c_int> = (RTMIN..=RTMAX).collect();
        let up = down.iter().rev();
        let expected: Vec<c_int> = down.iter().chain(up).copied().collect();
        assert_eq!(journal::numbers(), expected);
        let deepest = journal::events()[down.len()];
        assert_eq!(deepest.blocked, bits(&down));
        assert_eq!(sig::mask(), 0);
    }
    "its own signal waits until it has returned" => {
        journal::start();
        signal::handle(SIGUSR1, 0, raise_its_own);
        sig::raise(SIGUSR1).unwrap();
        assert_eq!(journal::count(), 10);
        assert!(journal::events().iter().all(|e| e.saved == 0));
    }
    "with SA_NODEFER it comes at once" => {
        journal::start();
        signal::handle(SIGUSR1, SA_NODEFER, raise_its_own);
        sig::raise(SIGUSR1).unwrap();
        assert_eq!(journal::count(), 10);
        assert_eq!(sig::mask(), 0);
    }
    "what sa_mask holds back comes after it" => {
        extern "C" fn raise_two(n: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
            sig::raise(SIGUSR2).unwrap();
            sig::raise(RTMIN).unwrap();
            journal::note(n, info, context);
        }
        journal::on(SIGUSR2, 0);
        journal::on(RTMIN, 0);
        let handler = raise_two as *const () as usize;
        sig::set_action(SIGUSR1, handler, libc::SA_SIGINFO, bits(&[SIGUSR2, RTMIN])).unwrap();
        sig::raise(SIGUSR1).unwrap();
        assert_eq!(journal::numbers(), [SIGUSR1, RTMIN, SIGUSR2]);
    }
});

/// Unblocks SIGHUP and SIGTERM, which are pending: both frames are pushed, SIGTERM's on top.
fn push_two_frames() {
    sig::block(u64::MAX);
    sig::kill(getpid(), SIGHUP).unwrap();
    sig::kill(getpid(), SIGTERM).unwrap();
    sig::set_mask(0);
}

cases!(a_frame_that_was_pushed_keeps_its_action, {
    "its handler" => {
        extern "C" fn on_top(n: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
            signal::handle(SIGHUP, 0, never);
            journal::note(n, info, context);
        }
        extern "C" fn never(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
            panic!("set after the frame was pushed");
        }
        journal::on(SIGHUP, 0);
        signal::handle(SIGTERM, 0, on_top);
        push_two_frames();
        assert_eq!(journal::numbers(), [SIGTERM, SIGHUP]);
    }
    "also if it is to be ignored from now on" => {
        extern "C" fn on_top(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
            sig::ignore(SIGHUP);
        }
        journal::on(SIGHUP, 0);
        signal::handle(SIGTERM, 0, on_top);
        push_two_frames();
        assert_eq!(journal::numbers(), [SIGHUP]);
    }
    "its mask, and the next one has the new action" => {
        extern "C" fn on_top(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
            for mask in [bit(RTMIN), bit(RTMAX), bit(SIGUSR1)] {
                journal::on_masked(SIGHUP, SA_NODEFER, mask);
            }
        }
        journal::on_masked(SIGHUP, 0, bit(SIGUSR2));
        signal::handle(SIGTERM, 0, on_top);
        push_two_frames();
        assert_eq!(journal::only().blocked, bits(&[SIGHUP, SIGUSR2]));
        sig::kill(getpid(), SIGHUP).unwrap();
        assert_eq!(journal::last().blocked, bit(SIGUSR1));
    }
    "with SA_RESETHAND the action that was set on top of it stays" => {
        extern "C" fn on_top(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
            assert_eq!(sig::action(SIGHUP).unwrap().handler, libc::SIG_DFL);
            journal::on(SIGHUP, 0);
        }
        journal::on(SIGHUP, libc::SA_RESETHAND);
        signal::handle(SIGTERM, 0, on_top);
        push_two_frames();
        sig::kill(getpid(), SIGHUP).unwrap();
        assert_eq!(journal::numbers(), [SIGHUP, SIGHUP]);
    }
});
