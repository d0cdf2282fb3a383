/*
 * Sentinels: which server is the primary (SENTINEL get-master-addr-by-name), asked one after
 * the other, and a subscription at each to hear of a change at once (+switch-master).  What
 * they say is checked by whoever connects: the server itself must say that it is the primary.
 */
#include "common/store/redis_client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	ASK_MS = 300, /* at most: the next one may live */
	RETRY_MS = 1000,
	PING_MS = 2000
};

struct sentinel {
	struct redis_sentinels *all;
	struct addr addr;
	struct redis_link *link; /* subscribed, or about to be */
	struct wheel_timer timer;
};

struct redis_sentinels {
	struct loop *loop;
	const struct redis_setup *setup;
	const struct redis_sentinel_ops *ops;
	void *arg;
	struct redis_link *ask;
	unsigned next, tried, n;
	bool watch; /* still to begin */
	char why[REDIS_ERROR_MAX];
	struct sentinel v[REDIS_ADDRS_MAX];
};

/* "127.0.0.1" and "6379" */
static int read_addr(struct span host, struct span port, struct addr *ret)
{
	uint64_t v;

	if (span_u64(port, UINT16_MAX, &v) < 0 || v == 0)
		return -EINVAL;
	return addr_parse(ret, host, (uint16_t)v);
}

static void send_auth(struct redis_sentinels *s, struct redis_link *k)
{
	if (!s->setup->c.sentinel_password)
		return;
	const struct span argv[] = {SPAN("AUTH"), span_str(s->setup->c.sentinel_password)};
	redis_link_secret(k);
	redis_link_command(k, REDIS_TAG_AUTH, argv, 2);
}

/* ---- asking ---- */

static void ask_next(struct redis_sentinels *s);

static void ask_failed(struct redis_sentinels *s, const char *why)
{
	snprintf(s->why, sizeof(s->why), "sentinel: %.100s", why);
	s->tried++;
	ask_next(s);
}

static void ask_connected(void *arg)
{
	struct redis_sentinels *s = arg;
	const struct span argv[] = {SPAN("SENTINEL"), SPAN("get-master-addr-by-name"),
				    span_str(s->setup->c.primary)};

	send_auth(s, s->ask);
	if (redis_link_command(s->ask, REDIS_TAG_ASK, argv, 3) < 0) {
		s->ask = redis_link_free(s->ask);
		ask_failed(s, "out of memory");
	}
}

static void ask_reply(void *arg, unsigned tag, const redisReply *r)
{
	struct redis_sentinels *s = arg;
	struct addr a;

	if (r->type != REDIS_REPLY_ERROR && tag == REDIS_TAG_AUTH)
		return;
	s->ask = redis_link_free(s->ask);
	if (r->type == REDIS_REPLY_ERROR) {
		ask_failed(s, redis_reply_error(tag, r));
	} else if (r->type == REDIS_REPLY_NIL) {
		ask_failed(s, "knows no such primary");
	} else if (r->type == REDIS_REPLY_ARRAY && r->elements == 2 &&
		   r->element[0]->type == REDIS_REPLY_STRING &&
		   r->element[1]->type == REDIS_REPLY_STRING &&
		   read_addr(span_of(r->element[0]->str, r->element[0]->len),
			     span_of(r->element[1]->str, r->element[1]->len), &a) == 0) {
		s->ops->found(s->arg, &a, NULL);
	} else {
		ask_failed(s, "an answer that is no address");
	}
}

static void ask_closed(void *arg, const char *why, bool overdue)
{
	struct redis_sentinels *s = arg;

	(void)overdue;
	s->ask = NULL;
	ask_failed(s, why);
}

static const struct redis_link_ops ask_ops = {
	.connected = ask_connected,
	.reply = ask_reply,
	.closed = ask_closed,
};

static void ask_next(struct redis_sentinels *s)
{
	uint32_t ms = s->setup->c.timeout_ms < ASK_MS ? s->setup->c.timeout_ms : ASK_MS;

	for (; s->tried < s->n; s->tried++) {
		const struct addr *to = &s->v[s->next].addr;
		s->next = (s->next + 1) % s->n;
		s->ask = redis_link_new(s->loop, to, ms, &ask_ops, s);
		if (s->ask)
			return;
		snprintf(s->why, sizeof(s->why), "sentinel: %s", strerror(errno));
	}
	s->ops->found(s->arg, NULL, s->why);
}

/* ---- listening ---- */

