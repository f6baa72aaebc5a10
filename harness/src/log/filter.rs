//! `-e EXPR`: which entries are told.
//!
//! ```text
//! EXPR  = [trace=] [!] ITEM , ITEM ...      one of the items (with !: none of them)
//! ITEM  = read, write, pipe2 ...            an operation
//!       | %pipe %desc %wait %process %sysv  a family of operations
//!       | signal %signal                    likewise: everything about signals
//!       | pipe eventfd pipe#3 sig#91        what it is about
//!       | signal=USR1                       which signal
//!       | pid=123  comm=sort  errno=EPIPE   who, and how it went
//! ```
//!
//! Of several `-e`, all must agree.

use ringer_kernel::log::object;

use super::entry::{Entry, Object, Op};
use super::signals::{Number, Signal};
use crate::error::{Error, Result};

#[derive(Clone, Debug)]
enum Item {
    Op(Op),
    Family(fn(Op) -> bool),
    /// One of `ringer_kernel::log::object`'s classes.
    Class(u32),
    Object(Object),
    Pid(u32),
    Comm(String),
    Errno(String),
    Signal(Number),
}

#[derive(Clone, Debug)]
struct Condition {
    negated: bool,
    items: Vec<Item>,
}

#[derive(Clone, Debug, Default)]
pub struct Filter(Vec<Condition>);

impl Filter {
    pub fn parse(expressions: &[String]) -> Result<Filter> {
        expressions
            .iter()
            .map(|e| condition(e))
            .collect::<Result<_>>()
            .map(Filter)
    }

    pub fn admits(&self, e: &Entry) -> bool {
        self.0
            .iter()
            .all(|c| c.items.iter().any(|item| item.is(e)) != c.negated)
    }
}

fn condition(expression: &str) -> Result<Condition> {
    let text = expression.strip_prefix("trace=").unwrap_or(expression);
    let (negated, list) = match text.strip_prefix('!') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let items = match list {
        "all" => vec![Item::Family(|_| true)],
        "none" => vec![Item::Family(|_| false)],
        _ => list
            .split(',')
            .map(|word| item(word.trim()))
            .collect::<Result<_>>()?,
    };
    Ok(Condition { negated, items })
}

fn item(word: &str) -> Result<Item> {
    let bad = || Error::BadFilter {
        word: word.to_owned(),
    };
    if let Some(pid) = word.strip_prefix("pid=") {
        return pid.parse().map(Item::Pid).map_err(|_| bad());
    }
    if let Some(comm) = word.strip_prefix("comm=") {
        return Ok(Item::Comm(comm.to_owned()));
    }
    if let Some(errno) = word.strip_prefix("errno=") {
        return Ok(Item::Errno(errno.to_owned()));
    }
    if let Some(name) = word.strip_prefix("signal=") {
        return Number::parse(name).map(Item::Signal).ok_or_else(bad);
    }
    // As objects of their own they are named by some of their entries only.
    if matches!(word, "signal" | "%signal" | "sig") {
        return Ok(Item::Family(Op::is_signal));
    }
    if let Some(class) = object::parse(word, 0) {
        return Ok(Item::Class(class));
    }
    if let Ok(object) = word.parse() {
        return Ok(Item::Object(object));
    }
    Ok(match word {
        "%pipe" => {
            Item::Family(|op| !is_process(op) && !op.is_signal() && op != Op::Lost && !is_sysv(op))
        }
        "%sysv" => Item::Family(is_sysv),
        "%process" => Item::Family(is_process),
        "%desc" => Item::Family(|op| {
            matches!(
                op,
                Op::Pipe2
                    | Op::Eventfd2
                    | Op::Socketpair
                    | Op::Connect
                    | Op::Accept
                    | Op::MqOpen
                    | Op::FifoOpening
                    | Op::FifoOpen
                    | Op::Adopt
                    | Op::Dup
                    | Op::Close
                    | Op::SetFlags
            )
        }),
        "%wait" => Item::Family(|op| matches!(op, Op::Block | Op::Wake | Op::Interrupted)),
        // As strace calls them.
        "execve" => Item::Op(Op::Exec),
        "fcntl" => Item::Family(|op| matches!(op, Op::SetFlags | Op::Resize)),
        _ => Item::Op(
            Op::ALL
                .iter()
                .copied()
                .find(|op| op.name() == word)
                .ok_or_else(bad)?,
        ),
    })
}

fn is_sysv(op: Op) -> bool {
    super::sysv::is_call(op) || op == Op::SemUndo
}

fn is_process(op: Op) -> bool {
    matches!(
        op,
        Op::Start | Op::Exit | Op::Fork | Op::Exec | Op::Layers | Op::Reaped
    )
}

