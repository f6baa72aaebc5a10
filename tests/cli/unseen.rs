//! Somebody whom ringer does not see reaches what it serves.

use crate::ringer::{native_only, ringer_run, run};
use ringer_support::cc;

/// Fills an eventfd, has another program add to the real one, and polls it. With arguments it is that program.
const PROGRAM: &str = r#"
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv) {
    uint64_t n = UINT64_MAX - 2;
    if (argc > 2) {
        int taken = syscall(SYS_pidfd_getfd, syscall(SYS_pidfd_open, atoi(argv[1]), 0), atoi(argv[2]), 0);
        n = 5;
        return taken < 0 || write(taken, &n, sizeof n) != sizeof n;
    }
    char command[500];
    int fd = eventfd(0, EFD_CLOEXEC);
    if (write(fd, &n, sizeof n) != sizeof n)
        return 2;
    snprintf(command, sizeof command, "%s %d %d", argv[1], getpid(), fd);
    if (system(command) != 0)
        return 77;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (poll(&p, 1, 0) != 1 || read(fd, &n, sizeof n) != sizeof n)
        return 3;
    printf("%llu below the top\n", (unsigned long long)(UINT64_MAX - n));
    return 0;
}
"#;

/// Both together do not fit. Linux cuts off what the kernel adds by itself, too (eventfd_signal).
#[test]
fn an_eventfd_that_is_full_goes_to_the_kernel_without_waiting() {
    if native_only() {
        return; // there the second write waits
    }
    let program = cc::cc(PROGRAM).display().to_string();
    let outsider = cc::cc_static(PROGRAM).display().to_string();
    let ended = run(ringer_run(&[], &[&program, &outsider]));
    if ended.status == 77 {
        eprintln!("skipped: descriptors can not be taken here");
        return;
    }
    assert_eq!(ended.status, 0, "{}", ended.stderr());
    assert_eq!(ended.stdout(), "1 below the top\n");
}
