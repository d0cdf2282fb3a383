/*
 * What the tests of the transports stand on: nets on loopback in one loop, what they were told,
 * and rounds that end when something has come true (or fail after a bounded wait for events).
 */
#ifndef EAVES_TESTS_NET_RIG_H
#define EAVES_TESTS_NET_RIG_H

#include "common/net/net.h"
#include "common/net/tls.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

enum { HEARD_MAX = 512, TEXT_MAX = 2048 };

struct heard {
	struct sip_flow flow;
	char text[TEXT_MAX];
	size_t n, cap;
	struct net_peer peer;
	bool has_peer;
};

/* One net and what its owner was told. */
struct side {
	struct loop *loop;
	struct net *net;
	struct heard *heard;
	unsigned nheard, nbroken, nfailed, nclosed, nrefused;
	struct net_refusal refusal;
	uint64_t failed[HEARD_MAX];
	int failed_error;
	struct sip_flow broken_flow, closed_flow;
	struct heard broken_head; /* the last one */
	uint16_t broken_status;
	bool answer_broken, scribble, close_on_message;
	const char *introduction;
};

static const char ping[] = "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\n"
			   "Max-Forwards: 70\r\nFrom: <sip:x@y>;tag=1\r\nTo: <sip:a@b>\r\n"
			   "Call-ID: 1\r\nCSeq: 1 OPTIONS\r\nContent-Length: 4\r\n\r\nbody";

__attribute__((unused)) static int send_text(struct side *s, const struct sip_flow *f,
					     const char *text, const char *host, uint64_t id)
{
	struct iovec iov[2] = {
		{(void *)text, strlen(text) / 2},
		{(void *)(text + strlen(text) / 2), strlen(text) - strlen(text) / 2}};

	return net_send(s->net, f, iov, 2, host, id);
}

static void on_message(void *arg, const struct sip_flow *f, char *buf, size_t n, size_t cap,
		       const struct net_peer *peer)
{
	struct side *s = arg;
	struct heard *h;

	ck_assert_uint_lt(s->nheard, HEARD_MAX);
	h = &s->heard[s->nheard++];
	h->flow = *f;
	h->n = n;
	h->cap = cap;
	memcpy(h->text, buf, n < TEXT_MAX ? n : TEXT_MAX);
	h->has_peer = peer != NULL;
	if (peer)
		h->peer = *peer;
	if (s->scribble)
		memset(buf, 'x', cap);
	if (s->close_on_message)
		net_close(s->net, f);
}

static void on_broken(void *arg, const struct sip_flow *f, struct span head,
		      const struct sip_fault *why)
{
	struct side *s = arg;

	ck_assert_ptr_nonnull(why->reason);
	s->nbroken++;
	s->broken_flow = *f;
	s->broken_status = why->status;
	s->broken_head.n = head.n;
	memcpy(s->broken_head.text, head.p, head.n < TEXT_MAX ? head.n : TEXT_MAX);
	if (s->answer_broken)
		ck_assert_int_eq(send_text(s, f, "SIP/2.0 400 Bad\r\n\r\n", NULL, 0), 0);
}

static void on_failed(void *arg, uint64_t id, int error)
{
	struct side *s = arg;

	ck_assert_uint_lt(s->nfailed, HEARD_MAX);
	s->failed[s->nfailed++] = id;
	s->failed_error = error;
}

static void on_closed(void *arg, const struct sip_flow *f)
{
	struct side *s = arg;

	s->nclosed++;
	s->closed_flow = *f;
}

/* As a node of a cluster says it. */
static size_t introduction(void *arg, const struct sip_flow *f, char *buf)
{
	const struct side *s = arg;

	(void)f;
	memcpy(buf, s->introduction, strlen(s->introduction));
	return strlen(s->introduction);
}

static void on_refused(void *arg, const struct sip_flow *f, const struct net_refusal *why)
{
	struct side *s = arg;

	(void)f;
	s->nrefused++;
	s->refusal = *why;
}

static void side_start(struct side *s, struct loop *l, const struct net_conf *c,
		       struct net_tls *tls)
{
	struct net_ops ops = {.message = on_message,
			      .broken = on_broken,
			      .failed = on_failed,
			      .refused = on_refused,
			      .closed = on_closed,
			      .introduction = introduction,
			      .arg = s};
	unsigned at = 0;

	memset(s, 0, sizeof(*s));
	s->introduction = "";
	s->loop = l;
	s->heard = calloc(HEARD_MAX, sizeof(*s->heard));
	s->net = net_new(l, 7, c, &ops, tls, &at);
	ck_assert_msg(s->net != NULL, "listener %u: %s", at, strerror(errno));
}

static void side_stop(struct side *s)
{
	net_free(s->net);
	free(s->heard);
}

/* Rounds until something is true; fails when it does not come true. */
#define rig_until(l, cond)                                              \
	do {                                                            \
		for (int rig_i_ = 0; rig_i_ < 400 && !(cond); rig_i_++) \
			loop_round((l), 10);                            \
		ck_assert_msg((cond), "did not come true: %s", #cond);  \
	} while (0)

/* Serves all that is ready. */
__attribute__((unused)) static void rig_settle(struct loop *l)
{
	for (int i = 0; i < 5; i++)
		loop_round(l, 0);
}

__attribute__((unused)) static struct addr at_addr(const char *host, uint16_t port)
{
	struct addr a = {0};

	ck_assert_int_eq(addr_parse(&a, span_str(host), port), 0);
	return a;
}

__attribute__((unused)) static struct net_conf conf_with(enum sip_transport t, const char *host)
{
	struct net_conf c = net_conf_default;

	c.nlisteners = 1;
	c.listener[0] = (struct net_listener){.transport = t, .addr = at_addr(host, 0)};
	return c;
}

__attribute__((unused)) static struct sip_flow flow_to(enum sip_transport t,
						       const struct addr *to)
{
	return (struct sip_flow){.transport = t, .worker = 7, .remote = *to};
}

/* A plain blocking-free socket of the test's own. */
__attribute__((unused)) static int dial(int type, const struct addr *to)
{
	int fd = socket(to->sa.sa_family, type, 0);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(connect(fd, &to->sa, addr_len(to)), 0);
	return fd;
}

__attribute__((unused)) static void put(int fd, const void *p, size_t n)
{
	ck_assert_int_eq(send(fd, p, n, MSG_NOSIGNAL), (ssize_t)n);
}

/* What the socket receives while the loop goes round: > 0, 0 at the end, -1 reset. */
__attribute__((unused)) static ssize_t get(struct loop *l, int fd, char *buf, size_t n)
{
	for (int i = 0; i < 400; i++) {
		ssize_t r = recv(fd, buf, n, MSG_DONTWAIT);

		if (r >= 0 || errno != EAGAIN)
			return r;
		loop_round(l, 10);
	}
	ck_abort_msg("nothing received");
	return -1;
}

#endif
