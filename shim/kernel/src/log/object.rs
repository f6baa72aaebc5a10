//! Names of objects in the log: a class in the upper four bits, a number that is never given twice
//! in a session below.

pub const PIPE: u32 = 0;
pub const EVENTFD: u32 = 0x1000_0000;
pub const FIFO: u32 = 0x2000_0000;
pub const SOCKET: u32 = 0x3000_0000;
pub const MQ: u32 = 0x4000_0000;
pub const SEM: u32 = 0x5000_0000;
pub const SYSV_MSG: u32 = 0x6000_0000;
pub const SYSV_SEM: u32 = 0x7000_0000;
pub const SYSV_SHM: u32 = 0x8000_0000;
pub const SHM: u32 = 0x9000_0000;
pub const SIGNAL: u32 = 0xa000_0000;
pub const SIGNALFD: u32 = 0xb000_0000;

const CLASS: u32 = 0xf000_0000;

/// Each class, and what people call it.
pub const CLASSES: [(u32, &str); 16] = [
    (PIPE, "pipe"),
    (EVENTFD, "eventfd"),
    (FIFO, "fifo"),
    (SOCKET, "socket"),
    (MQ, "mq"),
    (SEM, "sem"),
    (SYSV_MSG, "msg"),
    (SYSV_SEM, "semset"),
    (SYSV_SHM, "shmseg"),
    (SHM, "shm"),
    (SIGNAL, "sig"),
    (SIGNALFD, "signalfd"),
    // Of no build so far: a torn record still has a name that can be read back.
    (0xc000_0000, "object12"),
    (0xd000_0000, "object13"),
    (0xe000_0000, "object14"),
    (0xf000_0000, "object15"),
];

/// The class in words, and the number: `pipe#3` is `("pipe", 3)`.
pub fn name(object: u32) -> (&'static str, u32) {
    let class = CLASSES.iter().find(|(class, _)| object & CLASS == *class);
    (class.map_or("object", |(_, name)| name), object & !CLASS)
}

/// `("pipe", 3)` to the object that is called so.
pub fn parse(class: &str, number: u32) -> Option<u32> {
    let (bits, _) = CLASSES.iter().find(|(_, name)| *name == class)?;
    (number & CLASS == 0).then_some(bits | number)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_class_is_called_by_its_name() {
        for (bits, class) in CLASSES {
            assert_eq!(name(bits | 7), (class, 7));
            assert_eq!(parse(class, 7), Some(bits | 7));
        }
        assert_eq!(parse("pipe", 0x1000_0000), None);
        assert_eq!(parse("nothing", 1), None);
    }
}
