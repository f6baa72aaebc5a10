//! Process numbers across PID namespaces. See `ringer_kernel::task::alive`, pid_namespaces(7).

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::Ordering::*;
use std::sync::OnceLock;

use ringer_kernel::task::Process;

/// The namespace of this process, 0 if it can not be known.
pub fn own() -> u32 {
    static OWN: OnceLock<u32> = OnceLock::new();
    *OWN.get_or_init(|| of(Path::new("/proc/self")).unwrap_or(0))
}

fn of(process: &Path) -> Option<u32> {
    let meta = fs::metadata(process.join("ns/pid")).ok()?;
    u32::try_from(meta.ino()).ok()
}

/// Whether /proc/N is process N of this namespace, and not of one around it.
pub fn has_proc() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    *HAS.get_or_init(|| {
        let me = std::process::id().to_string();
        fs::read_link("/proc/self").is_ok_and(|to| to == Path::new(&me))
    })
}

/// The number by which this process knows that one. `None`: it is in a namespace that can not be
/// looked into from here, or gone.
pub fn number_here(p: &Process) -> Option<u32> {
    let pid = p.pid.load(Acquire);
    let namespace = p.namespace.load(Relaxed);
    if namespace == own() {
        return Some(pid);
    }
    let processes = fs::read_dir("/proc").ok().filter(|_| has_proc())?;
    processes.flatten().find_map(|entry| {
        let number = entry.file_name().to_str()?.parse().ok()?;
        let it = of(&entry.path()) == Some(namespace) && innermost(&entry.path()) == Some(pid);
        it.then_some(number)
    })
}

/// Its number in its own namespace: the last one of NSpid.
fn innermost(process: &Path) -> Option<u32> {
    let status = fs::read_to_string(process.join("status")).ok()?;
    let numbers = status.lines().find_map(|l| l.strip_prefix("NSpid:"))?;
    numbers.split_whitespace().last()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::tests::Temporary;
    use crate::sys::Here;
    use ringer_kernel::task::{self, proc_state};
    use std::process::{Command, Stdio};

    #[test]
    fn a_process_of_an_inner_namespace_is_found_by_its_outer_number() {
        let mut inner = Command::new("unshare")
            .args(["--pid", "--fork", "--kill-child", "sleep", "1000"])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let children = format!("/proc/{0}/task/{0}/children", inner.id());
        let sleeper = loop {
            let text = fs::read_to_string(&children).unwrap_or_default();
            match text.trim().parse::<u32>() {
                Ok(n) if fs::read(format!("/proc/{n}/comm")).is_ok_and(|c| c == b"sleep\n") => {
                    break n
                }
                _ if inner.try_wait().unwrap().is_some() => return, // it may not have namespaces
                _ => std::thread::sleep(std::time::Duration::from_millis(1)),
            }
        };
        let made = Temporary::new(0);
        let arena = &made.0.arena;
        let (_, p) = task::claim_process(arena, &Here, proc_state::LIVE, 1, 0, 0).unwrap();
        assert_eq!(number_here(p), Some(1), "ours until it says otherwise");
        p.settle(of(Path::new(&format!("/proc/{sleeper}"))).unwrap(), 1);
        assert_eq!(number_here(p), Some(sleeper));
        inner.kill().unwrap();
        inner.wait().unwrap();
    }
}
