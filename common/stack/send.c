/*
 * From the engine to the transport, and between workers: a connection belongs to the worker
 * that opened or accepted it, so what another worker has to say on it is handed over.
 */
#include "common/stack/stack_priv.h"

#include "common/base/log.h"
#include "common/sip/stamp.h"

#include <errno.h>
#include <stdlib.h>

/* A message on its way to the worker that owns its call. */
struct handed_message {
	struct loop_work work;
	struct stack *to;
	struct sip_flow flow;
	uint32_t marks;
	uint32_t n, cap;
	char buf[];
};

static void wait_end(atomic_uint *n)
{
	atomic_fetch_sub_explicit(n, 1, memory_order_relaxed);
}

/* Room for one more that waits, of max at most.  NULL: they are too many, or no memory. */
static void *wait_begin(atomic_uint *n, uint32_t max, size_t size)
{
	bool may = atomic_fetch_add_explicit(n, 1, memory_order_relaxed) < max;
	void *p = may ? malloc(size) : NULL;
	if (!p)
		wait_end(n);
	return p;
}

static void run_message(struct loop_work *w)
{
	struct handed_message *h = container_of(w, struct handed_message, work);
	wait_end(&h->to->waiting);
	stack_deliver(h->to, &h->flow, h->buf, h->n, h->cap, h->marks, false);
	free(h);
}

bool stack_hand_over(struct stack *s, unsigned to, const struct sip_flow *f, const char *buf,
		     size_t n, uint32_t marks)
{
	struct stack *owner = s->group->worker[to];
	struct handed_message *h = wait_begin(&owner->waiting, s->group->conf.handover_max,
					      sizeof(*h) + n + SIP_STAMP_ROOM);
	if (!h) {
		counter_inc(&s->counters.handover_full);
		return false;
	}
	*h = (struct handed_message){.work.run = run_message,
				     .to = owner,
				     .flow = *f,
				     .marks = marks,
				     .n = (uint32_t)n,
				     .cap = (uint32_t)n + SIP_STAMP_ROOM};
	memcpy(h->buf, buf, n);
	counter_inc(&s->counters.handed_over);
	loop_post(owner->loop, &h->work);
	return true;
}

/* Bytes on their way to the worker that owns the connection. */
struct handed_send {
	struct loop_work work;
	struct stack *to;
	struct sip_flow flow;
	uint64_t wire_id;
	uint32_t n;
	char buf[];
};

/* Failures on their way back to the worker whose transaction it is. */
struct handed_failure {
	struct loop_work work;
	struct stack *to;
	uint64_t id;
};

static bool is_line_end(char c)
{
	return c == '\r' || c == '\n';
}

/* What breaks a stream may begin with the rest of another message. */
static bool is_start_line(struct span s)
{
	static const char version[] = " SIP/";
	size_t n = sizeof(version) - 1, digits = 3; /* "2.0" */
	return (s.n > n - 1 && memcmp(s.p, version + 1, n - 1) == 0) ||
	       (s.n > n + digits && memcmp(s.p + s.n - digits - n, version, n) == 0);
}

/* The start line alone, whatever ends it: header fields may hold credentials. */
void stack_trace(const char *event, const struct sip_flow *f, struct span message)
{
	char text[ADDR_TEXT_MAX];
	size_t from = 0, end;
	if (!log_enabled(LOG_TRACE))
		return;
	size_t n = addr_text(&f->remote, text);
	while (from < message.n && is_line_end(message.p[from]))
		from++;
	for (end = from; end < message.n && !is_line_end(message.p[end]);)
		end++;
	struct span line = span_of(message.p + from, end - from);
	log_event(LOG_TRACE, event, LOG_STR("transport", sip_transport_uri(f->transport)),
		  LOG_S("peer", span_of(text, n)),
		  is_start_line(line) ? LOG_S("line", line) : LOG_N("bytes", message.n));
}

static uint64_t wire_id_of(const struct stack *s, uint64_t txn_id)
{
	return txn_id ? (uint64_t)s->index << STACK_ID_BITS | txn_id : 0;
}

