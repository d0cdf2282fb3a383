/*
 * Rig of the transaction tests: a table on a virtual clock, a rim that records what is sent and
 * users that record what they are told, both as text: "INVITE@0 INVITE@500", "180@20 gone@32".
 * Times are milliseconds since rig_start().
 */
#ifndef EAVES_TESTS_TXN_RIG_H
#define EAVES_TESTS_TXN_RIG_H

#include "common/txn/txn_priv.h"
#include "tests/unit/unit.h"

#include <stdio.h>

enum { RIG_START = 64000, RIG_LOG = 4096 };

static struct rig {
	struct wheel wheel;
	struct txn_table *tt;
	struct arena arena;
	msec now;
	char sent[RIG_LOG], told[RIG_LOG];
	char last_sent[2048];
	struct sip_flow last_to;
	uint64_t last_id;
	bool fail_sends; /* the rim tells of an error from inside send */
	bool silent;	 /* do not log (mass tests) */
	unsigned nsent, ngone;
	/* What a callback does beside logging. */
	void (*on_response)(struct txn *t, unsigned status);
	void (*on_cancel)(struct txn *t);
	void (*on_failed)(struct txn *t);
	void (*on_gone)(struct txn *t);
	void (*on_send)(const struct bytes *b);
} rig;

/* Each is used by some of the programs alone. */
#define RIG static __attribute__((unused))

RIG void rig_log(char *log, const char *what, int n)
{
	size_t at = strlen(log);
	if (rig.silent)
		return;
	snprintf(log + at, RIG_LOG - at, "%s%.*s@%llu", at ? " " : "", n, what,
		 (unsigned long long)(rig.now - RIG_START));
}

/* A method, or a status. */
RIG void rig_send(void *arg, const struct sip_flow *to, const struct bytes *b, uint64_t id)
{
	const char *word = b->p;
	(void)arg;
	rig.nsent++;
	rig.last_to = *to;
	rig.last_id = id;
	if (!rig.silent) {
		snprintf(rig.last_sent, sizeof(rig.last_sent), "%.*s", (int)b->n, b->p);
		if (!memcmp(word, "SIP/2.0 ", 8))
			word += 8;
		rig_log(rig.sent, word, (int)strcspn(word, " "));
	}
	if (rig.on_send)
		rig.on_send(b);
	if (rig.fail_sends)
		txn_transport_error(rig.tt, id, rig.now);
}

RIG void rig_on_response(void *arg, struct txn *t, const struct sip_msg *m, msec now)
{
	char status[8];
	(void)arg;
	(void)now;
	snprintf(status, sizeof(status), "%u", (unsigned)m->status);
	rig_log(rig.told, status, 3);
	if (rig.on_response)
		rig.on_response(t, m->status);
}

RIG void rig_on_failed(void *arg, struct txn *t, enum txn_failure why, msec now)
{
	(void)arg;
	(void)now;
	static const char *const name[] = {"timeout", "transport", "unknown"};
	rig_log(rig.told, name[why], 10);
	if (rig.on_failed)
		rig.on_failed(t);
}

RIG void rig_on_gone(void *arg, struct txn *t)
{
	(void)arg;
	rig.ngone++;
	rig_log(rig.told, "gone", 10);
	if (rig.on_gone)
		rig.on_gone(t);
}

RIG void rig_on_cancel(void *arg, struct txn *t, const struct sip_msg *m, msec now)
{
	(void)arg;
	(void)now;
	if (m->method != SIP_CANCEL)
		ck_abort_msg("told of a CANCEL that is none");
	rig_log(rig.told, "cancel", 10);
	if (rig.on_cancel)
		rig.on_cancel(t);
}

static const struct txn_client_user rig_client_user __attribute__((unused)) = {
	.response = rig_on_response,
	.failed = rig_on_failed,
	.gone = rig_on_gone,
};
static const struct txn_server_user rig_server_user __attribute__((unused)) = {
	.cancel = rig_on_cancel,
	.failed = rig_on_failed,
	.gone = rig_on_gone,
};

RIG void rig_start_limit(size_t limit)
{
	static const struct mac_key key = {11, 22};
	const struct txn_ops ops = {.send = rig_send};
	memset(&rig, 0, sizeof(rig));
	rig.now = RIG_START;
	wheel_init(&rig.wheel, rig.now);
	ck_assert_int_eq(arena_init(&rig.arena, 65536), 0);
	ck_assert_int_eq(sip_values_init(), 0);
	sip_values_use_arena(&rig.arena);
	rig.tt = txn_table_new(&rig.wheel, &txn_timers_default, &ops, &key, limit);
	txn_table_tell_merged(rig.tt);
	ck_assert_ptr_nonnull(rig.tt);
}

RIG void rig_start(void)
{
	rig_start_limit(1000);
}

RIG void rig_stop(void)
{
	txn_table_free(rig.tt);
	ck_assert_uint_eq(rig.wheel.armed, 0);
	arena_done(&rig.arena);
}

RIG void rig_advance(msec ms)
{
	/* The rim's clock moves with each tick that fires. */
	for (msec end = rig.now + ms; rig.now < end;) {
		int64_t wait = wheel_wait(&rig.wheel, rig.now);
		msec step = end - rig.now;
		if (wait >= 0 && (msec)wait < step)
			step = wait ? (msec)wait : 1;
		rig.now += step;
		wheel_advance(&rig.wheel, rig.now);
	}
}

/* Up to a time since the start. */
RIG void rig_until(msec at)
{
	ck_assert_uint_ge(RIG_START + at, rig.now);
	rig_advance(RIG_START + at - rig.now);
}

