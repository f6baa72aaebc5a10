//! What a session has in /dev/shm besides its arena. It goes with the arena: with whoever removes that,
//! or with the next who finds it alone.
//!
//! ```text
//! TAG+mqN           the FIFO under message queue mq#N
//! of-TAG+NAME       shm_open("/NAME")
//! sem.of-TAG+NAME   sem_open("/NAME")
//! TAG.sysv-N        memory of a System V segment: not here, see `name::segments`
//! ```
//!
//! TAG is the name of the arena's file. No session's name has a `+`.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::name::DIRECTORY;
use crate::sys;

/// Kinds of belongings that have a name of the program's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Queue,
    Memory,
    Semaphore,
}

/// A file of a session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Belonging {
    pub kind: Kind,
    /// Name of the arena's file.
    pub tag: String,
    /// What is behind the `+`.
    pub rest: String,
    pub path: PathBuf,
}

fn parse(path: &Path) -> Option<Belonging> {
    let file = path.file_name()?.to_str()?;
    let (kind, whose) = if let Some(rest) = file.strip_prefix("sem.of-") {
        (Kind::Semaphore, rest)
    } else if let Some(rest) = file.strip_prefix("of-") {
        (Kind::Memory, rest)
    } else {
        (Kind::Queue, file)
    };
    let (tag, rest) = whose.split_once('+')?;
    let plain = tag.starts_with("ringer-") && !rest.is_empty();
    let numbered = kind != Kind::Queue || rest.starts_with("mq");
    (plain && numbered).then(|| Belonging {
        kind,
        tag: tag.to_owned(),
        rest: rest.to_owned(),
        path: path.to_owned(),
    })
}

/// Everything of this user's sessions.
pub fn all() -> Vec<Belonging> {
    let Ok(entries) = fs::read_dir(DIRECTORY) else {
        return Vec::new();
    };
    let mine = |e: &fs::DirEntry| {
        e.metadata()
            .is_ok_and(|m| m.uid() == sys::uid() || sys::uid() == 0)
    };
    let mut found: Vec<Belonging> = entries
        .flatten()
        .filter_map(|e| Some((parse(&e.path())?, e)))
        .filter(|(_, e)| mine(e))
        .map(|(b, _)| b)
        .collect();
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// What the session in this arena file has.
pub fn of(arena: &Path) -> Vec<Belonging> {
    let tag = arena.file_name().map(|n| n.to_string_lossy().into_owned());
    all()
        .into_iter()
        .filter(|b| Some(&b.tag) == tag.as_ref())
        .collect()
}

/// After its arena was removed.
pub fn remove_of(arena: &Path) {
    for b in of(arena) {
        let _ = fs::remove_file(b.path);
    }
}

/// What belongs to no session any more. (The arena is made first, and removed first.)
pub fn remove_orphans() {
    for b in all() {
        if !Path::new(DIRECTORY).join(&b.tag).exists() {
            let _ = fs::remove_file(b.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_whose_they_are() {
        let of =
            |file: &str| parse(&Path::new(DIRECTORY).join(file)).map(|b| (b.kind, b.tag, b.rest));
        let is = |kind, tag: &str, rest: &str| Some((kind, tag.to_owned(), rest.to_owned()));
        assert_eq!(of("ringer-1-2+mq3"), is(Kind::Queue, "ringer-1-2", "mq3"));
        assert_eq!(
            of("of-ringer-0-a.b.session+x+y"),
            is(Kind::Memory, "ringer-0-a.b.session", "x+y")
        );
        assert_eq!(
            of("sem.of-ringer-1-2+s"),
            is(Kind::Semaphore, "ringer-1-2", "s")
        );
        for other in ["ringer-1-2", "sem.mine", "of-mine+x", "a+b", "ringer-1-2+"] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn what_has_no_session_is_removed_and_what_has_one_is_not() {
        let made = crate::session::tests::Temporary::new(0);
        let tag = made.0.path.file_name().unwrap().to_str().unwrap();
        let of_one = Path::new(DIRECTORY).join(format!("of-{tag}+kept"));
        let of_none = Path::new(DIRECTORY).join(format!("of-{tag}x+gone"));
        for path in [&of_one, &of_none] {
            fs::write(path, b"x").unwrap();
        }
        remove_orphans();
        assert!(of_one.exists() && !of_none.exists());
        made.0.unlink();
        assert!(!of_one.exists());
    }
}
