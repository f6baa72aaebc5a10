use super::*;
use ringer_kernel::log::object;

const USR1: Number = Number(10);
const USR1_SET: Mask = Mask(1 << 9);

fn sig(n: u32) -> Option<Object> {
    Some(Object(object::SIGNAL | n))
}

/// The log of process 1, unless an entry says otherwise.
#[derive(Default)]
struct Log {
    story: SigStory,
    left: Vec<(u64, String)>,
    id: u64,
}

impl Log {
    fn entry(&mut self, op: Op, signal: Signal, more: Entry) -> Entry {
        self.id += 1;
        let pid = if more.pid == 0 { 1 } else { more.pid };
        let mut e = Entry {
            id: self.id,
            t_ns: self.id * 100,
            op,
            pid,
            tid: if more.tid == 0 { pid } else { more.tid },
            signal: op.is_signal().then(|| Box::new(signal)),
            ..more
        };
        let left = &mut self.left;
        self.story.follow(&mut e, |e| {
            assert_eq!(e.op, Op::HandlerLeft);
            left.push((e.cause.unwrap(), e.why.unwrap().into_owned()));
        });
        e
    }

    fn mask(&mut self, how: &'static str, set: Mask, mask: Mask) -> Entry {
        let signal = Signal {
            how: Some(how.into()),
            set: Some(set),
            mask: Some(mask),
            ..Signal::default()
        };
        self.entry(Op::Sigprocmask, signal, Entry::default())
    }

    /// By process 2.
    fn kill(&mut self, n: u32, became: Became) -> Entry {
        let signal = Signal {
            name: Some(USR1),
            to: Some(1),
            became: Some(became),
            ..Signal::default()
        };
        let more = Entry {
            pid: 2,
            obj: sig(n),
            ..Entry::default()
        };
        self.entry(Op::Kill, signal, more)
    }

    fn handler(&mut self, cause: Option<u64>, frame: i32) -> Entry {
        let signal = Signal {
            name: Some(USR1),
            frame: Some(frame),
            ..Signal::default()
        };
        let more = Entry {
            cause,
            ..Entry::default()
        };
        self.entry(Op::Handler, signal, more)
    }

    fn returned(&mut self, of: u64, mask: Mask) -> Entry {
        let signal = Signal {
            name: Some(USR1),
            mask: Some(mask),
            ..Signal::default()
        };
        let more = Entry {
            cause: Some(of),
            ..Entry::default()
        };
        self.entry(Op::HandlerReturn, signal, more)
    }
}

fn of(e: &Entry) -> &Signal {
    e.signal.as_deref().unwrap()
}

#[test]
fn a_signals_whole_life() {
    let mut log = Log::default();
    let block = log.mask("SIG_BLOCK", USR1_SET, USR1_SET);
    let sent = log.kill(91, Became::Pending);
    assert_eq!(of(&sent).blocked_by, Some(block.id));
    let again = log.kill(92, Became::Coalesced);
    assert_eq!(
        (of(&again).with, of(&again).blocked_by),
        (sig(91), Some(block.id))
    );
    let unblock = log.mask("SIG_UNBLOCK", USR1_SET, Mask(0));
    assert_eq!(of(&unblock).frees, [sig(91).unwrap()]);
    let handler = log.handler(Some(sent.id), 100);
    assert_eq!((handler.obj, of(&handler).pending_ns), (sig(91), Some(300)));
    let over = log.returned(handler.id, Mask(0));
    assert_eq!((over.obj, of(&over).restored), (sig(91), Some(true)));
    assert!(of(&log.mask("SIG_UNBLOCK", Mask(1), Mask(0)))
        .frees
        .is_empty());
    assert!(log.left.is_empty());
}

#[test]
fn one_that_is_handled_at_once_was_never_pending() {
    let mut log = Log::default();
    let sent = log.kill(91, Became::AtOnce);
    let handler = log.handler(Some(sent.id), 100);
    assert_eq!((handler.obj, of(&handler).pending_ns), (sig(91), None));
}

#[test]
fn a_handler_that_runs_blocks_its_own_signal_and_those_of_its_mask() {
    let mut log = Log::default();
    log.mask("SIG_SETMASK", Mask(0), Mask(0));
    let handler = log.handler(None, 100);
    assert_eq!(
        of(&log.kill(91, Became::Pending)).blocked_by,
        Some(handler.id)
    );
    let to_handler = Signal {
        name: Some(Number(12)),
        to: Some(1),
        became: Some(Became::Pending),
        ..Signal::default()
    };
    let other = log.entry(Op::Kill, to_handler, Entry::default());
    assert_eq!(of(&other).blocked_by, Some(handler.id));
}

#[test]
fn a_mask_is_inherited_and_pending_signals_are_not() {
    let mut log = Log::default();
    let block = log.mask("SIG_BLOCK", USR1_SET, USR1_SET);
    log.kill(91, Became::Pending);
    let fork = Entry {
        who: Some(3),
        ..Entry::default()
    };
    log.entry(Op::Fork, Signal::default(), fork);
    let to_child = Signal {
        name: Some(USR1),
        to: Some(3),
        became: Some(Became::Coalesced),
        ..Signal::default()
    };
    let sent = log.entry(Op::Kill, to_child, Entry::default());
    assert_eq!(
        (of(&sent).blocked_by, of(&sent).with),
        (Some(block.id), None)
    );
}

