/* Messages are read, kept, spliced and built. */
#include "tests/oom/oom.h"

#include "common/sip/build.h"
#include "common/sip/splice.h"
#include "common/sip/values.h"

static const char text[] =
	"INVITE sip:bob@example.com SIP/2.0\r\n"
	"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx;received=192.0.2.1\r\n"
	"Record-Route: <sip:192.0.2.7;lr>\r\nRoute: <sip:192.0.2.8;lr>\r\n"
	"From: \"Alice\" <sip:alice@example.com>;tag=1\r\nTo: <sip:bob@example.com>\r\n"
	"Call-ID: a@b\r\nCSeq: 1 INVITE\r\nContact: <sip:alice@192.0.2.1>\r\nMax-Forwards: "
	"70\r\n"
	"Content-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello";
static const char answer[] =
	"SIP/2.0 486 Busy Here\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx\r\n"
	"From: \"Alice\" <sip:alice@example.com>;tag=1\r\nTo: <sip:bob@example.com>;tag=2\r\n"
	"Call-ID: a@b\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n";

static void setup(void)
{
	OOM_HOLDS(sip_values_init() == 0);
}

static bool got(struct bytes *b)
{
	bytes_unref(b);
	return b != NULL;
}

/* The number of things that came out. */
static unsigned work(struct sip_msg *m)
{
	struct sip_response r = {.status = 200,
				 .to_tag = SPAN("t"),
				 .lines = SPAN("X: y\r\n"),
				 .content_type = SPAN("text/plain"),
				 .body = SPAN("body")};
	struct sip_hdr hdr[SIP_HDR_MAX];
	struct sip_msg a = {.hdr = hdr};
	struct sip_kept *kept = sip_kept_new(m);
	struct sip_splice s;
	struct sip_fault fault;
	unsigned n = 0;

	OOM_HOLDS(sip_msg_check_values(m, NULL, &fault) == 0 || sip_arena()->overflow);
	OOM_HOLDS(sip_msg_index(&a, SPAN(answer), true, &sip_limits_default, &fault) == 0);
	sip_splice_init(&s, m);
	sip_splice_prepend(&s, SIP_HDR_VIA, SPAN("Via: SIP/2.0/UDP a;branch=z9hG4bKy\r\n"));
	sip_splice_remove_first_value(&s, SIP_HDR_ROUTE);
	n += got(sip_splice_bytes(&s));
	n += got(sip_build_response(m, &r));
	n += got(sip_build_ack(m, &a));
	n += got(sip_build_cancel(m, SPAN("Reason: SIP;cause=200\r\n")));
	n += kept != NULL;
	sip_kept_unref(kept);
	return n;
}

static int run(void)
{
	struct sip_hdr hdr[SIP_HDR_MAX];
	struct sip_msg m = {.hdr = hdr};
	struct sip_fault fault;
	struct arena arena;
	unsigned n;

	if (arena_init(&arena, 65536) < 0)
		return -1;
	sip_values_use_arena(&arena);
	OOM_HOLDS(sip_msg_index(&m, SPAN(text), true, &sip_limits_default, &fault) == 0);
	n = work(&m);
	sip_values_use_arena(NULL);
	arena_done(&arena);
	return n == 5 ? 0 : -1;
}

const struct oom_scenario oom_scenario = {"sip", setup, run};
