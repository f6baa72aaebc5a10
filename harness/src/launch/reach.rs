//! Whether LD_PRELOAD reaches a program, before it is started: for `ringer trace`, so that an
//! empty trace explains itself. The command runs in any case.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::sys;

/// Scripts of scripts end here (fs/exec.c allows five).
const MAX_INTERPRETERS: usize = 5;

/// Why ringer sees nothing of the command. `None`: it does, or the command does not start at all.
pub fn why_not(command: &OsStr) -> Option<&'static str> {
    let mut program = find(command)?;
    for _ in 0..MAX_INTERPRETERS {
        let meta = program.metadata().ok()?;
        let mut head = vec![0; 64 * 1024];
        let len = File::open(&program)
            .and_then(|mut f| f.read(&mut head))
            .ok()?;
        head.truncate(len);
        match interpreter(&head) {
            Some(next) => program = next,
            None => return judge(&head, meta.mode(), meta.uid()),
        }
    }
    None
}

/// As execvp(3) finds it.
fn find(command: &OsStr) -> Option<PathBuf> {
    if command.as_bytes().contains(&b'/') {
        return Some(PathBuf::from(command));
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/bin:/usr/bin"));
    std::env::split_paths(&path)
        .map(|dir| dir.join(command))
        .find(|p| p.is_file())
}

/// `#!/bin/sh -e`
fn interpreter(head: &[u8]) -> Option<PathBuf> {
    let line = head.strip_prefix(b"#!")?.split(|b| *b == b'\n').next()?;
    let word = line
        .split(|b| matches!(b, b' ' | b'\t'))
        .find(|w| !w.is_empty())?;
    Some(Path::new(OsStr::from_bytes(word)).to_owned())
}

fn judge(head: &[u8], mode: u32, owner: u32) -> Option<&'static str> {
    let privileged = (mode & libc::S_ISUID != 0 && owner != sys::uid())
        || mode & (libc::S_ISGID | 0o010) == libc::S_ISGID | 0o010;
    if privileged {
        return Some("it is a set-user-ID or set-group-ID program");
    }
    if is_elf(head) && !has_interpreter(head) {
        return Some("it is a static program");
    }
    (is_elf(head) && needs_asan(head)).then_some(ASAN)
}

const ASAN: &str = "its AddressSanitizer has to be its first library";

/// Whether it would not even start with ringer in front of its libraries.
pub fn is_to_be_left_alone(command: &OsStr) -> bool {
    why_not(command) == Some(ASAN)
}

/// Whether libasan is among the names of libraries, which lie near the file's beginning.
fn needs_asan(head: &[u8]) -> bool {
    let name = b"\0libasan.so.";
    head.windows(name.len()).any(|w| w == name)
}

fn is_elf(head: &[u8]) -> bool {
    head.starts_with(b"\x7fELF")
}

/// elf(5): a program header of type PT_INTERP names the dynamic linker.
fn has_interpreter(head: &[u8]) -> bool {
    const PT_INTERP: u32 = 3;
    let number = |at: usize, len: usize| {
        let bytes = head.get(at..at + len)?;
        Some(bytes.iter().rev().fold(0u64, |n, b| n << 8 | u64::from(*b)))
    };
    let is_64 = head.get(4) == Some(&2);
    let (at, size, count) = if is_64 {
        (number(32, 8), number(54, 2), number(56, 2))
    } else {
        (number(28, 4), number(42, 2), number(44, 2))
    };
    let (Some(at), Some(size), Some(count)) = (at, size, count) else {
        return true;
    };
    (0..count).any(|i| {
        let header = at.saturating_add(i * size);
        // Beyond what was read: not known, so not said.
        number(header as usize, 4).is_none_or(|kind| kind == u64::from(PT_INTERP))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dynamically_linked_is_reached() {
        assert_eq!(why_not(OsStr::new("sh")), None);
        assert_eq!(why_not(OsStr::new("/bin/cat")), None);
        assert_eq!(why_not(OsStr::new("no-such-command")), None);
    }

    #[test]
    fn a_static_program_and_a_privileged_one_are_not() {
        let mut elf = vec![0u8; 200];
        elf[..5].copy_from_slice(b"\x7fELF\x02");
        elf[32] = 64;
        elf[54] = 56;
        elf[56] = 1;
        elf[64] = 1; // PT_LOAD
        assert_eq!(judge(&elf, 0o755, 0), Some("it is a static program"));
        elf[64] = 3; // PT_INTERP
        assert_eq!(judge(&elf, 0o755, 0), None);
        let other = sys::uid() + 1;
        let privileged = Some("it is a set-user-ID or set-group-ID program");
        assert_eq!(judge(&elf, 0o4755, other), privileged);
        assert_eq!(judge(&elf, 0o4755, sys::uid()), None);
        assert_eq!(judge(&elf, 0o2755, other), privileged);
    }

    #[test]
    fn a_script_is_as_its_interpreter() {
        assert_eq!(interpreter(b"#! /bin/sh -e\nx"), Some("/bin/sh".into()));
        assert_eq!(interpreter(b"#!\n"), None);
        assert_eq!(interpreter(b"\x7fELF"), None);
    }
}