#[test]
fn who_ignores_a_signal_discards_it() {
    let mut log = Log::default();
    log.mask("SIG_BLOCK", USR1_SET, USR1_SET);
    log.kill(91, Became::Pending);
    let ignore = |log: &mut Log| {
        let signal = Signal {
            name: Some(USR1),
            handler: Some("SIG_IGN".into()),
            ..Signal::default()
        };
        let e = log.entry(Op::Sigaction, signal, Entry::default());
        of(&e).frees.clone()
    };
    assert_eq!(ignore(&mut log), [sig(91).unwrap()]);
    assert!(ignore(&mut log).is_empty());
}

#[test]
fn handlers_that_never_return() {
    let mut log = Log::default();
    let outer = log.handler(None, 100);
    let inner = log.handler(None, 50);
    assert!(log.left.is_empty());
    log.returned(outer.id, Mask(0));
    assert_eq!(log.left, [(inner.id, "longjmp".to_owned())]);

    // In the same place, or above: the old frame is gone. On another stack: who knows.
    let first = log.handler(None, 100);
    let second = log.handler(None, 100);
    log.handler(None, 0x7000_0000);
    let last = log.entry(Op::Exit, Signal::default(), Entry::default());
    assert_eq!(log.left[1], (first.id, "longjmp".to_owned()));
    assert_eq!(log.left[2], (second.id, "exit".to_owned()));
    assert_eq!(log.left.len(), 4);
    assert!(last.signal.is_none());
}

#[test]
fn the_handler_that_comes_next_ends_the_wait() {
    let mut log = Log::default();
    let wait = log.entry(Op::SignalWait, Signal::default(), Entry::default());
    let handler = log.handler(None, 100);
    assert_eq!(of(&handler).interrupts, Some(wait.id));
    log.entry(Op::Interrupted, Signal::default(), Entry::default());
    log.returned(handler.id, Mask(0));
    assert_eq!(of(&log.handler(None, 100)).interrupts, None);
}

/// By process 2, told by siginfo alone.
fn from_two(tid: u32, more: Signal) -> (Signal, Entry) {
    let signal = Signal {
        name: Some(USR1),
        code: Some("SI_USER".into()),
        from: Some(2),
        ..more
    };
    let entry = Entry {
        tid,
        ..Entry::default()
    };
    (signal, entry)
}

#[test]
fn what_was_left_and_handed_to_the_kernel_has_its_cause_all_the_same() {
    let mut log = Log::default();
    let first = log.kill(1, Became::Pending);
    let second = log.kill(2, Became::Kernel);
    let (signal, entry) = from_two(1, Signal::default());
    let handler = log.entry(Op::Handler, signal.clone(), entry);
    assert_eq!((handler.cause, handler.obj), (Some(first.id), sig(1)));
    assert_eq!(handler.signal.unwrap().pending_ns, Some(200));
    let handler = log.entry(Op::Handler, signal, Entry::default());
    assert_eq!((handler.cause, handler.obj), (Some(second.id), sig(2)));
    // Of somebody else nothing is known.
    let signal = Signal {
        name: Some(USR1),
        code: Some("SI_USER".into()),
        from: Some(3),
        ..Signal::default()
    };
    log.kill(3, Became::Kernel);
    let handler = log.entry(Op::Handler, signal, Entry::default());
    assert_eq!(handler.cause, None);
}

#[test]
fn a_signal_that_is_ignored_there_is_told_to_be() {
    let mut log = Log::default();
    let set = |handler: &'static str| Signal {
        name: Some(USR1),
        handler: Some(handler.into()),
        ..Signal::default()
    };
    let became = |e: Entry| e.signal.unwrap().became;
    log.entry(Op::Sigaction, set("SIG_IGN"), Entry::default());
    assert_eq!(became(log.kill(1, Became::Kernel)), Some(Became::Ignored));
    log.mask("SIG_BLOCK", USR1_SET, USR1_SET);
    assert_eq!(became(log.kill(2, Became::Kernel)), Some(Became::Kernel));
    log.mask("SIG_UNBLOCK", USR1_SET, Mask(0));
    log.entry(Op::Sigaction, set("SIG_DFL"), Entry::default());
    assert_eq!(became(log.kill(3, Became::Kernel)), Some(Became::Kernel));
}

#[test]
fn a_thread_gets_what_the_main_thread_blocks() {
    let mut log = Log::default();
    log.kill(1, Became::Kernel);
    let (signal, entry) = from_two(7, Signal::default());
    let signal_of = |e: Entry| e.signal.unwrap();
    let chosen = log.entry(Op::Handler, signal.clone(), entry.clone());
    assert_eq!(signal_of(chosen).passed_over, [] as [u32; 0]);
    log.mask("SIG_BLOCK", USR1_SET, USR1_SET);
    log.kill(2, Became::Kernel);
    let chosen = log.entry(Op::Handler, signal.clone(), entry.clone());
    assert_eq!(signal_of(chosen).passed_over, [1]);
    // One that was sent to it alone was nobody's else.
    let private = Signal {
        code: Some("SI_TKILL".into()),
        ..signal
    };
    let chosen = log.entry(Op::Handler, private, entry);
    assert_eq!(signal_of(chosen).passed_over, [] as [u32; 0]);
}
