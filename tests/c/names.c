/* make NAME [hold]: makes a queue, a semaphore and shared memory of that name, with something in each.
 * look NAME: 0 if all are there, with that in them; 1 if none is; 2 otherwise. */
#include "check.h"
#include <mqueue.h>
#include <semaphore.h>
#include <sys/mman.h>

static int make(const char *name) {
    struct mq_attr attr = {.mq_maxmsg = 2, .mq_msgsize = 16};
    mqd_t q = mq_open(name, O_CREAT | O_EXCL | O_RDWR, 0600, &attr);
    sem_t *s = sem_open(name, O_CREAT | O_EXCL, 0600, 7);
    int m = shm_open(name, O_CREAT | O_EXCL | O_RDWR, 0600);
    CHECK(q >= 0 && s != SEM_FAILED && m >= 0);
    CHECK(mq_send(q, "kept", 4, 3) == 0);
    CHECK(write(m, "memory", 6) == 6);
    return 0;
}

static int look(const char *name) {
    char text[16];
    int value = 0, found = 0;
    mqd_t q = mq_open(name, O_RDWR | O_NONBLOCK);
    sem_t *s = sem_open(name, 0);
    int m = shm_open(name, O_RDWR, 0);
    if (q < 0 && s == SEM_FAILED && m < 0)
        return 1;
    found += q >= 0 && mq_receive(q, text, sizeof text, 0) == 4 && mq_send(q, "kept", 4, 3) == 0;
    found += s != SEM_FAILED && sem_getvalue(s, &value) == 0 && value == 7;
    found += m >= 0 && read(m, text, sizeof text) == 6 && memcmp(text, "memory", 6) == 0;
    return found == 3 ? 0 : 2;
}

int main(int argc, char **argv) {
    if (argc < 3)
        return 3;
    if (strcmp(argv[1], "look") == 0)
        return look(argv[2]);
    make(argv[2]);
    if (argc > 3) {
        puts("made");
        fflush(stdout);
        pause();
    }
    return 0;
}
