/* Every way to start a program, with pipes for its standard input and output: fork, vfork and
 * posix_spawn(3); the whole exec(3) family; with and without its environment.
 * "spawn PART" runs a part; "spawn copy WORD" is the program that is started. */
#include "check.h"
#include <spawn.h>

extern char **environ;
static char self[4096];
static char *copy_args[] = {"spawn", "copy", "said", NULL};

/* Copies standard input to standard output, and says which environment it found. */
static int copy(const char *word) {
    char buf[1000];
    ssize_t n;
    while ((n = read(0, buf, sizeof buf)) > 0)
        EQUAL(write(1, buf, (size_t)n), n);
    EQUAL(n, 0);
    const char *mark = getenv("MARK");
    printf("[%s %s]", word, mark ? mark : "none");
    return 0;
}

struct link {
    int to[2], from[2];
};

static struct link open_link(void) {
    struct link l;
    EQUAL(pipe2(l.to, O_CLOEXEC), 0);
    EQUAL(pipe2(l.from, O_CLOEXEC), 0);
    return l;
}

static void take_ends(const struct link *l) {
    EQUAL(dup2(l->to[0], 0), 0);
    EQUAL(dup2(l->from[1], 1), 1);
}

/* Talks to the program until it ends. */
static void converse(struct link *l, pid_t pid, const char *mark) {
    char expected[100], found[200] = {0};
    size_t have = 0;
    ssize_t n;
    close(l->to[0]);
    close(l->from[1]);
    EQUAL(write(l->to[1], "how do you do", 13), 13);
    while (have < 13 && (n = read(l->from[0], found + have, sizeof found - 1 - have)) > 0)
        have += (size_t)n;
    CHECK(strcmp(found, "how do you do") == 0);
    EQUAL(write(l->to[1], " again", 6), 6);
    close(l->to[1]);
    while ((n = read(l->from[0], found + have, sizeof found - 1 - have)) > 0)
        have += (size_t)n;
    EQUAL(n, 0);
    snprintf(expected, sizeof expected, "how do you do again[said %s]", mark);
    if (strcmp(found, expected) != 0) {
        dprintf(2, "found \"%s\", expected \"%s\"\n", found, expected);
        _exit(99);
    }
    close(l->from[0]);
    exits_with(pid, 0);
}

static void by_execl(void) { execl(self, "spawn", "copy", "said", (char *)NULL); }
static void by_execlp(void) { execlp(self, "spawn", "copy", "said", (char *)NULL); }
static void by_execv(void) { execv(self, copy_args); }
static void by_execvp(void) { execvp(self, copy_args); }
static void by_execve(void) { execve(self, copy_args, environ); }
static void by_execvpe(void) { execvpe(self, copy_args, environ); }
static void by_fexecve(void) { fexecve(open(self, O_RDONLY | O_CLOEXEC), copy_args, environ); }
static void by_execveat(void) {
    syscall(SYS_execveat, open(self, O_RDONLY | O_CLOEXEC), "", copy_args, environ, AT_EMPTY_PATH);
}
static void by_syscall(void) { syscall(SYS_execve, self, copy_args, environ); }
static void by_shell(void) { execlp("sh", "sh", "-c", "exec \"$0\" copy said", self, (char *)NULL); }

static void (*const execs[])(void) = {by_execl,   by_execlp,  by_execv,    by_execvp,  by_execve,
                                      by_execvpe, by_fexecve, by_execveat, by_syscall, by_shell};
enum { EXECS = sizeof execs / sizeof *execs };

static void fork_and_exec(void) {
    for (int i = 0; i < EXECS; i++) {
        struct link l = open_link();
        pid_t pid = fork();
        if (pid == 0) {
            take_ends(&l);
            execs[i]();
            _exit(97);
        }
        converse(&l, pid, "set");
    }
}

static void vfork_and_exec(void) {
    for (int i = 0; i < EXECS; i++) {
        struct link l = open_link();
        pid_t pid = vfork();
        if (pid == 0) {
            take_ends(&l);
            execs[i]();
            _exit(97);
        }
        converse(&l, pid, "set");
    }
    /* The child's descriptors are its own: what it closes stays open here. */
    int p[2];
    EQUAL(pipe(p), 0);
    pid_t pid = vfork();
    if (pid == 0) {
        close(p[0]);
        write(p[1], "x", 1);
        close(p[1]);
        _exit(0);
    }
    exits_with(pid, 0);
    char c;
    EQUAL(read(p[0], &c, 1), 1);
}

static void environment_cleared(void) {
    char *no_env[] = {NULL};
    char *other_env[] = {"MARK=other", NULL};
    for (int i = 0; i < 4; i++) {
        struct link l = open_link();
        pid_t pid = fork();
        if (pid == 0) {
            take_ends(&l);
            if (i == 0) {
                clearenv();
                execv(self, copy_args);
            } else if (i == 1) {
                execve(self, copy_args, no_env);
            } else if (i == 2) {
                execle(self, "spawn", "copy", "said", (char *)NULL, other_env);
            } else {
                environ = NULL;
                execv(self, copy_args);
            }
            _exit(97);
        }
        converse(&l, pid, i == 2 ? "other" : "none");
    }
}

