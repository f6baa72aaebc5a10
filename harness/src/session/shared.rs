//! Semaphores and shared memory of a session: files in /dev/shm, mapped by its processes.

use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::Ordering::*;

use serde::Serialize;

use super::belongings::{self, Belonging, Kind};
use super::{leftover, Session};
use crate::sys::namespace;

#[derive(Clone, Debug, Serialize)]
pub struct SemaphoreView {
    /// With its slash.
    pub name: String,
    pub value: u32,
    pub sleepers: u32,
    pub mode: u32,
    /// Processes that have it open.
    pub mapped_by: Vec<u32>,
    /// Who took it last, and has not posted it since. Known with a log only.
    pub taken_by: Option<Taker>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Taker {
    pub pid: u32,
    pub dead: bool,
}

#[derive(Clone, Debug, Serialize)]
pub struct MemoryView {
    /// With its slash.
    pub name: String,
    pub size: u64,
    /// Memory that it takes.
    pub resident: u64,
    pub mode: u32,
    pub mapped_by: Vec<u32>,
}

/// Both, in the order of their names.
pub fn of(session: &Session) -> (Vec<SemaphoreView>, Vec<MemoryView>) {
    let all = belongings::of(&session.path);
    let mappers = mappers(session, &all);
    let (mut semaphores, mut memory) = (Vec::new(), Vec::new());
    for b in &all {
        let Ok(meta) = fs::metadata(&b.path) else {
            continue;
        };
        let mapped_by = mappers.get(&*b.path).cloned().unwrap_or_default();
        let mode = meta.mode() & 0o7777;
        match b.kind {
            Kind::Semaphore => {
                let [value, sleepers, taker] = semaphore(&b.path).unwrap_or_default();
                let lives = || {
                    let mut all = leftover::live_processes(&session.arena);
                    all.any(|(_, p)| p.pid.load(Relaxed) == taker)
                };
                semaphores.push(SemaphoreView {
                    name: name(b),
                    value,
                    sleepers,
                    mode,
                    mapped_by,
                    taken_by: (taker != 0).then(|| Taker {
                        pid: taker,
                        dead: !lives(),
                    }),
                });
            }
            Kind::Memory => memory.push(MemoryView {
                name: name(b),
                size: meta.len(),
                resident: meta.blocks() * 512,
                mode,
                mapped_by,
            }),
            Kind::Queue => {}
        }
    }
    (semaphores, memory)
}

/// As the program calls it; of one that was too long, its end.
pub fn name(b: &Belonging) -> String {
    let cut = b.rest.strip_prefix('~').and_then(|r| r.split_once('~'));
    match cut {
        Some((hash, end)) if hash.len() == 32 => format!("/...{end}"),
        _ => format!("/{}", b.rest),
    }
}

/// glibc's `struct new_sem` of 64-bit machines: the value, and how many sleep. Behind it, ringer's: who took it.
fn semaphore(path: &Path) -> Option<[u32; 3]> {
    let mut bytes = [0; 20];
    fs::File::open(path).ok()?.read_exact(&mut bytes).ok()?;
    let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| bytes[at + i]));
    Some([word(0), word(4), word(16)])
}

/// Which of the session's processes have which file mapped.
fn mappers<'b>(session: &Session, all: &'b [Belonging]) -> HashMap<&'b Path, Vec<u32>> {
    let mut found: HashMap<&Path, Vec<u32>> = HashMap::new();
    if all.iter().all(|b| b.kind == Kind::Queue) {
        return found;
    }
    for (_, p) in leftover::live_processes(&session.arena) {
        let pid = p.pid.load(Relaxed);
        let maps = namespace::number_here(p).map(|n| fs::read(format!("/proc/{n}/maps")));
        let Some(Ok(maps)) = maps else {
            continue;
        };
        // By inode: libc makes a semaphore under another name than the one that it gets.
        let mapped: Vec<(u64, u64)> = String::from_utf8_lossy(&maps)
            .lines()
            .filter_map(identity)
            .collect();
        for b in all {
            let file = fs::metadata(&b.path).map(|m| (m.dev(), m.ino())).ok();
            if file.is_some_and(|f| mapped.contains(&f)) {
                found.entry(&b.path).or_default().push(pid);
            }
        }
    }
    found
}

/// Device and inode of a line of /proc/PID/maps.
fn identity(line: &str) -> Option<(u64, u64)> {
    let mut fields = line.split_ascii_whitespace().skip(3);
    let (major, minor) = fields.next()?.split_once(':')?;
    let inode = fields.next()?.parse().ok()?;
    let major = u32::from_str_radix(major, 16).ok()?;
    let minor = u32::from_str_radix(minor, 16).ok()?;
    Some((libc::makedev(major, minor), inode))
}