/* What was sent (told) since the last look. */
RIG const char *rig_take(char *log)
{
	static char out[2][RIG_LOG];
	static unsigned turn;
	char *o = out[turn++ % 2];
	memcpy(o, log, RIG_LOG);
	log[0] = '\0';
	return o;
}
#define assert_sent(text)     ck_assert_str_eq(rig_take(rig.sent), text)
#define assert_told(text)     ck_assert_str_eq(rig_take(rig.told), text)
#define assert_state(t, name) ck_assert_str_eq(txn_state_name(t), name)
#define assert_live(n)	      ck_assert_uint_eq(txn_table_counters(rig.tt)->live, n)

RIG struct sip_flow rig_flow(enum sip_transport transport)
{
	struct sip_flow f = {.transport = transport};
	ck_assert_int_eq(addr_parse(&f.remote, SPAN("192.0.2.9"), 5062), 0);
	if (sip_transport_reliable(transport))
		f.conn = 7;
	return f;
}

/* ---- messages ---- */

/* Indexed, with its top Via; the bytes are the caller's until the next one. */
struct rig_msg {
	char text[2048];
	struct sip_hdr hdr[SIP_HDR_MAX];
	struct sip_msg m;
	struct sip_via top;
};

RIG struct rig_msg *rig_index(struct rig_msg *r)
{
	struct sip_fault fault = {0};
	arena_reset(&rig.arena);
	r->m.hdr = r->hdr;
	int e = sip_msg_index(&r->m, span_str(r->text), true, &sip_limits_default, &fault);
	ck_assert_msg(e == 0, "%s", fault.reason);
	ck_assert_int_eq(sip_msg_top_via(&r->m, &r->top), 0);
	return r;
}

/* What differs from case to case; NULL: the usual. */
struct rig_req {
	const char *method, *uri, *via, *branch, *from, *to, *call_id, *cseq, *more;
};

RIG struct rig_msg *rig_request(struct rig_req q)
{
	static struct rig_msg out[2];
	static unsigned turn;
	struct rig_msg *r = &out[turn++ % 2];
	char via[256];
#define OR(field, usual) (q.field ? q.field : (usual))
	snprintf(via, sizeof(via), "SIP/2.0/UDP 192.0.2.9:5062%s%s",
		 *OR(branch, "x") ? ";branch=" : "", OR(branch, "z9hG4bKone"));
	snprintf(r->text, sizeof(r->text),
		 "%s %s SIP/2.0\r\nVia: %s\r\nMax-Forwards: 70\r\nFrom: %s\r\nTo: %s\r\n"
		 "Call-ID: %s\r\nCSeq: %s %s\r\n%sContent-Length: 0\r\n\r\n",
		 q.method, OR(uri, "sip:bob@example.com"), OR(via, via),
		 OR(from, "<sip:alice@example.com>;tag=a1"), OR(to, "<sip:bob@example.com>"),
		 OR(call_id, "call-1@192.0.2.9"), OR(cseq, "1"), q.method, OR(more, ""));
#undef OR
	return rig_index(r);
}
#define REQUEST(...) rig_request((struct rig_req){__VA_ARGS__})

RIG enum txn_request rig_recv(struct rig_msg *r)
{
	struct sip_flow f = rig_flow(SIP_TRANSPORT_UDP);
	return txn_recv_request(rig.tt, &r->m, &r->top, &f, rig.now);
}

/* A server transaction of a new request. */
RIG struct txn *rig_server(struct rig_msg *r, enum sip_transport transport)
{
	struct sip_flow f = rig_flow(transport);
	enum txn_request what = txn_recv_request(rig.tt, &r->m, &r->top, &f, rig.now);
	ck_assert(what == TXN_REQUEST_NEW || what == TXN_REQUEST_MERGED);
	return txn_server_new(rig.tt, &r->m, &r->top, &f, &rig_server_user, NULL, rig.now);
}

RIG struct txn *rig_client_branch(const char *method, const char *branch,
				  enum sip_transport transport)
{
	struct rig_msg *r = REQUEST(.method = method, .branch = branch);
	struct bytes *b = bytes_dup(span_str(r->text));
	struct sip_flow to = rig_flow(transport);
	struct txn *t =
		txn_client_new(rig.tt, sip_method_parse(span_str(method)), span_str(method),
			       span_str(branch), b, &to, &rig_client_user, NULL, rig.now);
	bytes_unref(b);
	return t;
}

RIG struct txn *rig_client(const char *method, enum sip_transport transport)
{
	return rig_client_branch(method, "z9hG4bKc1", transport);
}

RIG struct rig_msg *rig_response(const char *method, const char *branch, unsigned status)
{
	static struct rig_msg r;
	snprintf(r.text, sizeof(r.text),
		 "SIP/2.0 %u Some Reason\r\nVia: SIP/2.0/UDP 192.0.2.9:5062;branch=%s\r\n"
		 "From: <sip:alice@example.com>;tag=a1\r\nTo: <sip:bob@example.com>;tag=b1\r\n"
		 "Call-ID: call-1@192.0.2.9\r\nCSeq: 1 %s\r\nContent-Length: 0\r\n\r\n",
		 status, branch, method);
	return rig_index(&r);
}

/* A response to rig_client()'s request comes in. */
RIG bool rig_answer(const char *method, unsigned status)
{
	struct rig_msg *r = rig_response(method, "z9hG4bKc1", status);
	struct sip_flow f = rig_flow(SIP_TRANSPORT_UDP);
	return txn_recv_response(rig.tt, &r->m, &r->top, &f, rig.now);
}

RIG int rig_reply(struct txn *t, unsigned status)
{
	return txn_reply(t, status, span_str(NULL), SPAN(""), rig.now);
}

#endif
