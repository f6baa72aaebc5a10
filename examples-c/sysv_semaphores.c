/* System V semaphores: two forks at a time, and a philosopher who is killed gives his back.
 *
 * Expected output:
 *     5 philosophers have eaten 20 times each
 *     forks on the table: 1 1 1 1 1
 *     held by one who is killed: 0 0
 *     and then: 1 1
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sem.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PHILOSOPHERS = 5, MEALS = 20 };

static int forks;

/* Both at once, or none: nobody holds one and waits for the other. */
static void both(int i, short op) {
    struct sembuf ops[2] = {
        {.sem_num = i, .sem_op = op, .sem_flg = SEM_UNDO},
        {.sem_num = (i + 1) % PHILOSOPHERS, .sem_op = op, .sem_flg = SEM_UNDO},
    };
    if (semop(forks, ops, 2) != 0) {
        perror("semop");
        exit(1);
    }
}

int main(void) {
    unsigned short ones[PHILOSOPHERS] = {1, 1, 1, 1, 1}, now[PHILOSOPHERS];
    forks = semget(IPC_PRIVATE, PHILOSOPHERS, 0600);
    semctl(forks, 0, SETALL, ones);
    for (int i = 0; i < PHILOSOPHERS; i++) {
        if (fork() == 0) {
            for (int meal = 0; meal < MEALS; meal++) {
                both(i, -1);
                both(i, 1);
            }
            _exit(0);
        }
    }
    int eaten = 0, status;
    while (wait(&status) > 0)
        eaten += status == 0;
    printf("%d philosophers have eaten %d times each\n", eaten, MEALS);
    semctl(forks, 0, GETALL, now);
    printf("forks on the table: %d %d %d %d %d\n", now[0], now[1], now[2], now[3], now[4]);

    int ready[2];
    char byte;
    if (pipe(ready) != 0)
        return 1;
    pid_t greedy = fork();
    if (greedy == 0) {
        both(0, -1);
        if (write(ready[1], "!", 1) == 1)
            pause();
        _exit(0);
    }
    if (read(ready[0], &byte, 1) != 1)
        return 1;
    semctl(forks, 0, GETALL, now);
    printf("held by one who is killed: %d %d\n", now[0], now[1]);
    kill(greedy, SIGKILL);
    waitpid(greedy, NULL, 0);
    semctl(forks, 0, GETALL, now);
    printf("and then: %d %d\n", now[0], now[1]);
    return semctl(forks, 0, IPC_RMID);
}
