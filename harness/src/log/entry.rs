//! One transition as ringer tells it: the object of a JSON line, and what the text is made from.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::{de, Deserialize, Deserializer, Serialize, Serializer};

use super::sysv::Sysv;
use ringer_kernel::abi::Errno;
use ringer_kernel::log::object;

pub use super::op::Op;

use super::signals::Signal;

/// By which way the call reached ringer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layer {
    Hook,
    Trap,
    Own,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum End {
    #[serde(rename = "r")]
    Read,
    #[serde(rename = "w")]
    Write,
}

impl End {
    /// As records hold it.
    pub fn from_raw(raw: u64) -> End {
        if raw == 0 {
            End::Read
        } else {
            End::Write
        }
    }

    pub fn letter(self) -> char {
        match self {
            End::Read => 'r',
            End::Write => 'w',
        }
    }
}

/// `pipe#3`: see `ringer_kernel::log::object`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Object(pub u32);

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (class, number) = object::name(self.0);
        write!(f, "{class}#{number}")
    }
}

impl std::str::FromStr for Object {
    type Err = ();

    fn from_str(text: &str) -> Result<Object, ()> {
        let (class, number) = text.split_once('#').ok_or(())?;
        let number = number.parse().map_err(drop)?;
        object::parse(class, number).map(Object).ok_or(())
    }
}

impl Object {
    /// One of `ringer_kernel::log::object`'s classes.
    pub fn class(self) -> u32 {
        self.0 & 0xf000_0000
    }

    pub fn is_pipe(self) -> bool {
        matches!(self.class(), object::PIPE | object::FIFO)
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Object, D::Error> {
        let text = Cow::<str>::deserialize(from)?;
        text.parse()
            .map_err(|()| de::Error::custom("not an object's name"))
    }
}

/// A Linux error number; by its name in JSON.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ErrorNumber(pub i32);

impl ErrorNumber {
    pub fn name(self) -> Cow<'static, str> {
        let known = Errno::from_ret(-(self.0 as isize)).and_then(Errno::name);
        known.map_or_else(|| Cow::Owned(format!("E{}", self.0)), Cow::Borrowed)
    }
}

impl Serialize for ErrorNumber {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.name())
    }
}

impl<'de> Deserialize<'de> for ErrorNumber {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<ErrorNumber, D::Error> {
        let text = Cow::<str>::deserialize(from)?;
        let named = (1..4096).map(ErrorNumber).find(|e| e.name() == text);
        let by_number = || text.strip_prefix('E')?.parse().ok().map(ErrorNumber);
        named
            .or_else(by_number)
            .ok_or_else(|| de::Error::custom("not an errno"))
    }
}

/// Calls by each layer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Calls {
    pub hook: u64,
    pub trap: u64,
    /// Traps that were the kernel's business.
    pub passed: u64,
}

impl std::ops::AddAssign for Calls {
    fn add_assign(&mut self, more: Calls) {
        self.hook = self.hook.saturating_add(more.hook);
        self.trap = self.trap.saturating_add(more.trap);
        self.passed = self.passed.saturating_add(more.passed);
    }
}

fn none(s: &Arc<str>) -> bool {
    s.is_empty()
}

/// One line of a log. A field that the operation does not have is absent.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Entry {
    pub id: u64,
    /// Nanoseconds since the session began.
    pub t_ns: u64,
    pub pid: u32,
    pub tid: u32,
    #[serde(skip_serializing_if = "none")]
    pub comm: Arc<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer: Option<Layer>,
    pub op: Op,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub obj: Option<Object>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
    /// Order among the object's entries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u32>,
    /// Entries of its object with higher `seq` were told before it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub late: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fd: Option<i32>,
    /// As the call gave it; -1 with `errno`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ret: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errno: Option<ErrorNumber>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Positions in the stream, from and up to (not including).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pos: Option<[u64; 2]>,
    /// Bytes in the pipe afterwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queued: Option<u64>,
    /// Served by the real kernel: observed, or demoted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub kernel: bool,
    /// The entry that made this one possible.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<u64>,
    /// For a read: the writes that its bytes come from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<u64>,

    /// pipe2: read end, write end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fds: Option<[i32; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flags: Option<Cow<'static, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slots: Option<u32>,
    /// close: holders of that end that are left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left: Option<u64>,
    /// start: the parent. fork: the child. reaped: the dead one. layers: whose, if another's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub who: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<i64>,
    /// demote, exec: the reason, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<Cow<'static, str>>,
    /// start: it came by exec. exec: the new program is shimmed. interrupted: it is restarted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub yes: Option<bool>,
    /// wake: time asleep.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slept_ns: Option<u64>,
    /// lost: how many. eventfd2: the counter at first. write and read of one: what was moved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Which of a pair of sockets: 0 or 1, as socketpair gave them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub side: Option<u8>,
    /// set-option: which, and its value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub option: Option<(i64, u64)>,
    /// An eventfd's counter, before and after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counter: Option<[u64; 2]>,
    /// Of a semaphore, in its process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<u64>,
    /// The first bytes of a name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// reaped: semaphores that it took so many times more often than it posted them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub taken: Vec<(String, u64)>,
    /// A message's priority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prio: Option<u32>,
    /// Messages in the queue afterwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages: Option<u64>,
    /// mq_maxmsg and mq_msgsize of a new queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<[u64; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls: Option<Calls>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<Box<Signal>>,
    /// What only System V IPC has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sysv: Option<Box<Sysv>>,
    /// unknown: the record's number and its words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw: Option<(u16, i64, u64, u64)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_one_name_in_json_and_in_filters() {
        for &op in Op::ALL {
            let json = serde_json::to_string(&op).unwrap();
            assert_eq!(json, format!("\"{}\"", op.name()));
            assert_eq!(serde_json::from_str::<Op>(&json).unwrap(), op);
        }
        assert_eq!(
            serde_json::from_str::<Op>("\"splice\"").unwrap(),
            Op::Unknown
        );
    }

    #[test]
    fn errors_go_by_name_and_come_back() {
        for n in [1, 11, 32, 4000] {
            let json = serde_json::to_string(&ErrorNumber(n)).unwrap();
            assert_eq!(
                serde_json::from_str::<ErrorNumber>(&json).unwrap(),
                ErrorNumber(n)
            );
        }
        assert_eq!(ErrorNumber(32).name(), "EPIPE");
    }
}
