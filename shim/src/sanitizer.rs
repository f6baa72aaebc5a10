//! A program whose AddressSanitizer is a library (`gcc -fsanitize=address`): it ends at once if another library comes
//! before that, preloaded ones included, and would not see what ringer writes for the kernel. So it is left alone.

use crate::gate::sys;
use crate::probe::find_header;

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const DT_NULL: u64 = 0;
const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;
/// Entries of the dynamic section that are looked at: some 25 to 35 are usual.
const MOST: usize = 48;

/// Whether the first library that the ELF file needs is AddressSanitizer's (elf(5)); the compiler puts it there.
pub fn is_first(fd: i32, head: &[u8; 256]) -> bool {
    first_needed(fd, head).is_some_and(|name| name.starts_with(b"libasan.so"))
}

/// The beginning of the name.
fn first_needed(fd: i32, head: &[u8; 256]) -> Option<[u8; 16]> {
    let (at, len) = find_header(fd, head, |[kind, offset, _, _, len, ..]| {
        (kind as u32 == PT_DYNAMIC).then_some((offset, len))
    })?;
    let mut entries = [[DT_NULL; 2]; MOST];
    let room = (len as usize).min(core::mem::size_of_val(&entries));
    sys!(libc::SYS_pread64, fd, entries.as_mut_ptr(), room, at);
    let value = |wanted: u64| entries.iter().find(|[tag, _]| *tag == wanted);
    let [_, name] = *value(DT_NEEDED)?;
    let [_, strings] = *value(DT_STRTAB)?;
    let in_file = find_header(fd, head, |[kind, offset, address, _, len, ..]| {
        let inside = strings.checked_sub(address).filter(|n| *n < len)?;
        (kind as u32 == PT_LOAD).then(|| offset.wrapping_add(inside))
    })?;
    let mut text = [0u8; 16];
    let from = in_file.wrapping_add(name);
    sys!(libc::SYS_pread64, fd, text.as_mut_ptr(), text.len(), from);
    Some(text)
}
