/* System V shared memory: removed while it is attached, it lives until the last one lets go.
 *
 * Expected output:
 *     attached by 1
 *     attached by 2, says the child
 *     removed, and still there: written by the child
 *     gone with the last one
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

static int segment;

static int attached(void) {
    struct shmid_ds ds;
    return shmctl(segment, IPC_STAT, &ds) == 0 ? (int)ds.shm_nattch : -1;
}

int main(void) {
    segment = shmget(IPC_PRIVATE, 4096, 0600);
    char *text = shmat(segment, NULL, 0);
    if (text == (void *)-1)
        return 1;
    printf("attached by %d\n", attached());
    fflush(stdout);
    if (fork() == 0) {
        printf("attached by %d, says the child\n", attached());
        fflush(stdout);
        strcpy(text, "written by the child");
        _exit(0);
    }
    wait(NULL);
    shmctl(segment, IPC_RMID, NULL);
    printf("removed, and still there: %s\n", text);
    shmdt(text);
    if (shmat(segment, NULL, 0) == (void *)-1 && errno == EINVAL)
        puts("gone with the last one");
    return 0;
}
