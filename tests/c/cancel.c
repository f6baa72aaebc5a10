/* pthread_cancel(3) of threads blocked in read(2) and write(2) on a pipe: both are cancellation points.
 * See pthreads(7) "Cancellation points". */
#include "check.h"

static int p[2];
static volatile int cleaned;

static void clean(void *unused) {
    (void)unused;
    cleaned++;
}

static void *reader(void *tid) {
    char buf[8];
    pthread_cleanup_push(clean, NULL);
    __atomic_store_n((pid_t *)tid, gettid(), __ATOMIC_SEQ_CST);
    read(p[0], buf, sizeof buf);
    CHECK(!"read came back");
    pthread_cleanup_pop(0);
    return NULL;
}

static void *writer(void *tid) {
    pthread_cleanup_push(clean, NULL);
    __atomic_store_n((pid_t *)tid, gettid(), __ATOMIC_SEQ_CST);
    write(p[1], "x", 1);
    CHECK(!"write came back");
    pthread_cleanup_pop(0);
    return NULL;
}

/* A thread with cancellation disabled goes on. */
static void *immune(void *tid) {
    char buf[8];
    EQUAL(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL), 0);
    __atomic_store_n((pid_t *)tid, gettid(), __ATOMIC_SEQ_CST);
    EQUAL(read(p[0], buf, sizeof buf), 3);
    return (void *)3;
}

static void wait_until_asleep(pid_t *tid) {
    struct timespec moment = {0, 300000};
    char name[64], line[512];
    int seen = 0;
    while (__atomic_load_n(tid, __ATOMIC_SEQ_CST) == 0)
        nanosleep(&moment, NULL);
    snprintf(name, sizeof name, "/proc/self/task/%d/stat", *tid);
    while (seen < 4) {
        int fd = open(name, O_RDONLY);
        CHECK(fd >= 0);
        ssize_t n = read(fd, line, sizeof line - 1);
        CHECK(n > 0);
        close(fd);
        line[n] = 0;
        seen = strrchr(line, ')')[2] == 'S' ? seen + 1 : 0;
        nanosleep(&moment, NULL);
    }
}

static void *cancel_when_asleep(void *(*body)(void *)) {
    pthread_t thread;
    pid_t tid = 0;
    void *result;
    EQUAL(pthread_create(&thread, NULL, body, &tid), 0);
    wait_until_asleep(&tid);
    EQUAL(pthread_cancel(thread), 0);
    if (body == immune)
        EQUAL(write(p[1], "abc", 3), 3);
    EQUAL(pthread_join(thread, &result), 0);
    return result;
}

int main(void) {
    char page[4096] = {0};
    EQUAL(pipe(p), 0);
    for (int i = 1; i <= 20; i++) {
        CHECK(cancel_when_asleep(reader) == PTHREAD_CANCELED);
        EQUAL(cleaned, i);
    }
    EQUAL(write(p[1], "data", 4), 4);
    EQUAL(read(p[0], page, sizeof page), 4);
    CHECK(cancel_when_asleep(immune) == (void *)3);
    cleaned = 0;
    for (int i = 0; i < 16; i++)
        EQUAL(write(p[1], page, sizeof page), sizeof page);
    for (int i = 1; i <= 20; i++) {
        CHECK(cancel_when_asleep(writer) == PTHREAD_CANCELED);
        EQUAL(cleaned, i);
    }
    EQUAL(read(p[0], page, sizeof page), sizeof page);
    EQUAL(write(p[1], page, sizeof page), sizeof page);
    return 0;
}
