/* A child takes /held and is killed, the parent takes /mine. Then runs argv[1], with both numbers in its environment. */
#include <fcntl.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	sem_t *held = sem_open("/held", O_CREAT, 0600, 1), *mine = sem_open("/mine", O_CREAT, 0600, 1);
	sem_t *back = sem_open("/back", O_CREAT, 0600, 1);
	pid_t child = fork();
	if (child == 0) {
		sem_wait(back);
		sem_post(back);
		sem_wait(held);
		raise(SIGKILL);
	}
	waitpid(child, NULL, 0);
	sem_wait(mine);
	printf("%d %d\n", (int)getpid(), (int)child);
	fflush(stdout);
	return argc > 1 && system(argv[1]) != 0;
}
