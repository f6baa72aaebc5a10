//! Signals by the names that signal(7) gives them, and what an entry tells of one.

use std::borrow::Cow;
use std::fmt;

use serde::{de, Deserialize, Deserializer, Serialize, Serializer};

use super::entry::Object;
use super::flags;

const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];
/// As a program sees it: glibc keeps 32 and 33 for itself.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

/// A signal; by its name in JSON.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Number(pub i32);

impl Number {
    /// Without "SIG", as masks are told: `USR1`, `RTMIN+1`.
    pub fn short(self) -> Cow<'static, str> {
        let known = usize::try_from(self.0 - 1).ok().and_then(|i| NAMES.get(i));
        match (known, self.0) {
            (Some(name), _) => Cow::Borrowed(name),
            (_, RTMIN) => Cow::Borrowed("RTMIN"),
            (_, n @ RTMIN..=RTMAX) => Cow::Owned(format!("RTMIN+{}", n - RTMIN)),
            (_, n) => Cow::Owned(n.to_string()),
        }
    }

    /// `USR1`, `SIGUSR1`, `SIGRTMIN+1`, `SIGRTMAX-2`, `10`.
    pub fn parse(text: &str) -> Option<Number> {
        let name = text.strip_prefix("SIG").unwrap_or(text);
        if let Some(i) = NAMES.iter().position(|n| *n == name) {
            return Some(Number(i as i32 + 1));
        }
        let from = |text: &str, sign: char| match text {
            "" => Some(0),
            more => more.strip_prefix(sign)?.parse::<i32>().ok(),
        };
        let number = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
            (Some(more), _) => RTMIN.checked_add(from(more, '+')?)?,
            (_, Some(less)) => RTMAX.checked_sub(from(less, '-')?)?,
            _ => name.parse().ok()?,
        };
        Some(Number(number))
    }
}

/// `SIGUSR1`
impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SIG{}", self.short())
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Number, D::Error> {
        let text = Cow::<str>::deserialize(from)?;
        Number::parse(&text).ok_or_else(|| de::Error::custom("not a signal"))
    }
}

/// A set of signals, as the kernel keeps it; an array of names in JSON.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Mask(pub u64);

impl Mask {
    pub fn signals(self) -> impl Iterator<Item = Number> {
        (1..=64)
            .filter(move |n| self.0 >> (n - 1) & 1 == 1)
            .map(Number)
    }

    pub fn has(self, signal: Number) -> bool {
        (1..=64).contains(&signal.0) && self.0 >> (signal.0 - 1) & 1 == 1
    }
}

/// `[USR1 TERM]`; more than half of all as what is not among them: `~[KILL STOP]`.
impl fmt::Display for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, set) = if self.0.count_ones() > 32 {
            ("~", Mask(!self.0))
        } else {
            ("", *self)
        };
        let names: Vec<_> = set.signals().map(Number::short).collect();
        write!(f, "{sign}[{}]", names.join(" "))
    }
}

impl Serialize for Mask {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.signals())
    }
}

impl<'de> Deserialize<'de> for Mask {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Mask, D::Error> {
        let names = Vec::<Number>::deserialize(from)?;
        let bits = names.iter().filter(|n| (1..=64).contains(&n.0));
        Ok(Mask(bits.fold(0, |set, n| set | 1 << (n.0 - 1))))
    }
}

/// si_code by its name, which depends on the signal. [sigaction(2)]
pub fn code(signal: Number, code: i32) -> Cow<'static, str> {
    let of_signal: &[&'static str] = match signal.0 {
        libc::SIGILL => &[
            "ILL_ILLOPC",
            "ILL_ILLOPN",
            "ILL_ILLADR",
            "ILL_ILLTRP",
            "ILL_PRVOPC",
            "ILL_PRVREG",
            "ILL_COPROC",
            "ILL_BADSTK",
        ],
        libc::SIGFPE => &[
            "FPE_INTDIV",
            "FPE_INTOVF",
            "FPE_FLTDIV",
            "FPE_FLTOVF",
            "FPE_FLTUND",
            "FPE_FLTRES",
            "FPE_FLTINV",
            "FPE_FLTSUB",
        ],
        libc::SIGSEGV => &["SEGV_MAPERR", "SEGV_ACCERR", "SEGV_BNDERR", "SEGV_PKUERR"],
        libc::SIGBUS => &["BUS_ADRALN", "BUS_ADRERR", "BUS_OBJERR"],
        libc::SIGTRAP => &["TRAP_BRKPT", "TRAP_TRACE", "TRAP_BRANCH", "TRAP_HWBKPT"],
        libc::SIGCHLD => &[
            "CLD_EXITED",
            "CLD_KILLED",
            "CLD_DUMPED",
            "CLD_TRAPPED",
            "CLD_STOPPED",
            "CLD_CONTINUED",
        ],
        libc::SIGIO => &[
            "POLL_IN", "POLL_OUT", "POLL_MSG", "POLL_ERR", "POLL_PRI", "POLL_HUP",
        ],
        libc::SIGSYS => &["SYS_SECCOMP", "SYS_USER_DISPATCH"],
        _ => &[],
    };
    let known = match code {
        0 => Some("SI_USER"),
        0x80 => Some("SI_KERNEL"),
        -1 => Some("SI_QUEUE"),
        -2 => Some("SI_TIMER"),
        -3 => Some("SI_MESGQ"),
        -4 => Some("SI_ASYNCIO"),
        -5 => Some("SI_SIGIO"),
        -6 => Some("SI_TKILL"),
        -60 => Some("SI_ASYNCNL"),
        n => usize::try_from(n - 1)
            .ok()
            .and_then(|i| of_signal.get(i))
            .copied(),
    };
    known.map_or_else(|| Cow::Owned(code.to_string()), Cow::Borrowed)
}

