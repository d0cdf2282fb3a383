/*
 * The SIP hop between two nodes of the cluster: who is a node, the header field that tells the
 * next node what this one knows of a request (Eaves-Link), and stateless forwarding to a pair
 * (RFC 3261 16.11).  The field is believed of nodes alone and taken off everything that goes
 * anywhere else.
 *
 *	Eaves-Link: m=MARKS;t=TRANSPORT;s=SOURCE;u=USER
 *	Eaves-Link: n=NODE;p=PROOF
 *
 * MARKS are hexadecimal; TRANSPORT and SOURCE are the leg of the peer outside of the cluster,
 * as the first node saw it; USER, escaped, is who was authenticated.  The second form is in the
 * introduction, which a link by TCP begins with, and which ends where it arrives: PROOF is a
 * MAC by the cluster's secret.
 */
#include "common/app/app_priv.h"
#include "common/app/flows.h"

#include "common/sip/splice.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>

/* What one node tells the next; the rest is each node's own affair. */
enum {
	MARKS_TOLD = APP_MARK_INSIDER | APP_MARK_CHALLENGE | APP_MARK_AUTHENTICATED |
		     APP_MARK_IN_DIALOG | APP_MARK_ROUTED
};

enum { BELIEVED_MS = 10000 }; /* for so long after it was heard last: links outlive cuts */

/* The value of one key, empty without. */
static struct span link_field(struct span v, char key)
{
	while (v.n) {
		ptrdiff_t semi = span_chr(v, ';', 0);
		size_t n = semi < 0 ? v.n : (size_t)semi;
		if (n > 2 && v.p[0] == key && v.p[1] == '=')
			return span_of(v.p + 2, n - 2);
		n += semi >= 0;
		v = span_of(v.p + n, v.n - n);
	}
	return SPAN("");
}

/* ---- who sends ---- */

static bool certificate_trusted(const struct conf *c, const struct net_peer *peer)
{
	for (unsigned i = 0; peer && i < c->edge.trusted_count; i++) {
		struct span domain = span_str(c->edge.trusted[i].certificate);
		for (unsigned k = 0; domain.n && k < peer->n; k++)
			if (net_tls_name_matches(span_str(peer->names[k]), domain))
				return true;
	}
	return false;
}

static bool address_trusted(const struct conf *c, const struct addr *a)
{
	for (unsigned i = 0; i < c->edge.trusted_count; i++)
		if (c->edge.trusted[i].network && addr_net_match(&c->edge.trusted[i].net, a))
			return true;
	return false;
}

/* It speaks a version in which nodes did not introduce themselves yet: it was heard on the bus,
 * where its key is looked at.  Of one that is off somebody else may have the address. */
static bool never_introduces(const struct app_nodes *n, unsigned i)
{
	struct cluster_node_state s;
	cluster_node_state(n->cluster, i, &s);
	return s.version && s.version < CLUSTER_INTRODUCES && s.silent_ms < BELIEVED_MS;
}

/* By its certificate, or what it said when it connected.  During an upgrade, by its address. */
static int node_of(const struct app_nodes *n, const struct sip_flow *f,
		   const struct net_peer *peer)
{
	if (peer && peer->tag)
		return (int)peer->tag - 1;
	for (unsigned i = 0; i < n->conf.n; i++) {
		if (i == n->conf.self)
			continue;
		for (unsigned k = 0; peer && k < peer->n; k++)
			if (net_tls_name_matches(span_str(peer->names[k]),
						 span_str(n->node[i].name)))
				return (int)i;
		if (!peer && f->transport == SIP_TRANSPORT_TCP &&
		    addr_host_equal(&n->node[i].addr, &f->remote) && never_introduces(n, i))
			return (int)i;
	}
	return -1;
}

uint32_t app_classify(const struct app_worker *w, struct sip_flow *f, bool opened,
		      const struct net_peer *peer)
{
	const struct conf *c = w->conf;
	enum conf_policy policy = conf_policy_at(c, f->listener);
	/* Whom we called by that listener's address has not reached the listener. */
	if (opened && policy != CONF_POLICY_NORMAL)
		policy = CONF_POLICY_CHALLENGE;
	if (policy == CONF_POLICY_CLUSTER) {
		int node = w->app->nodes ? node_of(w->app->nodes, f, peer) : -1;
		if (node < 0)
			return APP_MARK_STRANGER;
		f->node = (uint16_t)(node + 1);
		return APP_MARK_NODE;
	}
	if (policy == CONF_POLICY_TRUSTED || address_trusted(c, &f->remote) ||
	    certificate_trusted(c, peer))
		return APP_MARK_INSIDER;
	return policy == CONF_POLICY_CHALLENGE ? APP_MARK_CHALLENGE : 0;
}

