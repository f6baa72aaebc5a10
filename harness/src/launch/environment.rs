//! The environment of the command: two variables more, everything else as it was.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::sys;

const PRELOAD: &str = "LD_PRELOAD";
const SESSION: &str = "RINGER_SESSION";

/// `NAME=value` strings: `from` with the shim in front of what is preloaded anyway.
pub fn with_shim(
    from: impl Iterator<Item = (OsString, OsString)>,
    library: &Path,
    session: &Path,
) -> Vec<CString> {
    let mut preload = library.as_os_str().to_owned();
    let mut strings = Vec::new();
    for (name, value) in from {
        if name == PRELOAD {
            for other in others(&value) {
                preload.push(":");
                preload.push(other);
            }
        } else if name != SESSION {
            strings.extend(assign(&name, &value));
        }
    }
    strings.extend(assign(OsStr::new(PRELOAD), &preload));
    strings.extend(assign(OsStr::new(SESSION), session.as_os_str()));
    strings
}

/// `NAME=value` strings of a program that shall run without ringer: the environment as it is.
pub fn without_shim(from: impl Iterator<Item = (OsString, OsString)>) -> Vec<CString> {
    from.filter_map(|(name, value)| assign(&name, &value))
        .collect()
}

/// The variables without ringer's, if this ringer runs under another one.
pub fn native(
    from: impl Iterator<Item = (OsString, OsString)>,
) -> impl Iterator<Item = (OsString, OsString)> {
    from.filter(|(name, _)| name != SESSION)
        .filter_map(|(name, value)| {
            if name != PRELOAD {
                return Some((name, value));
            }
            let kept: Vec<OsString> = others(&value).collect();
            let kept = kept.join(OsStr::new(":"));
            (!kept.is_empty()).then_some((name, kept))
        })
}

/// Preloaded libraries that are not ringer's: a ringer under ringer starts a session of its own.
fn others(value: &OsStr) -> impl Iterator<Item = OsString> + '_ {
    value
        .as_bytes()
        .split(|b| matches!(b, b':' | b' '))
        .filter(|path| !path.is_empty())
        .filter(|path| {
            let file = path.rsplit(|b| *b == b'/').next().unwrap_or_default();
            !file.starts_with(b"libringer")
        })
        .map(|path| sys::os_string(path.to_vec()))
}

/// `None`: a NUL inside, which no environment can hold.
fn assign(name: &OsStr, value: &OsStr) -> Option<CString> {
    let mut string = name.as_bytes().to_vec();
    string.push(b'=');
    string.extend_from_slice(value.as_bytes());
    CString::new(string).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Vec<String> {
        let from = pairs
            .iter()
            .map(|(n, v)| (OsString::from(n), OsString::from(v)));
        with_shim(
            from,
            Path::new("/c/libringer-1.so"),
            Path::new("/dev/shm/ringer-1"),
        )
        .into_iter()
        .map(|s| s.into_string().unwrap())
        .collect()
    }

    #[test]
    fn two_variables_and_no_more() {
        assert_eq!(
            env(&[("A", "1"), ("B", "x=y")]),
            [
                "A=1",
                "B=x=y",
                "LD_PRELOAD=/c/libringer-1.so",
                "RINGER_SESSION=/dev/shm/ringer-1"
            ]
        );
    }

    #[test]
    fn what_is_preloaded_stays_and_an_outer_ringer_goes() {
        let preload = "/old/libringer-0.so:/lib/a.so /lib/b.so:";
        assert_eq!(
            env(&[
                ("LD_PRELOAD", preload),
                ("RINGER_SESSION", "/dev/shm/ringer-0")
            ]),
            [
                "LD_PRELOAD=/c/libringer-1.so:/lib/a.so:/lib/b.so",
                "RINGER_SESSION=/dev/shm/ringer-1"
            ]
        );
    }
}
