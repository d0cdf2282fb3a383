/*
 * Small messages of kinds that the engine does not know, sent once.  One that is told
 * (cluster_tell) is in no hurry: it leaves with what else goes to the node, joined with others
 * of its kind.
 */
#include "common/cluster/cluster_priv.h"

#include <errno.h>
#include <stdlib.h>

struct notice {
	struct item item;
	int node;
	unsigned kind;
	size_t n;
	uint8_t body[];
};

static void say_notice(struct peer *p, unsigned kind, uint8_t *body, size_t n)
{
	Eaves__Envelope e = EAVES__ENVELOPE__INIT;
	Eaves__Notice m = EAVES__NOTICE__INIT;

	m.kind = kind;
	m.body = (ProtobufCBinaryData){n, body};
	e.body_case = EAVES__ENVELOPE__BODY_NOTICE;
	e.notice = &m;
	wire_send(p, &e);
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

void notice_flush(struct peer *p)
{
	if (p->hints.n)
		say_notice(p, p->hint_kind, p->hints.p, p->hints.n);
	p->hints.n = 0;
}

static void tell(struct peer *p, const struct notice *m)
{
	if (!p->open || !p->greeted)
		return;
	if (m->kind != p->hint_kind || p->hints.n + m->n > CLUSTER_NOTICE_MAX_BYTES)
		notice_flush(p);
	uint8_t *to = buffer_room(&p->hints, m->n);
	if (!to)
		return; /* as if it had been lost */
	memcpy(to, m->body, m->n);
	p->hints.n += m->n;
	p->hint_kind = m->kind;
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
}
