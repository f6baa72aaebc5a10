/* Shared memory and semaphores by name. */
#include <fcntl.h>
#include <semaphore.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

int main(void)
{
	char name[32];
	sem_t *s;

	snprintf(name, sizeof name, "/differential-%d", getpid());
	shm_open(name, O_CREAT | O_RDWR, 0600);
	shm_unlink(name);
	shm_unlink(name); /* ENOENT */
	s = sem_open(name, O_CREAT, 0600, 1);
	sem_wait(s);
	sem_trywait(s); /* EAGAIN */
	sem_post(s);
	sem_unlink(name);
	memfd_create("mem", 0);
	return 0;
}
