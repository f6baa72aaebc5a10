//! Unnamed sessions whose processes are all gone: nobody else removes them.

use std::path::Path;
use std::sync::atomic::Ordering::*;
use std::time::Duration;

use ringer_kernel::arena::header::Unusable;
use ringer_kernel::arena::{layout, Arena, BUILD};
use ringer_kernel::task::{self, proc_state, Process};

use super::{belongings, name, Access};
use crate::sys::{procfs, Here};

/// Removes what is left over. Trouble is nobody's concern: it is tried again next time.
pub fn remove() {
    for path in name::files().iter().filter(|p| name::is_unnamed(p)) {
        if is_left_over(path) {
            let _ = std::fs::remove_file(path);
            super::remove_segments(path);
        }
    }
    // Of sessions that are gone: whoever removed them was killed before he came to these.
    for segment in name::segments(|arena| !arena.exists()) {
        let _ = std::fs::remove_file(segment);
    }
    belongings::remove_orphans();
}

fn is_left_over(path: &Path) -> bool {
    if name::maker(path).is_some_and(procfs::is_alive) {
        return false;
    }
    let Ok(session) = super::open_patiently(path, Access::Look, 0) else {
        return is_half_made(path);
    };
    let header = session.header();
    match header.check(BUILD, layout::ARENA_BYTES as u64) {
        Ok(()) | Err(Unusable::OtherBuild) => {}
        // Its tables can not be read: who has it open is all that can be known.
        Err(Unusable::OtherLayout { .. }) => return session.is_open_by_nobody() && is_old(path),
        Err(_) => return false,
    }
    let masters = [&header.creator, &header.supervisor];
    !masters
        .iter()
        .any(|pid| procfs::is_alive(pid.load(Relaxed)))
        && session.is_deserted()
}

/// Whether the maker of this file was killed before it was an arena. (It is not alive, as far as we
/// can see; if it is one of another PID namespace, it has had time enough.)
fn is_half_made(path: &Path) -> bool {
    let length = std::fs::metadata(path).map(|m| m.len()).ok();
    matches!(length, Some(0 | ARENA_LENGTH)) && is_old(path)
}

const ARENA_LENGTH: u64 = layout::ARENA_BYTES as u64;

fn is_old(path: &Path) -> bool {
    const ENOUGH: Duration = Duration::from_secs(10);
    let made = std::fs::metadata(path).and_then(|m| m.modified()).ok();
    made.and_then(|t| t.elapsed().ok())
        .is_some_and(|age| age > ENOUGH)
}

/// The processes of a session that are there, as far as the arena knows, by their slots; those
/// that are dead and nobody noticed are not.
pub fn live_processes(arena: &Arena) -> impl Iterator<Item = (u32, &'static Process)> {
    let arena = *arena;
    let used = arena
        .header()
        .procs_used
        .load(Acquire)
        .min(layout::MAX_PROCS);
    (1..used).filter_map(move |slot| {
        let p = task::process(&arena, slot)?;
        let there = match p.state.load(Acquire) {
            proc_state::LIVE | proc_state::EXECING | proc_state::UNSHIMMED => {
                !task::process_is_gone(&arena, &Here, slot, p)
            }
            // It has not said its number yet; who has its parent's mapping is seen by that.
            proc_state::ANNOUNCED => {
                let parent = p.parent.load(Relaxed);
                task::process(&arena, parent)
                    .is_some_and(|p| !task::process_is_gone(&arena, &Here, parent, p))
            }
            _ => false,
        };
        there.then_some((slot, p))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::tests::Temporary;

    /// A process that has ended, and whose number nobody has (for now).
    fn dead_pid() -> u32 {
        let mut child = std::process::Command::new("/bin/true").spawn().unwrap();
        child.wait().unwrap();
        child.id()
    }

    #[test]
    fn a_session_is_left_over_when_everybody_is_dead() {
        let made = Temporary::new(0);
        let copy = std::process::Command::new("cp")
            .arg("--sparse=always")
            .arg(&made.0.path)
            .arg(made.0.path.with_extension("copy"))
            .status();
        assert!(copy.unwrap().success());
        let path = made.0.path.with_extension("copy");
        assert!(!is_left_over(&path), "its creator lives");

        let copied = super::super::open(&path, Access::Member).unwrap();
        copied.header().creator.store(dead_pid(), Relaxed);
        assert!(!is_left_over(&path), "it is open elsewhere");
        drop(copied);
        // Our own mapping stays, as every mapping of an arena does: no file goes while we test.
        assert!(!is_left_over(&path));
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn what_a_killed_maker_began_is_left_over_after_a_while() {
        let path = Path::new(name::DIRECTORY).join(format!("ringer-{}-half", dead_pid()));
        let file = std::fs::File::create(&path).unwrap();
        assert!(!is_left_over(&path), "it may be made this moment");
        for length in [0, layout::ARENA_BYTES as u64] {
            file.set_len(length).unwrap();
            let old = std::time::SystemTime::now() - Duration::from_secs(60);
            file.set_modified(old).unwrap();
            let looks = (0..5).map(|_| {
                let since = std::time::Instant::now();
                assert!(is_left_over(&path), "{length}");
                since.elapsed()
            });
            let quickest = looks.min().unwrap(); // the others may have lost the processor
            assert!(quickest < Duration::from_millis(100), "nobody waits for it");
        }
        file.set_len(4096).unwrap();
        assert!(!is_left_over(&path), "that is something else");
        std::fs::remove_file(&path).unwrap();
        let mine = Path::new(name::DIRECTORY).join(format!("ringer-{}-half", std::process::id()));
        assert!(!is_left_over(&mine), "its maker lives");
    }

    #[test]
    fn only_processes_that_exist_are_live() {
        let made = Temporary::new(0);
        let arena = &made.0.arena;
        let me = std::process::id();
        for pid in [me, dead_pid()] {
            let start = procfs::start_of(pid);
            task::claim_process(arena, &Here, proc_state::LIVE, pid, 0, start).unwrap();
        }
        let live: Vec<u32> = live_processes(arena)
            .map(|(_, p)| p.pid.load(Relaxed))
            .collect();
        assert_eq!(live, [me]);
    }
}
