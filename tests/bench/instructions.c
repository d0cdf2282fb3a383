/*
 * A fixed replay for counting instructions: calls (INVITE to BYE) and MESSAGEs through index,
 * checks, stamp, transactions and proxy, with a rim that keeps what is sent in memory and a
 * clock of its own.  No sockets.  instructions.sh runs it under callgrind, which collects
 * inside of the on_*() functions alone: one for each kind of message, and one for time.
 */
#include "common/proxy/proxy.h"
#include "common/sip/build.h"
#include "common/sip/stamp.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { OPERATIONS = 2000, BUF_BYTES = 4096, SECRET = 7 };

#define STEP __attribute__((noinline))

static struct bench {
	struct wheel wheel;
	struct arena arena;
	struct txn_table *tt;
	struct proxy *p;
	struct sip_msg msg;
	struct sip_hdr hdr[SIP_HDR_MAX];
	char sent[BUF_BYTES]; /* the latest */
	size_t nsent;
	unsigned forwarded, wrong;
	char contact[64];
} b;

static const struct proxy_local here = {SIP_TRANSPORT_UDP, {"192.0.2.1", 9}, 5060, false};

static const struct proxy_local *local(void *arg, uint16_t listener)
{
	(void)arg;
	(void)listener;
	return &here;
}

static int listener_for(void *arg, const struct locate_target *t, uint16_t hint)
{
	(void)arg;
	(void)t;
	(void)hint;
	return 0;
}

static bool is_local(void *arg, struct span host, uint16_t port)
{
	(void)arg;
	return (port == 0 || port == 5060) &&
	       (span_ieq(host, SPAN("example.com")) || span_ieq(host, here.host));
}

static int locate(void *arg, const struct sip_uri *u, msec now, locate_done done,
		  void *done_arg, struct locate_result *ret, struct locate_query **ret_query)
{
	(void)arg;
	(void)now;
	(void)done;
	(void)done_arg;
	(void)ret_query;
	ret->n = 1;
	ret->v[0].transport = SIP_TRANSPORT_UDP;
	return addr_parse(&ret->v[0].addr, u->host, u->port) == 0 ? 1 : -ENOENT;
}

static void keep_sent(const struct iovec *iov, int n)
{
	b.nsent = 0;
	for (int i = 0; i < n && b.nsent + iov[i].iov_len <= sizeof(b.sent); i++) {
		memcpy(b.sent + b.nsent, iov[i].iov_base, iov[i].iov_len);
		b.nsent += iov[i].iov_len;
	}
	b.forwarded++;
}

static void send_iov(void *arg, const struct sip_flow *to, const struct iovec *iov, int n)
{
	(void)arg;
	(void)to;
	keep_sent(iov, n);
}

static void send_bytes(void *arg, const struct sip_flow *to, const struct bytes *bytes,
		       uint64_t id)
{
	struct iovec iov = {(char *)bytes->p, bytes->n};
	(void)arg;
	(void)to;
	(void)id;
	keep_sent(&iov, 1);
}

static void start(void)
{
	const struct mac_key key = {SECRET, SECRET};
	const struct txn_ops tops = {.send = send_bytes};
	const struct proxy_ops ops = {
		.local = local,
		.listener_for = listener_for,
		.is_local = is_local,
		.locate = locate,
		.send = send_iov,
	};
	wheel_init(&b.wheel, 1000);
	b.msg.hdr = b.hdr;
	if (sip_values_init() < 0 || arena_init(&b.arena, 65536) < 0)
		exit(1);
	sip_values_use_arena(&b.arena);
	b.tt = txn_table_new(&b.wheel, &txn_timers_default, &tops, &key, 1000000);
	b.p = b.tt ? proxy_new(&proxy_conf_default, &ops, b.tt, &b.wheel, &key) : NULL;
	if (!b.p)
		exit(1);
}

/* ---- as common/stack has it ---- */

static void request(const struct sip_via *top, const struct sip_flow *src)
{
	struct proxy_target t = {.uri = span_str(b.contact), .q = 1000};
	struct proxy_request r;
	struct proxy_fault fault;
	if (txn_recv_request(b.tt, &b.msg, top, src, b.wheel.now) == TXN_REQUEST_ABSORBED)
		return;
	if (proxy_validate(b.p, &b.msg, top, src, &r, &fault) < 0)
		b.wrong++;
	else if (b.msg.method == SIP_ACK)
		b.wrong += proxy_forward_stateless(b.p, &r, NULL, NULL, b.wheel.now) != 0;
	else
		b.wrong +=
			proxy_forward(b.p, &r, &t, r.to_tag.p ? 0 : 1, NULL, b.wheel.now) != 0;
}

static void deliver(char *buf, size_t n, const struct sip_flow *src)
{
	struct sip_fault fault;
	struct sip_via top;
	arena_reset(&b.arena);
	if (sip_msg_index(&b.msg, span_of(buf, n), false, &sip_limits_default, &fault) < 0 ||
	    sip_msg_check_values(&b.msg, &top, &fault) < 0)
		b.wrong++;
	else if (!b.msg.is_request)
		b.wrong += !txn_recv_response(b.tt, &b.msg, &top, src, b.wheel.now);
	else if (sip_stamp_via(&b.msg, buf, BUF_BYTES, &top, &src->remote) < 0)
		b.wrong++;
	else
		request(&top, src);
}

