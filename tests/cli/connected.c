/*
 * Has two connections to a name of its own, of which one is accepted and has been read from, with five bytes
 * left in it. Says its process id, then waits until its standard input ends.
 */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(void)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	static const char text[] = "ringer-connected";
	socklen_t len = sizeof name.sun_family + sizeof text;
	int server = socket(AF_UNIX, SOCK_STREAM, 0);
	char buf[8];

	memcpy(name.sun_path + 1, text, sizeof text - 1);
	if (bind(server, (struct sockaddr *)&name, len) < 0 || listen(server, 5) < 0)
		return 1;
	for (int i = 0; i < 2; i++) {
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);
		if (connect(fd, (struct sockaddr *)&name, len) < 0 || write(fd, "hello!", 6) != 6)
			return 2;
		if (i == 0 && read(accept(server, NULL, NULL), buf, 1) != 1)
			return 3;
	}
	printf("%d\n", getpid());
	fflush(stdout);
	while (read(0, buf, sizeof buf) > 0)
		;
	return 0;
}
