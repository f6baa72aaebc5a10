//! One death after the other, and what the survivors make of it.
//!
//! ```text
//! stage ──fork──► survivor that writes ──►┐
//!   │   ──fork──► survivor that reads  ◄──┤ pipe        all count in the ledger
//!   │   ──fork──► exec ──► victim     ◄──►┘
//!   └─ waits for the death, looks, does something, lets the survivors finish, settles accounts
//! ```

use crate::ledger::{words, Fate, Ledger, Reader, Writer, WORD};
use crate::library::CHECKS;
use crate::roles::{Act, Cast, Finish, Flow, Victim};
use ringer_support::prelude::*;
use ringer_support::{build, cc, shared};
use std::env;
use std::path::Path;
use std::time::{Duration, Instant};

/// What kills whom, and at which passage of the point, in each setting.
pub struct Death {
    pub point: &'static str,
    pub act: Act,
    pub flow: Flow,
    /// Nobody else uses the pipe when it happens.
    pub alone: &'static [u32],
    /// A writer and a reader are at work.
    pub crowd: &'static [u32],
    /// The victim holds the last descriptor of its end.
    pub last: &'static [u32],
}

/// The longest that a scene may take.
const SCENE: Duration = Duration::from_secs(25);

/// What the stage does first after a death.
const FIRST: [First; 8] = [
    First::Write,
    First::Demote,
    First::Read,
    First::Grow,
    First::Count,
    First::Shrink,
    First::Poll,
    First::Again,
];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum First {
    Write,
    Read,
    Count,
    Grow,
    Shrink,
    Poll,
    /// A second victim dies where the first did: who repairs may be killed, too.
    Again,
    /// A static program gets the pipe.
    Demote,
}

impl Death {
    /// Every death, each on a stage of its own, so that one mishap does not hide the next.
    pub fn rehearse(&self) {
        let mut mishaps = Vec::new();
        let mut play = |setting: String, nth: u32, scene: &dyn Fn()| {
            let title = format!("{:?} dies at {}:{nth}, {setting}", self.act, self.point);
            eprintln!("{title}");
            shared::prepare_failures();
            let ended = in_time(fork_run(|| {
                // SAFETY: numbers.
                unsafe { libc::setpgid(0, 0) };
                scene();
            }));
            if ended.and_then(Status::code) != Some(0) {
                mishaps.push(format!("{title}: {ended:?}"));
            }
        };
        for nth in self.alone {
            let all = if *nth == 1 { FIRST.len() } else { 2 };
            for i in 0..all {
                let first = FIRST[(i + *nth as usize - 1) % FIRST.len()];
                if first == First::Again && !self.leaves_half_done() {
                    continue;
                }
                let title = format!("alone; then {first:?}");
                play(title, *nth, &|| self.alone(*nth, first));
            }
        }
        for nth in self.crowd {
            play("in a crowd".into(), *nth, &|| self.in_a_crowd(*nth));
        }
        for nth in self.last {
            let title = "the last of its end".into();
            play(title, *nth, &|| self.last_of_its_end(*nth));
        }
        assert!(mishaps.is_empty(), "see above:\n{}", mishaps.join("\n"));
    }

    /// Starts a victim that has these descriptors, and waits for its death.
    fn kill(&self, act: Act, nth: u32, cast: Cast, belongings: &[c_int]) {
        let victim = Victim {
            act,
            cast,
            nth,
            full_enough: 40_000,
        };
        let child = fork_run(|| {
            for fd in [cast.r, cast.w] {
                if !belongings.contains(&fd) {
                    close(fd).unwrap();
                }
            }
            victim.exec(self.point);
        });
        let status = child.wait();
        assert_eq!(status.signal(), Some(SIGKILL), "the victim {status:?}");
        cast.ledger.set_dead();
    }

    /// Whether somebody has to finish what the victim had begun.
    fn leaves_half_done(&self) -> bool {
        self.point.contains(".resize.") || self.point.contains(".demote.")
    }

    /// The descriptors that the victim has.
    fn belongings(&self, cast: Cast) -> Vec<c_int> {
        match self.act {
            Act::Write => vec![cast.w],
            Act::Read => vec![cast.r],
            Act::Resize | Act::Shrink | Act::Demote => vec![cast.r, cast.w],
        }
    }

    fn alone(&self, nth: u32, first: First) {
        // Each of them passes the points of a demotion once.
        let once = self.act == Act::Demote
            && !matches!(self.point, "pipe.demote.slot" | "pipe.demote.whole");
        let decoys: Vec<Pipe> = (1..if once { nth } else { 1 }).map(|_| pipe()).collect();
        let (p, ledger) = (pipe(), Ledger::new());
        let cast = Cast {
            r: p.r.number(),
            w: p.w.number(),
            ledger,
            flow: self.flow,
        };
        self.prefill(&p, ledger);
        let brimful = self.act == Act::Demote && first == First::Poll;
        if brimful {
            fill_up(&p, ledger);
        }
        self.kill(self.act, nth, cast, &self.belongings(cast));
        drop(decoys);
        check_arena("after the death");
        match first {
            First::Again if self.act == Act::Demote => {
                self.kill(Act::Read, 1, cast, &[cast.r, cast.w]);
            }
            First::Again => self.kill(self.act, 1, cast, &[cast.r, cast.w]),
            _ => first.act(&p, ledger),
        }
        if brimful {
            let ready = poll(&mut [pollfd(&p.w, POLLOUT)], 0);
            assert_eq!(ready, Ok(0), "a full pipe is writable, says poll");
        }
        let finish = match nth + first as u32 {
            n if n % 2 == 0 => Finish::Eof,
            _ => Finish::Epipe,
        };
        let survivors = self.survivors(cast, finish);
        self.conclude(p, cast, finish, survivors);
    }

