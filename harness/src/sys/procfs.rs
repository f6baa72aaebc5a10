//! What only /proc tells: whether a process lives, when it started, what it is called.

use ringer_kernel::host::sleeps_without_locks;
use std::fs;
use std::path::Path;

/// proc(5), /proc/pid/stat: the fields that ringer wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    pub comm: String,
    pub state: char,
    /// Field 22, clock ticks after boot.
    pub start: u64,
}

/// Parses one line. The command's name may hold anything, also ") ".
fn parse(line: &str) -> Option<Stat> {
    let (head, rest) = line.rsplit_once(") ")?;
    let (_, comm) = head.split_once('(')?;
    let mut fields = rest.split(' ');
    let state = fields.next()?.chars().next()?;
    let start = fields.nth(18)?.trim().parse().ok()?;
    Some(Stat {
        comm: comm.to_owned(),
        state,
        start,
    })
}

/// Field 52 of a zombie's, as wait(2) has it.
pub fn exit_code(pid: u32) -> Option<i32> {
    let line = String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/stat")).ok()?).into_owned();
    let (_, rest) = line.rsplit_once(") ")?;
    let mut fields = rest.trim().split(' ');
    let state = fields.next()?;
    // Without permission to look into it, it is 0.
    let code = fields.nth(48)?.parse().ok()?;
    (state == "Z" && code != 0).then_some(code)
}

/// `None`, too, where /proc is another namespace's.
fn read(path: &str) -> Option<Stat> {
    if !super::namespace::has_proc() {
        return None;
    }
    parse(&String::from_utf8_lossy(&fs::read(path).ok()?))
}

pub fn thread(pid: u32, tid: u32) -> Option<Stat> {
    read(&format!("/proc/{pid}/task/{tid}/stat"))
}

pub fn process(pid: u32) -> Option<Stat> {
    read(&format!("/proc/{pid}/stat"))
}

/// Whether any thread of the process still runs. A main thread that has left before the others
/// is a zombie, but its process is not.
fn any_thread_lives(pid: u32) -> bool {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return false;
    };
    tasks.flatten().any(|task| {
        let stat = read(&task.path().join("stat").to_string_lossy());
        stat.is_some_and(|s| !matches!(s.state, 'Z' | 'X' | 'x'))
    })
}

/// Whether no thread `tid` of `pid`, started at `start` (0: unknown), lives any more. For the
/// main thread, the process is asked.
pub fn thread_is_gone(pid: u32, tid: u32, start: u64) -> bool {
    if tid == 0 {
        return true;
    }
    match thread(pid, tid) {
        Some(stat) if start != 0 && stat.start != start => true,
        Some(stat) => {
            matches!(stat.state, 'Z' | 'X' | 'x') && !(pid == tid && any_thread_lives(pid))
        }
        // Gone, or there is no /proc: then the kernel is asked what it tells without.
        None => !super::process::exists(pid, tid),
    }
}

/// See [`Host::sleeps_elsewhere`](ringer_kernel::host::Host); proc(5), /proc/pid/wchan and schedstat.
pub fn sleeps_elsewhere(pid: u32, tid: u32) -> Option<u64> {
    if !super::namespace::has_proc() {
        return None;
    }
    let read = |what| fs::read_to_string(format!("/proc/{pid}/task/{tid}/{what}")).ok();
    let place = read("wchan")?;
    if !sleeps_without_locks(place.as_bytes()) {
        return None;
    }
    read("schedstat")?.split_whitespace().nth(2)?.parse().ok()
}

pub fn is_alive(pid: u32) -> bool {
    pid != 0 && !thread_is_gone(pid, pid, 0)
}

pub fn start_of(pid: u32) -> u64 {
    process(pid).map_or(0, |s| s.start)
}

/// Threads of a process, 0 when it is gone.
pub fn threads(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count)
}

pub fn thread_ids(pid: u32) -> Vec<u32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    tasks
        .flatten()
        .filter_map(|t| t.file_name().to_str()?.parse().ok())
        .collect()
}

