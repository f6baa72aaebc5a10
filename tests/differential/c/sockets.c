/* Pairs of sockets that one thread uses. */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(void)
{
	char buf[100] = "";
	int s[2], d[2];

	socketpair(AF_UNIX, SOCK_STREAM, 0, s);
	write(s[0], buf, 10);
	send(s[0], buf, 20, 0);
	recv(s[1], buf, 25, 0);
	recv(s[1], buf, 5, MSG_PEEK);
	recv(s[1], buf, 100, 0);
	recv(s[1], buf, 1, MSG_DONTWAIT); /* EAGAIN */
	shutdown(s[0], SHUT_WR);
	recv(s[1], buf, 1, 0); /* the end */
	send(s[0], buf, 1, MSG_NOSIGNAL); /* EPIPE */
	socketpair(AF_UNIX, SOCK_DGRAM, 0, d);
	send(d[0], buf, 30, 0);
	send(d[0], buf, 0, 0);
	recv(d[1], buf, 10, 0);
	recv(d[1], buf, 10, 0);
	close(d[1]);
	send(d[0], buf, 1, 0); /* ECONNREFUSED */
	return 0;
}