    /// What the victim finds in the pipe.
    fn prefill(&self, p: &Pipe, ledger: Ledger) {
        let sizes: &[usize] = match self.act {
            Act::Write => &[],
            Act::Shrink => &[CAPACITY],
            Act::Resize => &[1000, 4096, 8, 5000],
            Act::Read | Act::Demote => &[1000, 4096, 8, 5000, 4000, 4096, 16, 9000, 4000, 9000],
        };
        let mut at = 0;
        for size in sizes {
            assert_eq!(write(&p.w, &words(Writer::Before, at, *size)), Ok(*size));
            at += size;
            ledger.set_sent(Writer::Before, at);
        }
    }

    fn survivors(&self, cast: Cast, finish: Finish) -> [Child; 2] {
        let writer = fork_run(|| {
            close(cast.r).unwrap();
            cast.survive_writing(finish);
        });
        let reader = fork_run(|| {
            close(cast.w).unwrap();
            cast.survive_reading(finish);
        });
        [writer, reader]
    }

    fn in_a_crowd(&self, nth: u32) {
        let (p, ledger) = (pipe(), Ledger::new());
        let cast = Cast {
            r: p.r.number(),
            w: p.w.number(),
            ledger,
            flow: self.flow,
        };
        let finish = [Finish::Eof, Finish::Epipe][nth as usize % 2];
        let survivors = self.survivors(cast, finish);
        self.kill(self.act, nth, cast, &self.belongings(cast));
        match nth {
            1 => {}
            2 => First::Demote.act(&p, ledger),
            _ => First::Grow.act(&p, ledger),
        }
        self.conclude(p, cast, finish, survivors);
    }

    /// The survivors come to their end, and the arena and the ledger are right.
    fn conclude(&self, p: Pipe, cast: Cast, finish: Finish, survivors: [Child; 2]) {
        let Pipe { r, w } = p;
        // The stage keeps the other end, so that the pipe is still there to be looked at.
        let kept = match finish {
            Finish::Eof => {
                drop(w);
                r
            }
            Finish::Epipe => {
                drop(r);
                w
            }
        };
        all_succeed(survivors);
        check_arena("after the survivors");
        drop(kept);
        self.settle(cast.ledger);
        cast.ledger.close();
    }

    fn last_of_its_end(&self, nth: u32) {
        let (p, ledger) = (pipe(), Ledger::new());
        let cast = Cast {
            r: p.r.number(),
            w: p.w.number(),
            ledger,
            flow: self.flow,
        };
        if self.act == Act::Demote {
            self.prefill(&p, ledger);
        }
        let reads = self.act == Act::Read;
        let dead = Shared::new();
        let survivor = fork_run(|| {
            if reads {
                close(cast.r).unwrap();
                cast.write_until_epipe(Writer::Before);
                return;
            }
            close(cast.w).unwrap();
            if self.act == Act::Demote {
                dead.wait_for(0, 1);
            }
            cast.survive_reading(Finish::Eof);
        });
        let keeper = fork_run(|| {
            // Lets its descriptors go when the victim, a child of its own, has got them.
            let belongings = if reads { [cast.r] } else { [cast.w] };
            let other = if reads { cast.w } else { cast.r };
            close(other).unwrap();
            self.kill_as_keeper(nth, cast, &belongings);
        });
        drop(p);
        keeper.succeeds();
        dead.set(0, 1);
        survivor.succeeds();
        check_arena("after the survivor");
        if !reads {
            self.settle(ledger);
        }
        ledger.close();
    }

    /// As [`Death::kill`], without holding what the victim holds.
    fn kill_as_keeper(&self, nth: u32, cast: Cast, belongings: &[c_int]) {
        let victim = Victim {
            act: self.act,
            cast,
            nth,
            full_enough: 0,
        };
        let child = fork_run(|| victim.exec(self.point));
        for fd in belongings {
            close(*fd).unwrap();
        }
        let status = child.wait();
        assert_eq!(status.signal(), Some(SIGKILL), "the victim {status:?}");
        cast.ledger.set_dead();
    }