/// proc(5), /proc/pid/task/tid/status: SigPnd, ShdPnd, SigBlk, SigIgn, SigCgt.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SignalStatus {
    pub pending: u64,
    pub shared: u64,
    pub blocked: u64,
    pub ignored: u64,
    pub caught: u64,
}

pub fn signals(pid: u32, tid: u32) -> Option<SignalStatus> {
    let text = fs::read(format!("/proc/{pid}/task/{tid}/status")).ok()?;
    parse_signals(&String::from_utf8_lossy(&text))
}

fn parse_signals(text: &str) -> Option<SignalStatus> {
    let field = |name: &str| {
        let mut values = text.lines().filter_map(|l| l.strip_prefix(name));
        u64::from_str_radix(values.next()?.trim(), 16).ok()
    };
    Some(SignalStatus {
        pending: field("SigPnd:")?,
        shared: field("ShdPnd:")?,
        blocked: field("SigBlk:")?,
        ignored: field("SigIgn:")?,
        caught: field("SigCgt:")?,
    })
}

/// The command line, as a person would type it; `None` for a process that is gone or has none.
pub fn command_line(pid: u32) -> Option<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let words: Vec<&str> = text.split('\0').filter(|w| !w.is_empty()).collect();
    (!words.is_empty()).then(|| words.join(" "))
}

/// The counter of an eventfd, by a descriptor of `pid`'s. [proc(5), fdinfo: hexadecimal]
pub fn eventfd_count(pid: u32, fd: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).ok()?;
    let count = text
        .lines()
        .find_map(|l| l.strip_prefix("eventfd-count:"))?;
    u64::from_str_radix(count.trim(), 16).ok()
}

/// Whether another process that we can look into has the file mapped. Without /proc: perhaps.
pub fn is_mapped_elsewhere(file: &Path) -> bool {
    let Ok(entries) = fs::read_dir("/proc") else {
        return true;
    };
    let me = std::process::id().to_string();
    let file = file.to_string_lossy();
    entries.flatten().any(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        name != me
            && name.bytes().all(|b| b.is_ascii_digit())
            && fs::read(entry.path().join("maps"))
                .is_ok_and(|maps| String::from_utf8_lossy(&maps).contains(&*file))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_blanks_is_parsed() {
        let line = "7 (a) b) (c) R 1 7 7 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 4711 99";
        let stat = parse(line).unwrap();
        assert_eq!(
            stat,
            Stat {
                comm: "a) b) (c".into(),
                state: 'R',
                start: 4711
            }
        );
    }

    #[test]
    fn this_process_lives_and_its_namesake_does_not() {
        let me = std::process::id();
        let start = start_of(me);
        assert!(start > 0);
        assert!(!thread_is_gone(me, me, start));
        assert!(thread_is_gone(me, me, start + 1));
        assert!(thread_is_gone(0, 0, 0));
        assert!(!is_alive(0));
    }

    #[test]
    fn signals_are_hexadecimal() {
        let text = "Name:\tSigPnd: x\nSigPnd:\t0000000000000001\nShdPnd:\t0000000000000200\n\
                    SigBlk:\t0000000000000201\nSigIgn:\t0000000000001000\nSigCgt:\tffffffff00000000\n";
        let signals = parse_signals(text).unwrap();
        assert_eq!(
            (signals.pending, signals.shared, signals.blocked),
            (1, 0x200, 0x201)
        );
        assert_eq!(
            (signals.ignored, signals.caught),
            (0x1000, 0xffff_ffff_0000_0000)
        );
        assert_eq!(parse_signals("SigPnd:\t0\n"), None);
        let me = std::process::id();
        assert!(thread_ids(me).iter().all(|tid| signals_exist(me, *tid)));
    }

    /// Or it has ended meanwhile.
    fn signals_exist(pid: u32, tid: u32) -> bool {
        super::signals(pid, tid).is_some() || thread(pid, tid).is_none()
    }

    #[test]
    fn junk_is_no_stat() {
        for junk in ["", "7", "7 (x", "7 (x) ", "7 (x) R 1 2"] {
            assert_eq!(parse(junk), None);
        }
    }
}
