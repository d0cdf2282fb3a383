/*
 * From bytes to the engine: index, owner, stamp, transaction matching (RFC 3261 18.2.1, 18.1.2,
 * 17.2.3, 17.1.3), then the user.  What cannot be read is answered or dropped here, and
 * counted.
 */
#include "common/stack/stack_priv.h"

#include "common/sip/build.h"
#include "common/sip/stamp.h"

#include <errno.h>

static bool index_message(struct stack *s, const struct sip_flow *f, struct span bytes,
			  bool stream, struct sip_fault *ret_fault)
{
	const struct net_conf *c = &s->group->conf.net;
	struct sip_limits lim = c->limits;
	lim.stream_bytes = net_message_max(c, f->listener);
	return sip_msg_index(&s->msg, bytes, stream, &lim, ret_fault) == 0;
}

static unsigned owner_of(const struct stack *s, struct span call_id)
{
	return s->group->n == 1 ? 0
				: (unsigned)(mac_span(&s->owner_key, call_id) % s->group->n);
}

bool stack_owns(const struct stack *s, struct span call_id)
{
	return owner_of(s, call_id) == s->index;
}

/* RFC 3261 8.2.6.2: derived, so that every answer to the same request has the same tag. */
void stack_reply_tag(const struct stack *s, const struct sip_msg *m, const struct sip_via *top,
		     char ret_tag[16])
{
	struct span from_tag = {NULL, 0};
	struct mac k;
	sip_msg_tag(m, SIP_HDR_FROM, &from_tag);
	mac_init(&k, &s->tag_key);
	mac_add(&k, m->call_id);
	mac_add(&k, from_tag);
	mac_add(&k, top->branch);
	mac_add_icase(&k, top->host);
	mac_add_u64(&k, top->port);
	mac_hex(mac_final(&k), ret_tag);
}

void stack_reply_bytes(struct stack *s, const struct sip_via *top, const struct sip_flow *src,
		       const struct bytes *b)
{
	struct sip_flow to = *src;
	struct iovec iov = {(char *)b->p, b->n};
	if (sip_via_dest(top, &to) < 0) {
		counter_inc(&s->counters.dropped);
		return;
	}
	counter_inc(&s->counters.replies);
	stack_send(s, &to, &iov, 1, 0);
}

void stack_reply(struct stack *s, const struct sip_msg *m, const struct sip_via *top,
		 const struct sip_flow *src, unsigned status, const char *reason,
		 struct span lines)
{
	char tag[16];
	struct sip_response r = {.status = status, .reason = span_str(reason), .lines = lines};
	if (m->method == SIP_ACK)
		return;
	stack_reply_tag(s, m, top, tag);
	r.to_tag = span_of(tag, sizeof(tag));
	struct bytes *b = sip_build_response(m, &r);
	if (b)
		stack_reply_bytes(s, top, src, b);
	bytes_unref(b);
}

/* An ACK to one of our answers without a transaction carries the tag that we gave. */
static bool is_ack_to_reply(struct stack *s, const struct sip_msg *m, const struct sip_via *top)
{
	struct span tag = {NULL, 0};
	char ours[16];
	if (sip_msg_tag(m, SIP_HDR_TO, &tag) < 0 || tag.n != sizeof(ours))
		return false;
	stack_reply_tag(s, m, top, ours);
	return memcmp(tag.p, ours, sizeof(ours)) == 0;
}

/* buf: in which the message lies, behind the CRLFs that came in front of it (7.5). */
static int stamp_via(struct stack *s, char *buf, size_t cap, struct sip_via *top,
		     const struct addr *src)
{
	size_t off = (size_t)(s->msg.base - buf);
	return sip_stamp_via(&s->msg, buf + off, cap - off, top, src);
}

static void refuse(struct stack *s, const struct sip_flow *f, char *buf, size_t cap,
		   const struct sip_fault *fault)
{
	struct sip_via top;
	counter_inc(&s->counters.refused);
	if (!fault->status || sip_msg_top_via(&s->msg, &top) < 0 ||
	    stamp_via(s, buf, cap, &top, &f->remote) < 0) {
		counter_inc(&s->counters.dropped);
		return;
	}
	stack_reply(s, &s->msg, &top, f, fault->status, fault->reason, SPAN(""));
}

