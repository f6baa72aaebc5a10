/* Receives a message from the queue that it was exec'ed with, and answers. */
#include "check.h"
#include <mqueue.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv) {
    mqd_t q = argc > 1 ? atoi(argv[1]) : -1;
    char text[64];
    unsigned prio = 0;
    ssize_t n = mq_receive(q, text, sizeof text, &prio);
    if (n != 4 || memcmp(text, "ping", 4) != 0 || prio != 1)
        return 1;
    return mq_send(q, "pong", 4, 2) == 0 ? 0 : 2;
}