/* ---- introductions ---- */

/* Good for one connection after the other, from this node to the other one's present start. */
static uint64_t proof_of(const struct app_nodes *n, const char *from, const char *to,
			 uint64_t boot)
{
	struct mac m;
	mac_init(&m, &n->link_key);
	mac_add(&m, span_str(from));
	mac_add(&m, span_str(to));
	mac_add_u64(&m, boot);
	return mac_final(&m);
}

size_t app_introduction(const struct app *a, unsigned node, char *buf)
{
	const struct app_nodes *n = a->nodes;
	const char *self = app_node(n, n->conf.self)->name, *to = app_node(n, node)->name;
	struct cluster_node_state s;
	char proof[16];
	cluster_node_state(n->cluster, node, &s);
	if (s.version < CLUSTER_INTRODUCES)
		return 0;
	mac_hex(proof_of(n, self, to, s.boot), proof);
	int len = snprintf(buf, NET_INTRODUCTION_MAX,
			   "OPTIONS sip:%s SIP/2.0\r\n"
			   "Via: SIP/2.0/TCP %s;branch=z9hG4bK%.16s\r\n"
			   "Max-Forwards: 0\r\n"
			   "From: <sip:%s>;tag=link\r\n"
			   "To: <sip:%s>\r\n"
			   "Call-ID: %.16s@%s\r\n"
			   "CSeq: 1 OPTIONS\r\n"
			   "Eaves-Link: n=%s;p=%.16s\r\n"
			   "Content-Length: 0\r\n\r\n",
			   to, self, proof, self, to, proof, self, self, proof);
	return len > 0 && len < NET_INTRODUCTION_MAX ? (size_t)len : 0;
}

static void tell_unknown(const struct app_worker *w, const struct sip_flow *f)
{
	struct app_nodes *n = w->app->nodes;
	uint64_t before = atomic_fetch_add_explicit(&n->strangers, 1, memory_order_relaxed);
	char text[ADDR_TEXT_MAX];
	addr_text(&f->remote, text);
	if (log_may(&n->strangers_logged, loop_now(stack_loop(w->stack))))
		log_event(LOG_WARN, "link-refused", LOG_STR("source", text),
			  LOG_N("so_far", before + 1));
}

/* Who is held for a node of a version before may be a new one all the same: it has been started
 * anew and is not heard on the bus yet, or shares its address with the one that is meant. */
int app_introduced(const struct app_worker *w, const struct sip_msg *m,
		   const struct sip_flow *f, struct net_peer *ret)
{
	const struct app_nodes *n = w->app->nodes;
	struct span v = sip_msg_value(m, SIP_HDR_EAVES_LINK);
	struct span name = link_field(v, 'n');
	int node = cluster_node_by_name(n->cluster, name);
	uint64_t proof;
	if (f->node && !name.n)
		return -ENOENT;
	if (f->transport != SIP_TRANSPORT_TCP || node < 0 || (unsigned)node == n->conf.self ||
	    !addr_host_equal(&n->node[node].addr, &f->remote) ||
	    mac_unhex(link_field(v, 'p'), &proof) < 0 ||
	    !mac_equal(proof, proof_of(n, app_node(n, (unsigned)node)->name,
				       app_node(n, n->conf.self)->name, w->app->boot))) {
		tell_unknown(w, f);
		return -EPERM;
	}
	ret->tag = (unsigned)node + 1;
	return 0;
}

/* ---- the field ---- */

static int unhex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_marks(struct span s, uint32_t *ret)
{
	*ret = 0;
	if (!s.n || s.n > 4)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		int d = unhex(s.p[i]);
		if (d < 0)
			return false;
		*ret = *ret << 4 | (uint32_t)d;
	}
	return true;
}

static bool read_source(struct span s, struct addr *ret)
{
	uint64_t port;
	ptrdiff_t colon = -1;
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] == ':')
			colon = (ptrdiff_t)i;
	if (colon <= 0 ||
	    span_u64(span_of(s.p + colon + 1, s.n - (size_t)colon - 1), 65535, &port) < 0)
		return false;
	return addr_parse(ret, span_of(s.p, (size_t)colon), (uint16_t)port) == 0;
}