static void run_failure(struct loop_work *w)
{
	struct handed_failure *h = container_of(w, struct handed_failure, work);
	arena_reset(&h->to->arena);
	txn_transport_error(h->to->txns, h->id, loop_now(h->to->loop));
	free(h);
}

/* Always by way of the loop: the engine is never entered from inside its own send. */
void stack_send_failed(struct stack *s, uint64_t wire_id)
{
	struct handed_failure *h;
	unsigned owner = (unsigned)(wire_id >> STACK_ID_BITS);
	if (owner == STACK_LINK) {
		counter_inc(&s->counters.link_failed);
		s->group->user.link_failed(s->user_arg, (unsigned)(wire_id & STACK_LINK) - 1);
		return;
	}
	counter_inc(&s->counters.send_failed);
	if (!wire_id || owner >= s->group->n || !(h = malloc(sizeof(*h))))
		return; /* the transaction's own timer ends it */
	*h = (struct handed_failure){.work.run = run_failure,
				     .to = s->group->worker[owner],
				     .id = wire_id & (((uint64_t)1 << STACK_ID_BITS) - 1)};
	loop_post(h->to->loop, &h->work);
}

/* An ICMP error on its way to those who may have sent there. */
struct handed_error {
	struct loop_work work;
	struct stack *to;
	struct addr addr;
	int error;
};

static void run_error(struct loop_work *w)
{
	struct handed_error *h = container_of(w, struct handed_error, work);
	wait_end(&h->to->errors_waiting);
	net_unreachable(h->to->net, &h->addr, h->error);
	free(h);
}

static void hand_error(struct stack *s, struct stack *owner, const struct addr *to, int error)
{
	struct handed_error *h =
		wait_begin(&owner->errors_waiting, STACK_ERRORS_MAX, sizeof(*h));
	if (!h) { /* the transactions' own timers end them */
		counter_inc(&s->counters.handover_error_full);
		return;
	}
	*h = (struct handed_error){
		.work.run = run_error, .to = owner, .addr = *to, .error = error};
	loop_post(owner->loop, &h->work);
}

void stack_unreachable(struct stack *s, const struct addr *to, int error)
{
	for (unsigned i = 0; i < s->group->n; i++)
		if (i != s->index)
			hand_error(s, s->group->worker[i], to, error);
}

bool stack_is_response(const struct iovec *iov)
{
	return iov[0].iov_len > 8 && memcmp(iov[0].iov_base, "SIP/2.0 ", 8) == 0;
}

/* The answer of a transaction whose caller's connection is gone: he may have another by now,
 * here or with the other member of our pair, or is just coming back; that is found as for what
 * has no transaction here.  There may be thousands in one go. */
static bool answer_by_token(struct stack *s, const struct sip_flow *to, const struct iovec *iov)
{
	struct arena_scope scope = arena_enter(&s->arena);
	struct span answer = span_of(iov->iov_base, iov->iov_len);
	struct span token = s->links ? s->group->user.lost_flow(s->user_arg, to) : SPAN("");
	struct bytes *b =
		token.n ? proxy_response_by_token(s->proxy, answer, to->listener, token) : NULL;
	arena_leave(&s->arena, scope);
	if (!b)
		return false;
	struct iovec own = {b->p, b->n};
	bool taken = stack_link_self(s, &own, 1) == 0;
	bytes_unref(b);
	return taken;
}

static void send_here(struct stack *s, const struct sip_flow *to, const struct iovec *iov,
		      int n, uint64_t wire_id)
{
	struct sip_flow f = *to;
	const char *name = f.name ? locate_name(s->locate, f.name) : NULL;
	int r = f.name && !name ? -ENOTCONN : net_send(s->net, &f, iov, n, name, wire_id);
	bool is_lost = r == -ENOTCONN && f.conn && stack_is_response(iov);
	if (is_lost && wire_id && answer_by_token(s, &f, iov))
		return;
	if (is_lost && addr_port(&f.remote)) {
		/* 18.2.2: the connection is gone, a new one to the same place may do.  A
		 * request's flow has no other (RFC 5626 5.3). */
		f.conn = 0;
		r = net_send(s->net, &f, iov, n, NULL, wire_id);
	}
	if (r < 0)
		stack_send_failed(s, wire_id);
}

