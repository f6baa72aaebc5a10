/* pending N UNBLOCK: exits with 0 if signal N is blocked and pending, else with 1; and if UNBLOCK is
   1, unblocks it first, and should not come back. */
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    int number = atoi(argv[1]);
    struct rlimit none = {0, 0};
    sigset_t pending, blocked;
    setrlimit(RLIMIT_CORE, &none);
    sigpending(&pending);
    sigprocmask(SIG_BLOCK, NULL, &blocked);
    if (sigismember(&pending, number) != 1 || sigismember(&blocked, number) != 1)
        return 1;
    if (atoi(argv[2])) {
        sigprocmask(SIG_UNBLOCK, &blocked, NULL);
        return 3;
    }
    return 0;
}
