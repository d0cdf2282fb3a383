/*
 * A caller and his callees' phones around a world (tests/unit/common/proxy/world.h): user
 * agents on the real transaction layer, a network that takes a millisecond, a clock. Everything
 * that a member of the pair gets, sends and writes is counted (world.kill_at).
 */
#ifndef EAVES_TESTS_PHONES_H
#define EAVES_TESTS_PHONES_H

#include "common/sip/build.h"
#include "tests/unit/common/proxy/world.h"

enum { PHONES_MAX = 4, PACKETS_MAX = 512, LATENCY_MS = 1, NODE = -1, CALLER = 0 };

/* Of a phone: when it rings and what it answers, after its INVITE; ring 0: it never says a
 * word. */
struct script {
	msec ring, answer; /* answer 0: never */
	unsigned status;
};

struct ua {
	struct net *net;
	int index; /* CALLER, or that of a phone: 192.0.2.1 knows it as 10.0.0.(1 + index) */
	struct txn_table *tt;
	struct script script;
	struct txn *t; /* the INVITE's */
	struct wheel_timer ring, answer, repeat;
	struct bytes *latest; /* sent */
	struct bytes *ok;     /* a 2xx, repeated until its ACK */
	msec interval;
	unsigned rings, cancels, late_cancels, acks, timeouts, status, finals;
	bool ringing, answered;
};

struct packet {
	msec at;
	int to, from;
	char *text;
};

struct net {
	struct world *w;
	struct ua ua[1 + PHONES_MAX];
	unsigned nphones, npackets;
	struct packet packet[PACKETS_MAX];
	bool ladder;	 /* tell it all */
	uint32_t seed;	 /* 0: nothing is lost, and all takes LATENCY_MS */
	bool dead;	 /* what is for the node is lost */
	msec written_at; /* when the oldest write is done; 0: nothing is written */
	msec write_ms;	 /* 0: at once */
};

static inline uint32_t net_random(struct net *n)
{
	n->seed = n->seed * 1664525u + 1013904223u;
	return n->seed >> 8;
}

/* One line of the ladder. */
static inline void net_tell(const struct net *n, int from, int to, const char *text,
			    const char *mark)
{
	static const char *const name[] = {"node",   "caller", "phone1",
					   "phone2", "phone3", "phone4"};
	const char *cseq = strstr(text, "CSeq: ");
	if (n->ladder)
		printf("%7llu %-6s -> %-6s %.*s  %.*s %s\n",
		       (unsigned long long)(n->w->now - 1000000), name[from + 1], name[to + 1],
		       (int)strcspn(text, "\r"), text, cseq ? (int)strcspn(cseq, "\r") : 0,
		       cseq ? cseq : "", mark);
}

static inline void net_say(const struct net *n, const char *what)
{
	if (n->ladder)
		printf("%7llu ---- %s\n", (unsigned long long)(n->w->now - 1000000), what);
}

static inline void net_send(struct net *n, int from, int to, const char *p, size_t len)
{
	msec takes = LATENCY_MS;
	if (n->seed) { /* one in 20 is lost, the others may pass each other */
		takes += net_random(n) % 30;
		if (net_random(n) % 20 == 0) {
			net_tell(n, from, to, p, "lost");
			return;
		}
	}
	must(n->npackets < PACKETS_MAX);
	struct packet *k = &n->packet[n->npackets++];
	*k = (struct packet){n->w->now + takes, to, from, malloc(len + 1)};
	must(k->text);
	memcpy(k->text, p, len);
	k->text[len] = '\0';
	net_tell(n, from, to, k->text, "");
}

static inline const char *net_address(int ua)
{
	static const char *const text[] = {"udp:10.0.0.1:5060", "udp:10.0.0.2:5060",
					   "udp:10.0.0.3:5060", "udp:10.0.0.4:5060",
					   "udp:10.0.0.5:5060"};
	return text[ua];
}

/* ---- what all have ---- */

