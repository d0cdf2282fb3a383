/*
 * REGISTER (RFC 3261 10.3): who may register whom, then the registrar; the answer leaves when
 * the bindings are durable, wherever that is noticed.
 */
#include "home/home_priv.h"

#include "common/sip/build.h"
#include "common/sip/stamp.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

/* Of a worker, with cluster.queue_bytes of text.  The other member's word, or the store's,
 * comes within milliseconds: so many wait only if it has fallen silent, for dead_ms or
 * second_place_ms, and 16,000 a second come meanwhile. */
enum { WAITING_MAX = 16384 };

/* A REGISTER that is answered before home_register returns: there is no store to wait for. */
struct reg_now {
	struct stack *stack;
	const struct proxy_request *r;
	struct span user;
};

/* A REGISTER whose answer waits for the store. */
struct reg_wait {
	struct loop_work work;
	struct home *home;
	struct home_registers *waiting;
	struct stack *stack;
	pthread_t thread;
	struct sip_kept *msg;
	struct sip_flow dest;
	char tag[16];
	struct bytes *answer;
	struct span user;
	char user_text[];
};

static void finish(struct reg_wait *w)
{
	if (w->answer) {
		struct iovec iov = {w->answer->p, w->answer->n};
		stack_send(w->stack, &w->dest, &iov, 1, 0);
	}
	w->waiting->n--;
	w->waiting->bytes -= w->msg->msg.len;
	bytes_unref(w->answer);
	sip_kept_unref(w->msg);
	free(w);
}

static void run_finish(struct loop_work *work)
{
	finish(container_of(work, struct reg_wait, work));
}

/* The yes goes on without the store (unless the operator wants it strict): that must be known.
 */
static void watch_store(struct home *h, enum reg_durable durable)
{
	bool failing = durable == REG_NOT_DURABLE;
	if (durable == REG_NOTHING_WRITTEN ||
	    atomic_exchange_explicit(&h->store_failing, failing, memory_order_relaxed) ==
		    failing)
		return;
	if (failing)
		log_event(LOG_ERROR, "store-failing",
			  LOG_STR("what", "registrations are not durable"));
	else
		log_event(LOG_WARN, "store-works-again");
}

static void log_answer(struct span user, const struct reg_answer *a)
{
	log_event(LOG_INFO, a->status == 200 ? "registered" : "register-refused",
		  LOG_S("user", user), LOG_N("status", a->status),
		  LOG_N("bindings", a->bindings));
}

static void on_done_now(void *arg, const struct reg_answer *a)
{
	struct reg_now *n = arg;
	log_answer(n->user, a);
	stack_reply(n->stack, n->r->msg, &n->r->top, &n->r->src, a->status, a->reason,
		    a->lines);
}

static void on_done(void *arg, const struct reg_answer *a)
{
	struct reg_wait *w = arg;
	const struct sip_response r = {.status = a->status,
				       .reason = span_str(a->reason),
				       .to_tag = span_of(w->tag, sizeof(w->tag)),
				       .lines = a->lines};
	watch_store(w->home, a->durable);
	log_answer(w->user, a);
	w->answer = sip_build_response(&w->msg->msg, &r);
	if (pthread_equal(w->thread, pthread_self()))
		finish(w);
	else
		loop_post(stack_loop(w->stack), &w->work);
}

static bool may_wait(const struct home *h, const struct app_worker *w, const struct sip_msg *m)
{
	const struct home_registers *r = &h->waiting[w->index];
	return r->n < WAITING_MAX && r->bytes + m->len <= h->queue_bytes;
}

static struct reg_wait *wait_new(struct home *h, struct app_worker *w,
				 const struct app_request *q, struct span user)
{
	struct reg_wait *n = malloc(sizeof(*n) + user.n);
	if (!n)
		return NULL;
	*n = (struct reg_wait){.work.run = run_finish,
			       .home = h,
			       .waiting = &h->waiting[w->index],
			       .stack = w->stack,
			       .thread = pthread_self(),
			       .dest = q->r->src};
	memcpy(n->user_text, user.p, user.n);
	n->user = span_of(n->user_text, user.n);
	stack_reply_tag(w->stack, q->r->msg, &q->r->top, n->tag);
	if (sip_via_dest(&q->r->top, &n->dest) < 0 || !(n->msg = sip_kept_new(q->r->msg))) {
		free(n);
		return NULL;
	}
	n->waiting->n++;
	n->waiting->bytes += n->msg->msg.len;
	return n;
}

/* RFC 3261 10.3 step 2: extensions that we do not know. */
static bool requires_unknown(const struct sip_msg *m, struct span *ret_lines)
{
	static const char *const known[] = {"path", "outbound", "gruu"};
	struct sip_list_it it = {0};
	struct span token, all = {NULL, 0};
	while (sip_list_next(m, SIP_HDR_REQUIRE, &it, &token)) {
		bool found = false;
		for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
			found |= span_ieq(token, span_str(known[i]));
		if (!found)
			all = arena_printf(sip_arena(), "%.*s%s%.*s", SPAN_FMT(all),
					   all.n ? ", " : "", SPAN_FMT(token));
	}
	if (all.n == 0)
		return false;
	*ret_lines = arena_printf(sip_arena(), "Unsupported: %.*s\r\n", SPAN_FMT(all));
	return true;
}

