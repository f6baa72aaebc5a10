//! Sessions: an arena file in /dev/shm each.

pub mod belongings;
pub mod leftover;
mod map;
pub mod name;
pub mod shared;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::*;
use std::time::Duration;

use ringer_kernel::arena::header::{flag, Unusable};
use ringer_kernel::arena::{layout, pages, Arena, Header, BUILD};
use ringer_kernel::task::{proc_state, Process};

use crate::error::{Error, Result};
use crate::sys::{self, clock};
pub use name::Name;

/// An arena, mapped. The mapping stays until this process ends.
pub struct Session {
    pub arena: Arena,
    pub path: PathBuf,
    file: File,
}

/// Whether others' memory is changed through this mapping.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// One of the session's processes.
    Member,
    /// A look: what is written stays in this process.
    Look,
}

impl Session {
    pub fn header(&self) -> &'static Header {
        self.arena.header()
    }

    /// As `ringer ps` calls it.
    pub fn name(&self) -> String {
        name::of_path(&self.path)
    }

    pub fn is_named(&self) -> bool {
        self.header().has(flag::NAMED)
    }

    /// Makes the session that `name` says, or joins it if it has a name and exists.
    pub fn join(name: &Name, flags: u32) -> Result<Session> {
        let path = name.path();
        if name.is_given() && path.exists() {
            return Session::open(&path, Access::Member);
        }
        match create(name, flags) {
            Ok(session) => Ok(session),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                Session::open(&path, Access::Member)
            }
            Err(why) => Err(Error::CannotMakeSession { path, why }),
        }
    }

    /// Opens a session of this build.
    pub fn open(path: &Path, access: Access) -> Result<Session> {
        let session = open(path, access)?;
        match session.header().check(BUILD, layout::ARENA_BYTES as u64) {
            Ok(()) => Ok(session),
            Err(why) => Err(Error::Unusable {
                path: path.to_owned(),
                why,
            }),
        }
    }

    /// Claims the log for this process: only one may take records out. The claim goes when the
    /// session is dropped.
    pub fn claim_log(&self) -> Result<()> {
        if sys::try_lock(self.file.as_fd()) {
            Ok(())
        } else {
            Err(Error::LogIsRead {
                path: self.path.clone(),
            })
        }
    }

    /// Whether nobody else is in the session: no process has the arena, or is about to.
    pub fn is_deserted(&self) -> bool {
        // In this order: a process that forks has the arena mapped until it is in the table, and
        // while it execs it is in the table only. (So who is said to be live, and has it not
        // mapped, is dead; its number may be another process's by now.)
        let mapped = !self.is_open_by_nobody();
        let lives_without = |p: &Process| p.state.load(Acquire) != proc_state::LIVE;
        !mapped && !leftover::live_processes(&self.arena).any(|(_, p)| lives_without(p))
    }

    /// Whether no other process has the file open or mapped.
    pub fn is_open_by_nobody(&self) -> bool {
        let elsewhere = sys::is_open_elsewhere(self.file.as_fd())
            .unwrap_or_else(|| sys::procfs::is_mapped_elsewhere(&self.path));
        !elsewhere
    }

    /// Removes the file; who has it mapped keeps it.
    pub fn unlink(&self) {
        // It may be gone already: another ringer cleans up, too.
        let _ = std::fs::remove_file(&self.path);
        remove_segments(&self.path);
    }
}

/// The memory of a session that is gone.
pub fn remove_segments(arena: &Path) {
    for segment in name::segments(|a| a == arena) {
        let _ = std::fs::remove_file(segment);
    }
    belongings::remove_of(arena);
}

/// A new arena. One that others may look for is filled in under a name that nobody knows, and
/// then gets its own: nobody sees half of one.
fn create(name: &Name, flags: u32) -> io::Result<Session> {
    let path = name.path();
    if !name.is_given() {
        return fill(&path, flags);
    }
    let unnamed = Name::unnamed().path();
    let mut session = fill(&unnamed, flags)?;
    let linked = std::fs::hard_link(&unnamed, &path);
    let _ = std::fs::remove_file(&unnamed);
    session.path = path;
    linked.map(|()| session)
}

fn fill(path: &Path, flags: u32) -> io::Result<Session> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(path)?;
    let filled = map_new(&file, flags);
    if filled.is_err() {
        let _ = std::fs::remove_file(path);
    }
    filled.map(|arena| Session {
        arena,
        path: path.to_owned(),
        file,
    })
}

fn map_new(file: &File, flags: u32) -> io::Result<Arena> {
    // The limit's way to say no is SIGXFSZ, which kills.
    if sys::file_size_limit() < layout::ARENA_BYTES as u64 {
        return Err(io::Error::from_raw_os_error(libc::EFBIG));
    }
    file.set_len(layout::ARENA_BYTES as u64)?;
    let arena = map::map(file.as_fd(), layout::ARENA_BYTES, Access::Member)?;
    if !pages::make_first(&arena, &sys::Here) {
        return Err(io::Error::from_raw_os_error(libc::ENOSPC));
    }
    let (ns, tsc) = clock::both();
    let len = layout::ARENA_BYTES as u64;
    let header = arena.header();
    header.namespace.store(sys::namespace::own(), Relaxed);
    header.initialise(len, BUILD, flags, std::process::id(), ns, tsc);
    Ok(arena)
}

/// Maps an existing file that is as long as an arena, whatever is in it.
fn open(path: &Path, access: Access) -> Result<Session> {
    open_patiently(path, access, 20)
}

