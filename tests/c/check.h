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

/* Programs of many parts: the first argument says which. */
struct part {
    const char *name;
    void (*run)(void);
};

static inline int run_part(const struct part *parts, size_t n, int argc, char **argv) {
    CHECK(argc == 2);
    for (size_t i = 0; i < n; i++)
        if (!strcmp(parts[i].name, argv[1])) {
            parts[i].run();
            return 0;
        }
    dprintf(2, "no part \"%s\"\n", argv[1]);
    return 98;
}

#define PARTS(parts)                                                                       \
    int main(int argc, char **argv) {                                                      \
        return run_part(parts, sizeof parts / sizeof *parts, argc, argv);                  \
    }

/* Installs a handler with SA_SIGINFO. */
static inline void handle(int number, int flags, void (*f)(int, siginfo_t *, void *)) {
    struct sigaction a = {.sa_sigaction = f, .sa_flags = flags | SA_SIGINFO};
    EQUAL(sigaction(number, &a, NULL), 0);
}

static inline sigset_t set_of(int number) {
    sigset_t set;
    sigemptyset(&set);
    if (number)
        sigaddset(&set, number);
    return set;
}

/* The standard signals of a thread's mask, as bits. */
static inline unsigned long mask_now(void) {
    sigset_t now;
    pthread_sigmask(SIG_BLOCK, NULL, &now);
    unsigned long word;
    memcpy(&word, &now, sizeof word);
    return word;
}

#define BIT(n) (1ul << ((n)-1))

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
