/* An eventfd: counter, semaphore, errors. */
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

int main(void)
{
	uint64_t n = 5;
	int a = eventfd(3, EFD_NONBLOCK);
	int b = eventfd(2, EFD_NONBLOCK | EFD_SEMAPHORE);

	write(a, &n, 8);
	read(a, &n, 8); /* 8 */
	read(a, &n, 8); /* EAGAIN */
	read(b, &n, 8);
	read(b, &n, 8);
	read(b, &n, 8); /* EAGAIN */
	n = UINT64_MAX;
	write(a, &n, 8); /* EINVAL */
	n = UINT64_MAX - 1;
	write(a, &n, 8);
	n = 1;
	write(a, &n, 8); /* EAGAIN */
	close(b);
	return 0;
}