/// What a handler's address, SIG_DFL or SIG_IGN is called.
pub fn handler(address: u64) -> Cow<'static, str> {
    match address {
        0 => "SIG_DFL".into(),
        1 => "SIG_IGN".into(),
        _ => format!("{address:#x}").into(),
    }
}

/// SA_ flags. (SA_RESTORER is libc's own affair.)
pub fn action_flags(raw: u64) -> Cow<'static, str> {
    const SA_RESTORER: u64 = 0x0400_0000;
    flags::sigaction(raw & 0xffff_ffff & !SA_RESTORER)
}

pub fn how(raw: i64) -> Cow<'static, str> {
    match raw {
        0 => "SIG_BLOCK".into(),
        1 => "SIG_UNBLOCK".into(),
        2 => "SIG_SETMASK".into(),
        n => n.to_string().into(),
    }
}

/// What became of a signal that was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Became {
    /// The kernel carries it.
    Kernel,
    /// Pending: its target blocks it.
    Pending,
    /// One of its number is pending there already.
    Coalesced,
    /// There is no room for one more.
    Full,
    /// Its handler is called inside the call that sends it.
    AtOnce,
    /// The kernel has it, and its target ignores it.
    Ignored,
    #[serde(other)]
    Unknown,
}

/// What a handler is called upon.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Upon {
    /// A system call that the kernel ends with EINTR.
    Interrupted,
    /// A system call that is made, or made again, after the handler.
    ToBeMade,
    #[serde(other)]
    Unknown,
}

/// What an entry about a signal has of its own. What it does not have is absent.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Signal {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Number>,
    /// si_code
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<Cow<'static, str>>,
    /// si_pid
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<u32>,
    /// As the call named it: below 1, a process group or everybody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub became: Option<Became>,
    /// kill: for this thread only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thread: Option<u32>,
    /// handler: the system call of the kernel's that it is called upon, and its name, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upon: Option<Upon>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<Cow<'static, str>>,
    /// handler: of a signal for the process, the threads that were passed over as they block it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub passed_over: Vec<u32>,
    /// coalesced: with this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub with: Option<Object>,
    /// pending: the entry that blocks it there, a sigprocmask or a handler.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocked_by: Option<u64>,
    /// How long it was pending until now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending_ns: Option<u64>,
    /// handler: the wait that it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interrupts: Option<u64>,
    /// An address, SIG_DFL or SIG_IGN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handler: Option<Cow<'static, str>>,
    /// Where on the stack, in units of 16 bytes, the lower 31 bits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frame: Option<i32>,
    /// handler-return: how long it ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ran_ns: Option<u64>,
    /// handler-return: whether the mask is what it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restored: Option<bool>,
    /// sigprocmask
    #[serde(skip_serializing_if = "Option::is_none")]
    pub how: Option<Cow<'static, str>>,
    /// sigprocmask: what changed (SIG_SETMASK: all of it). signal-wait: what is waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set: Option<Mask>,
    /// The thread's mask from here on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask: Option<Mask>,
    /// sigprocmask: pending signals that it lets through. sigaction: that it discards.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub frees: Vec<Object>,
    /// killed: there is a core dump.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub core: bool,
    /// killed: its end came unseen; the last signal to it is taken for the cause.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub likely: bool,
}

impl Signal {
    pub fn is_about(&self, signal: Number) -> bool {
        self.name == Some(signal) || self.set.is_some_and(|set| set.has(signal))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_has_one_name() {
        for n in -3..=70 {
            let (name, short) = (Number(n).to_string(), Number(n).short());
            assert_eq!(Number::parse(&name), Some(Number(n)), "{name}");
            assert_eq!(Number::parse(&short), Some(Number(n)), "{short}");
        }
        assert_eq!(Number(10).to_string(), "SIGUSR1");
        assert_eq!(Number(35).to_string(), "SIGRTMIN+1");
        assert_eq!(Number::parse("SIGRTMAX-1"), Some(Number(63)));
        for bad in ["", "SIG", "USR3", "RTMIN1", "usr1"] {
            assert_eq!(Number::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn sets_are_short() {
        let set = |signals: &[i32]| Mask(signals.iter().fold(0, |s, n| s | 1 << (n - 1)));
        assert_eq!(set(&[]).to_string(), "[]");
        assert_eq!(set(&[15, 10]).to_string(), "[USR1 TERM]");
        assert_eq!(Mask(!0).to_string(), "~[]");
        assert_eq!(Mask(!set(&[9, 19]).0).to_string(), "~[KILL STOP]");
        let json = serde_json::to_string(&set(&[10, 34])).unwrap();
        assert_eq!(json, "[\"SIGUSR1\",\"SIGRTMIN\"]");
        assert_eq!(serde_json::from_str::<Mask>(&json).unwrap(), set(&[10, 34]));
    }

    #[test]
    fn codes_and_flags_by_name() {
        assert_eq!(code(Number(10), 0), "SI_USER");
        assert_eq!(code(Number(34), -1), "SI_QUEUE");
        assert_eq!(code(Number(17), 2), "CLD_KILLED");
        assert_eq!(code(Number(10), 2), "2");
        assert_eq!(action_flags(0x1400_0004), "SA_SIGINFO|SA_RESTART");
        assert_eq!(handler(1), "SIG_IGN");
        assert_eq!(handler(0x5500), "0x5500");
    }
}
