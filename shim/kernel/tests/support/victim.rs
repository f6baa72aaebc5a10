//! Threads that die at a crash point: parked there for good, and marked dead as the kernel would.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering::*};
use std::thread::{self, JoinHandle};

use ringer_kernel::host::crash;

use super::world::{Me, World};

#[derive(Clone, Copy)]
struct Aim {
    name: &'static str,
    /// Passages that it survives.
    spared: u32,
    me: Me,
    stage: &'static AtomicU32,
}

/// Stages of a victim.
const ON_ITS_WAY: u32 = 0;
const AT_THE_POINT: u32 = 1;
const MAY_DIE: u32 = 2;
const DEAD: u32 = 3;
const LIVES_ON: u32 = 4;

thread_local! {
    static AIM: Cell<Option<Aim>> = const { Cell::new(None) };
}

fn reached(name: &str) {
    let Some(aim) = AIM.get().filter(|aim| aim.name == name) else {
        return;
    };
    if aim.spared > 0 {
        let spared = aim.spared - 1;
        return AIM.set(Some(Aim { spared, ..aim }));
    }
    AIM.set(None);
    aim.stage.store(AT_THE_POINT, SeqCst);
    loop {
        match aim.stage.load(SeqCst) {
            MAY_DIE => break,
            LIVES_ON => return,
            _ => thread::yield_now(),
        }
    }
    aim.me.die();
    aim.stage.store(DEAD, SeqCst);
    loop {
        thread::park();
    }
}

pub struct Victim {
    pub me: Me,
    stage: &'static AtomicU32,
    thread: JoinHandle<()>,
}

impl Victim {
    /// Starts a thread that runs `f` and stops at the crash point `name`, alive still. `None`: it
    /// came to the end of `f` without passing there.
    pub fn start(
        world: &World,
        name: &'static str,
        f: impl FnOnce(&Me) + Send + 'static,
    ) -> Option<Victim> {
        Victim::start_at(world, (name, 0), f)
    }

    /// As [`Victim::start`], at a later passage.
    pub fn start_at(
        world: &World,
        (name, spared): (&'static str, u32),
        f: impl FnOnce(&Me) + Send + 'static,
    ) -> Option<Victim> {
        crash::set_handler(reached);
        let me = world.enter();
        let stage: &'static AtomicU32 = Box::leak(Box::new(AtomicU32::new(ON_ITS_WAY)));
        let thread = thread::spawn(move || {
            AIM.set(Some(Aim {
                name,
                spared,
                me,
                stage,
            }));
            f(&me);
            AIM.set(None);
        });
        let victim = Victim { me, stage, thread };
        while victim.stage.load(SeqCst) == ON_ITS_WAY {
            if victim.thread.is_finished() {
                victim.thread.join().unwrap();
                return None;
            }
            thread::yield_now();
        }
        Some(victim)
    }

    pub fn kill(self) {
        self.stage.store(MAY_DIE, SeqCst);
        while self.stage.load(SeqCst) != DEAD {
            thread::yield_now();
        }
    }

    /// Lets it go on: it was only slow.
    pub fn resume(self) {
        self.stage.store(LIVES_ON, SeqCst);
        self.thread.join().unwrap();
    }

    /// [`Victim::start`] and [`Victim::kill`]: whether it died.
    pub fn kill_at(
        world: &World,
        name: &'static str,
        f: impl FnOnce(&Me) + Send + 'static,
    ) -> bool {
        Victim::start(world, name, f).map(Victim::kill).is_some()
    }
}

/// The names of all crash points in the sources that begin with `class`.
pub fn names_in_the_sources(class: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    collect(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut names,
    );
    names.retain(|name| name.starts_with(class));
    names
}

fn collect(dir: &Path, names: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, names);
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for part in text.split("crash_point(\"").skip(1) {
            names.extend(part.split('"').next().map(str::to_owned));
        }
    }
}
