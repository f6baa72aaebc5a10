//! Names of shared memory and of semaphores: libc's functions do the work, on files whose names say whose
//! session they belong to. So two sessions never see each other's, and what is left over can be found.

use ringer_kernel::arena::header::flag;
use ringer_kernel::planted::{planted, Bug};

use crate::{attach, env};

/// Longest name of a file. (limits.h NAME_MAX)
const NAME_MAX: usize = 255;
/// A name that would be too long with the session's is cut, and its hash put in place of its
/// beginning.
const HASH: usize = 34;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// /dev/shm/NAME
    Memory,
    /// /dev/shm/sem.NAME
    Semaphore,
}

impl Kind {
    fn prefix(self) -> usize {
        match self {
            Kind::Memory => 0,
            Kind::Semaphore => "sem.".len(),
        }
    }

    fn mechanism(self) -> u32 {
        match self {
            Kind::Memory => flag::EMULATE_SHM,
            Kind::Semaphore => flag::EMULATE_SEM,
        }
    }
}

/// libc tells semaphores that are open by their names as they were given, slashes and all; so these are
/// kept, up to a number.
const SLASHES: usize = 8;

/// A NUL-terminated name for libc.
pub struct Mapped([u8; SLASHES + NAME_MAX + 1]);

impl Mapped {
    pub fn as_ptr(&self) -> *const libc::c_char {
        self.0.as_ptr().cast()
    }
}

/// The session's name for it. `None`: the program's own is to be used, because there is no session, or
/// because libc refuses it whatever the session.
pub fn map(kind: Kind, name: &[u8]) -> Option<Mapped> {
    if !attach::ensure_process() || !attach::emulates(kind.mechanism()) {
        return None;
    }
    let slashes = name.iter().take_while(|&&b| b == b'/').count();
    if slashes == 0 && planted(Bug::PosixSlashIsPart) {
        return None;
    }
    let bare = name.get(slashes..)?;
    let room = NAME_MAX - kind.prefix();
    let directory = kind == Kind::Memory && (bare == b"." || bare == b"..");
    if bare.is_empty() || bare.contains(&b'/') || bare.len() > room || directory {
        return None;
    }
    let path = env::session_path()?;
    let tag = path.rsplit(|&b| b == b'/').next()?;
    let mut mapped = Mapped([0; SLASHES + NAME_MAX + 1]);
    let slashes = slashes.min(SLASHES);
    let mut len = 0;
    let mut put = |bytes: &[u8]| {
        for b in bytes {
            if let Some(to) = mapped.0.get_mut(len).filter(|_| len < slashes + room) {
                *to = *b;
                len += 1;
            }
        }
    };
    put(name.get(..slashes)?);
    put(b"of-");
    put(tag);
    put(b"+");
    let left = room.checked_sub(b"of-+".len() + tag.len())?;
    if bare.len() <= left {
        put(bare);
    } else {
        put(b"~");
        put(&hexadecimal(hash(bare)));
        put(b"~");
        let kept = left.checked_sub(HASH)?;
        put(bare.get(bare.len() - kept.min(bare.len())..)?);
    }
    Some(mapped)
}

/// FNV-1a, 128 bits.
fn hash(bytes: &[u8]) -> u128 {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    bytes
        .iter()
        .fold(OFFSET, |h, b| (h ^ u128::from(*b)).wrapping_mul(PRIME))
}

fn hexadecimal(n: u128) -> [u8; 32] {
    core::array::from_fn(|i| {
        let digit = (n >> (124 - 4 * i)) as u8 & 15;
        match digit {
            0..=9 => b'0' + digit,
            _ => b'a' + digit - 10,
        }
    })
}
