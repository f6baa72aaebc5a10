//! What this process was started with, as far as ringer changes it for itself: the command gets
//! all of it back.

use std::sync::OnceLock;

use crate::sys::signal::{Disposition, Set};

/// The dispositions that ringer changes for itself: to write to a pipe without a reader is no
/// reason to die, and wait(2) must tell of the child.
const CHANGED: [i32; 2] = [libc::SIGPIPE, libc::SIGCHLD];

pub struct Inherited {
    mask: Set,
    dispositions: [Disposition; 2],
}

static INHERITED: OnceLock<Inherited> = OnceLock::new();

/// Called first of all, before std or anybody else has changed anything.
pub fn take() -> &'static Inherited {
    INHERITED.get_or_init(|| {
        let inherited = Inherited {
            mask: Set::current(),
            dispositions: CHANGED.map(Disposition::of),
        };
        Disposition::ignore().install(libc::SIGPIPE);
        Disposition::default().install(libc::SIGCHLD);
        crate::sys::fill_standard_descriptors();
        inherited
    })
}

impl Inherited {
    /// In the child, before exec. Async-signal-safe.
    pub fn restore(&self) {
        for (signal, disposition) in CHANGED.iter().zip(&self.dispositions) {
            disposition.install(*signal);
        }
        self.mask.install();
    }
}
