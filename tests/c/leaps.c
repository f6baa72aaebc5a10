/* leaps PART: siglongjmp(3) out of a handler that has interrupted a waiting call: nobody waits there any more, no lock is
   held, and nothing goes to who is gone. See longjmp(3), signal-safety(7). */
#include "check.h"
#include <mqueue.h>
#include <semaphore.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

enum { ROUNDS = 100 };

static sigjmp_buf out;
static volatile int waits, round_now;

static void leap(int number, siginfo_t *info, void *context) {
    (void)number, (void)info, (void)context;
    if (waits) {
        waits = 0;
        siglongjmp(out, 1);
    }
}

static void alarms(long us) {
    struct itimerval often = {{0, us}, {0, us}};
    EQUAL(setitimer(ITIMER_REAL, &often, NULL), 0);
}

/* Thrown out of `call`, which waits, again and again; afterwards `check` finds all as it was. */
#define OUT_OF(call, check)                                                                \
    do {                                                                                   \
        handle(SIGALRM, SA_RESTART, leap);                                                 \
        for (round_now = 0; round_now < ROUNDS; round_now++) {                             \
            if (sigsetjmp(out, 1) == 0) {                                                  \
                alarms(300);                                                               \
                waits = 1;                                                                 \
                long done_ = (long)(call);                                                 \
                waits = 0;                                                                 \
                EQUAL(done_, -77777); /* it has returned */                                \
            }                                                                              \
            alarms(0);                                                                     \
            check;                                                                         \
        }                                                                                  \
    } while (0)

static void counter_read(void) {
    int fd = eventfd(0, 0);
    uint64_t count = 7;
    OUT_OF(read(fd, &count, 8), {
        count = 7;
        EQUAL(write(fd, &count, 8), 8);
        EQUAL(read(fd, &count, 8), 8);
        EQUAL(count, 7);
    });
}

static void counter_write(void) {
    int fd = eventfd(0, 0);
    uint64_t most = UINT64_MAX - 1, one = 1, count;
    EQUAL(write(fd, &most, 8), 8);
    OUT_OF(write(fd, &one, 8), {
        EQUAL(read(fd, &count, 8), 8);
        CHECK(count == most);
        EQUAL(write(fd, &most, 8), 8);
    });
}

static void pair_read(int type) {
    int s[2];
    char byte;
    EQUAL(socketpair(AF_UNIX, type, 0, s), 0);
    OUT_OF(recv(s[0], &byte, 1, 0), {
        byte = 'a' + round_now % 26;
        EQUAL(send(s[1], &byte, 1, 0), 1);
        byte = 0;
        EQUAL(recv(s[0], &byte, 1, 0), 1);
        EQUAL(byte, 'a' + round_now % 26);
        EQUAL(recv(s[0], &byte, 1, MSG_DONTWAIT), -1);
    });
}

static void pair_write(int type) {
    int s[2];
    static char much[1000];
    volatile long sent = 0;
    long got;
    EQUAL(socketpair(AF_UNIX, type, 0, s), 0);
    while ((got = send(s[1], much, sizeof much, MSG_DONTWAIT)) > 0)
        sent += got;
    OUT_OF(send(s[1], much, 1, 0), EQUAL(send(s[1], much, 1, MSG_DONTWAIT), -1));
    while ((got = recv(s[0], much, sizeof much, MSG_DONTWAIT)) > 0)
        sent -= got;
    CHECK(sent == 0);
}

static void stream_read(void) { pair_read(SOCK_STREAM); }
static void datagram_read(void) { pair_read(SOCK_DGRAM); }
static void packet_read(void) { pair_read(SOCK_SEQPACKET); }
static void stream_write(void) { pair_write(SOCK_STREAM); }
static void datagram_write(void) { pair_write(SOCK_DGRAM); }

static mqd_t queue(void) {
    char name[40];
    sprintf(name, "/ringer-leaps-%d", getpid());
    struct mq_attr a = {.mq_maxmsg = 2, .mq_msgsize = 8};
    mqd_t q = mq_open(name, O_CREAT | O_RDWR, 0600, &a);
    CHECK(q != (mqd_t)-1);
    mq_unlink(name);
    return q;
}

static long messages(mqd_t q) {
    struct mq_attr a;
    EQUAL(mq_getattr(q, &a), 0);
    return a.mq_curmsgs;
}

static void queue_receive(void) {
    mqd_t q = queue();
    char room[8];
    OUT_OF(mq_receive(q, room, 8, NULL), {
        EQUAL(mq_send(q, "ab", 2, 0), 0);
        EQUAL(messages(q), 1);
        EQUAL(mq_receive(q, room, 8, NULL), 2);
    });
}

static void queue_send(void) {
    mqd_t q = queue();
    char room[8];
    EQUAL(mq_send(q, "a", 1, 0), 0);
    EQUAL(mq_send(q, "b", 1, 0), 0);
    OUT_OF(mq_send(q, "late", 4, 9), {
        EQUAL(mq_receive(q, room, 8, NULL), 1);
        EQUAL(messages(q), 1);
        EQUAL(mq_send(q, "c", 1, 0), 0);
    });
}

static void semaphore_down(void) {
    int id = semget(IPC_PRIVATE, 1, 0600);
    struct sembuf down = {0, -1, SEM_UNDO};
    OUT_OF(semop(id, &down, 1), {
        EQUAL(semctl(id, 0, GETNCNT), 0);
        EQUAL(semctl(id, 0, SETVAL, 1), 0);
        EQUAL(semctl(id, 0, GETVAL), 1);
        EQUAL(semop(id, &down, 1), 0);
    });
    semctl(id, 0, IPC_RMID);
}