/* RFC 3261 16.10: of a transaction that another member of our pair had begun, or that is
 * forwarded statelessly; else 481. */
static void cancel(struct stack *s, const struct proxy_request *r, uint32_t marks, msec now)
{
	const struct stack_user *u = &s->group->user;
	enum stack_found found =
		u->cancel ? u->cancel(s->user_arg, s, r, marks, now) : STACK_UNKNOWN;
	if (found == STACK_AGAIN && stack_take_again(s, r, now))
		found = STACK_DONE;
	if (found != STACK_DONE)
		stack_reply(s, &s->msg, &r->top, &r->src, 481, NULL, SPAN(""));
}

bool stack_take_again(struct stack *s, const struct proxy_request *r, msec now)
{
	return txn_recv_request(s->txns, r->msg, &r->top, &r->src, now) == TXN_REQUEST_ABSORBED;
}

static void request(struct stack *s, const struct sip_flow *f, const struct sip_via *top,
		    uint32_t marks, msec now)
{
	const struct stack_user *u = &s->group->user;
	struct proxy_request r;
	struct proxy_fault fault = {0};
	enum txn_request found = txn_recv_request(s->txns, &s->msg, top, f, now);
	if (found == TXN_REQUEST_ABSORBED)
		return;
	if (s->msg.method == SIP_ACK && is_ack_to_reply(s, &s->msg, top)) {
		counter_inc(&s->counters.acks_absorbed);
		return;
	}
	if (proxy_validate(s->proxy, &s->msg, top, f, &r, &fault) < 0) {
		counter_inc(&s->counters.refused);
		stack_reply(s, &s->msg, top, f, fault.status, fault.reason, fault.lines);
		return;
	}
	if (stack_waits_its_turn(s, f, &s->msg, marks))
		return;
	if (s->msg.method == SIP_ACK)
		u->ack(s->user_arg, s, &r, marks, now);
	else if (s->msg.method == SIP_CANCEL)
		cancel(s, &r, marks, now);
	else
		u->request(s->user_arg, s, &r, marks, now);
}

/* As it came, to the member of our pair that knows the way. */
static int hand_to_twin(struct stack *s, const struct sip_flow *f, const struct sip_via *top)
{
	const struct sip_param *ft = sip_params_find(&top->params, SPAN("ft"));
	ptrdiff_t dot = ft ? span_chr(ft->value, '.', 0) : -1;
	struct sip_flow twin;
	if (dot < 0 || s->group->user.read_flow(s->user_arg, span_of(ft->value.p, (size_t)dot),
						0, &twin) != -EXDEV)
		return -EPERM;
	/* By whatever it came: it ends at a connection, and its sender takes that for
	 * arrived. */
	twin.leg = SIP_TRANSPORT_TCP;
	return stack_pass(s, f, &twin, &s->msg, NULL);
}

static void response(struct stack *s, const struct sip_flow *f, const struct sip_via *top,
		     msec now)
{
	const struct stack_user *u = &s->group->user;
	if (f->node)
		stack_kept_answered(s, &s->msg);
	enum stack_found found = STACK_AGAIN;
	for (unsigned n = 0; n < 2 && found == STACK_AGAIN; n++) {
		if (txn_recv_response(s->txns, &s->msg, top, f, now))
			return;
		found = u->response ? u->response(s->user_arg, s, &s->msg, top, f, n > 0, now)
				    : STACK_UNKNOWN;
	}
	if (found == STACK_DONE)
		return;
	int r = proxy_response_stateless(s->proxy, &s->msg, top, f);
	if (r == -EXDEV)
		r = hand_to_twin(s, f, top);
	if (r < 0 && (r != -ESTALE || !stack_defer(s, f, &s->msg, 0)))
		counter_inc(&s->counters.dropped);
}

/* What a node says of its request takes the place of what we see of the link.  A node's Via is
 * the pair's, and stays as it is: responses go by the link. */
static bool stamp(struct stack *s, struct sip_flow *f, char *buf, size_t cap,
		  struct sip_via *top, uint32_t *marks)
{
	if (f->node)
		return s->group->user.from_node(s->user_arg, &s->msg, f, marks);
	if (stamp_via(s, buf, cap, top, &f->remote) < 0)
		return false;
	poison_resize((size_t)(s->msg.base - buf) + s->msg.len);
	return true;
}

