//! libringer.so, which this binary carries inside it: unpacked once for each user and build.

use std::ffi::CString;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::sys;

static LIBRARY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/libringer.so"));

/// Where the library is in the file system, as LD_PRELOAD wants it.
pub fn unpack() -> Result<PathBuf> {
    let mut tried = Vec::new();
    for place in places() {
        match unpack_in(&place, LIBRARY) {
            Ok(path) => return Ok(path),
            Err(why) => tried.push((place.dir, sys::error_text(&why))),
        }
    }
    Err(Error::NowhereToUnpack { tried })
}

struct Place {
    dir: PathBuf,
    /// Made by us, for this user only; /dev/shm is everybody's.
    private: bool,
}

fn places() -> Vec<Place> {
    let absolute = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|p| p.is_absolute())
    };
    let mut dirs = Vec::new();
    dirs.extend(absolute("XDG_CACHE_HOME").map(|dir| dir.join("ringer")));
    dirs.extend(absolute("HOME").map(|dir| dir.join(".cache/ringer")));
    dirs.push(PathBuf::from(format!("/tmp/ringer-{}", sys::uid())));
    let mut places: Vec<Place> = dirs
        .into_iter()
        .map(|dir| Place { dir, private: true })
        .collect();
    places.push(Place {
        dir: PathBuf::from("/dev/shm"),
        private: false,
    });
    places
}

fn unpack_in(place: &Place, library: &[u8]) -> io::Result<PathBuf> {
    let name = place.dir.as_os_str().as_bytes();
    if name.iter().any(|b| matches!(b, b':' | b' ')) {
        return Err(io::Error::other("LD_PRELOAD can not hold its name"));
    }
    if place.private {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&place.dir)?;
        check_owner(&place.dir)?;
    }
    if !sys::is_executable_mount(&CString::new(name)?) {
        return Err(io::Error::other("mounted noexec"));
    }
    let path = place
        .dir
        .join(format!("libringer-{:016x}.so", hash(library)));
    if !holds(&path, library)? {
        write(&path, library)?;
    }
    Ok(path)
}

/// Nobody else may put a library where we look for ours.
fn check_owner(dir: &Path) -> io::Result<()> {
    let meta = fs::symlink_metadata(dir)?;
    if !meta.is_dir() || meta.uid() != sys::uid() {
        return Err(io::Error::other("not a directory of this user's"));
    }
    if meta.mode() & 0o022 != 0 {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Whether the file is ours and holds exactly these bytes.
fn holds(path: &Path, library: &[u8]) -> io::Result<bool> {
    let Ok(meta) = fs::symlink_metadata(path) else {
        return Ok(false);
    };
    if !meta.is_file() || meta.uid() != sys::uid() || meta.mode() & 0o022 != 0 {
        return Err(io::Error::other(format!(
            "{} is somebody else's",
            path.display()
        )));
    }
    if meta.len() != library.len() as u64 {
        return Ok(false);
    }
    let mut found = Vec::with_capacity(library.len());
    File::open(path)?.read_to_end(&mut found)?;
    Ok(found == library)
}

/// Written beside and renamed: nobody ever loads half of it.
fn write(path: &Path, library: &[u8]) -> io::Result<()> {
    let beside = path.with_extension(format!("{}-{:x}", std::process::id(), sys::random()));
    let written = File::create_new(&beside).and_then(|mut file| {
        file.write_all(library)?;
        file.set_permissions(fs::Permissions::from_mode(0o755))?;
        fs::rename(&beside, path)
    });
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

/// FNV-1a over words: a name for the contents, not a proof (`holds` compares every byte).
fn hash(bytes: &[u8]) -> u64 {
    bytes
        .chunks(8)
        .fold(0xcbf2_9ce4_8422_2325, |h: u64, chunk| {
            let word = chunk.iter().rev().fold(0, |w, b| w << 8 | u64::from(*b));
            (h ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(29)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Dir {
            let dir = format!("ringer-unit-{name}-{}", std::process::id());
            Dir(std::env::temp_dir().join(dir))
        }

        fn place(&self) -> Place {
            Place {
                dir: self.0.join("cache"),
                private: true,
            }
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn it_is_unpacked_once_and_mended_if_it_was_touched() {
        let dir = Dir::new("mend");
        let path = unpack_in(&dir.place(), b"library").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"library");
        let first = fs::metadata(&path).unwrap().ino();
        assert_eq!(unpack_in(&dir.place(), b"library").unwrap(), path);
        assert_eq!(
            fs::metadata(&path).unwrap().ino(),
            first,
            "not written again"
        );

        fs::write(&path, b"librarx").unwrap();
        assert_eq!(unpack_in(&dir.place(), b"library").unwrap(), path);
        assert_eq!(fs::read(&path).unwrap(), b"library");
        let left: Vec<_> = fs::read_dir(dir.place().dir).unwrap().collect();
        assert_eq!(left.len(), 1, "nothing else is left behind");
    }

    #[test]
    fn another_build_gets_another_name() {
        let dir = Dir::new("names");
        let a = unpack_in(&dir.place(), b"library 1").unwrap();
        let b = unpack_in(&dir.place(), b"library 2").unwrap();
        assert_ne!(a, b);
    }

    #[test]
    fn a_directory_that_others_may_write_to_is_closed() {
        let dir = Dir::new("open");
        fs::create_dir_all(dir.place().dir).unwrap();
        fs::set_permissions(dir.place().dir, fs::Permissions::from_mode(0o777)).unwrap();
        unpack_in(&dir.place(), b"library").unwrap();
        assert_eq!(fs::metadata(dir.place().dir).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_link_to_elsewhere_is_refused() {
        let dir = Dir::new("link");
        let path = unpack_in(&dir.place(), b"library").unwrap();
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        assert!(unpack_in(&dir.place(), b"library").is_err());
        let blank = Place {
            dir: dir.0.join("a b"),
            private: true,
        };
        assert!(unpack_in(&blank, b"library").is_err());
    }
}
