/* A message queue. */
#include <fcntl.h>
#include <mqueue.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

int main(void)
{
	struct mq_attr attr = {.mq_maxmsg = 2, .mq_msgsize = 32};
	struct sigevent none = {.sigev_notify = SIGEV_NONE};
	char name[32], buf[32];
	unsigned prio;
	mqd_t q;

	snprintf(name, sizeof name, "/differential-%d", getpid());
	q = mq_open(name, O_CREAT | O_EXCL | O_RDWR | O_NONBLOCK, 0600, &attr);
	mq_close(mq_open(name, O_RDONLY));
	mq_send(q, "a", 1, 4);
	mq_send(q, "bc", 2, 9);
	mq_send(q, "d", 1, 9); /* EAGAIN */
	mq_receive(q, buf, sizeof buf, &prio);
	mq_receive(q, buf, 1, NULL); /* EMSGSIZE */
	mq_receive(q, buf, sizeof buf, NULL);
	mq_receive(q, buf, sizeof buf, NULL); /* EAGAIN */
	mq_notify(q, &none);
	mq_notify(q, NULL);
	mq_unlink(name);
	return 0;
}
