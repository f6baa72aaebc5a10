/* A System V message queue: requests by priority, answers by the client's process id.
 *
 * Expected output:
 *     urgent, soon, whenever
 *     3 * 3 = 9
 *     4 * 4 = 16
 *     the queue is gone
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/msg.h>
#include <sys/wait.h>
#include <unistd.h>

struct message {
    long type;
    struct {
        long client;
        int number;
        char text[20];
    } body;
};

static int queue;

static void send(long type, int number, const char *text) {
    struct message m = {.type = type, .body = {.client = getpid(), .number = number}};
    strcpy(m.body.text, text);
    msgsnd(queue, &m, sizeof m.body, 0);
}

int main(void) {
    struct message m;
    queue = msgget(IPC_PRIVATE, 0600);
    send(3, 0, "whenever");
    send(1, 0, "urgent");
    send(2, 0, "soon");
    /* A negative type: the lowest one that there is. */
    for (int i = 0; i < 3; i++) {
        msgrcv(queue, &m, sizeof m.body, -10, 0);
        printf("%s%s", m.body.text, i < 2 ? ", " : "\n");
    }
    fflush(stdout);

    if (fork() == 0) { /* the server */
        for (int i = 0; i < 2; i++) {
            msgrcv(queue, &m, sizeof m.body, 1, 0);
            m.type = m.body.client;
            m.body.number *= m.body.number;
            msgsnd(queue, &m, sizeof m.body, 0);
        }
        _exit(0);
    }
    for (int n = 3; n <= 4; n++) {
        send(1, n, "square");
        msgrcv(queue, &m, sizeof m.body, getpid(), 0);
        printf("%d * %d = %d\n", n, n, m.body.number);
    }
    wait(NULL);

    msgctl(queue, IPC_RMID, NULL);
    if (msgrcv(queue, &m, sizeof m.body, 0, 0) == -1 && errno == EINVAL)
        puts("the queue is gone");
    return 0;
}