#define ON(what)                                                                         \
	STEP void on_##what(char *buf, size_t n, const struct sip_flow *src);            \
	STEP void on_##what(char *buf, size_t n, const struct sip_flow *src)             \
	{                                                                                \
		deliver(buf, n, src);                                                    \
		__asm__ volatile(""); /* keeps the frame: callgrind switches off here */ \
	}
ON(invite)
ON(ringing)
ON(answer)
ON(ack)
ON(bye)
ON(bye_answer)
ON(message)
ON(message_answer)

STEP void on_time(msec now);
STEP void on_time(msec now)
{
	wheel_advance(&b.wheel, now);
	__asm__ volatile("");
}

/* ---- the phones ---- */

typedef void on_fn(char *buf, size_t n, const struct sip_flow *src);

static const char sdp[] =
	"v=0\r\no=a 1 1 IN IP4 198.51.100.11\r\ns=-\r\nc=IN IP4 198.51.100.11\r\nt=0 0\r\n"
	"m=audio 30000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\n";

static void ask(on_fn *on, const char *method, unsigned call, unsigned cseq, bool in_dialog,
		const char *route, const char *body)
{
	char buf[BUF_BYTES];
	struct sip_flow src = {.transport = SIP_TRANSPORT_UDP};
	addr_parse(&src.remote, SPAN("198.51.100.11"), 5070);
	int n = snprintf(
		buf, sizeof(buf),
		"%s sip:%s SIP/2.0\r\n"
		"Via: SIP/2.0/UDP 198.51.100.11:5070;rport;branch=z9hG4bK%08x%08x%s\r\n"
		"Max-Forwards: 70\r\n%s"
		"From: \"Alice\" <sip:alice@example.com>;tag=%08xa\r\n"
		"To: <sip:bob@example.com>%s\r\n"
		"Call-ID: %08x-6f2d-4d1c-9a52@198.51.100.11\r\n"
		"CSeq: %u %s\r\n"
		"Contact: <sip:alice@198.51.100.11:5070>\r\n"
		"User-Agent: Phone/1.0\r\n"
		"Content-Type: application/sdp\r\n"
		"Content-Length: %zu\r\n\r\n%s",
		method, in_dialog ? b.contact + 4 : "bob@example.com", call, cseq, method,
		route, call, in_dialog ? ";tag=bob" : "", call, cseq, method, strlen(body),
		body);
	on(buf, (size_t)n, &src);
}

/* The other phone's answer to the request sent latest; Record-Route's line, as a Route. */
static void tell(on_fn *on, const char *request_bytes, size_t len, unsigned status,
		 char route[256])
{
	struct sip_hdr hdr[SIP_HDR_MAX];
	struct sip_msg m = {.hdr = hdr};
	struct sip_fault fault;
	struct sip_flow src = {.transport = SIP_TRANSPORT_UDP};
	struct sip_response r = {.status = status,
				 .to_tag = SPAN("bob"),
				 .lines = SPAN("Contact: <sip:bob@198.51.100.12:5080>\r\n")};
	char buf[BUF_BYTES];
	if (sip_msg_index(&m, span_of(request_bytes, len), false, &sip_limits_default, &fault))
		exit(1);
	struct span rr = sip_msg_value(&m, SIP_HDR_RECORD_ROUTE);
	if (route)
		snprintf(route, 256, "Route: %.*s\r\n", SPAN_FMT(rr));
	struct bytes *out = sip_build_response(&m, &r);
	if (!out || out->n > sizeof(buf))
		exit(1);
	memcpy(buf, out->p, out->n);
	addr_parse(&src.remote, SPAN("198.51.100.12"), 5080);
	on(buf, out->n, &src);
	bytes_unref(out);
}

static void call(unsigned i)
{
	char invite[BUF_BYTES], route[256];
	size_t n;
	snprintf(b.contact, sizeof(b.contact), "sip:bob@198.51.100.12:5080");
	ask(on_invite, "INVITE", i, 1, false, "", sdp);
	n = b.nsent;
	memcpy(invite, b.sent, n);
	tell(on_ringing, invite, n, 180, route);
	tell(on_answer, invite, n, 200, NULL);
	ask(on_ack, "ACK", i, 1, true, route, "");
	ask(on_bye, "BYE", i, 2, true, route, "");
	tell(on_bye_answer, b.sent, b.nsent, 200, NULL);
	ask(on_message, "MESSAGE", i, 3, false, "", "Hello, Bob.");
	tell(on_message_answer, b.sent, b.nsent, 200, NULL);
}

/* 20 ms an operation: 40 s in all, so that transactions end too. */
int main(void)
{
	start();
	for (unsigned i = 0; i < OPERATIONS; i++) {
		call(i);
		on_time(b.wheel.now + 20);
	}
	printf("operations %d forwarded %u wrong %u\n", OPERATIONS, b.forwarded, b.wrong);
	bool good = b.wrong == 0 && b.forwarded == 8 * OPERATIONS;
	proxy_free(b.p);
	txn_table_free(b.tt);
	sip_values_use_arena(NULL);
	arena_done(&b.arena);
	return good ? 0 : 1;
}
