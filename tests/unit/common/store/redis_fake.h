/*
 * A server that speaks RESP and says what a test wants it to say: a child process that answers
 * as a primary would, but for one command.
 */
#ifndef EAVES_TESTS_REDIS_FAKE_H
#define EAVES_TESTS_REDIS_FAKE_H

#include "common/base/addr.h"

#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

struct fake {
	pid_t pid;
	uint16_t port;
};

struct fake_answer {
	const char *command; /* "": before any */
	const char *text;
	size_t n;     /* 0: no answer at all */
	bool endless; /* the last 16 bytes again and again */
};

static inline const char *fake_usual(const char *command)
{
	static const char *const v[][2] = {
		{"ROLE", "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n"},
		{"SCRIPT", "$40\r\naaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n"},
		{"EVALSHA", "*1\r\n:0\r\n"},
		{"SCAN", "*2\r\n$1\r\n0\r\n*0\r\n"},
		{"SENTINEL", "*2\r\n$9\r\n127.0.0.1\r\n$1\r\n1\r\n"},
		{"SUBSCRIBE", "*3\r\n$9\r\nsubscribe\r\n$14\r\n+switch-master\r\n:1\r\n"},
	};

	for (unsigned i = 0; i < sizeof(v) / sizeof(v[0]); i++)
		if (strcmp(command, v[i][0]) == 0)
			return v[i][1];
	return "+OK\r\n";
}

static inline bool fake_say(int fd, const char *text, size_t n)
{
	while (n > 0) {
		ssize_t rc = send(fd, text, n, MSG_NOSIGNAL);
		if (rc <= 0)
			return false;
		text += rc;
		n -= (size_t)rc;
	}
	return true;
}

static inline bool fake_answer(int fd, const struct fake_answer *a, const char *command)
{
	if (!a || strcmp(command, a->command) != 0) {
		const char *text = fake_usual(command);
		return !command[0] || fake_say(fd, text, strlen(text));
	}
	char again[4096];
	if (!fake_say(fd, a->text, a->n))
		return false;
	for (size_t i = 0; a->endless && i < sizeof(again); i += 16)
		memcpy(again + i, a->text + a->n - 16, 16);
	while (a->endless)
		if (!fake_say(fd, again, sizeof(again)))
			return false;
	return true;
}

static inline void fake_serve(int fd, const struct fake_answer *a)
{
	redisReader *r = redisReaderCreate();
	char buf[16384];
	bool more = fake_answer(fd, a, "");

	while (more) {
		ssize_t n = recv(fd, buf, sizeof(buf), 0);
		void *reply = NULL;
		if (n <= 0 || redisReaderFeed(r, buf, (size_t)n) != REDIS_OK)
			break;
		while (more && redisReaderGetReply(r, &reply) == REDIS_OK && reply) {
			const redisReply *c = reply;
			more = fake_answer(fd, a, c->element[0]->str);
			freeReplyObject(reply);
		}
	}
	redisReaderFree(r);
	close(fd);
}

/* a: NULL: it says nothing wrong.  0 or -1. */
static inline int fake_start(struct fake *f, const struct fake_answer *a)
{
	struct addr at;
	socklen_t n = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0 || addr_parse(&at, SPAN("127.0.0.1"), 0) < 0 ||
	    bind(fd, &at.sa, addr_len(&at)) < 0 || listen(fd, 16) < 0 ||
	    getsockname(fd, &at.sa, &n) < 0)
		return -1;
	f->port = addr_port(&at);
	pid_t parent = getpid();
	f->pid = fork();
	if (f->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		signal(SIGCHLD, SIG_IGN);
		while (getppid() == parent) {
			int c = accept(fd, NULL, NULL);
			if (c < 0)
				_exit(1);
			if (fork() == 0) {
				prctl(PR_SET_PDEATHSIG, SIGKILL);
				fake_serve(c, a);
				_exit(0);
			}
			close(c);
		}
		_exit(0);
	}
	close(fd);
	return f->pid > 0 ? 0 : -1;
}

static inline void fake_end(struct fake *f)
{
	kill(f->pid, SIGKILL);
	waitpid(f->pid, NULL, 0);
}

#endif
