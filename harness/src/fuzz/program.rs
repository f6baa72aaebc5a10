//! A program as data: who does which call, one after the other.
//!
//! Each actor is a process with sixteen registers for descriptors, and as many for ids of
//! System V queues and of sets of semaphores; a fork copies them. A call may wait: its actor is passed
//! over until another's call ends that. One acts at a time, so a program has one outcome. A step of an
//! actor that is not there is passed over, too: any part of a program is a program.

use serde::{Deserialize, Serialize};

pub use super::outcome::{Differs, Outcome, Ran, Seen};

pub const ACTORS: usize = 3;
pub const REGISTERS: usize = 16;
pub const MOST_STEPS: usize = 256;

pub type Reg = u8;

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Program {
    #[serde(default)]
    pub seed: u64,
    pub steps: Vec<Step>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Step {
    pub who: u8,
    #[serde(flatten)]
    pub call: Call,
}

/// Where a buffer is.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub enum Place {
    Good,
    Null,
    /// No memory there.
    Hole,
    /// Its second half is not there.
    Edge,
}

#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub enum What {
    Default,
    Ignore,
    Handler,
}

/// How one waits for a POSIX semaphore.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub enum SemWay {
    Wait,
    Try,
    /// Until a time that is over.
    Past,
    BadTime,
    BadClock,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "snake_case")]