/* The address of record in To; mostly it is who sends, and has been looked up for his keys. */
static int aor_of(struct home *h, const struct app_worker *w, const struct sip_msg *m,
		  struct span who, struct span *ret_aor)
{
	struct sip_nameaddr to;
	struct span name;
	if (sip_msg_to(m, &to) < 0)
		return -ENOENT;
	if (to.uri.scheme != SIP_SCHEME_OTHER && to.uri.user.p &&
	    app_is_local(w, to.uri.host, to.uri.port) && sip_uri_user(&to.uri, &name) == 0 &&
	    span_eq(name, who)) {
		*ret_aor = who;
		return 0;
	}
	return home_user_of(h, w, &to.uri, ret_aor);
}

/* The edge does not know him yet, or has not heard that he has moved: what is bound here no
 * edge would take. */
static bool is_of_other_homes(const struct home *h, const struct dir_user *u)
{
	return h->cluster && strcmp(u->home, h->pair) != 0;
}

static bool is_of_edges(const struct home *h, struct span token)
{
	struct sip_flow flow;
	unsigned flags;
	int r = flow_token_read(&h->edge_flows, token, &flow, &flags);
	return r == 0 || r == -ESTALE;
}

/* What an edge writes into a Path says whose connection the binding has, and for the edges it
 * is so, since the token is theirs: whoever has seen one in a dialog could have what is for
 * that phone.  From edges alone. */
static bool has_path_of_others(const struct home *h, const struct proxy_request *r)
{
	struct sip_list_it it = {0};
	const struct cluster_node *v;
	struct sip_nameaddr na;
	struct span path;
	if (!h->cluster || !sip_list_next(r->msg, SIP_HDR_PATH, &it, &path) ||
	    sip_nameaddr_parse(path, &na) < 0)
		return false; /* malformed: the registrar says so */
	unsigned n = cluster_nodes(h->cluster, &v);
	bool by_edge =
		r->src.node && r->src.node <= n && v[r->src.node - 1].role == CLUSTER_EDGE;
	return !by_edge && is_of_edges(h, na.uri.user);
}

static void bind_aor(struct home *h, struct app_worker *w, const struct app_request *q,
		     struct span aor, msec now)
{
	const struct sip_msg *m = q->r->msg;
	uint64_t wall_ms = home_wall_ms(now);
	if (!records_has_store(h->records)) {
		struct reg_now n = {w->stack, q->r, aor};
		reg_register(h->reg, m, &q->r->top, &q->r->src, aor, wall_ms, on_done_now, &n);
		return;
	}
	if (!may_wait(h, w, m)) {
		/* Nothing is written: without its second place it would be no yes. */
		home_count(&h->counters.registers_full);
		log_event(LOG_INFO, "register-refused", LOG_S("user", aor),
			  LOG_N("status", 503));
		app_reply(w, q, 503, NULL, SPAN("Retry-After: 5\r\n"));
		return;
	}
	struct reg_wait *n = wait_new(h, w, q, aor);
	if (n)
		reg_register(h->reg, m, &q->r->top, &q->r->src, aor, wall_ms, on_done, n);
	else
		app_reply(w, q, 500, NULL, SPAN(""));
}

void home_register(struct home *h, struct app_worker *w, const struct app_request *q, msec now)
{
	struct span who, aor, lines;
	struct dir_user user;
	if (requires_unknown(q->r->msg, &lines)) {
		app_reply(w, q, 420, NULL, lines);
		return;
	}
	if (!home_authenticate(h, w, q, AUTH_UAS, &who, &user, now))
		return;
	home_count(&h->counters.registers);
	if (aor_of(h, w, q->r->msg, who, &aor) < 0) {
		app_reply(w, q, 404, "Address Of Record Not Found", SPAN(""));
		return;
	}
	if (!span_eq(who, aor)) {
		home_count(&h->counters.identity_refused);
		log_event(LOG_INFO, "register-foreign", LOG_S("user", who), LOG_S("aor", aor));
		app_reply(w, q, 403, "Not Your Address Of Record", SPAN(""));
		return;
	}
	if (is_of_other_homes(h, &user)) {
		/* The edge will know in a moment; a phone that is told to come straight to us
		 * will not, before somebody tells it. */
		log_event(LOG_INFO, "register-elsewhere", LOG_S("user", aor));
		app_reply(w, q, 503, NULL,
			  q->r->src.node ? SPAN("Retry-After: 2\r\n")
					 : SPAN("Retry-After: 60\r\n"));
		return;
	}
	if (has_path_of_others(h, q->r)) {
		home_count(&h->counters.identity_refused);
		log_event(LOG_INFO, "register-foreign", LOG_S("user", who), LOG_S("aor", aor));
		app_reply(w, q, 403, "Path Of Another", SPAN(""));
		return;
	}
	bind_aor(h, w, q, aor, now);
}