static void deliver(struct stack *s, const struct sip_flow *from, char *buf, size_t n,
		    size_t cap, uint32_t marks, bool indexed)
{
	struct sip_flow own = *from, *f = &own;
	struct sip_fault fault = {0};
	struct sip_via top;
	msec now = loop_now(s->loop);
	s->from = f;
	bool stream = sip_transport_reliable(f->transport);
	if (!indexed && !index_message(s, f, span_of(buf, n), stream, &fault)) {
		refuse(s, f, buf, cap, &fault);
		return;
	}
	if (sip_msg_check_values(&s->msg, &top, &fault) < 0) {
		refuse(s, f, buf, cap, &fault);
		return;
	}
	if (!s->msg.is_request) {
		response(s, f, &top, now);
		return;
	}
	if (!stamp(s, f, buf, cap, &top, &marks)) {
		counter_inc(&s->counters.dropped);
		return;
	}
	request(s, f, &top, marks, now);
}

/* The arena is empty between messages: timers have all of it. */
void stack_deliver(struct stack *s, const struct sip_flow *f, char *buf, size_t n, size_t cap,
		   uint32_t marks, bool indexed)
{
	arena_reset(&s->arena);
	s->delivering = true;
	poison_begin(buf, n);
	deliver(s, f, buf, n, cap, marks, indexed);
	poison_end();
	s->delivering = false;
	s->from = NULL;
	arena_reset(&s->arena);
}

/* RFC 5923: the peer will take requests by the connection that it opened.  Believed of a
 * verified certificate, whose names it is then good for, and of insiders.  The address is where
 * the connection comes from, with the port of sent-by. */
static void note_alias(struct stack *s, const struct sip_flow *f, const struct net_peer *peer,
		       uint32_t marks)
{
	const struct sip_hdr *h = sip_msg_first(&s->msg, SIP_HDR_VIA);
	struct addr at = f->remote;
	struct sip_via top;
	if ((!peer && !(marks & s->group->conf.alias_marks)) || !s->msg.is_request || !h)
		return;
	struct span v = sip_hdr_value(&s->msg, h);
	if (!memmem(v.p, v.n, "alias", 5) || sip_msg_top_via(&s->msg, &top) < 0 || !top.alias)
		return;
	addr_set_port(&at, top.port ? top.port : sip_transport_port(f->transport));
	stack_reuse_alias(s->group->reuse, f, &at, peer);
}

/* The answer to a node leaves by the link with it. */
static bool refused(struct stack *s, struct sip_flow *f, struct span message,
		    const struct net_peer *peer)
{
	bool stream = sip_transport_reliable(f->transport);
	if (!poison_count(s->group->conf.poison))
		return false;
	s->group->user.classify(s->user_arg, f, stream && net_opened(s->net, f), peer);
	return stack_refuse_poison(s, f, message);
}

/* A stream's next bytes, before they are framed: that has crashed servers too. */
static ssize_t on_unread(void *arg, const struct sip_flow *from, struct span bytes,
			 const struct net_peer *peer)
{
	struct stack *s = arg;
	struct sip_flow own = *from;
	if (!poison_count(s->group->conf.poison) || bytes.p[0] == '\r' || bytes.p[0] == '\n')
		return 0;
	ssize_t n = poison_extent(bytes);
	/* What is too long, or none, is the framer's to refuse. */
	size_t max = net_message_max(&s->group->conf.net, from->listener);
	if (n == 0 || n > (ssize_t)max || bytes.n > max)
		return 0;
	if (n < 0 || (size_t)n > bytes.n)
		return -EAGAIN;
	return refused(s, &own, span_of(bytes.p, (size_t)n), peer) ? n : 0;
}

/* Whoever we have hung up on sends his requests again to the other member, as whose address is
 * there by now; what he has answered already he does not. */
static bool is_sent_anew(const struct stack *s, const struct sip_flow *f)
{
	const struct stack_user *u = &s->group->user;
	return s->hung_up || (u->moved_away && u->moved_away(s->user_arg, f->listener));
}

