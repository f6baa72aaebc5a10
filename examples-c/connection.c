/*
 * connection.c - a server on an abstract name and two clients, one after the other. What a client sends
 * before it is accepted waits for the server; when it has said all, it shuts its side down. See unix(7),
 * accept(2), shutdown(2).
 *
 * Expected output:
 *
 *     client 1 got "olleh"
 *     client 2 got "dlrow"
 *     the server has served 2
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static struct sockaddr_un name = {.sun_family = AF_UNIX};
static socklen_t length;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void client(int number, const char *word)
{
	char answer[16];
	ssize_t n;
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&name, length) < 0)
		die("connect");
	if (write(fd, word, strlen(word)) < 0)
		die("write");
	n = read(fd, answer, sizeof answer);
	printf("client %d got \"%.*s\"\n", number, (int)n, answer);
	shutdown(fd, SHUT_WR);
	exit(0);
}

static void serve(int fd)
{
	char word[16], back[16];
	ssize_t n;

	while ((n = read(fd, word, sizeof word)) > 0) {
		for (ssize_t i = 0; i < n; i++)
			back[i] = word[n - 1 - i];
		if (write(fd, back, (size_t)n) != n)
			die("answer");
	}
	close(fd);
}

int main(void)
{
	static const char *const words[] = {"hello", "world"};
	int server = socket(AF_UNIX, SOCK_STREAM, 0), n;

	n = sprintf(name.sun_path + 1, "connection-%d", getpid());
	length = (socklen_t)(sizeof name.sun_family + 1 + (size_t)n);
	if (bind(server, (struct sockaddr *)&name, length) < 0 || listen(server, 5) < 0)
		die("listen");
	for (n = 0; n < 2; n++) {
		if (fork() == 0)
			client(n + 1, words[n]);
		serve(accept(server, NULL, NULL));
		wait(NULL);
	}
	printf("the server has served %d\n", n);
	return 0;
}
