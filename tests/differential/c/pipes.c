/* A pipe that one thread uses: what is queued, the end of the file, errors. */
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

int main(void)
{
	static char buf[70000];
	int fds[2];

	signal(SIGPIPE, SIG_IGN);
	pipe2(fds, O_NONBLOCK);
	write(fds[1], buf, 5);
	write(fds[1], buf, 4096);
	read(fds[0], buf, 100);
	write(fds[1], buf, sizeof buf); /* as much as there is room for */
	write(fds[1], buf, 1);          /* EAGAIN */
	while (read(fds[0], buf, 30000) > 0)
		;
	close(fds[1]);
	read(fds[0], buf, 1); /* the end */
	pipe(fds);
	close(fds[0]);
	write(fds[1], buf, 1); /* EPIPE */
	return 0;
}