static void take(struct stack *s, struct sip_flow *f, char *buf, size_t n, size_t cap,
		 const struct net_peer *peer)
{
	struct sip_fault fault = {0};
	bool stream = sip_transport_reliable(f->transport);
	if (!index_message(s, f, span_of(buf, n), stream, &fault)) {
		refuse(s, f, buf, cap, &fault);
		return;
	}
	uint32_t marks =
		s->group->user.classify(s->user_arg, f, stream && net_opened(s->net, f), peer);
	if (stream && stack_link_take(s, f, peer))
		return;
	if (stream && !f->node) {
		if (s->msg.is_request && is_sent_anew(s, f)) {
			counter_inc(&s->counters.dropped);
			return;
		}
		note_alias(s, f, peer, marks);
	}
	unsigned owner = owner_of(s, s->msg.call_id);
	if (owner == s->index)
		stack_deliver(s, f, buf, n, cap, marks, true);
	else
		stack_hand_over(s, owner, f, buf, n, marks);
}

static void on_message(void *arg, const struct sip_flow *from, char *buf, size_t n, size_t cap,
		       const struct net_peer *peer)
{
	struct stack *s = arg;
	struct sip_flow own = *from;
	counter_inc(&s->counters.received);
	stack_trace("received", &own, span_of(buf, n));
	poison_begin(buf, n);
	if (!refused(s, &own, span_of(buf, n), peer))
		take(s, &own, buf, n, cap, peer);
	poison_end();
	arena_reset(&s->arena);
}

/* Is what the index says of a head to be answered with what the transport says of it?  Of one
 * that is too large the body is not there, or even some of the headers, which the index would
 * call the fault. */
static bool is_answerable(const struct stack *s, bool sound, const struct sip_fault *own,
			  const struct sip_fault *why)
{
	if (sound)
		return s->msg.is_request && s->msg.method != SIP_ACK;
	return why->status == 513 && own->status;
}

/* What is no message, a stream that cannot go on or a datagram that is too long: an answer
 * where one can be built.  The stream is closed then. */
static void take_broken(struct stack *s, const struct sip_flow *f, struct span head,
			const struct sip_fault *why)
{
	struct sip_fault own = {0};
	bool stream = sip_transport_reliable(f->transport);
	char *copy = arena_alloc(&s->arena, head.n + SIP_STAMP_ROOM);
	if (!copy) {
		counter_inc(&s->counters.dropped);
		return;
	}
	memcpy(copy, head.p, head.n);
	bool sound = index_message(s, f, span_of(copy, head.n), stream, &own);
	if (is_answerable(s, sound, &own, why))
		own = *why;
	refuse(s, f, copy, head.n + SIP_STAMP_ROOM, &own);
}

static void on_broken(void *arg, const struct sip_flow *f, struct span head,
		      const struct sip_fault *why)
{
	struct stack *s = arg;
	struct sip_flow own = *f;
	counter_inc(&s->counters.received);
	stack_trace("received", f, head);
	arena_reset(&s->arena);
	poison_begin(head.p, head.n);
	if (!refused(s, &own, head, NULL))
		take_broken(s, f, head, why);
	poison_end();
	arena_reset(&s->arena);
}

static void on_failed(void *arg, uint64_t id, int error)
{
	(void)error;
	stack_send_failed(arg, id);
}

static void on_unreachable(void *arg, const struct addr *to, int error)
{
	stack_unreachable(arg, to, error);
}

static void on_opened(void *arg, const struct sip_flow *f, const struct net_peer *peer)
{
	struct stack *s = arg;
	stack_reuse_add(s->group->reuse, f);
	stack_link_opened(s, f, peer);
}

static void on_refused(void *arg, const struct sip_flow *f, const struct net_refusal *why)
{
	stack_link_no_tls(arg, f, why);
}

static void on_closed(void *arg, const struct sip_flow *f)
{
	struct stack *s = arg;
	stack_reuse_remove(s->group->reuse, f);
	stack_link_closed(s, f);
	s->group->user.flow_closed(s->user_arg, s, f);
}

const struct net_ops stack_net_ops = {
	.message = on_message,
	.unread = on_unread,
	.broken = on_broken,
	.failed = on_failed,
	.unreachable = on_unreachable,
	.introduction = stack_link_introduction,
	.opened = on_opened,
	.refused = on_refused,
	.closed = on_closed,
};