static void failed_exec(void) {
    struct link l = open_link();
    pid_t pid = fork();
    if (pid == 0) {
        take_ends(&l);
        EQUAL(execl("/nonexistent/program", "program", (char *)NULL), -1);
        EQUAL(errno, ENOENT);
        EQUAL(execl("/proc", "program", (char *)NULL), -1);
        EQUAL(errno, EACCES);
        /* Nothing was closed, O_CLOEXEC or not. */
        EQUAL(write(l.from[1], "", 0), 0);
        execv(self, copy_args);
        _exit(97);
    }
    converse(&l, pid, "set");
}

static void posix_spawn_actions(void) {
    for (int round = 0; round < 3; round++) {
        struct link l = open_link();
        posix_spawn_file_actions_t a;
        posix_spawnattr_t attr;
        pid_t pid;
        EQUAL(posix_spawn_file_actions_init(&a), 0);
        EQUAL(posix_spawnattr_init(&attr), 0);
        EQUAL(posix_spawn_file_actions_adddup2(&a, l.to[0], 0), 0);
        EQUAL(posix_spawn_file_actions_adddup2(&a, l.from[1], 1), 0);
        EQUAL(posix_spawn_file_actions_addclose(&a, l.to[1]), 0);
        EQUAL(posix_spawn_file_actions_addopen(&a, 20, "/dev/null", O_RDONLY, 0), 0);
        if (round == 1)
            EQUAL(posix_spawn_file_actions_addclosefrom_np(&a, 3), 0);
        if (round == 2) {
            sigset_t all;
            sigfillset(&all);
            EQUAL(posix_spawnattr_setsigdefault(&attr, &all), 0);
            EQUAL(posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP), 0);
        }
        if (round == 0)
            EQUAL(posix_spawnp(&pid, self, &a, &attr, copy_args, environ), 0);
        else
            EQUAL(posix_spawn(&pid, self, &a, &attr, copy_args, environ), 0);
        converse(&l, pid, "set");
        posix_spawn_file_actions_destroy(&a);
    }
    pid_t pid;
    EQUAL(posix_spawn(&pid, "/nonexistent/program", NULL, NULL, copy_args, environ), ENOENT);
}

/* addopen may reopen a pipe by its name in /proc. */
static void posix_spawn_reopens(void) {
    struct link l = open_link();
    posix_spawn_file_actions_t a;
    char path[64];
    pid_t pid;
    EQUAL(posix_spawn_file_actions_init(&a), 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", l.to[0]);
    EQUAL(posix_spawn_file_actions_addopen(&a, 0, path, O_RDONLY, 0), 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", l.from[1]);
    EQUAL(posix_spawn_file_actions_addopen(&a, 1, path, O_WRONLY, 0), 0);
    EQUAL(posix_spawn(&pid, self, &a, NULL, copy_args, environ), 0);
    converse(&l, pid, "set");
}

/* exec without fork: the data written before is read after. */
static void exec_keeps_data(void) {
    int p[2], q[2];
    EQUAL(pipe(p), 0);
    EQUAL(pipe(q), 0);
    pid_t pid = fork();
    if (pid == 0) {
        EQUAL(write(p[1], "before exec", 11), 11);
        dup2(p[0], 0);
        dup2(q[1], 1);
        for (int i = 0; i < 2; i++) {
            close(p[i]);
            close(q[i]);
        }
        execv(self, copy_args);
        _exit(97);
    }
    close(p[1]);
    close(q[1]);
    char found[100] = {0};
    size_t have = 0;
    ssize_t n;
    while ((n = read(q[0], found + have, sizeof found - 1 - have)) > 0)
        have += (size_t)n;
    CHECK(strcmp(found, "before exec[said set]") == 0);
    exits_with(pid, 0);
}

static const struct {
    const char *name;
    void (*run)(void);
} parts[] = {
    {"fork", fork_and_exec},
    {"vfork", vfork_and_exec},
    {"environment", environment_cleared},
    {"failed", failed_exec},
    {"posix_spawn", posix_spawn_actions},
    {"posix_spawn_reopens", posix_spawn_reopens},
    {"keeps_data", exec_keeps_data},
};

int main(int argc, char **argv) {
    if (argc == 3 && strcmp(argv[1], "copy") == 0)
        return copy(argv[2]);
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    CHECK(n > 0);
    setenv("MARK", "set", 1);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (argc == 2 && strcmp(argv[1], parts[i].name) == 0) {
            parts[i].run();
            return 0;
        }
    return 98;
}
