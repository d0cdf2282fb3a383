/*
 * The world of a replay or a unit test: the real transaction layer and proxy on a fake clock,
 * network and resolver, and a role that forwards what it gets to the targets it was told.
 * Listeners: 0 UDP and 1 TCP at 192.0.2.1:5060, 2 TLS at :5061, 3 UDP at 192.0.2.1:5070.
 */
#ifndef EAVES_TESTS_WORLD_H
#define EAVES_TESTS_WORLD_H

#include "common/proxy/rebuild.h"
#include "common/sip/stamp.h"
#include "tests/unit/common/proxy/forks.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>

/* Check's own assertions allocate even when they hold, which test_oom cannot have. */
#define must(x)                                 \
	do {                                    \
		if (!(x))                       \
			ck_abort_msg("%s", #x); \
	} while (0)

enum { SENT_MAX = 512, NAMES_MAX = 16, TARGETS_MAX = 64, LATER_MAX = 8 };

struct sent {
	char to[80]; /* "udp:10.0.0.2:5060" */
	char *text;
	size_t n;
	uint64_t txn_id;
	uint16_t listener;
	bool seen;
};
struct name {
	char host[64];
	struct locate_result r;
	int error;
	bool later;
};
struct later {
	struct name *name;
	locate_done done;
	void *arg;
	bool live;
};

/* A member of a pair. */
struct engine {
	struct txn_table *tt;
	struct proxy *p;
};

struct world {
	msec now;
	struct wheel wheel;
	struct arena arena;
	struct txn_table *tt; /* of the member that gets what comes in */
	struct proxy_conf conf;
	struct proxy *p;
	struct engine other;   /* the other member; none before it is needed */
	bool mute;	       /* a member dies: nothing leaves it any more */
	unsigned ops, kill_at; /* what left a member so far; it dies when that one has left */
	unsigned nsent, nnames, nlater, ntargets;
	struct sent sent[SENT_MAX];
	struct name names[NAMES_MAX];
	struct later later[LATER_MAX];
	struct proxy_target targets[TARGETS_MAX];
	struct proxy_opts opts;
	struct forks forks; /* the journal, with opts.journal set to it */
	bool writes_arrive; /* what a member was writing when it was killed */
	bool stateless, refuse_tls;
	unsigned hop_acks; /* for what another member had answered: not passed on */
	bool no_follow;	   /* the role lets no 3xx be followed */
	size_t txn_limit;
	unsigned target_failed, flow_failed, done;
	unsigned looked;    /* for a target, when it was its turn */
	uint64_t moved_tag; /* its phone has connected anew; 0: none has */
	struct sip_flow moved_to;
	uint64_t failed_tag;
	unsigned done_status;
};

static const struct proxy_local world_locals[] = {
	{SIP_TRANSPORT_UDP, {"192.0.2.1", 9}, 5060, false},
	{SIP_TRANSPORT_TCP, {"192.0.2.1", 9}, 5060, false},
	{SIP_TRANSPORT_TLS, {"192.0.2.1", 9}, 5061, false},
	{SIP_TRANSPORT_UDP, {"192.0.2.1", 9}, 5070, false},
};

static inline const struct proxy_local *world_local(void *arg, uint16_t listener)
{
	(void)arg;
	return listener < 4 ? &world_locals[listener] : NULL;
}

static inline int world_listener_for(void *arg, const struct locate_target *t, uint16_t hint)
{
	struct world *w = arg;
	if (hint < 4 && world_locals[hint].transport == t->transport)
		return hint;
	switch (t->transport) {
	case SIP_TRANSPORT_UDP:
		return 0;
	case SIP_TRANSPORT_TCP:
		return 1;
	case SIP_TRANSPORT_TLS:
		return w->refuse_tls ? -ENOENT : 2;
	default:
		return -ENOENT;
	}
}

static inline bool world_is_local(void *arg, struct span host, uint16_t port)
{
	(void)arg;
	if (span_ieq(host, SPAN("example.com")) || span_ieq(host, SPAN("proxy.example.com")))
		return port == 0 || port == 5060;
	return span_ieq(host, SPAN("192.0.2.1")) &&
	       (port == 0 || port == 5060 || port == 5061 || port == 5070);
}

static inline int world_locate(void *arg, const struct sip_uri *u, msec now, locate_done done,
			       void *done_arg, struct locate_result *ret,
			       struct locate_query **ret_q)
{
	struct world *w = arg;
	const struct sip_param *t = sip_uri_param(u, SPAN("transport"));
	(void)now;
	ret->n = 1;
	ret->v[0].transport = t ? sip_transport_parse(t->value) : SIP_TRANSPORT_UDP;
	if (u->scheme == SIP_SCHEME_SIPS)
		ret->v[0].transport = SIP_TRANSPORT_TLS;
	uint16_t port = u->port ? u->port : sip_transport_port(ret->v[0].transport);
	if (addr_parse(&ret->v[0].addr, u->host, port) == 0)
		return 1;
	for (unsigned i = 0; i < w->nnames; i++) {
		struct name *n = &w->names[i];
		if (!span_ieq(span_str(n->host), u->host))
			continue;
		if (n->later) {
			struct later *l = &w->later[w->nlater++];
			must(w->nlater <= LATER_MAX);
			*l = (struct later){n, done, done_arg, true};
			*ret_q = (struct locate_query *)l;
			return 0;
		}
		if (n->error)
			return n->error;
		*ret = n->r;
		return 1;
	}
	return -ENOENT;
}

static inline void world_locate_cancel(void *arg, struct locate_query *q)
{
	(void)arg;
	((struct later *)q)->live = false;
}

static inline void world_target_failed(void *arg, const struct locate_target *t, msec now)
{
	(void)t;
	(void)now;
	((struct world *)arg)->target_failed++;
}

/* Something leaves a member, or comes to it; false: it is dead by now. */
static inline bool world_op(struct world *w)
{
	if (w->mute)
		return false;
	w->mute = ++w->ops == w->kill_at;
	return true;
}

static inline bool world_write_op(void *arg)
{
	return world_op(arg);
}

static inline bool world_record(struct world *w, const struct sip_flow *to, uint64_t id)
{
	if (w->mute)
		return false;
	struct sent *s = &w->sent[w->nsent++];
	char text[ADDR_TEXT_MAX];
	must(w->nsent <= SENT_MAX);
	addr_text(&to->remote, text);
	s->n = 0;
	s->text = NULL;
	s->seen = false;
	s->txn_id = id;
	s->listener = to->listener;
	snprintf(s->to, sizeof(s->to), "%s:%s", sip_transport_uri(to->transport), text);
	return true;
}

static inline void world_append(struct world *w, const char *p, size_t n)
{
	struct sent *s = &w->sent[w->nsent - 1];
	world_calm++;
	s->text = realloc(s->text, s->n + n + 1);
	world_calm--;
	memcpy(s->text + s->n, p, n);
	s->n += n;
	s->text[s->n] = '\0';
}

static inline void world_txn_send(void *arg, const struct sip_flow *to, const struct bytes *b,
				  uint64_t id)
{
	if (!world_record(arg, to, id))
		return;
	world_append(arg, b->p, b->n);
	world_op(arg);
}

static inline void world_send(void *arg, const struct sip_flow *to, const struct iovec *iov,
			      int n)
{
	if (!world_record(arg, to, 0))
		return;
	for (int i = 0; i < n; i++)
		world_append(arg, iov[i].iov_base, iov[i].iov_len);
	world_op(arg);
}

static inline void world_flow_failed(void *arg, uint64_t tag, const struct sip_flow *f,
				     struct span route)
{
	struct world *w = arg;
	(void)f;
	(void)route;
	w->flow_failed++;
	w->failed_tag = tag;
}

static inline void world_find(void *arg, uint64_t tag, bool late, struct sip_flow *f,
			      struct span *record_user)
{
	struct world *w = arg;
	w->looked += late;
	if (tag != w->moved_tag)
		return;
	*f = w->moved_to;
	if (record_user->n)
		*record_user = arena_dup(sip_arena(), SPAN("moved"));
}

static inline void world_done(void *arg, unsigned status)
{
	struct world *w = arg;
	w->done++;
	w->done_status = status;
}

static inline bool world_may_follow(void *arg, const struct sip_uri *target)
{
	struct world *w = arg;
	return !w->no_follow && !span_eq(target->host, SPAN("10.0.0.66"));
}

static inline struct world *world_new(void)
{
	static const struct proxy_hooks hooks = {.flow_failed = world_flow_failed,
						 .find = world_find,
						 .may_follow = world_may_follow,
						 .done = world_done};
	struct world *w = calloc(1, sizeof(*w));
	must(w);
	w->now = 1000000;
	wheel_init(&w->wheel, w->now);
	must(arena_init(&w->arena, 256 * 1024) == 0);
	must(sip_values_init() == 0);
	sip_values_use_arena(&w->arena);
	w->conf = proxy_conf_default;
	w->txn_limit = 1000;
	w->opts.hooks = &hooks;
	w->opts.hooks_arg = w;
	forks_init(&w->forks, &w->now, world_write_op, w);
	return w;
}

/* After the configuration is set. */
static inline void world_start(struct world *w)
{
	const struct mac_key key = {1, 2};
	const struct txn_ops tops = {world_txn_send, w};
	const struct proxy_ops ops = {
		.local = world_local,
		.listener_for = world_listener_for,
		.is_local = world_is_local,
		.locate = world_locate,
		.locate_cancel = world_locate_cancel,
		.target_failed = world_target_failed,
		.send = world_send,
		.arg = w,
	};
	if (w->p)
		return;
	w->tt = txn_table_new(&w->wheel, &txn_timers_default, &tops, &key, w->txn_limit);
	w->p = proxy_new(&w->conf, &ops, w->tt, &w->wheel, &key);
	must(w->p);
}

/* What comes in is for the other member from now on; the same keys, tables of its own. */
static inline void world_switch(struct world *w)
{
	struct engine e = w->other;
	w->other = (struct engine){w->tt, w->p};
	w->tt = e.tt;
	w->p = e.p;
	world_start(w);
}

/* The member that gets what comes in is gone with all that it knew; the other gets it now. */
static inline void world_kill(struct world *w)
{
	w->mute = true;
	proxy_free(w->p);
	txn_table_free(w->tt);
	w->mute = false;
	forks_lose(&w->forks, w->writes_arrive);
	w->p = NULL;
	w->tt = NULL;
	world_switch(w);
}

/* The member that gets what comes in goes on with a call that has a record. */
static inline void world_adopt(struct world *w, uint64_t key, const struct sip_msg *why)
{
	struct proxy_fork f;
	char *text;
	if (!forks_find(&w->forks, key, &f, &text))
		return;
	int rc = proxy_adopt(w->p, &f, why, &w->opts, w->now);
	must(rc == 0 || rc == -EEXIST || rc == -ENOMEM || rc == -ENOSPC);
	free(text);
}

/* The other member is found dead. */
static inline void world_adopt_all(struct world *w)
{
	uint64_t key[FORKS_MAX];
	unsigned n = w->forks.n;
	for (unsigned i = 0; i < n; i++)
		key[i] = w->forks.v[i].f.key;
	for (unsigned i = 0; i < n; i++) {
		world_adopt(w, key[i], NULL);
		arena_reset(&w->arena);
	}
}

static inline void world_free(struct world *w)
{
	w->mute = true;
	proxy_free(w->p);
	txn_table_free(w->tt);
	proxy_free(w->other.p);
	txn_table_free(w->other.tt);
	forks_free(&w->forks);
	for (unsigned i = 0; i < w->nsent; i++)
		free(w->sent[i].text);
	sip_values_use_arena(NULL);
	arena_done(&w->arena);
	free(w);
}

/* "udp:10.0.0.1:5060" */
static inline struct sip_flow world_flow(const char *text, uint16_t listener)
{
	struct sip_flow f = {.listener = listener};
	struct span s = span_str(text);
	ptrdiff_t a = span_chr(s, ':', 0);
	const char *b = strrchr(text, ':');
	if (a <= 0 || b <= text + a)
		ck_abort_msg("not an address: %s", text);
	f.transport = sip_transport_parse(span_of(text, (size_t)a));
	struct span host = {text + a + 1, (size_t)(b - text - a - 1)};
	must(addr_parse(&f.remote, host, (uint16_t)atoi(b + 1)) == 0);
	if (sip_transport_reliable(f.transport))
		f.conn = 1000 + addr_port(&f.remote);
	return f;
}

static inline void world_refuse(struct world *w, const struct proxy_request *r,
				const struct sip_msg *m, const struct proxy_fault *f)
{
	struct txn *t = txn_server_new(w->tt, m, &r->top, &r->src, NULL, NULL, w->now);
	if (!t)
		return; /* full: the request comes again */
	txn_reply(t, f->status, span_str(f->reason), f->lines, w->now);
	txn_forget(t);
}

static inline void world_request(struct world *w, const struct sip_msg *m,
				 const struct sip_via *top, const struct sip_flow *src)
{
	struct proxy_request r;
	struct proxy_fault fault;
	struct span to_tag;
	enum txn_request what = txn_recv_request(w->tt, m, top, src, w->now);
	if (what == TXN_REQUEST_ABSORBED)
		return;
	if (proxy_validate(w->p, m, top, src, &r, &fault)) {
		if (m->method != SIP_ACK)
			world_refuse(w, &r, m, &fault);
		return;
	}
	must(sip_msg_tag(m, SIP_HDR_TO, &to_tag) == 0);
	unsigned n = to_tag.p ? 0 : w->ntargets;
	if ((m->method == SIP_CANCEL || m->method == SIP_INVITE) && w->forks.n) {
		world_adopt(w, proxy_request_key(w->p, &r), m);
		if (txn_recv_request(w->tt, m, top, src, w->now) == TXN_REQUEST_ABSORBED)
			return;
	}
	if (m->method == SIP_CANCEL && !w->stateless) {
		if (proxy_rebuild_from_cancel(w->p, &r, w->targets, n, &w->opts, w->now) == 0)
			return;
		fault = (struct proxy_fault){481, NULL, {NULL, 0}};
		world_refuse(w, &r, m, &fault);
		return;
	}
	if (m->method == SIP_ACK && !w->stateless && proxy_ack_is_hop(w->p, &r)) {
		w->hop_acks++;
		return;
	}
	if (w->stateless || m->method == SIP_ACK)
		proxy_forward_stateless(w->p, &r, n ? w->targets : NULL, &w->opts, w->now);
	else
		proxy_forward(w->p, &r, w->targets, n, &w->opts, w->now);
}

/* A response that matches no transaction: the other member's, when it is ours. */
static inline void world_stray(struct world *w, const struct sip_msg *m,
			       const struct sip_via *top, const struct sip_flow *src)
{
	struct proxy_origin from;
	const struct proxy_target *t = NULL;
	if (w->stateless || m->method != SIP_INVITE) {
		proxy_response_stateless(w->p, m, top, src);
		return;
	}
	if (!proxy_response_is_ours(w->p, m, top, &from))
		return;
	world_adopt(w, from.key, m);
	for (unsigned i = 0; i < w->ntargets && from.tag; i++)
		if (w->targets[i].tag == from.tag)
			t = &w->targets[i];
	if (proxy_rebuild_from_response(w->p, m, top, src, t, &w->opts, w->now))
		proxy_response_stateless(w->p, m, top, src);
}

/* One message comes in; text is NUL-terminated. */
static inline void world_recv(struct world *w, const char *text, const struct sip_flow *src)
{
	static char buf[65536];
	struct sip_hdr hdr[SIP_HDR_MAX];
	struct sip_msg m = {.hdr = hdr};
	struct sip_fault fault = {0};
	struct sip_via top;
	size_t n = strlen(text);
	world_start(w);
	must(n < sizeof(buf) / 2);
	memcpy(buf, text, n);
	int rc = sip_msg_index(&m, span_of(buf, n), false, &sip_limits_default, &fault);
	if (rc)
		ck_abort_msg("refused: %s\n%s", fault.reason, text);
	must(sip_msg_top_via(&m, &top) == 0);
	if (m.is_request) {
		must(sip_stamp_via(&m, buf, sizeof(buf), &top, &src->remote) == 0);
		world_request(w, &m, &top, src);
	} else if (!txn_recv_response(w->tt, &m, &top, src, w->now)) {
		world_stray(w, &m, &top, src);
	}
	memset(buf, 'X', n); /* nothing may have kept a pointer into it */
	arena_reset(&w->arena);
}

static inline void world_advance(struct world *w, msec ms)
{
	w->now += ms;
	wheel_advance(&w->wheel, w->now);
	arena_reset(&w->arena);
}

#endif
