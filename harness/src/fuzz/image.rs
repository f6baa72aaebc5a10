//! execve(2) of an actor: a new image of this program goes on with what the old one was about to do.
//!
//! Its registers go through its arguments; the page is mapped anew, from its maker's descriptor. Nothing is open
//! during the execve but what the program has opened.

use std::ffi::CString;
use std::sync::atomic::Ordering::*;

use serde::{Deserialize, Serialize};

use super::calls::Actor;
use super::exec::{self, futex_wake};
use super::page::{Gave, Page};
use super::program::{Program, REGISTERS};
use super::signals;
use crate::error::{Error, Result};

/// What an actor is to the next image.
#[derive(Serialize, Deserialize)]
struct Legacy {
    page: String,
    step: usize,
    me: u8,
    registers: [i32; REGISTERS],
    ids: [[i32; REGISTERS]; 2],
    prefix: i32,
    highest: i32,
    has_named: bool,
}

/// Comes back if it fails.
pub fn replace(actor: &Actor, program: &Program, step: usize) {
    let legacy = Legacy {
        page: actor.page.path(),
        step,
        me: actor.me,
        registers: actor.registers,
        ids: actor.ids,
        prefix: actor.prefix,
        highest: actor.highest,
        has_named: actor.has_named,
    };
    let word = |json: serde_json::Result<String>| CString::new(json.unwrap_or_default());
    let words = [
        word(Ok("ringer".into())),
        word(Ok("fuzz-actor".into())),
        word(serde_json::to_string(&legacy)),
        word(serde_json::to_string(program)),
    ]
    .map(std::result::Result::unwrap_or_default);
    let mut argv: Vec<*const libc::c_char> = words.iter().map(|w| w.as_ptr()).collect();
    argv.push(std::ptr::null());
    let tid = &actor.page.tids[usize::from(actor.me)];
    let was = tid.swap(std::process::id() as i32, AcqRel);
    // SAFETY: C strings, and a list of them that ends with a null.
    unsafe { libc::execv(c"/proc/self/exe".as_ptr(), argv.as_ptr()) };
    let errno = signals::errno();
    tid.store(was, Release);
    let gave = Gave {
        value: -1,
        errno,
        data: &[],
    };
    actor.page.gave(step, gave);
}

/// The new image: `ringer fuzz-actor`.
pub fn go_on(legacy: &str, program: &str) -> Result<u8> {
    let trouble = |why: serde_json::Error| Error::Fuzz {
        what: "actor".into(),
        why: why.to_string(),
    };
    let legacy: Legacy = serde_json::from_str(legacy).map_err(trouble)?;
    let program: Program = serde_json::from_str(program).map_err(trouble)?;
    let no_memory = || Error::System {
        call: "mmap",
        why: std::io::Error::last_os_error(),
    };
    let page = Page::open(&legacy.page).ok_or_else(no_memory)?;
    let buffer = exec::new_buffer().ok_or_else(no_memory)?;
    signals::write_to(page);
    signals::i_am(legacy.me);
    let actor = Actor {
        page,
        me: legacy.me,
        registers: legacy.registers,
        ids: legacy.ids,
        sems: [0; REGISTERS],
        has_sems: false,
        buffer,
        prefix: legacy.prefix,
        highest: legacy.highest,
        has_named: legacy.has_named,
    };
    let gave = Gave {
        value: 0,
        errno: 0,
        data: &[],
    };
    page.gave(legacy.step, gave);
    let (me, turn) = (usize::from(legacy.me), legacy.step as u32 * 2 + 2);
    page.done[me].store(turn, Release);
    futex_wake(&page.done[me]);
    exec::act(actor, &program, turn);
    Ok(0)
}