static inline void ua_send(void *arg, const struct sip_flow *to, const struct bytes *b,
			   uint64_t id)
{
	struct ua *u = arg;
	(void)to;
	(void)id;
	bytes_unref(u->latest);
	u->latest = bytes_dup(bytes_span(b));
	net_send(u->net, u->index, NODE, b->p, b->n);
}

/* ---- the caller ---- */

static inline void caller_ack(struct ua *u, const struct sip_msg *ok)
{
	char text[2048];
	struct span contact = sip_msg_value(ok, SIP_HDR_CONTACT),
		    route = sip_msg_value(ok, SIP_HDR_RECORD_ROUTE),
		    to = sip_msg_value(ok, SIP_HDR_TO);
	int n = snprintf(
		text, sizeof(text),
		"ACK %.*s SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKack\r\n"
		"Route: %.*s\r\nMax-Forwards: 70\r\n"
		"From: <sip:alice@example.org>;tag=a\r\nTo: %.*s\r\n"
		"Call-ID: c1\r\nCSeq: 1 ACK\r\nContent-Length: 0\r\n\r\n",
		(int)contact.n - 2, contact.p + 1, SPAN_FMT(route), SPAN_FMT(to));
	net_send(u->net, u->index, NODE, text, (size_t)n);
}

static inline void caller_response(void *arg, struct txn *t, const struct sip_msg *m, msec now)
{
	struct ua *u = arg;
	(void)t;
	(void)now;
	if (m->status < 200) {
		u->ringing |= m->status == 180;
		return;
	}
	u->finals++;
	u->status = u->status ? u->status : m->status;
	if (m->status < 300)
		caller_ack(u, m);
}

static inline void ua_failed(void *arg, struct txn *t, enum txn_failure why, msec now)
{
	struct ua *u = arg;
	(void)t;
	(void)now;
	u->timeouts += why == TXN_FAIL_TIMEOUT;
}

static inline void caller_gone(void *arg, struct txn *t)
{
	(void)t;
	((struct ua *)arg)->t = NULL;
}

static inline void caller_invite(struct net *n)
{
	static const struct txn_client_user user = {
		.response = caller_response, .failed = ua_failed, .gone = caller_gone};
	struct ua *u = &n->ua[CALLER];
	struct sip_flow to = world_flow("udp:192.0.2.1:5060", 0);
	struct bytes *b = bytes_dup(
		SPAN("INVITE sip:bob@example.com SIP/2.0\r\n"
		     "Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKa1\r\nMax-Forwards: 70\r\n"
		     "From: <sip:alice@example.org>;tag=a\r\nTo: <sip:bob@example.com>\r\n"
		     "Call-ID: c1\r\nCSeq: 1 INVITE\r\nContact: <sip:alice@10.0.0.1:5060>\r\n"
		     "Content-Type: application/sdp\r\nContent-Length: 5\r\n\r\nv=0\r\n"));
	must(b);
	u->t = txn_client_new(u->tt, SIP_INVITE, SPAN("INVITE"), SPAN("z9hG4bKa1"), b, &to,
			      &user, u, n->w->now);
	must(u->t);
	bytes_unref(b);
}

/* ---- a phone ---- */

static inline void phone_reply(struct ua *u, unsigned status, msec now)
{
	char contact[64];
	int n = snprintf(contact, sizeof(contact), "Contact: <sip:bob@%s>\r\n",
			 net_address(u->index) + 4);
	u->ringing = status < 200;
	txn_reply(u->t, status, span_of(NULL, 0), span_of(contact, (size_t)n), now);
}

static inline void phone_ring(struct wheel_timer *t, msec now)
{
	struct ua *u = container_of(t, struct ua, ring);
	u->rings++;
	phone_reply(u, 180, now);
}

static inline void phone_repeat(struct wheel_timer *t, msec now)
{
	struct ua *u = container_of(t, struct ua, repeat);
	if (!u->t || u->acks)
		return;
	net_send(u->net, u->index, NODE, u->ok->p, u->ok->n);
	u->interval = u->interval * 2 > 4000 ? 4000 : u->interval * 2;
	wheel_arm(&u->net->w->wheel, &u->repeat, now + u->interval);
}