/* An edge is handed what homes have sent, a home what homes or edges have. */
static bool is_peer_of(const struct app_nodes *n, unsigned i, struct span pair)
{
	bool at_home = n->conf.node[n->conf.self].role == CLUSTER_HOME;
	return i < n->conf.n && (at_home || n->conf.node[i].role == CLUSTER_HOME) &&
	       span_ieq(pair, span_str(n->conf.node[i].pair));
}

/* What the other member of our pair has handed on as it came is from the node that its Via
 * names: its pair, and it.  Where it does not say (an edge, a home of a version before), from
 * the first one. */
static void real_sender(const struct app_worker *w, const struct sip_msg *m, struct sip_flow *f)
{
	const struct app_nodes *n = w->app->nodes;
	struct sip_via top;
	if (!app_same_pair(w->app, f->node, app_self(w->app)) || sip_msg_top_via(m, &top) < 0)
		return;
	unsigned i = proxy_node_named(&top) - 1u;
	if (!is_peer_of(n, i, top.host))
		for (i = 0; i < n->conf.n && !is_peer_of(n, i, top.host);)
			i++;
	if (i < n->conf.n) {
		f->node = (uint16_t)(i + 1);
		f->handed = true;
	}
}

static void tell_unmarked(const struct app_worker *w, const struct sip_flow *f)
{
	struct app_nodes *n = w->app->nodes;
	uint64_t before = atomic_fetch_add_explicit(&n->unmarked, 1, memory_order_relaxed);
	if (log_may(&n->unmarked_logged, loop_now(stack_loop(w->stack))))
		log_event(LOG_WARN, "link-unmarked",
			  LOG_STR("node", n->conf.node[f->node - 1].name),
			  LOG_N("so_far", before + 1));
}

bool app_from_node(const struct app_worker *w, const struct sip_msg *m, struct sip_flow *f,
		   uint32_t *marks)
{
	const struct sip_hdr *h = sip_msg_first(m, SIP_HDR_EAVES_LINK);
	struct span v = sip_msg_value(m, SIP_HDR_EAVES_LINK);
	uint32_t told;
	*marks &= ~(uint32_t)MARKS_TOLD;
	real_sender(w, m, f);
	if (!h) { /* to a phone along its Path: there is nothing to say */
		f->leg = SIP_TRANSPORT_NONE;
		return true;
	}
	if (sip_msg_next(m, h) || !read_marks(link_field(v, 'm'), &told) ||
	    !read_source(link_field(v, 's'), &f->remote)) {
		tell_unmarked(w, f);
		return false;
	}
	f->leg = sip_transport_parse(link_field(v, 't'));
	*marks |= told & MARKS_TOLD;
	return true;
}

struct span app_node_user(const struct sip_msg *m)
{
	struct span u = link_field(sip_msg_value(m, SIP_HDR_EAVES_LINK), 'u');
	char *out = arena_alloc(sip_arena(), u.n + 1);
	size_t n = 0;
	if (!out)
		return SPAN("");
	for (size_t i = 0; i < u.n; i++) {
		int hi = i + 2 < u.n ? unhex(u.p[i + 1]) : -1;
		int lo = i + 2 < u.n ? unhex(u.p[i + 2]) : -1;
		bool escape = u.p[i] == '%' && hi >= 0 && lo >= 0;
		out[n++] = escape ? (char)(hi << 4 | lo) : u.p[i];
		i += escape ? 2 : 0;
	}
	return span_of(out, n);
}

static struct span escaped(struct span user)
{
	static const char hex[] = "0123456789abcdef";
	char *out = arena_alloc(sip_arena(), 3 * user.n + 1);
	size_t n = 0;
	for (size_t i = 0; out && i < user.n; i++) {
		unsigned char c = (unsigned char)user.p[i];
		if (c < 0x80 && isalnum(c)) {
			out[n++] = (char)c;
			continue;
		}
		out[n++] = '%';
		out[n++] = hex[c >> 4];
		out[n++] = hex[c & 15];
	}
	return span_of(out, n);
}

/* The leg outside of the cluster: behind the node that sent it, or what we see ourselves. */
enum sip_transport app_leg_of(const struct sip_flow *f)
{
	return f->node ? f->leg : f->transport;
}

