//! What a seccomp filter says to a system call: classic BPF over `struct seccomp_data`. See seccomp(2).
//!
//! Linux v6.18 kernel/seccomp.c `seccomp_check_filter` has the instructions that there may be; what it refuses ends
//! the program here, too.

/// `struct sock_filter`. (include/uapi/linux/filter.h)
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Instruction {
    pub code: u16,
    /// Instructions to be skipped if the condition is true, and if it is not.
    pub jt: u8,
    pub jf: u8,
    pub k: u32,
}

/// BPF_MAXINSNS.
pub const MOST: usize = 4096;
/// BPF_MEMWORDS.
const CELLS: usize = 16;
/// `struct seccomp_data` in words: number, architecture, where it was made, six arguments.
const WORDS: usize = 16;
const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;

const SECCOMP_RET_ACTION_FULL: u32 = 0xffff_0000;
const SECCOMP_RET_ALLOW: u32 = 0x7fff_0000;
const SECCOMP_RET_LOG: u32 = 0x7ffc_0000;

/// Whether the call is made, and nobody else asked. `program` gives the instruction at an index; one that is not there, or is
/// none of a filter's, is a no.
pub fn lets_through(program: impl Fn(usize) -> Option<Instruction>, nr: u32, first: u32) -> bool {
    let mut data = [0u32; WORDS];
    let [number, arch, _, _, argument, ..] = &mut data;
    (*number, *arch, *argument) = (nr, AUDIT_ARCH_X86_64, first);
    let verdict = run(program, &data).map(|value| value & SECCOMP_RET_ACTION_FULL);
    matches!(verdict, Some(SECCOMP_RET_ALLOW | SECCOMP_RET_LOG))
}

/// The machine's registers and memory.
#[derive(Default)]
struct Machine {
    a: u32,
    x: u32,
    cells: [u32; CELLS],
}

/// What the program returns. It ends: jumps go forward only.
fn run(program: impl Fn(usize) -> Option<Instruction>, data: &[u32; WORDS]) -> Option<u32> {
    let mut m = Machine::default();
    let mut at = 0;
    while at < MOST {
        let i = program(at)?;
        at += 1;
        match i.code & 7 {
            0 => m.a = m.load(i, data)?,
            1 => m.x = m.load(i, data)?,
            2 => *m.cells.get_mut(i.k as usize)? = m.a,
            3 => *m.cells.get_mut(i.k as usize)? = m.x,
            4 => m.a = m.calculate(i)?,
            5 => at = at.checked_add(m.jump(i)? as usize)?,
            6 if i.code == 0x06 => return Some(i.k),
            6 if i.code == 0x16 => return Some(m.a),
            7 if i.code == 0x07 => m.x = m.a,
            7 if i.code == 0x87 => m.a = m.x,
            _ => return None,
        }
    }
    None
}

impl Machine {
    /// BPF_IMM, BPF_ABS, BPF_MEM, BPF_LEN.
    fn load(&self, i: Instruction, data: &[u32; WORDS]) -> Option<u32> {
        match i.code & 0xe0 {
            0x00 => Some(i.k),
            0x20 if i.k.is_multiple_of(4) => data.get(i.k as usize / 4).copied(),
            0x60 => self.cells.get(i.k as usize).copied(),
            0x80 => Some(core::mem::size_of_val(data) as u32),
            _ => None,
        }
    }

    fn operand(&self, i: Instruction) -> u32 {
        if i.code & 8 == 0 {
            i.k
        } else {
            self.x
        }
    }

    fn calculate(&self, i: Instruction) -> Option<u32> {
        let (a, b) = (self.a, self.operand(i));
        Some(match i.code & 0xf0 {
            0x00 => a.wrapping_add(b),
            0x10 => a.wrapping_sub(b),
            0x20 => a.wrapping_mul(b),
            0x30 => a.checked_div(b)?,
            0x40 => a | b,
            0x50 => a & b,
            0x60 => a.checked_shl(b)?,
            0x70 => a.checked_shr(b)?,
            0x80 => a.wrapping_neg(),
            0xa0 => a ^ b,
            _ => return None,
        })
    }

    /// How many instructions are skipped.
    fn jump(&self, i: Instruction) -> Option<u32> {
        let (a, b) = (self.a, self.operand(i));
        let holds = match i.code & 0xf0 {
            0x00 => return Some(i.k),
            0x10 => a == b,
            0x20 => a > b,
            0x30 => a >= b,
            0x40 => a & b != 0,
            _ => return None,
        };
        Some(u32::from(if holds { i.jt } else { i.jf }))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const ALLOW: Instruction = stmt(0x06, SECCOMP_RET_ALLOW);
    const KILL: Instruction = stmt(0x06, 0x8000_0000);
    const LOAD_NUMBER: Instruction = stmt(0x20, 0);

    const fn stmt(code: u16, k: u32) -> Instruction {
        jump(code, k, 0, 0)
    }

    const fn jump(code: u16, k: u32, jt: u8, jf: u8) -> Instruction {
        Instruction { code, jt, jf, k }
    }

    fn allows(program: &[Instruction], nr: u32) -> bool {
        lets_through(|at| program.get(at).copied(), nr, 7)
    }

    #[test]
    fn a_list_of_what_is_allowed_lets_nothing_else_through() {
        let program = [
            LOAD_NUMBER,
            jump(0x15, 0, 2, 0),
            jump(0x15, 1, 1, 0),
            KILL,
            ALLOW,
        ];
        let allowed: Vec<u32> = (0..400).filter(|&nr| allows(&program, nr)).collect();
        assert_eq!(allowed, [0, 1]);
    }

    #[test]
    fn the_first_argument_and_the_architecture_are_looked_at() {
        let of = |offset, value| [stmt(0x20, offset), jump(0x15, value, 0, 1), ALLOW, KILL];
        assert!(allows(&of(16, 7), 202));
        assert!(!allows(&of(16, 8), 202));
        assert!(allows(&of(4, AUDIT_ARCH_X86_64), 0));
    }

    #[test]
    fn it_calculates_as_the_kernel_does() {
        // x = nr; a = ((nr << 1) - x ^ 1) + cells[3], where cells[3] = sizeof(struct seccomp_data)
        let program = [
            stmt(0x80, 0),
            stmt(0x02, 3),
            LOAD_NUMBER,
            stmt(0x07, 0),
            stmt(0x64, 1),
            stmt(0x1c, 0),
            stmt(0xa4, 1),
            stmt(0x07, 0),
            stmt(0x60, 3),
            stmt(0x0c, 0),
            jump(0x15, 75, 0, 1),
            ALLOW,
            KILL,
        ];
        let allowed: Vec<u32> = (0..64).filter(|&nr| allows(&program, nr)).collect();
        assert_eq!(allowed, [10]); // (10 ^ 1) + 64
    }

    #[test]
    fn a_program_that_is_none_allows_nothing() {
        assert!(!allows(&[], 0));
        assert!(!allows(&[LOAD_NUMBER], 0)); // runs out
        assert!(!allows(&[stmt(0x20, 3), ALLOW], 0));
        assert!(!allows(&[stmt(0x20, 64), ALLOW], 0));
        assert!(!allows(&[stmt(0x34, 0), ALLOW], 0)); // divides by 0
        assert!(!allows(&[stmt(0x05, u32::MAX), ALLOW], 0));
        assert!(!allows(&[stmt(0x06, 0x0005_0001), ALLOW], 0)); // an error number
    }
}
