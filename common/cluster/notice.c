/*
 * Small messages of kinds that the engine does not know, sent once.  One that is told
 * (cluster_tell) is in no hurry: it leaves with what else goes to the node, joined with others
 * of its kind; and what is told while the node lives, and does not know us yet, waits until it
 * does.
 */
#include "common/cluster/cluster_priv.h"

#include <errno.h>
#include <stdlib.h>

/* In front of what is told: kind and length, 4 bytes each. */
enum { HINT_HEAD_BYTES = 8, HINTS_KEPT_BYTES = 64 << 10 };

struct notice {
	struct item item;
	int node;
	unsigned kind;
	size_t n;
	uint8_t body[];
};

static int say_notice(struct peer *p, unsigned kind, uint8_t *body, size_t n)
{
	Eaves__Envelope e = EAVES__ENVELOPE__INIT;
	Eaves__Notice m = EAVES__NOTICE__INIT;

	m.kind = kind;
	m.body = (ProtobufCBinaryData){n, body};
	e.body_case = EAVES__ENVELOPE__BODY_NOTICE;
	e.notice = &m;
	return wire_send(p, &e);
}

static void on_notify(struct cluster *c, struct item *it)
{
	struct notice *m = container_of(it, struct notice, item);

	cluster_unreserve(c, sizeof(*m) + m->n);
	for (unsigned i = 0; i < c->conf.n && !c->ending; i++) {
		struct peer *p = &c->peer[i];
		if (p->open && p->greeted && (m->node < 0 || (unsigned)m->node == i))
			say_notice(p, m->kind, m->body, m->n);
	}
	free(m);
}

/* The last one is among those that are left, if any are. */
static void drop_hints(struct peer *p, size_t n)
{
	struct buffer *b = &p->hints;

	b->n -= n;
	if (b->n) {
		memmove(b->p, b->p + n, b->n);
		p->hint -= n;
	} else if (b->room > HINTS_KEPT_BYTES) {
		notice_end(p);
	}
}

bool notice_flush(struct peer *p)
{
	const struct buffer *b = &p->hints;
	size_t at = 0;

	while (at < b->n) {
		uint8_t *body = b->p + at + HINT_HEAD_BYTES;
		uint32_t n = get_u32(b->p + at + 4);
		if (say_notice(p, get_u32(b->p + at), body, n) < 0)
			break;
		at += HINT_HEAD_BYTES + n;
	}
	if (at)
		drop_hints(p, at);
	return b->n == 0;
}

/* Bytes of the last one, if this one can join it; else 0. */
static size_t joins(const struct peer *p, const struct notice *m)
{
	if (!p->hints.n || get_u32(p->hints.p + p->hint) != m->kind)
		return 0;
	size_t n = get_u32(p->hints.p + p->hint + 4);
	return n + m->n <= CLUSTER_NOTICE_MAX_BYTES ? n : 0;
}

static void tell(struct peer *p, const struct notice *m)
{
	if (!p->open)
		return;
	size_t before = joins(p, m), head = before ? 0 : HINT_HEAD_BYTES;
	if (!before && p->greeted)
		notice_flush(p);
	uint8_t *to = p->hints.n + head + m->n <= p->c->conf.queue_bytes
			      ? buffer_room(&p->hints, head + m->n)
			      : NULL;
	if (!to) { /* as if it had been lost */
		__atomic_fetch_add(&p->c->counters.queue_full, 1, __ATOMIC_RELAXED);
		return;
	}
	if (!before)
		p->hint = p->hints.n;
	memcpy(to + head, m->body, m->n);
	p->hints.n += head + m->n;
	put_u32(p->hints.p + p->hint, m->kind);
	put_u32(p->hints.p + p->hint + 4, (uint32_t)(before + m->n));
	send_within(p, p->c->conf.gather_ms);
}

static void on_tell(struct cluster *c, struct item *it)
{
	struct notice *m = container_of(it, struct notice, item);

	cluster_unreserve(c, sizeof(*m) + m->n);
	if (!c->ending)
		tell(&c->peer[m->node], m);
	free(m);
}

static int hand(struct cluster *c, int node, unsigned kind, struct span body,
		void (*run)(struct cluster *c, struct item *it))
{
	if (body.n > CLUSTER_NOTICE_MAX_BYTES)
		return -EMSGSIZE;
	struct notice *m = malloc(sizeof(*m) + body.n);
	if (!m)
		return -ENOMEM;
	int rc = cluster_reserve(c, sizeof(*m) + body.n);
	if (rc < 0) {
		free(m);
		return rc;
	}
	*m = (struct notice){.item = {NULL, run}, .node = node, .kind = kind, .n = body.n};
	if (body.n)
		memcpy(m->body, body.p, body.n);
	cluster_hand(c, &m->item);
	return 0;
}

int cluster_notify(struct cluster *c, int node, unsigned kind, struct span body)
{
	if (node != -1 && !peer_of(c, (unsigned)node))
		return -EINVAL;
	return hand(c, node, kind, body, on_notify);
}

int cluster_tell(struct cluster *c, int node, unsigned kind, struct span body)
{
	return peer_of(c, (unsigned)node) ? hand(c, node, kind, body, on_tell) : -EINVAL;
}

bool notice_receive(struct peer *p, const Eaves__Notice *m)
{
	struct cluster *c = p->c;

	if (m->body.len > CLUSTER_NOTICE_MAX_BYTES)
		return false;
	if (c->ops.notice)
		c->ops.notice(c->ops.arg, p->index, m->kind,
			      span_of((const char *)m->body.data, m->body.len));
	return true;
}

/* What was to be told is not. */
void notice_end(struct peer *p)
{
	free(p->hints.p);
	p->hints = (struct buffer){0};
	p->hint = 0;
}
