/* stdio on pipes: libc's own reads and writes, which do not go through the PLT. See stdio(3).
 * The argument names the part to run. */
#include "check.h"

static int p[2];

static void open_pipe(void) {
    EQUAL(pipe(p), 0);
}

/* What is in the pipe now, without waiting. */
static const char *waiting(void) {
    static char buf[70000];
    EQUAL(fcntl(p[0], F_SETFL, O_NONBLOCK), 0);
    ssize_t n = read(p[0], buf, sizeof buf - 1);
    EQUAL(fcntl(p[0], F_SETFL, 0), 0);
    buf[n > 0 ? n : 0] = 0;
    return buf;
}

static void formats(void) {
    int a, b;
    char word[20];
    open_pipe();
    FILE *r = fdopen(p[0], "r"), *w = fdopen(p[1], "w");
    CHECK(r && w);
    EQUAL(fprintf(w, "%d %s %d\n", 12, "twelve", -12), 14);
    EQUAL(fflush(w), 0);
    EQUAL(fscanf(r, "%d %19s %d", &a, word, &b), 3);
    CHECK(a == 12 && b == -12 && strcmp(word, "twelve") == 0);
    EQUAL(fgetc(r), '\n');
    EQUAL(fputs("one\ntwo\n", w), 1);
    EQUAL(fclose(w), 0);
    CHECK(fgets(word, sizeof word, r) && strcmp(word, "one\n") == 0);
    EQUAL(fgetc(r), 't');
    EQUAL(ungetc('T', r), 'T');
    CHECK(fgets(word, sizeof word, r) && strcmp(word, "Two\n") == 0);
    EQUAL(fgetc(r), EOF);
    CHECK(feof(r) && !ferror(r));
    EQUAL(fclose(r), 0);
    EQUAL(read(p[0], word, 1), -1);
}

static void buffering(void) {
    open_pipe();
    FILE *w = fdopen(p[1], "w");
    EQUAL(setvbuf(w, NULL, _IONBF, 0), 0);
    fputs("at once", w);
    CHECK(strcmp(waiting(), "at once") == 0);
    EQUAL(fclose(w), 0);
    open_pipe();
    w = fdopen(p[1], "w");
    EQUAL(setvbuf(w, NULL, _IOLBF, 1000), 0);
    fputs("not yet", w);
    CHECK(strcmp(waiting(), "") == 0);
    fputs(" but now\nand the rest", w);
    CHECK(strncmp(waiting(), "not yet but now\n", 16) == 0);
    EQUAL(fclose(w), 0);
    open_pipe();
    w = fdopen(p[1], "w");
    for (int i = 0; i < 4095; i++)
        fputc('x', w);
    CHECK(strcmp(waiting(), "") == 0); /* a pipe is fully buffered, 4096 bytes of st_blksize */
    fputs("yz", w);
    EQUAL(strlen(waiting()), 4096);
    EQUAL(fflush(NULL), 0);
    CHECK(strcmp(waiting(), "z") == 0);
}

static void lines(void) {
    char *line = NULL;
    size_t room = 0;
    int count = 0;
    open_pipe();
    pid_t child = fork();
    if (child == 0) {
        close(p[0]);
        FILE *w = fdopen(p[1], "w");
        for (int i = 0; i < 20000; i++)
            fprintf(w, "line %d %*s\n", i, i % 300, "");
        exit(0); /* flushes */
    }
    close(p[1]);
    FILE *r = fdopen(p[0], "r");
    ssize_t n;
    while ((n = getline(&line, &room, r)) > 0) {
        EQUAL(atoi(line + 5), count);
        EQUAL(line[n - 1], '\n');
        count++;
    }
    EQUAL(count, 20000);
    CHECK(feof(r));
    exits_with(child, 0);
}

static void blocks(void) {
    enum { SIZE = 3000000 };
    unsigned char *data = malloc(SIZE), *back = malloc(SIZE);
    CHECK(data && back);
    for (int i = 0; i < SIZE; i++)
        data[i] = (unsigned char)((unsigned)i * 2654435761u >> 24);
    open_pipe();
    pid_t child = fork();
    if (child == 0) {
        close(p[0]);
        FILE *w = fdopen(p[1], "w");
        EQUAL(fwrite(data, 1, 10, w), 10);
        EQUAL(fwrite(data + 10, SIZE - 10, 1, w), 1);
        EQUAL(fclose(w), 0);
        _exit(0);
    }
    close(p[1]);
    FILE *r = fdopen(p[0], "r");
    EQUAL(fread(back, 1, 100, r), 100);
    EQUAL(fread(back + 100, 1, SIZE, r), SIZE - 100);
    CHECK(feof(r));
    EQUAL(memcmp(data, back, SIZE), 0);
    exits_with(child, 0);
}

static void errors(void) {
    char c;
    open_pipe();
    EQUAL(fcntl(p[0], F_SETFL, O_NONBLOCK), 0);
    FILE *r = fdopen(p[0], "r");
    EQUAL(fgetc(r), EOF);
    EQUAL(errno, EAGAIN);
    CHECK(ferror(r) && !feof(r));
    clearerr(r);
    EQUAL(write(p[1], "x", 1), 1);
    EQUAL(fgetc(r), 'x');
    signal(SIGPIPE, SIG_IGN);
    FILE *w = fdopen(p[1], "w");
    EQUAL(fclose(r), 0);
    EQUAL(fputc('y', w), 'y');
    EQUAL(fflush(w), EOF);
    EQUAL(errno, EPIPE);
    CHECK(ferror(w));
    EQUAL(fclose(w), 0);
    open_pipe();
    r = fdopen(p[0], "r");
    close(p[0]);
    EQUAL(fread(&c, 1, 1, r), 0);
    EQUAL(errno, EBADF);
    EQUAL(fseek(fdopen(p[1], "w"), 0, SEEK_SET), -1);
    EQUAL(errno, ESPIPE);
}

