/* What the C programs of the tests share: a check that says where it failed. */
#ifndef CHECK_H
#define CHECK_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(condition)                                                                   \
    do {                                                                                   \
        if (!(condition)) {                                                                \
            int e_ = errno;                                                                \
            dprintf(2, "%s:%d: not true: %s (errno %d)\n", __FILE__, __LINE__, #condition, e_); \
            _exit(99);                                                                     \
        }                                                                                  \
    } while (0)

/* Compares two numbers, and shows them. */
#define EQUAL(found, expected)                                                             \
    do {                                                                                   \
        long f_ = (long)(found), e_ = (long)(expected);                                    \
        if (f_ != e_) {                                                                    \
            int errno_ = errno;                                                            \
            dprintf(2, "%s:%d: %s is %ld, not %ld (errno %d)\n", __FILE__, __LINE__, #found, f_, \
                    e_, errno_);                                                           \
            _exit(99);                                                                     \
        }                                                                                  \
    } while (0)

/* Waits for a child, which must exit with this status. */
static inline void exits_with(pid_t pid, int code) {
    int status;
    pid_t done;
    while ((done = waitpid(pid, &status, 0)) == -1 && errno == EINTR) {
    }
    EQUAL(done, pid);
    CHECK(WIFEXITED(status));
    EQUAL(WEXITSTATUS(status), code);
}

#endif