/// As [`open`]. A file that is being made this moment is looked at so many times more.
fn open_patiently(path: &Path, access: Access, mut patience: u32) -> Result<Session> {
    let trouble = |why| Error::CannotOpenSession {
        path: path.to_owned(),
        why,
    };
    loop {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
            .open(path)
            .map_err(trouble)?;
        let len = file.metadata().map_err(trouble)?.size();
        if len == layout::ARENA_BYTES as u64 {
            // Not by a load from the mapping: there, a page that nobody has made is SIGBUS on a
            // full tmpfs.
            let mut magic = [0; 8];
            file.read_exact_at(&mut magic, 0).map_err(trouble)?;
            if magic != [0; 8] {
                let arena = map::map(file.as_fd(), layout::ARENA_BYTES, access).map_err(trouble)?;
                return Ok(Session {
                    arena,
                    path: path.to_owned(),
                    file,
                });
            } else if patience == 0 {
                return Err(Error::Unusable {
                    path: path.to_owned(),
                    why: Unusable::NotAnArena,
                });
            }
        } else if len != 0 || patience == 0 {
            let why = if len < 8 {
                Unusable::NotAnArena
            } else {
                Unusable::Truncated
            };
            return Err(Error::Unusable {
                path: path.to_owned(),
                why,
            });
        }
        // A program that was started without ringer is making it this moment.
        patience -= 1;
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Every session of this user, live or left over, that this build can read; and those it can not.
pub fn all() -> (Vec<Session>, Vec<PathBuf>) {
    let mut sessions = Vec::new();
    let mut strange = Vec::new();
    for path in name::files() {
        match Session::open(&path, Access::Look) {
            Ok(session) => sessions.push(session),
            // Gone since we looked.
            Err(Error::CannotOpenSession { why, .. }) if why.kind() == io::ErrorKind::NotFound => {}
            Err(_) => strange.push(path),
        }
    }
    (sessions, strange)
}

/// One session, by name, by id, or by path.
pub fn find(given: &str) -> Result<Session> {
    let path = name::resolve(given)?;
    if !path.exists() {
        return Err(Error::NoSuchSession {
            name: given.to_owned(),
        });
    }
    Session::open(&path, Access::Look)
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A session of its own for a test; its file goes with it.
    pub struct Temporary(pub Session);

    impl Temporary {
        pub fn new(flags: u32) -> Temporary {
            Temporary(Session::join(&Name::unnamed(), flags).unwrap())
        }
    }

    impl Drop for Temporary {
        fn drop(&mut self) {
            self.0.unlink();
        }
    }

    #[test]
    fn a_new_session_passes_its_own_check_and_a_foreign_file_does_not() {
        let made = Temporary::new(flag::LOG);
        let again = Session::open(&made.0.path, Access::Look).unwrap();
        assert!(again.header().has(flag::LOG));
        assert_eq!(again.header().creator.load(Relaxed), std::process::id());

        made.0.header().build.fetch_add(1, Relaxed);
        let refused = Session::open(&made.0.path, Access::Member).err();
        assert!(matches!(
            refused,
            Some(Error::Unusable {
                why: Unusable::OtherBuild,
                ..
            })
        ));
        made.0.header().magic.store(1, Relaxed);
        let refused = Session::open(&made.0.path, Access::Member).err();
        assert!(matches!(
            refused,
            Some(Error::Unusable {
                why: Unusable::NotAnArena,
                ..
            })
        ));
        made.0.file.set_len(4096).unwrap();
        let refused = Session::open(&made.0.path, Access::Member).err();
        assert!(matches!(
            refused,
            Some(Error::Unusable {
                why: Unusable::Truncated,
                ..
            })
        ));
    }

    #[test]
    fn a_named_session_is_joined_by_the_second() {
        let name = Name::given(&format!("test-{}", std::process::id())).unwrap();
        let first = Temporary(Session::join(&name, flag::NAMED).unwrap());
        let second = Session::join(&name, flag::NAMED | flag::OBSERVE).unwrap();
        assert_eq!(first.0.path, second.path);
        first.0.header().object_ids.store(7, Relaxed);
        assert_eq!(second.header().object_ids.load(Relaxed), 7);
        assert!(
            !second.header().has(flag::OBSERVE),
            "the first one's flags hold"
        );
    }

    #[test]
    fn what_an_onlooker_writes_stays_with_him() {
        let made = Temporary::new(0);
        let look = Session::open(&made.0.path, Access::Look).unwrap();
        made.0.header().object_ids.store(3, Relaxed);
        assert_eq!(look.header().object_ids.load(Relaxed), 3);
        look.header().object_ids.store(9, Relaxed);
        assert_eq!(made.0.header().object_ids.load(Relaxed), 3);
    }

    #[test]
    fn a_session_is_deserted_when_no_other_process_has_it() {
        let made = Temporary::new(0);
        assert!(made.0.is_deserted());
        let other = std::process::Command::new("sh")
            .args(["-c", "exec 3<>\"$1\"; echo; read line", "sh"])
            .arg(&made.0.path)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn();
        let mut other = other.unwrap();
        let mut ready = [0];
        std::io::Read::read_exact(&mut other.stdout.take().unwrap(), &mut ready).unwrap();
        assert!(!made.0.is_deserted());
        drop(other.stdin.take());
        other.wait().unwrap();
        assert!(made.0.is_deserted());
    }

    #[test]
    fn only_one_reader_of_a_log() {
        let made = Temporary::new(flag::LOG);
        let other = Session::open(&made.0.path, Access::Member).unwrap();
        made.0.claim_log().unwrap();
        assert!(matches!(other.claim_log(), Err(Error::LogIsRead { .. })));
        assert!(made.0.claim_log().is_ok());
    }
}
