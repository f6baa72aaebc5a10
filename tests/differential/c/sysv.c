/* System V semaphores, messages and shared memory. */
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

int main(void)
{
	struct { long type; char text[16]; } m = {3, "three"};
	struct sembuf both[] = {{0, 2, 0}, {1, 1, 0}}, take = {0, -3, IPC_NOWAIT};
	union semun { int val; unsigned short *array; } arg;
	int s = semget(IPC_PRIVATE, 2, IPC_CREAT | 0600), q, h;
	void *at, *again;

	semop(s, both, 2);
	semop(s, &take, 1); /* EAGAIN */
	arg.val = 9;
	semctl(s, 1, SETVAL, arg);
	semctl(s, 7, GETVAL, arg); /* EINVAL */
	semctl(s, 0, IPC_RMID);
	semop(s, both, 1); /* EINVAL */

	q = msgget(IPC_PRIVATE, IPC_CREAT | 0600);
	msgsnd(q, &m, 5, 0);
	m.type = 1;
	msgsnd(q, &m, 16, 0);
	msgrcv(q, &m, 16, 3, 0);
	msgrcv(q, &m, 2, 0, 0); /* E2BIG */
	msgrcv(q, &m, 2, 0, MSG_NOERROR);
	msgrcv(q, &m, 16, 0, IPC_NOWAIT); /* ENOMSG */
	msgsnd(q, &m, 16, 0);
	msgctl(q, IPC_RMID, 0);

	h = shmget(IPC_PRIVATE, 5000, IPC_CREAT | 0600);
	at = shmat(h, 0, 0);
	again = shmat(h, 0, SHM_RDONLY);
	shmctl(h, IPC_RMID, 0);
	shmdt(at);
	shmdt(again); /* gone */
	shmdt(again); /* EINVAL */
	return 0;
}
