//! What sessions are called, and where they are.
//!
//! ```text
//! /dev/shm/ringer-<uid>-NAME.session    ringer run --session NAME
//! /dev/shm/ringer-<pid>-<random hex>    ringer run
//! /dev/shm/ringer-...                   LD_PRELOAD=libringer.so alone
//! /dev/shm/ringer-...+mqN               and what belongs to one: see `belongings`
//! ```

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ringer_kernel::sysv::root::SEGMENT;

use crate::error::{Error, Result};
use crate::sys;

pub const DIRECTORY: &str = "/dev/shm";
const PREFIX: &str = "ringer-";
const NAMED: &str = ".session";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    file: String,
    given: bool,
}

impl Name {
    /// A name that nobody else has.
    pub fn unnamed() -> Name {
        let file = format!(
            "{PREFIX}{}-{:08x}",
            std::process::id(),
            sys::random() as u32
        );
        Name { file, given: false }
    }

    /// `--session NAME`.
    pub fn given(name: &str) -> Result<Name> {
        let fits = (1..=64).contains(&name.len()) && name != "." && name != "..";
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        if !fits || !name.bytes().all(plain) {
            return Err(Error::BadSessionName {
                name: name.to_owned(),
            });
        }
        Ok(Name {
            file: format!("{PREFIX}{}-{name}{NAMED}", sys::uid()),
            given: true,
        })
    }

    pub fn is_given(&self) -> bool {
        self.given
    }

    pub fn path(&self) -> PathBuf {
        Path::new(DIRECTORY).join(&self.file)
    }
}

/// What the user calls the session in this file.
pub fn of_path(path: &Path) -> String {
    let file = path
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    let mine = format!("{PREFIX}{}-", sys::uid());
    match file.strip_suffix(NAMED) {
        Some(stem) => stem.strip_prefix(&mine).unwrap_or(stem).to_owned(),
        None => file.strip_prefix(PREFIX).unwrap_or(&file).to_owned(),
    }
}

/// The file of a session that the user named: a name, an id from `ringer ps`, or a path.
pub fn resolve(given: &str) -> Result<PathBuf> {
    if given.contains('/') {
        return Ok(PathBuf::from(given));
    }
    let named = Name::given(given)?.path();
    let by_id = Path::new(DIRECTORY).join(format!("{PREFIX}{given}"));
    let as_is = Path::new(DIRECTORY).join(given);
    let found = [&named, &by_id, &as_is]
        .into_iter()
        .find(|p| p.exists())
        .cloned();
    Ok(found.unwrap_or(named))
}

pub fn is_unnamed(path: &Path) -> bool {
    let file = path
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    file.starts_with(PREFIX) && !file.ends_with(NAMED)
}

/// The process that made the session in this file, by its name. `None`: it was given one.
pub fn maker(path: &Path) -> Option<u32> {
    let file = path.file_name()?.to_str()?;
    let (pid, _) = file.strip_prefix(PREFIX)?.split_once('-')?;
    pid.parse().ok().filter(|_| is_unnamed(path))
}

/// The arena that this file is a segment of (`shmget`), if it is one.
pub fn segment_of(path: &Path) -> Option<PathBuf> {
    let mark = std::str::from_utf8(SEGMENT).ok()?;
    let (arena, number) = path.to_str()?.rsplit_once(mark)?;
    let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| PathBuf::from(arena))
}

/// The files of segments for which `chosen` says so of their arena.
pub fn segments(chosen: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    let entries = fs::read_dir(DIRECTORY).into_iter().flatten().flatten();
    entries
        .map(|e| e.path())
        .filter(|p| segment_of(p).is_some_and(|arena| chosen(&arena)))
        .collect()
}

/// The arena files of this user.
pub fn files() -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(DIRECTORY) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .filter(|e| e.file_name().to_string_lossy().starts_with(PREFIX))
        .filter(|e| segment_of(&e.path()).is_none())
        .filter(|e| {
            e.metadata()
                .is_ok_and(|m| m.is_file() && m.uid() == sys::uid())
        })
        .map(|e| e.path())
        .collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_their_directory() {
        for bad in ["", ".", "..", "a/b", "../x", "a b", "ä", &"x".repeat(65)] {
            assert!(Name::given(bad).is_err(), "{bad}");
        }
        let name = Name::given("build.2_x-y").unwrap();
        assert_eq!(of_path(&name.path()), "build.2_x-y");
        assert!(!is_unnamed(&name.path()));
        assert_eq!(maker(&name.path()), None);
    }

    #[test]
    fn a_segments_file_is_no_session() {
        let arena = Name::unnamed().path();
        let segment = PathBuf::from(format!("{}.sysv-12", arena.display()));
        assert_eq!(segment_of(&segment), Some(arena.clone()));
        assert_eq!(segment_of(&arena), None);
        let named = Name::given("x.sysv-1").unwrap().path();
        assert_eq!(segment_of(&named), None);
    }

    #[test]
    fn unnamed_sessions_differ() {
        assert_ne!(Name::unnamed(), Name::unnamed());
        assert!(is_unnamed(&Name::unnamed().path()));
        assert_eq!(maker(&Name::unnamed().path()), Some(std::process::id()));
    }
}