static inline void phone_answer(struct wheel_timer *t, msec now)
{
	struct ua *u = container_of(t, struct ua, answer);
	if (!u->ringing)
		return;
	u->status = u->script.status;
	phone_reply(u, u->status, now);
	if (u->status > 299)
		return;
	u->answered = true;
	u->ok = bytes_ref(u->latest);
	u->interval = 500;
	wheel_arm(&u->net->w->wheel, &u->repeat, now + u->interval);
}

static inline void phone_cancel(void *arg, struct txn *t, const struct sip_msg *m, msec now)
{
	struct ua *u = arg;
	(void)t;
	(void)m;
	u->cancels++;
	u->status = 487;
	wheel_stop(&u->net->w->wheel, &u->ring);
	phone_reply(u, 487, now);
}

static inline void phone_gone(void *arg, struct txn *t)
{
	(void)t;
	((struct ua *)arg)->t = NULL;
}

static inline void phone_request(struct ua *u, const struct sip_msg *m,
				 const struct sip_via *top, msec now)
{
	static const struct txn_server_user user = {
		.cancel = phone_cancel, .failed = ua_failed, .gone = phone_gone};
	struct sip_flow src = world_flow("udp:192.0.2.1:5060", 0);
	if (m->method == SIP_CANCEL && u->answered)
		u->late_cancels++;
	enum txn_request what = txn_recv_request(u->tt, m, top, &src, now);
	if (what == TXN_REQUEST_ACK)
		u->acks++;
	if (what != TXN_REQUEST_NEW || m->method == SIP_ACK)
		return;
	struct txn *t = txn_server_new(u->tt, m, top, &src, &user, u, now);
	must(t);
	if (m->method == SIP_CANCEL) {
		txn_reply(t, 481, span_of(NULL, 0), span_of(NULL, 0), now);
		txn_forget(t);
		return;
	}
	u->t = t;
	wheel_arm(&u->net->w->wheel, &u->ring, now + u->script.ring);
	if (u->script.answer)
		wheel_arm(&u->net->w->wheel, &u->answer, now + u->script.answer);
}

static inline void ua_receive(struct ua *u, const char *text)
{
	struct sip_hdr hdr[SIP_HDR_MAX];
	struct sip_msg m = {.hdr = hdr};
	struct sip_fault fault;
	struct sip_via top;
	msec now = u->net->w->now;
	if (u->index != CALLER && !u->script.ring)
		return; /* switched off */
	must(sip_msg_index(&m, span_str(text), false, &sip_limits_default, &fault) == 0);
	must(sip_msg_top_via(&m, &top) == 0);
	if (m.is_request)
		phone_request(u, &m, &top, now);
	else if (!txn_recv_response(u->tt, &m, &top, NULL, now) && m.status / 100 == 2 &&
		 m.method == SIP_INVITE)
		u->finals++; /* late: its transaction is over */
	arena_reset(&u->net->w->arena);
}

static inline void ua_init(struct net *n, int index)
{
	struct ua *u = &n->ua[index];
	const struct mac_key key = {(uint64_t)index + 100, 5};
	const struct txn_ops ops = {ua_send, u};
	u->net = n;
	u->index = index;
	u->tt = txn_table_new(&n->w->wheel, &txn_timers_default, &ops, &key, 100);
	must(u->tt);
	wheel_timer_init(&u->ring, phone_ring);
	wheel_timer_init(&u->answer, phone_answer);
	wheel_timer_init(&u->repeat, phone_repeat);
}

static inline void ua_done(struct ua *u)
{
	struct wheel *wheel = &u->net->w->wheel;
	wheel_stop(wheel, &u->ring);
	wheel_stop(wheel, &u->answer);
	wheel_stop(wheel, &u->repeat);
	txn_table_free(u->tt);
	bytes_unref(u->ok);
	bytes_unref(u->latest);
}

#endif