impl Item {
    fn is(&self, e: &Entry) -> bool {
        match self {
            Item::Op(op) => e.op == *op,
            Item::Family(has) => has(e.op),
            Item::Class(class) => e.obj.is_some_and(|o| o.class() == *class),
            Item::Object(object) => {
                let among = |s: &Signal| s.with == Some(*object) || s.frees.contains(object);
                e.obj == Some(*object) || e.signal.as_deref().is_some_and(among)
            }
            Item::Pid(pid) => e.pid == *pid || e.tid == *pid,
            Item::Comm(comm) => *e.comm == **comm,
            Item::Signal(signal) => e.signal.as_ref().is_some_and(|s| s.is_about(*signal)),
            Item::Errno(name) => e.errno.is_some_and(|n| n.name() == name.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::ErrorNumber;
    use super::*;

    fn entries() -> Vec<Entry> {
        let pipe = |op, n, pid| Entry {
            op,
            obj: Some(Object(n)),
            pid,
            tid: pid,
            ..Entry::default()
        };
        vec![
            pipe(Op::Read, 3, 1),
            pipe(Op::Write, 3, 2),
            pipe(Op::Close, 4, 1),
            Entry {
                op: Op::Exit,
                pid: 2,
                comm: "sort".into(),
                ..Entry::default()
            },
            Entry {
                errno: Some(ErrorNumber(32)),
                ..pipe(Op::Write, 4, 5)
            },
        ]
    }

    fn admitted(expressions: &[&str]) -> Vec<usize> {
        let expressions: Vec<String> = expressions.iter().map(|e| (*e).to_owned()).collect();
        let filter = Filter::parse(&expressions).unwrap();
        let all = entries();
        (0..all.len()).filter(|i| filter.admits(&all[*i])).collect()
    }

    #[test]
    fn each_word_means_what_it_says() {
        assert_eq!(admitted(&[]), [0, 1, 2, 3, 4]);
        assert_eq!(admitted(&["trace=read,write"]), [0, 1, 4]);
        assert_eq!(admitted(&["read,close"]), [0, 2]);
        assert_eq!(admitted(&["trace=%process"]), [3]);
        assert_eq!(admitted(&["%desc"]), [2]);
        assert_eq!(admitted(&["pipe"]), [0, 1, 2, 4]);
        assert_eq!(admitted(&["pipe#4"]), [2, 4]);
        assert_eq!(admitted(&["pid=1"]), [0, 2]);
        assert_eq!(admitted(&["comm=sort"]), [3]);
        assert_eq!(admitted(&["errno=EPIPE"]), [4]);
        assert!(admitted(&["signal"]).is_empty());
        assert_eq!(admitted(&["all"]), [0, 1, 2, 3, 4]);
        assert!(admitted(&["none"]).is_empty());
    }

    #[test]
    fn negation_and_several_conditions() {
        assert_eq!(admitted(&["!read,write"]), [2, 3]);
        assert_eq!(admitted(&["trace=!%process"]), [0, 1, 2, 4]);
        assert_eq!(admitted(&["pid=1", "!close"]), [0]);
        assert_eq!(admitted(&["pipe#3", "write"]), [1]);
    }

    #[test]
    fn a_signal_is_followed_by_its_number_or_its_name() {
        let sig = |n| Object(object::SIGNAL | n);
        let of = |op, obj, signal| Entry {
            op,
            obj,
            signal: Some(Box::new(signal)),
            ..Entry::default()
        };
        let named = |n| Signal {
            name: Some(Number(n)),
            ..Signal::default()
        };
        let lets_through = Signal {
            set: Some(crate::log::signals::Mask(1 << 9)),
            frees: vec![sig(91)],
            ..Signal::default()
        };
        let all = [
            of(Op::Kill, Some(sig(91)), named(10)),
            of(Op::Sigprocmask, None, lets_through),
            of(Op::Handler, Some(sig(91)), named(10)),
            of(Op::Kill, Some(sig(92)), named(15)),
            Entry::default(),
        ];
        let admitted = |expression: &str| -> Vec<usize> {
            let filter = Filter::parse(&[expression.to_owned()]).unwrap();
            (0..all.len()).filter(|i| filter.admits(&all[*i])).collect()
        };
        for everything in ["signal", "%signal", "sig", "trace=%signal"] {
            assert_eq!(admitted(everything), [0, 1, 2, 3]);
        }
        assert_eq!(admitted("sig#91"), [0, 1, 2]);
        assert_eq!(admitted("signal=USR1"), [0, 1, 2]);
        assert_eq!(admitted("signal=SIGTERM,sigprocmask"), [1, 3]);
        assert_eq!(admitted("kill"), [0, 3]);
        assert_eq!(admitted("%pipe"), [4]);
        assert_eq!(admitted("!%signal"), [4]);
    }

    #[test]
    fn nonsense_is_named() {
        for bad in [
            "",
            "reed",
            "pid=x",
            "%pips",
            "pipe#x",
            "signal=",
            "signal=USR3",
        ] {
            let word = Filter::parse(&[bad.to_owned()]);
            assert!(matches!(word, Err(Error::BadFilter { .. })), "{bad}");
        }
    }
}
