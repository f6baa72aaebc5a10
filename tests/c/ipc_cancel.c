/* Threads that wait in System V queues and for POSIX semaphores are cancelled: nothing is sent, nothing taken. semop(2) is
 * no cancellation point. */
#include "check.h"
#include <semaphore.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>

struct text {
    long type;
    char bytes[8192];
};

static int empty, full, set;
static sem_t private, *shared, *named;
static volatile int tid, cleaned;

static void cleanup(void *unused) {
    (void)unused;
    cleaned++;
}

#define WAITER(name, call) \
    static void *name(void *unused) { \
        struct text m = { .type = 1 }; \
        struct timespec late; \
        (void)unused, (void)m; \
        clock_gettime(CLOCK_REALTIME, &late); \
        late.tv_sec += 1000; \
        pthread_cleanup_push(cleanup, 0); \
        tid = (int)syscall(SYS_gettid); \
        (void)!(call); \
        pthread_cleanup_pop(0); \
        return 0; \
    }

WAITER(receiver, msgrcv(empty, &m, sizeof m.bytes, 0, 0))
WAITER(sender, msgsnd(full, &m, sizeof m.bytes, 0))
WAITER(waiter, sem_wait(&private))
WAITER(waiter_of_shared, sem_wait(shared))
WAITER(waiter_of_named, sem_wait(named))
WAITER(timed_waiter, sem_timedwait(named, &late))
WAITER(taker, semop(set, &(struct sembuf){ 0, -1, 0 }, 1))

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

static void cancel(void *(*body)(void *), void *expected) {
    pthread_t t;
    void *result = &result;
    tid = cleaned = 0;
    CHECK(pthread_create(&t, 0, body, 0) == 0);
    until_asleep();
    CHECK(pthread_cancel(t) == 0);
    if (!expected) {
        usleep(20000);
        CHECK(cleaned == 0);
        CHECK(semop(set, &(struct sembuf){ 0, 1, 0 }, 1) == 0);
    }
    CHECK(pthread_join(t, &result) == 0);
    CHECK(result == expected);
    CHECK(cleaned == (expected != 0));
}

int main(void) {
    void *(*bodies[])(void *) = { receiver, sender, waiter, waiter_of_shared, waiter_of_named, timed_waiter };
    struct text m = { .type = 1 };
    struct msqid_ds state;
    char name[64];
    int value;

    empty = msgget(IPC_PRIVATE, 0600);
    full = msgget(IPC_PRIVATE, 0600);
    set = semget(IPC_PRIVATE, 1, 0600);
    CHECK(msgsnd(full, &m, sizeof m.bytes, 0) == 0);
    CHECK(msgsnd(full, &m, sizeof m.bytes, 0) == 0);
    shared = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(sem_init(&private, 0, 0) == 0 && sem_init(shared, 1, 0) == 0);
    snprintf(name, sizeof name, "/ipc-cancel-%d", (int)getpid());
    named = sem_open(name, O_CREAT | O_EXCL, 0600, 0);
    CHECK(named != SEM_FAILED && sem_unlink(name) == 0);

    for (unsigned i = 0; i < sizeof bodies / sizeof *bodies; i++)
        cancel(bodies[i], PTHREAD_CANCELED);
    cancel(taker, 0);

    CHECK(msgctl(full, IPC_STAT, &state) == 0 && state.msg_qnum == 2);
    CHECK(msgctl(empty, IPC_STAT, &state) == 0 && state.msg_qnum == 0);
    CHECK(msgsnd(empty, &m, 1, 0) == 0 && msgrcv(empty, &m, 1, 0, IPC_NOWAIT) == 1);
    CHECK(sem_post(named) == 0 && sem_getvalue(named, &value) == 0 && value == 1);
    CHECK(msgctl(empty, IPC_RMID, 0) == 0 && msgctl(full, IPC_RMID, 0) == 0 && semctl(set, 0, IPC_RMID) == 0);
    return 0;
}
