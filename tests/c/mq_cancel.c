/* Threads that wait in a message queue are cancelled. Nothing is sent, nothing is taken. */
#include "check.h"
#include <mqueue.h>

static mqd_t q;
static volatile int tid, cleaned;

static void cleanup(void *unused) {
    (void)unused;
    cleaned++;
}

static void *receiver(void *unused) {
    char text[64];
    (void)unused;
    pthread_cleanup_push(cleanup, 0);
    tid = (int)syscall(SYS_gettid);
    mq_receive(q, text, sizeof text, 0);
    pthread_cleanup_pop(0);
    return 0;
}

static void *sender(void *unused) {
    (void)unused;
    pthread_cleanup_push(cleanup, 0);
    tid = (int)syscall(SYS_gettid);
    mq_send(q, "never", 5, 0);
    pthread_cleanup_pop(0);
    return 0;
}

static void until_asleep(void) {
    char path[64], text[256];
    while (tid == 0)
        usleep(100);
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", tid);
    for (;;) {
        int fd = open(path, O_RDONLY);
        ssize_t n = read(fd, text, sizeof text - 1);
        char *end;
        close(fd);
        text[n > 0 ? n : 0] = 0;
        end = strrchr(text, ')');
        if (end && end[2] == 'S')
            return;
        usleep(100);
    }
}

static void cancel(void *(*body)(void *)) {
    pthread_t t;
    void *result = 0;
    tid = 0;
    CHECK(pthread_create(&t, 0, body, 0) == 0);
    until_asleep();
    CHECK(pthread_cancel(t) == 0);
    CHECK(pthread_join(t, &result) == 0);
    CHECK(result == PTHREAD_CANCELED);
}

int main(void) {
    char name[64], text[64];
    struct mq_attr attr = {.mq_maxmsg = 1, .mq_msgsize = 64};
    snprintf(name, sizeof name, "/ringer-test-cancel-%d", getpid());
    q = mq_open(name, O_CREAT | O_EXCL | O_RDWR, 0600, &attr);
    CHECK(q >= 0);
    mq_unlink(name);
    cancel(receiver);
    CHECK(cleaned == 1);
    CHECK(mq_send(q, "1", 1, 0) == 0);
    CHECK(mq_getattr(q, &attr) == 0 && attr.mq_curmsgs == 1);
    cancel(sender);
    CHECK(cleaned == 2);
    CHECK(mq_receive(q, text, sizeof text, 0) == 1 && text[0] == '1');
    CHECK(mq_getattr(q, &attr) == 0 && attr.mq_curmsgs == 0);
    return 0;
}