pub enum Call {
    Pipe2 {
        r: Reg,
        w: Reg,
        flags: i32,
    },
    Eventfd {
        to: Reg,
        count: u32,
        flags: i32,
    },
    Socketpair {
        a: Reg,
        b: Reg,
        kind: i32,
    },
    Read {
        fd: Reg,
        len: u32,
        at: Place,
    },
    Write {
        fd: Reg,
        len: u32,
        at: Place,
    },
    Readv {
        fd: Reg,
        lens: Vec<u32>,
    },
    Writev {
        fd: Reg,
        lens: Vec<u32>,
    },
    /// Eight bytes: a number for an eventfd.
    Add {
        fd: Reg,
        value: u64,
    },
    Send {
        fd: Reg,
        len: u32,
        flags: i32,
        at: Place,
    },
    Recv {
        fd: Reg,
        len: u32,
        flags: i32,
        at: Place,
    },
    Shutdown {
        fd: Reg,
        how: i32,
    },
    Close {
        fd: Reg,
    },
    Dup {
        fd: Reg,
        to: Reg,
    },
    Dup2 {
        fd: Reg,
        over: Reg,
    },
    Dup3 {
        fd: Reg,
        over: Reg,
        flags: i32,
    },
    Fcntl {
        fd: Reg,
        cmd: i32,
        arg: i32,
    },
    Fionread {
        fd: Reg,
    },
    Poll {
        fds: Vec<(Reg, i16)>,
        /// As poll(2) takes it: below 0 it waits.
        #[serde(default)]
        ms: i32,
    },
    MqOpen {
        to: Reg,
        name: u8,
        flags: i32,
        most: i64,
        size: i64,
    },
    MqSend {
        fd: Reg,
        len: u32,
        priority: u32,
        at: Place,
    },
    MqReceive {
        fd: Reg,
        len: u32,
        at: Place,
    },
    MqAttr {
        fd: Reg,
    },
    MqUnlink {
        name: u8,
    },
    Msgget {
        to: Reg,
    },
    Msgsnd {
        id: Reg,
        kind: i64,
        len: u32,
        flags: i32,
    },
    Msgrcv {
        id: Reg,
        kind: i64,
        len: u32,
        flags: i32,
    },
    /// IPC_STAT: how many messages.
    Msgcount {
        id: Reg,
    },
    Msgrm {
        id: Reg,
    },
    Semget {
        to: Reg,
        count: i32,
    },
    Semop {
        id: Reg,
        ops: Vec<(u16, i16, i16)>,
    },
    Semctl {
        id: Reg,
        num: i32,
        cmd: i32,
        value: i32,
    },
    Action {
        signal: i32,
        what: What,
        flags: i32,
        mask: Vec<i32>,
    },
    Mask {
        how: i32,
        set: Vec<i32>,
    },
    Pending,
    /// sigtimedwait(2) that does not wait, or sigwaitinfo(2).
    Take {
        set: Vec<i32>,
        #[serde(default)]
        waits: bool,
    },
    Kill {
        whom: u8,
        signal: i32,
    },
    Queue {
        whom: u8,
        signal: i32,
        value: i32,
    },
    Raise {
        signal: i32,
    },
    Fork {
        child: u8,
    },
    /// waitpid(2) that does not wait.
    Join {
        child: u8,
    },
    /// A thread that is an actor, too, with registers of its own.
    Thread {
        child: u8,
    },
    /// To a thread of the caller's process, as pthread_kill(3); to another process by kill(2).
    Tgkill {
        whom: u8,
        signal: i32,
    },
    Suspend {
        set: Vec<i32>,
    },
    /// mq_notify(3) by a signal; 0: no more.
    MqNotify {
        fd: Reg,
        signal: i32,
    },
    /// socket(2), of `AF_UNIX`.
    Socket {
        to: Reg,
        kind: i32,
    },
    Bind {
        fd: Reg,
        name: u8,
    },
    Listen {
        fd: Reg,
        backlog: i32,
    },
    Connect {
        fd: Reg,
        name: u8,
    },
    Accept {
        fd: Reg,
        to: Reg,
        flags: i32,
    },
    /// Of `SOL_SOCKET`, an int.
    Setsockopt {
        fd: Reg,
        option: i32,
        value: i32,
    },
    Getsockopt {
        fd: Reg,
        option: i32,
    },
    /// SIOCOUTQ.
    Outq {
        fd: Reg,
    },
    SendTo {
        fd: Reg,
        len: u32,
        flags: i32,
        name: u8,
    },
    /// sendmsg(2) with SCM_RIGHTS: `what`, unless it is a socket.
    Pass {
        fd: Reg,
        len: u32,
        flags: i32,
        what: Reg,
    },
    /// recvmsg(2) with so many bytes of room for control messages.
    Obtain {
        fd: Reg,
        len: u32,
        flags: i32,
        room: u32,
        to: Reg,
    },
    /// execve(2) of the same program, which goes on with the next step.
    Exec,
    /// sem_init(3) of one in the shared page.
    SemInit {
        sem: Reg,
        shared: bool,
        value: u32,
    },
    /// sem_open(3).
    SemOpen {
        to: Reg,
        name: u8,
        flags: i32,
        value: u32,
    },
    SemClose {
        sem: Reg,
    },
    SemUnlink {
        name: u8,
    },
    SemPost {
        sem: Reg,
    },
    SemWait {
        sem: Reg,
        way: SemWay,
    },
    SemValue {
        sem: Reg,
    },
}

impl Call {
    /// Whether those who wait in it are served in the order of their coming. Who of several others
    /// is first, the kernel leaves to chance.
    pub fn waits_in_line(&self) -> bool {
        matches!(
            self,
            Call::Semop { .. }
                | Call::Msgsnd { .. }
                | Call::Msgrcv { .. }
                | Call::MqSend { .. }
                | Call::MqReceive { .. }
                | Call::SemWait { .. }
        )
    }

    /// Whether others may have to begin, run a handler, or die, because of it.
    pub fn reaches_others(&self) -> bool {
        matches!(
            self,
            Call::Kill { .. }
                | Call::Queue { .. }
                | Call::Fork { .. }
                | Call::Thread { .. }
                | Call::Tgkill { .. }
                | Call::MqSend { .. }
                | Call::Exec
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_readable_json() {
        let program = Program {
            seed: 7,
            steps: vec![Step {
                who: 1,
                call: Call::Close { fd: 3 },
            }],
        };
        let text = serde_json::to_string(&program).unwrap();
        assert_eq!(
            text,
            r#"{"seed":7,"steps":[{"who":1,"call":"close","fd":3}]}"#
        );
        assert_eq!(serde_json::from_str::<Program>(&text).unwrap(), program);
    }
}
