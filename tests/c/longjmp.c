/* siglongjmp(3) out of reads and writes on a pipe, blocked or not. See sigsetjmp(3), signal-safety(7).
 * The call that was left has either happened or not; the pipe goes on working for everybody. */
#include "check.h"

static sigjmp_buf env;
static volatile sig_atomic_t armed, jumps;

static void jump(int sig) {
    (void)sig;
    if (armed) {
        armed = 0;
        jumps++;
        siglongjmp(env, 1);
    }
}

static void timer(long usec) {
    struct itimerval t = {{0, usec}, {0, usec}};
    EQUAL(setitimer(ITIMER_REAL, &t, NULL), 0);
}

static void out_of_a_blocked_read(void) {
    int p[2];
    volatile int round = 0;
    char buf[8];
    EQUAL(pipe(p), 0);
    timer(500);
    while (round < 200) {
        if (sigsetjmp(env, 1) == 0) {
            armed = 1;
            read(p[0], buf, sizeof buf);
            CHECK(!"data from nowhere");
        }
        round++;
    }
    timer(0);
    EQUAL(write(p[1], "still ok", 8), 8);
    EQUAL(read(p[0], buf, 8), 8);
    CHECK(memcmp(buf, "still ok", 8) == 0);
    pid_t child = fork();
    if (child == 0) {
        close(p[1]);
        EQUAL(read(p[0], buf, 8), 5);
        EQUAL(read(p[0], buf, 8), 0);
        _exit(0);
    }
    EQUAL(write(p[1], "hello", 5), 5);
    close(p[1]);
    exits_with(child, 0);
    close(p[0]);
}

static void out_of_a_blocked_write(void) {
    static char page[4096];
    int p[2];
    volatile int round = 0;
    EQUAL(pipe(p), 0);
    for (int i = 0; i < 16; i++)
        EQUAL(write(p[1], page, sizeof page), sizeof page);
    timer(500);
    while (round < 200) {
        if (sigsetjmp(env, 1) == 0) {
            armed = 1;
            write(p[1], "x", 1);
            CHECK(!"written into a full pipe");
        }
        round++;
    }
    timer(0);
    EQUAL(read(p[0], page, sizeof page), sizeof page);
    EQUAL(write(p[1], page, sizeof page), sizeof page);
    close(p[0]);
    close(p[1]);
}

/* A stream of numbers, whose reader is thrown out of read(2) at any moment: a number may be lost with
 * the call that was left, but never two, and never a part of one. */
static void out_of_a_busy_read(void) {
    int p[2];
    volatile uint64_t next = 0, number = 0;
    volatile int lost = 0;
    const uint64_t total = 300000;
    EQUAL(pipe(p), 0);
    pid_t child = fork();
    if (child == 0) {
        close(p[0]);
        for (uint64_t i = 0; i < total; i++)
            EQUAL(write(p[1], &i, sizeof i), sizeof i);
        _exit(0);
    }
    close(p[1]);
    timer(300);
    for (;;) {
        volatile int jumped = sigsetjmp(env, 1);
        armed = 1;
        ssize_t n = read(p[0], (void *)&number, sizeof number);
        armed = 0;
        if (n == 0)
            break;
        EQUAL(n, sizeof number);
        if (number != next) {
            CHECK(jumped || jumps > 0);
            CHECK(number > next);
            lost += number - next;
        }
        next = number + 1;
    }
    timer(0);
    lost += total - next;
    CHECK(lost <= jumps);
    close(p[0]);
    exits_with(child, 0);
}

/* The same for the writer: each number arrives once or not at all, in order. */
static void out_of_a_busy_write(void) {
    int p[2];
    volatile uint64_t i = 0;
    const uint64_t total = 300000;
    EQUAL(pipe(p), 0);
    pid_t child = fork();
    if (child == 0) {
        uint64_t number, next = 0;
        ssize_t n;
        close(p[1]);
        while ((n = read(p[0], &number, sizeof number)) != 0) {
            EQUAL(n, sizeof number);
            CHECK(number >= next);
            next = number + 1;
        }
        _exit(0);
    }
    close(p[0]);
    timer(300);
    while (i < total) {
        sigsetjmp(env, 1);
        uint64_t number = i++;
        armed = 1;
        ssize_t n = write(p[1], &number, sizeof number);
        armed = 0;
        EQUAL(n, sizeof number);
    }
    timer(0);
    close(p[1]);
    exits_with(child, 0);
}

int main(void) {
    struct sigaction sa = {.sa_handler = jump, .sa_flags = SA_RESTART};
    EQUAL(sigaction(SIGALRM, &sa, NULL), 0);
    out_of_a_blocked_read();
    out_of_a_blocked_write();
    out_of_a_busy_read();
    out_of_a_busy_write();
    return 0;
}
