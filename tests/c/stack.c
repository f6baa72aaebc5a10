/* Pipes with little stack: threads with the smallest one, and handlers on the smallest alternate one.
 * See pthread_attr_setstacksize(3), sigaltstack(2). */
#include "check.h"
#include <limits.h>
#include <sys/auxv.h>

static int p[2];
static volatile sig_atomic_t handled;

static void *small_thread(void *unused) {
    (void)unused;
    char buf[64];
    int q[2];
    EQUAL(pipe(q), 0);
    for (int i = 0; i < 100; i++) {
        EQUAL(write(q[1], "thread", 6), 6);
        EQUAL(read(q[0], buf, sizeof buf), 6);
        struct pollfd fd = {q[0], POLLIN, 0};
        EQUAL(poll(&fd, 1, 0), 0);
        EQUAL(syscall(SYS_write, q[1], "raw", 3), 3);
        EQUAL(syscall(SYS_read, q[0], buf, sizeof buf), 3);
    }
    EQUAL(read(p[0], buf, sizeof buf), 4); /* waits for main */
    close(q[0]);
    close(q[1]);
    return NULL;
}

static void handler(int sig) {
    char c;
    (void)sig;
    EQUAL(write(p[1], "h", 1), 1);
    EQUAL(read(p[0], &c, 1), 1);
    handled++;
}

int main(void) {
    pthread_t thread;
    pthread_attr_t attr;
    EQUAL(pipe(p), 0);
    EQUAL(pthread_attr_init(&attr), 0);
    EQUAL(pthread_attr_setstacksize(&attr, (size_t)sysconf(_SC_THREAD_STACK_MIN)), 0);
    for (int i = 0; i < 20; i++) {
        EQUAL(pthread_create(&thread, &attr, small_thread, NULL), 0);
        EQUAL(write(p[1], "done", 4), 4);
        EQUAL(pthread_join(thread, NULL), 0);
    }
    /* The frame of a signal, and 2 KiB for the handler: what MINSIGSTKSZ promised. */
    size_t size = getauxval(AT_MINSIGSTKSZ) + 2048;
    stack_t alternate = {.ss_sp = malloc(size), .ss_size = size};
    EQUAL(sigaltstack(&alternate, NULL), 0);
    struct sigaction sa = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
    EQUAL(sigaction(SIGUSR1, &sa, NULL), 0);
    for (int i = 1; i <= 100; i++) {
        EQUAL(raise(SIGUSR1), 0);
        EQUAL(handled, i);
    }
    return 0;
}
