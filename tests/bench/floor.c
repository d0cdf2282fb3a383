/*
 * The floor: what a UDP packet costs a process that does nothing but forward it, with the
 * batching that the server uses (epoll, recvmmsg, sendmmsg).  `floor SIZE RATE SECONDS`; rate 0
 * saturates. The forwarder is a child, so that its CPU can be told from the driver's.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 64, PACKET_MAX = 2048, WINDOW = 256, WARM_MS = 500, STALL_MS = 20 };

struct batch {
	struct mmsghdr hdr[BATCH];
	struct iovec iov[BATCH];
	char buf[BATCH][PACKET_MAX];
};

static uint64_t now_ns(clockid_t id)
{
	struct timespec t = {0};

	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int open_socket(struct sockaddr_in *a, const char *ip)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), bytes = 4 << 20;
	socklen_t len = sizeof(*a);

	*a = (struct sockaddr_in){.sin_family = AF_INET};
	inet_pton(AF_INET, ip, &a->sin_addr);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	if (fd < 0 || bind(fd, (struct sockaddr *)a, sizeof(*a)) < 0 ||
	    getsockname(fd, (struct sockaddr *)a, &len) < 0) {
		perror("floor: socket");
		exit(1);
	}
	return fd;
}

static void batch_init(struct batch *b, struct sockaddr_in *to, size_t n)
{
	memset(b, 0, sizeof(*b));
	for (int i = 0; i < BATCH; i++) {
		b->iov[i] = (struct iovec){b->buf[i], n};
		b->hdr[i].msg_hdr.msg_iov = &b->iov[i];
		b->hdr[i].msg_hdr.msg_iovlen = 1;
		b->hdr[i].msg_hdr.msg_name = to;
		b->hdr[i].msg_hdr.msg_namelen = to ? sizeof(*to) : 0;
	}
}

static void forward_ready(int fd, struct batch *b, struct sockaddr_in *to)
{
	for (;;) {
		batch_init(b, NULL, PACKET_MAX);
		int n = recvmmsg(fd, b->hdr, BATCH, MSG_DONTWAIT, NULL);

		if (n <= 0)
			return;
		for (int i = 0; i < n; i++) {
			b->iov[i].iov_len = b->hdr[i].msg_len;
			b->hdr[i].msg_hdr.msg_name = to;
			b->hdr[i].msg_hdr.msg_namelen = sizeof(*to);
		}
		sendmmsg(fd, b->hdr, (unsigned)n, 0);
		if (n < BATCH)
			return;
	}
}

static void forwarder(int fd, struct sockaddr_in to)
{
	static struct batch b;
	struct epoll_event e = {.events = EPOLLIN};
	int ep = epoll_create1(0);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
	for (;;) {
		epoll_wait(ep, &e, 1, -1);
		forward_ready(fd, &b, &to);
	}
}

struct driver {
	int out, in;
	double rate;
	uint64_t start, sent, got, last_got;
	struct batch tx, rx;
};

static void drive(struct driver *d)
{
	uint64_t now = now_ns(CLOCK_MONOTONIC);
	uint64_t want = d->rate > 0 ? (uint64_t)((double)(now - d->start) * d->rate / 1e9)
				    : d->got + WINDOW;

	while (d->sent < want) {
		uint64_t n = want - d->sent < BATCH ? want - d->sent : BATCH;
		int r = sendmmsg(d->out, d->tx.hdr, (unsigned)n, 0);

		if (r <= 0)
			break;
		d->sent += (uint64_t)r;
	}
	int r = recvmmsg(d->in, d->rx.hdr, BATCH, MSG_DONTWAIT, NULL);
	if (r > 0) {
		d->got += (uint64_t)r;
		d->last_got = now;
	} else if (d->rate > 0) {
		nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
	} else if (now - d->last_got > STALL_MS * 1000000u) {
		d->sent = d->got; /* what was dropped is not waited for */
		d->last_got = now;
	}
}

int main(int argc, char **argv)
{
	static struct driver d;
	struct sockaddr_in server, in, out;
	clockid_t cpu;

	if (argc != 4) {
		fputs("floor SIZE RATE SECONDS\n", stderr);
		return 2;
	}
	size_t size = strtoul(argv[1], NULL, 10);
	double seconds = atof(argv[3]);
	int fd = open_socket(&server, "127.0.0.21");
	d.in = open_socket(&in, "127.0.0.22");
	d.out = open_socket(&out, "127.0.0.23");
	d.rate = atof(argv[2]);
	batch_init(&d.tx, &server, size < PACKET_MAX ? size : PACKET_MAX);
	batch_init(&d.rx, NULL, PACKET_MAX);
	pid_t pid = fork();
	if (pid < 0)
		return 1;
	if (pid == 0)
		forwarder(fd, in);
	clock_getcpuclockid(pid, &cpu);
	d.start = now_ns(CLOCK_MONOTONIC);
	while (now_ns(CLOCK_MONOTONIC) < d.start + WARM_MS * 1000000u)
		drive(&d);
	uint64_t cpu_from = now_ns(cpu), got = d.got, from = now_ns(CLOCK_MONOTONIC);
	while (now_ns(CLOCK_MONOTONIC) < from + (uint64_t)(seconds * 1e9))
		drive(&d);
	uint64_t n = d.got - got, used = now_ns(cpu) - cpu_from;
	double took = (double)(now_ns(CLOCK_MONOTONIC) - from) / 1e9;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	printf("rate %.0f 1/s\nforward_cpu %.3f us/packet\n", (double)n / took,
	       n ? (double)used / 1e3 / (double)n : 0);
	return n ? 0 : 1;
}