static void semaphore_zero(void) {
    int id = semget(IPC_PRIVATE, 1, 0600);
    struct sembuf zero = {0, 0, 0};
    EQUAL(semctl(id, 0, SETVAL, 1), 0);
    OUT_OF(semop(id, &zero, 1), EQUAL(semctl(id, 0, GETZCNT), 0));
    semctl(id, 0, IPC_RMID);
}

struct message {
    long type;
    char text[4096];
};

static long waiting(int id) {
    struct msqid_ds d;
    EQUAL(msgctl(id, IPC_STAT, &d), 0);
    return d.msg_qnum;
}

static void message_receive(void) {
    int id = msgget(IPC_PRIVATE, 0600);
    static struct message m;
    OUT_OF(msgrcv(id, &m, sizeof m.text, 3, 0), {
        m.type = 3;
        EQUAL(msgsnd(id, &m, 5, 0), 0);
        EQUAL(waiting(id), 1);
        EQUAL(msgrcv(id, &m, sizeof m.text, 0, IPC_NOWAIT), 5);
    });
    msgctl(id, IPC_RMID, NULL);
}

static void message_send(void) {
    int id = msgget(IPC_PRIVATE, 0600);
    static struct message m = {.type = 1};
    volatile long full = 0;
    while (msgsnd(id, &m, sizeof m.text, IPC_NOWAIT) == 0)
        full++;
    OUT_OF(msgsnd(id, &m, sizeof m.text, 0), {
        EQUAL(msgrcv(id, &m, sizeof m.text, 0, 0), sizeof m.text);
        EQUAL(waiting(id), full - 1);
        EQUAL(msgsnd(id, &m, sizeof m.text, IPC_NOWAIT), 0);
    });
    msgctl(id, IPC_RMID, NULL);
}

static void posix_semaphore(void) {
    sem_t *sem = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int value;
    EQUAL(sem_init(sem, 1, 0), 0);
    OUT_OF(sem_wait(sem), {
        EQUAL(sem_post(sem), 0);
        EQUAL(sem_getvalue(sem, &value), 0);
        EQUAL(value, 1);
        EQUAL(sem_trywait(sem), 0);
    });
}

static void open_of_a_fifo(void) {
    char path[60];
    sprintf(path, "/tmp/ringer-leaps-%d", getpid());
    EQUAL(mkfifo(path, 0600), 0);
    OUT_OF(open(path, O_RDONLY), {
        EQUAL(open(path, O_WRONLY | O_NONBLOCK), -1);
        EQUAL(errno, ENXIO);
    });
    unlink(path);
}

static int listener(struct sockaddr_un *to, socklen_t *len) {
    memset(to, 0, sizeof *to);
    to->sun_family = AF_UNIX;
    *len = offsetof(struct sockaddr_un, sun_path) + 1 +
           sprintf(to->sun_path + 1, "ringer-leaps-%d", getpid());
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    EQUAL(bind(fd, (struct sockaddr *)to, *len), 0);
    EQUAL(listen(fd, 1), 0);
    return fd;
}

static void accept_of_a_connection(void) {
    struct sockaddr_un to;
    socklen_t len;
    int fd = listener(&to, &len);
    OUT_OF(accept(fd, NULL, NULL), {
        int client = socket(AF_UNIX, SOCK_STREAM, 0);
        char byte = 0;
        EQUAL(connect(client, (struct sockaddr *)&to, len), 0);
        int server = accept(fd, NULL, NULL);
        CHECK(server > 0);
        EQUAL(send(client, "x", 1, 0), 1);
        EQUAL(recv(server, &byte, 1, 0), 1);
        EQUAL(byte, 'x');
        close(client);
        close(server);
    });
}

/* Others that wait behind one that is gone are served. */
static void who_waits_behind(void) {
    int p[2], id = semget(IPC_PRIVATE, 1, 0600);
    struct sembuf down = {0, -1, 0};
    char byte;
    EQUAL(pipe(p), 0);
    mqd_t q = queue();
    OUT_OF(semop(id, &down, 1), {
        pid_t child = fork();
        if (!child) {
            EQUAL(mq_receive(q, (char[8]){0}, 8, NULL), 1);
            EQUAL(semop(id, &down, 1), 0);
            EQUAL(read(p[0], &byte, 1), 1);
            _exit(0);
        }
        EQUAL(mq_send(q, "m", 1, 0), 0);
        EQUAL(semctl(id, 0, SETVAL, 1), 0);
        EQUAL(write(p[1], "b", 1), 1);
        exits_with(child, 0);
        EQUAL(semctl(id, 0, GETVAL), 0);
    });
    semctl(id, 0, IPC_RMID);
}

static const struct part parts[] = {
    {"counter_read", counter_read},
    {"counter_write", counter_write},
    {"stream_read", stream_read},
    {"datagram_read", datagram_read},
    {"packet_read", packet_read},
    {"stream_write", stream_write},
    {"datagram_write", datagram_write},
    {"queue_receive", queue_receive},
    {"queue_send", queue_send},
    {"semaphore_down", semaphore_down},
    {"semaphore_zero", semaphore_zero},
    {"message_receive", message_receive},
    {"message_send", message_send},
    {"posix_semaphore", posix_semaphore},
    {"open_of_a_fifo", open_of_a_fifo},
    {"accept_of_a_connection", accept_of_a_connection},
    {"who_waits_behind", who_waits_behind},
};
PARTS(parts)
