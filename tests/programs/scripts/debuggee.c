/* What is debugged: signals, a pipe, a child, a thread, a shell. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static int p[2];
static volatile sig_atomic_t came;

static void handler(int number) { came += number; }

static void met(int what) {
    printf("met %d\n", what);
    fflush(stdout);
}

static void child(void) {
    met(100);
    write(p[1], "c", 1);
    _exit(7);
}

static void *thread(void *arg) {
    char c = 0;
    for (int i = 0; i < 3; i++)
        read(p[0], &c, 1);
    met(c);
    return arg;
}

int main(void) {
    pthread_t t;
    int status;
    char line[64];
    pipe(p);
    signal(SIGUSR1, handler);
    raise(SIGUSR1);
    met(came);
    pid_t pid = fork();
    if (pid == 0)
        child();
    waitpid(pid, &status, 0);
    met(WEXITSTATUS(status));
    write(p[1], "ab", 2);
    pthread_create(&t, NULL, thread, NULL);
    pthread_join(t, NULL);
    FILE *f = popen("echo by a shell", "r");
    fgets(line, sizeof line, f);
    pclose(f);
    printf("%s", line);
    return 3;
}
