//! Bugs that are there to be found: by `ringer fuzz` and `ringer check` (tests/planted, feature
//! `planted-bugs`). One at a time is awake, the one whose name `RINGER_PLANTED` says. Without the feature there
//! are none, and a structure test sees to it that no ordinary build has it.

/// A bug. The first word is the mechanism's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Bug {
    PipeNeverMerges = 1,
    PipeFullOneEarly,
    PipePacketsMerge,
    PipeReadsOneBuffer,
    PipeResizeOneOff,
    PipeCountsOneMore,
    WaitLosesWakeUp,
    WaitMissesSignal,
    EventfdMaximumOneOff,
    EventfdSemaphoreGivesAll,
    EventfdTakesTheReserved,
    SignalNotCoalesced,
    SignalKeepsLastInfo,
    SignalRealtimeLifo,
    SignalSharedFirst,
    SignalHighestFirst,
    SignalSecondLost,
    SemNeverWaitsForZero,
    SemMaximumOneOff,
    SemForgetsItsEarlierStep,
    SemUndoesTwice,
    MsgExceptIsTheType,
    MsgUpToIsBelow,
    MsgFittingIsTooLong,
    MqNoPriorities,
    MqLastFirst,
    MqOneMore,
    MqNotifiesAgain,
    MqNotifiesWhenNotEmpty,
    UnixOneMore,
    UnixTruncatedLength,
    UnixStreamOfRecords,
    PosixOpensExisting,
    PosixSlashIsPart,
    PosixMissesInterrupt,
}

/// Whether this bug is awake.
#[inline(always)]
pub fn planted(bug: Bug) -> bool {
    #[cfg(feature = "planted-bugs")]
    return awake::is(bug);
    #[cfg(not(feature = "planted-bugs"))]
    {
        let _ = bug;
        false
    }
}

#[cfg(feature = "planted-bugs")]
pub mod awake {
    use super::Bug;
    use crate::sync::atomic::{AtomicU32, Ordering::*};

    static AWAKE: AtomicU32 = AtomicU32::new(0);

    /// The bug of this number. 0: none.
    pub fn set(number: u32) {
        AWAKE.store(number, Relaxed);
    }

    #[inline(always)]
    pub(super) fn is(bug: Bug) -> bool {
        AWAKE.load(Relaxed) == bug as u32
    }
}