static void heard_connected(void *arg)
{
	struct sentinel *v = arg;
	const struct span argv[] = {SPAN("SUBSCRIBE"), SPAN("+switch-master")};

	send_auth(v->all, v->link);
	redis_link_command(v->link, REDIS_TAG_SUBSCRIBE, argv, 2);
	wheel_arm(loop_wheel(v->all->loop), &v->timer, loop_now(v->all->loop) + PING_MS);
}

/* A sentinel that refuses us is tried again later. */
static void heard_reply(void *arg, unsigned tag, const redisReply *r)
{
	struct sentinel *v = arg;

	(void)tag;
	if (r->type != REDIS_REPLY_ERROR)
		return;
	v->link = redis_link_free(v->link);
	wheel_arm(loop_wheel(v->all->loop), &v->timer, loop_now(v->all->loop) + RETRY_MS);
}

static struct span next_word(struct span *s)
{
	ptrdiff_t at = span_chr(*s, ' ', 0);
	struct span word = span_of(s->p, at < 0 ? s->n : (size_t)at);

	*s = at < 0 ? span_of(NULL, 0) : span_of(s->p + at + 1, s->n - (size_t)at - 1);
	return word;
}

/* "name old-host old-port new-host new-port" */
static void heard_message(void *arg, const redisReply *r)
{
	struct sentinel *v = arg;
	struct redis_sentinels *s = v->all;
	const redisReply *text = r->element[2];
	struct addr a;

	if (!redis_reply_text(r->element[1], "+switch-master") ||
	    text->type != REDIS_REPLY_STRING)
		return;
	struct span rest = span_of(text->str, text->len);
	if (!span_eq(next_word(&rest), span_str(s->setup->c.primary)))
		return;
	next_word(&rest);
	next_word(&rest);
	struct span host = next_word(&rest), port = next_word(&rest);
	if (read_addr(host, port, &a) == 0)
		s->ops->switched(s->arg, &a);
}

static void heard_closed(void *arg, const char *why, bool overdue)
{
	struct sentinel *v = arg;

	(void)why;
	(void)overdue;
	v->link = NULL;
	wheel_arm(loop_wheel(v->all->loop), &v->timer, loop_now(v->all->loop) + RETRY_MS);
}

static const struct redis_link_ops heard_ops = {
	.connected = heard_connected,
	.reply = heard_reply,
	.message = heard_message,
	.closed = heard_closed,
};

static void listen_to(struct sentinel *v)
{
	struct redis_sentinels *s = v->all;

	v->link = redis_link_new(s->loop, &v->addr, s->setup->c.timeout_ms, &heard_ops, v);
	if (!v->link)
		wheel_arm(loop_wheel(s->loop), &v->timer, loop_now(s->loop) + RETRY_MS);
}

/* Without a link: time to connect; with one: is it still there? */
static void on_timer(struct wheel_timer *t, msec now)
{
	struct sentinel *v = container_of(t, struct sentinel, timer);
	const struct span ping = SPAN("PING");

	if (!v->link) {
		listen_to(v);
		return;
	}
	redis_link_command(v->link, REDIS_TAG_PING, &ping, 1);
	redis_link_flush(v->link);
	wheel_arm(loop_wheel(v->all->loop), t, now + PING_MS);
}

/* ---- life ---- */

void redis_sentinels_ask(struct redis_sentinels *s)
{
	for (unsigned i = 0; s->watch && i < s->n; i++)
		listen_to(&s->v[i]);
	s->watch = false;
	s->ask = redis_link_free(s->ask);
	s->tried = 0;
	ask_next(s);
}

struct redis_sentinels *redis_sentinels_new(struct loop *l, const struct redis_setup *setup,
					    bool watch, const struct redis_sentinel_ops *ops,
					    void *arg)
{
	struct redis_sentinels *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->loop = l;
	s->setup = setup;
	s->ops = ops;
	s->arg = arg;
	s->n = setup->c.nsentinels;
	s->watch = watch;
	for (unsigned i = 0; i < s->n; i++) {
		struct sentinel *v = &s->v[i];
		v->all = s;
		v->addr = setup->c.sentinel[i];
		wheel_timer_init(&v->timer, on_timer);
	}
	return s;
}

struct redis_sentinels *redis_sentinels_free(struct redis_sentinels *s)
{
	if (!s)
		return NULL;
	redis_link_free(s->ask);
	for (unsigned i = 0; i < s->n; i++) {
		wheel_stop(loop_wheel(s->loop), &s->v[i].timer);
		redis_link_free(s->v[i].link);
	}
	free(s);
	return NULL;
}