struct span app_link_line(const struct app_request *q, uint32_t marks)
{
	const struct sip_flow *f = &q->r->src;
	char source[ADDR_TEXT_MAX], hex[16];
	size_t n = addr_text(&f->remote, source);
	mac_hex(marks & MARKS_TOLD, hex);
	return ARENA_JOIN(sip_arena(), SPAN("Eaves-Link: m="), span_of(hex + 12, 4),
			  SPAN(";t="), span_str(sip_transport_uri(app_leg_of(f))), SPAN(";s="),
			  span_of(source, n), SPAN(";u="),
			  marks & APP_MARK_AUTHENTICATED ? escaped(q->user) : SPAN(""),
			  SPAN("\r\n"));
}

/* ---- to a pair ---- */

int app_node_flow(const struct app_worker *w, const char *pair, int prefer,
		  enum sip_transport leg, struct sip_flow *ret)
{
	const struct app_nodes *n = w->app->nodes;
	int node = n ? cluster_member(n->cluster, span_str(pair), prefer) : -1;
	if (node < 0)
		return -EHOSTUNREACH;
	*ret = (struct sip_flow){
		.transport = w->conf->listeners[n->link_listener].transport,
		.listener = n->link_listener,
		.node = (uint16_t)(node + 1),
		.leg = leg,
	};
	return 0;
}

/* No member of the pair lives, as far as is known here. */
static void pair_is_down(struct app_worker *w, const struct app_request *q, const char *pair,
			 msec now)
{
	const struct sip_flow *src = &q->r->src;
	/* By a datagram: it is sent again, to the other member when the address is there.  What
	 * a node has sent is not; to that one the pair may live. */
	if (app_address_left(w->app, src->listener) ||
	    (app_serve_waits(w->app, now) &&
	     (!sip_transport_reliable(src->transport) || app_defer(w, q))))
		return;
	struct app_nodes *n = w->app->nodes;
	uint64_t before = atomic_fetch_add_explicit(&n->pair_down, 1, memory_order_relaxed);
	if (log_may(&n->down_logged, now))
		log_event(LOG_WARN, "pair-down", LOG_STR("pair", pair),
			  LOG_S("call-id", q->r->msg->call_id), LOG_N("so_far", before + 1));
	app_reply(w, q, 503, NULL, SPAN("Retry-After: 5\r\n"));
}

void app_to_pair(struct app_worker *w, const struct app_request *q, const char *pair,
		 int prefer, uint32_t marks, struct proxy_opts *opts, msec now)
{
	struct proxy_target t = {.uri = q->r->uri_text,
				 .q = 1000,
				 .has_flow = true,
				 .flags = PROXY_TARGET_KEEP_URI};
	if (app_node_flow(w, pair, prefer, app_leg_of(&q->r->src), &t.flow) < 0) {
		pair_is_down(w, q, pair, now);
		return;
	}
	struct span line = app_link_line(q, marks);
	opts->lines = opts->lines.n ? ARENA_JOIN(sip_arena(), opts->lines, line) : line;
	opts->strip |= (uint64_t)1 << SIP_HDR_EAVES_LINK;
	opts->via_flow = app_via_token(w, &q->r->src);
	if (sip_arena()->overflow) {
		app_reply(w, q, 500, NULL, SPAN(""));
		return;
	}
	proxy_forward_stateless(stack_proxy(w->stack), q->r, &t, opts, now);
}

int app_hand_to_node(struct app_worker *w, const struct sip_msg *m, const struct sip_flow *src,
		     unsigned node)
{
	const struct sip_flow to = {.node = (uint16_t)(node + 1), .leg = app_leg_of(src)};
	return stack_pass(w->stack, src, &to, m, NULL);
}

/* Between nodes with one hop less: two that hold each other for the right one come to an end.
 * -EPERM: there is none left. */
static int count_hop(const struct app_request *q, struct sip_splice *s)
{
	struct span left = sip_msg_value(q->r->msg, SIP_HDR_MAX_FORWARDS);
	char *text = arena_alloc(sip_arena(), SPAN_DEC_MAX);
	if (!left.n || q->r->max_forwards == 0)
		return -EPERM;
	if (!text)
		return -ENOMEM;
	sip_splice_init(s, q->r->msg);
	sip_splice_replace_span(s, left, span_dec(q->r->max_forwards - 1, text));
	return 0;
}

int app_as_it_came(struct app_worker *w, const struct app_request *q, const struct sip_flow *to)
{
	struct sip_splice s;
	int n = to->node ? count_hop(q, &s) : 0;
	if (n < 0)
		return n;
	return stack_pass(w->stack, &q->r->src, to, q->r->msg, to->node ? &s : NULL);
}
