//! Random programs of Unix sockets: tests/c/sockfuzz.c, and what may be left out of them.

use ringer_support::fuzz::compare;
use ringer_support::prelude::*;

cases!(pairs_of_sockets, {
    "bytes and packets alone" => {
        compare("sockfuzz", 0..20, "300", "nrcobpf");
    }
    "with sizes of buffers and options" => {
        compare("sockfuzz", 100..120, "300", "nrcpf");
    }
    "with polling" => {
        compare("sockfuzz", 200..220, "300", "nrcf");
    }
    "with credentials" => {
        compare("sockfuzz", 300..320, "300", "nrf");
    }
    "with descriptors" => {
        compare("sockfuzz", 400..420, "300", "ncf");
    }
    "with all of that, and children" => {
        compare("sockfuzz", 500..520, "300", "n");
    }
    "at length" => {
        compare("sockfuzz", 600..602, "3000", "nf");
    }
});

cases!(sockets_with_names, {
    "bytes and packets alone" => {
        compare("sockfuzz", 1000..1020, "300", "rcobpf");
    }
    "with polling and options" => {
        compare("sockfuzz", 1100..1120, "300", "rcf");
    }
    "with all of that" => {
        compare("sockfuzz", 1200..1220, "300", "-");
    }
    "at length" => {
        compare("sockfuzz", 1300..1302, "3000", "f");
    }
});
