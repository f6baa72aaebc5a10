//! Random programs of signals: tests/c/sigfuzz.c, and what may be left out of them.

use ringer_support::fuzz::compare;
use ringer_support::prelude::*;

both_worlds!(
    random_programs_without_pipes_and_signalfds,
    timeout = 120,
    {
        compare("sigfuzz", 0..80, "250", "p");
    }
);

both_worlds!(
    long_random_programs_without_pipes_and_signalfds,
    timeout = 120,
    {
        compare("sigfuzz", 1000..1004, "5000", "p");
    }
);

cases!(random_programs_of_all_kinds, {
    "short" => {
        compare("sigfuzz", 2000..2080, "250", "-");
    }
    "long" => {
        compare("sigfuzz", 3000..3004, "5000", "-");
    }
});