static void run_send(struct loop_work *w)
{
	struct handed_send *h = container_of(w, struct handed_send, work);
	struct iovec iov = {h->buf, h->n};
	wait_end(&h->to->sends_waiting);
	send_here(h->to, &h->flow, &iov, 1, h->wire_id);
	free(h);
}

/* False: it was not. */
static bool hand_send(struct stack *s, const struct sip_flow *to, const struct iovec *iov,
		      int n, uint64_t wire_id)
{
	struct stack *owner = s->group->worker[to->worker];
	size_t len = 0;
	for (int i = 0; i < n; i++)
		len += iov[i].iov_len;
	struct handed_send *h = wait_begin(&owner->sends_waiting, s->group->conf.handover_max,
					   sizeof(*h) + len);
	if (!h) {
		counter_inc(&s->counters.handover_send_full);
		return false;
	}
	*h = (struct handed_send){.work.run = run_send,
				  .to = owner,
				  .flow = *to,
				  .wire_id = wire_id,
				  .n = (uint32_t)len};
	for (int i = 0, at = 0; i < n; at += (int)iov[i].iov_len, i++)
		memcpy(h->buf + at, iov[i].iov_base, iov[i].iov_len);
	loop_post(owner->loop, &h->work);
	return true;
}

/* The peer's own connection from the very address that is meant, or under its alias. */
static bool has_opened(struct stack *s, const struct sip_flow *to, struct sip_flow *ret)
{
	if (to->conn || !sip_transport_reliable(to->transport))
		return false;
	const char *name = to->name ? locate_name(s->locate, to->name) : NULL;
	return (name || !to->name) && stack_reuse_find(s->group->reuse, to, name, ret) &&
	       stack_flow_alive(s->group, ret);
}

void stack_send(struct stack *s, const struct sip_flow *to, const struct iovec *iov, int n,
		uint64_t txn_id)
{
	uint64_t wire_id = wire_id_of(s, txn_id);
	struct sip_flow opened;
	if (to->node) {
		stack_link_send(s, to, iov, n, txn_id != 0);
		return;
	}
	if (has_opened(s, to, &opened))
		to = &opened;
	if (txn_id && !stack_is_response(iov) && stack_kept_answers(s, iov))
		return;
	stack_trace("sent", to, span_of(iov[0].iov_base, iov[0].iov_len));
	if (!txn_id)
		stack_trying_sent(s, to, iov);
	if (!to->conn || to->worker == s->index) {
		send_here(s, to, iov, n, wire_id);
		return;
	}
	if (to->worker >= s->group->n || !hand_send(s, to, iov, n, wire_id))
		stack_send_failed(s, wire_id);
}

/* What a node says of a request is for nodes; what anybody else has written in its place would
 * be believed of us. */
static void strip_link(struct sip_splice *s, const struct sip_msg *m)
{
	const struct sip_hdr *h = sip_msg_first(m, SIP_HDR_EAVES_LINK);
	for (; h; h = sip_msg_next(m, h))
		sip_splice_remove_hdr(s, h);
}

int stack_pass(struct stack *s, const struct sip_flow *src, const struct sip_flow *to,
	       const struct sip_msg *m, struct sip_splice *edits)
{
	struct iovec iov[SIP_SPLICE_IOV];
	char room[SIP_LENGTH_ROOM];
	struct sip_splice none;
	if (!edits)
		sip_splice_init(edits = &none, m);
	if (!src->node || !to->node)
		strip_link(edits, m);
	if (to->node || sip_transport_reliable(to->transport))
		sip_splice_length(edits, room);
	int n = sip_splice_iov(edits, iov);
	if (n < 0)
		return n;
	stack_send(s, to, iov, n, 0);
	return 0;
}