    /// What was acknowledged was read once; of the victim's last call all, nothing or a part.
    fn settle(&self, ledger: Ledger) {
        let attempt = ledger.attempt();
        let mut lost = 0;
        for by in [Writer::Survivor, Writer::Stage, Writer::Before] {
            let fate = ledger.fate(by);
            assert_eq!(fate.beyond, 0, "{by:?} wrote what it did not");
            lost += fate.lost;
        }
        let Fate {
            lost: victims,
            beyond,
        } = ledger.fate(Writer::Victim);
        assert_eq!(victims, 0, "acknowledged bytes of the victim are lost");
        assert!(beyond <= attempt, "{beyond} bytes of a write of {attempt}");
        // "POSIX.1 says that writes of less than PIPE_BUF bytes must be atomic" [pipe(7)]
        if attempt <= PIPE_BUF {
            let atomic = beyond == 0 || beyond == attempt;
            assert!(atomic, "{beyond} bytes of an atomic write of {attempt}");
            assert!(beyond == 0 || !self.is_before_publication(), "{beyond}");
        }
        let may_lose = match self.act {
            Act::Read if !self.is_before_publication() => attempt,
            _ => 0,
        };
        assert!(lost <= may_lose, "{lost} bytes lost, a read of {attempt}");
    }

    /// Whether at this point nobody can see yet that the victim's call has done anything.
    fn is_before_publication(&self) -> bool {
        let last = self.point.rsplit('.').next();
        matches!(last, Some("locked" | "merge" | "close" | "publish"))
    }
}

/// How a scene ended. `None`: it did not, and was ended.
fn in_time(scene: Child) -> Option<Status> {
    let scale = env::var("RINGER_TIMEOUT_SCALE").ok();
    let scale: u32 = scale.and_then(|n| n.parse().ok()).unwrap_or(1);
    let deadline = Instant::now() + SCENE * scale;
    let pid = scene.pid();
    while Instant::now() < deadline {
        let (ended, status) = wait_pid(pid, libc::WNOHANG).expect("waitpid");
        if ended == pid {
            scene.leak();
            return Some(status);
        }
        shared::pause(Duration::from_millis(1));
    }
    eprintln!("it does not end:");
    let all = procfs::group(pid);
    for pid in &all {
        eprintln!("{}", procfs::describe(*pid));
    }
    for pid in all {
        // SAFETY: kill(2) touches no memory of ours.
        unsafe { libc::kill(pid, SIGKILL) };
    }
    None
}

impl First {
    fn act(self, p: &Pipe, ledger: Ledger) {
        match self {
            First::Write => {
                set_nonblocking(&p.w, true);
                match write(&p.w, &words(Writer::Stage, 0, 48)) {
                    Ok(n) => ledger.set_sent(Writer::Stage, n),
                    Err(e) => assert_eq!(e, EAGAIN),
                }
                set_nonblocking(&p.w, false);
            }
            First::Read => {
                set_nonblocking(&p.r, true);
                match read_n(&p.r, PAGE) {
                    Ok(got) => drop(Reader::new(ledger).take(&got)),
                    Err(e) => assert_eq!(e, EAGAIN),
                }
                set_nonblocking(&p.r, false);
            }
            First::Count => {
                let (there, sure) = (bytes_waiting(&p.r).unwrap(), ledger.in_flight());
                let slack = ledger.attempt();
                let close = there % WORD == 0 && there.abs_diff(sure) <= slack;
                assert!(close, "{there} bytes are there, not {sure}");
            }
            First::Grow => assert_eq!(set_pipe_size(&p.w, 1 << 20), Ok(1 << 20)),
            First::Shrink => {
                let done = set_pipe_size(&p.r, PAGE);
                assert!(matches!(done, Ok(PAGE) | Err(EBUSY)), "{done:?}");
            }
            First::Poll => {
                let there = ledger.in_flight() > ledger.attempt();
                let ready = poll(&mut [pollfd(&p.r, POLLIN)], 0);
                assert!(ready == Ok(1) || !there, "poll: {ready:?}");
            }
            First::Again => unreachable!("the stage's own affair"),
            First::Demote => {
                let open = [&p.r, &p.w].map(|fd| format!("open:{}", fd.number()));
                let arguments = open.each_ref().map(String::as_str);
                cc::run(&program("puppet", Linkage::Static), &arguments).succeeds();
            }
        }
    }
}

/// Takes all slots that are left.
fn fill_up(p: &Pipe, ledger: Ledger) {
    set_nonblocking(&p.w, true);
    let mut at = ledger.sent(Writer::Before);
    while let Ok(n) = write(&p.w, &words(Writer::Before, at, PAGE)) {
        at += n;
        ledger.set_sent(Writer::Before, at);
    }
    set_nonblocking(&p.w, false);
}

/// `ringer inspect --check`: the arena stands still, and is in order.
fn check_arena(when: &str) {
    let (Some(_), Ok(session)) = (env::var_os(CHECKS), env::var("RINGER_SESSION")) else {
        return;
    };
    let checked = fork_run(|| {
        close_range(3, u32::MAX, 0).unwrap();
        let ringer = build::bin_dir().join("ringer");
        let arena = Path::new(&session).to_str().expect("a path of ours");
        exec(&ringer, &["inspect", "--check", arena]);
    });
    let status = checked.wait();
    assert_eq!(status.code(), Some(0), "ringer inspect --check {when}");
}
