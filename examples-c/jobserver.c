/*
 * jobserver.c - a pipe as a counting semaphore, the way make -j2 limits its jobs.
 *
 * Two bytes lie in the pipe. Whoever wants to work takes one, and puts it back afterwards.
 *
 * Expected output:
 *
 *     12 jobs done
 *     never more than 2 at once
 *     2 tokens left: ++
 *     a further token: EAGAIN
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define JOBS 12

struct tally {
	atomic_int running, most, done;
};

static void job(const int tokens[2], struct tally *t)
{
	char token;
	int now, most;

	if (read(tokens[0], &token, 1) != 1)
		_exit(1);
	now = atomic_fetch_add(&t->running, 1) + 1;
	most = atomic_load(&t->most);
	while (now > most && !atomic_compare_exchange_weak(&t->most, &most, now))
		;
	for (volatile int work = 0; work < 3000000; work++)
		;
	atomic_fetch_add(&t->done, 1);
	atomic_fetch_sub(&t->running, 1);
	if (write(tokens[1], &token, 1) != 1)
		_exit(1);
	_exit(0);
}

int main(void)
{
	struct tally *t = mmap(NULL, sizeof *t, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int tokens[2], left = 0;
	char buf[8] = "";

	if (t == MAP_FAILED || pipe(tokens) < 0 || write(tokens[1], "++", 2) != 2)
		return 1;
	for (int i = 0; i < JOBS; i++)
		if (fork() == 0)
			job(tokens, t);
	while (wait(NULL) > 0)
		;
	printf("%d jobs done\n", t->done);
	printf("never more than %d at once\n", t->most <= 2 ? 2 : t->most);
	ioctl(tokens[0], FIONREAD, &left);
	fcntl(tokens[0], F_SETFL, O_NONBLOCK);
	if (read(tokens[0], buf, sizeof buf - 1) != left)
		return 1;
	printf("%d tokens left: %s\n", left, buf);
	if (read(tokens[0], buf, 1) < 0)
		printf("a further token: %s\n", errno == EAGAIN ? "EAGAIN" : "another error");
	return 0;
}
