/* A difference that only the log shows: on ringer the counter of an eventfd that is looked at by /proc is 0, and so
 * this program writes twice there. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

int main(void)
{
	char path[64], text[512] = "";
	int fds[2], fd = eventfd(3, 0), info;

	snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
	info = open(path, O_RDONLY);
	read(info, text, sizeof text - 1);
	close(info);
	pipe(fds);
	write(fds[1], "a", 1);
	write(fds[1], "bc", 2);
	if (strstr(text, "eventfd-count:                3"))
		write(fds[1], "kernel", 6);
	else
		write(fds[1], "ringer!", 7);
	read(fds[0], text, 100);
	close(fds[1]);
	read(fds[0], text, 100);
	return 0;
}