static void standard_output(void) {
    char buf[100];
    open_pipe();
    pid_t child = fork();
    if (child == 0) {
        dup2(p[1], 1);
        dup2(p[1], 2);
        close(p[0]);
        close(p[1]);
        printf("out %d,", 1);
        puts("puts");
        fflush(stdout);
        dprintf(1, "dprintf %s,", "x");
        errno = ENOENT;
        perror("perror");
        putchar('!');
        exit(7);
    }
    close(p[1]);
    const char *expected =
        "out 1,puts\ndprintf x,perror: No such file or directory\n!";
    FILE *r = fdopen(p[0], "r");
    EQUAL(fread(buf, 1, sizeof buf, r), strlen(expected));
    EQUAL(memcmp(buf, expected, strlen(expected)), 0);
    exits_with(child, 7);
}

/* What is in a buffer at fork is written twice, and at _exit not at all. */
static void fork_and_exit(void) {
    open_pipe();
    pid_t child = fork();
    if (child == 0) {
        FILE *w = fdopen(p[1], "w");
        fputs("twice ", w);
        pid_t grandchild = fork();
        if (grandchild == 0)
            exit(0);
        exits_with(grandchild, 0);
        exit(0);
    }
    exits_with(child, 0);
    CHECK(strcmp(waiting(), "twice twice ") == 0);
    child = fork();
    if (child == 0) {
        fputs("lost", fdopen(p[1], "w"));
        _exit(0);
    }
    exits_with(child, 0);
    CHECK(strcmp(waiting(), "") == 0);
}

static void popen_both_ways(void) {
    char buf[100];
    FILE *f = popen("echo from the shell; exit 3", "r");
    CHECK(f && fgets(buf, sizeof buf, f));
    CHECK(strcmp(buf, "from the shell\n") == 0);
    EQUAL(fgetc(f), EOF);
    int status = pclose(f);
    EQUAL(WEXITSTATUS(status), 3);
    open_pipe();
    snprintf(buf, sizeof buf, "cat >&%d", p[1]);
    f = popen(buf, "w");
    CHECK(f != NULL);
    EQUAL(fprintf(f, "to the shell %d\n", 5), 15);
    EQUAL(pclose(f), 0);
    CHECK(strcmp(waiting(), "to the shell 5\n") == 0);
    FILE *many[10];
    for (int i = 0; i < 10; i++) {
        snprintf(buf, sizeof buf, "seq %d 100", i);
        many[i] = popen(buf, "re");
    }
    for (int i = 0; i < 10; i++) {
        int lines = 0;
        while (fgets(buf, sizeof buf, many[i]))
            EQUAL(atoi(buf), i + lines++);
        EQUAL(lines, 101 - i);
        EQUAL(pclose(many[i]), 0);
    }
}

static void system_with_a_pipe(void) {
    char command[200];
    open_pipe();
    snprintf(command, sizeof command, "echo hello | cat >&%d", p[1]);
    EQUAL(system(command), 0);
    CHECK(strcmp(waiting(), "hello\n") == 0);
    EQUAL(WEXITSTATUS(system("exit 5")), 5);
    EQUAL(write(p[1], "a\nb\n", 4), 4);
    snprintf(command, sizeof command, "read x <&%d && test \"$x\" = a", p[0]);
    EQUAL(system(command), 0);
    CHECK(strcmp(waiting(), "b\n") == 0); /* the shell reads a pipe byte by byte */
}

/* The names of descriptors, opened by stdio. */
static void names(void) {
    char path[64], buf[100];
    open_pipe();
    snprintf(path, sizeof path, "/dev/fd/%d", p[1]);
    FILE *w = fopen(path, "w");
    snprintf(path, sizeof path, "/proc/self/fd/%d", p[0]);
    FILE *r = fopen(path, "re");
    CHECK(r && w);
    fputs("by name\n", w);
    EQUAL(fclose(w), 0);
    CHECK(fgets(buf, sizeof buf, r) && strcmp(buf, "by name\n") == 0);
    EQUAL(fclose(r), 0);
    EQUAL(dup2(p[0], 0), 0);
    CHECK(freopen("/dev/stdin", "r", stdin) != NULL);
    EQUAL(write(p[1], "standard\n", 9), 9);
    CHECK(fgets(buf, sizeof buf, stdin) && strcmp(buf, "standard\n") == 0);
}

static const struct {
    const char *name;
    void (*run)(void);
} parts[] = {
    {"formats", formats},     {"buffering", buffering},
    {"lines", lines},         {"blocks", blocks},
    {"names", names},
    {"errors", errors},       {"standard_output", standard_output},
    {"fork", fork_and_exit},  {"popen", popen_both_ways},
    {"system", system_with_a_pipe},
};

int main(int argc, char **argv) {
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (argc == 2 && strcmp(argv[1], parts[i].name) == 0) {
            parts[i].run();
            return 0;
        }
    return 98;
}
