/*
 * Every allocation fails in its turn while calls are forked, challenged, redirected, cancelled
 * and forwarded statelessly: no crash, nothing is left behind, whoever asked gets an answer or
 * the layer below ends the transaction.  Not with a sanitizer, which has the allocator for
 * itself.
 */
#include "tests/unit/common/proxy/world.h"

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t k, size_t n);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t align, size_t n);
void __libc_free(void *p);

static volatile bool armed;
static volatile long countdown, live;

static bool fails(void)
{
	return armed && !world_calm && --countdown == 0;
}

void *malloc(size_t n)
{
	void *p = fails() ? NULL : __libc_malloc(n);
	live += p != NULL;
	return p;
}

void *calloc(size_t k, size_t n)
{
	void *p = fails() ? NULL : __libc_calloc(k, n);
	live += p != NULL;
	return p;
}

void *realloc(void *old, size_t n)
{
	if (!old)
		return malloc(n);
	return fails() ? NULL : __libc_realloc(old, n);
}

void *aligned_alloc(size_t align, size_t n)
{
	void *p = fails() ? NULL : __libc_memalign(align, n);
	live += p != NULL;
	return p;
}

void free(void *p)
{
	live -= p != NULL;
	__libc_free(p);
}

static const struct sip_flow *flow(const char *text)
{
	static struct sip_flow f;
	f = world_flow(text, 0);
	return &f;
}

static void request(struct world *w, const char *method, const char *uri, int n)
{
	char text[1024];
	snprintf(text, sizeof(text),
		 "%s %s SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKr%d\r\n"
		 "From: <sip:a@example.org>;tag=a\r\nTo: <sip:bob@example.com>\r\n"
		 "Call-ID: c%d\r\nCSeq: 1 %s\r\nMax-Forwards: 70\r\n"
		 "Content-Length: 0\r\n\r\n",
		 method, uri, n, n, method);
	world_recv(w, text, flow("udp:10.0.0.1:5060"));
}

/* The last INVITE that went to `from` is answered; without one nothing is. */
static void answer(struct world *w, const char *from, const char *status_line, const char *more)
{
	static const char *const copied[] = {"Via:", "From:", "To:", "Call-ID:", "CSeq:"};
	char out[4096];
	unsigned i = w->nsent;
	while (i-- > 0)
		if (!strcmp(w->sent[i].to, from) && !strncmp(w->sent[i].text, "INVITE", 6))
			break;
	if (i >= w->nsent)
		return;
	int n = sprintf(out, "SIP/2.0 %s\r\n", status_line);
	for (const char *p = w->sent[i].text; strncmp(p, "\r\n", 2) != 0;
	     p = strstr(p, "\r\n") + 2)
		for (unsigned k = 0; k < 5; k++)
			if (!strncmp(p, copied[k], strlen(copied[k])))
				n += sprintf(out + n, "%.*s%s\r\n", (int)strcspn(p, "\r"), p,
					     k == 2 ? ";tag=t" : "");
	sprintf(out + n, "%sContent-Length: 0\r\n\r\n", more);
	world_recv(w, out, flow(from));
}

static void add_target(struct world *w, struct span uri)
{
	w->targets[w->ntargets++] = (struct proxy_target){.uri = uri, .q = 1000};
}

static void set_scene(struct world *w)
{
	w->conf.recurse_3xx = true;
	w->nnames = 2;
	strcpy(w->names[0].host, "pbx.example.net");
	w->names[0].r.n = 2;
	w->names[0].r.v[0].transport = w->names[0].r.v[1].transport = SIP_TRANSPORT_UDP;
	w->names[0].r.v[0].addr = flow("udp:10.0.0.4:5060")->remote;
	w->names[0].r.v[1].addr = flow("udp:10.0.0.5:5060")->remote;
	strcpy(w->names[1].host, "slow.example.net");
	w->names[1] = (struct name){"slow.example.net", w->names[0].r, 0, true};
	add_target(w, SPAN("sip:b@10.0.0.2:5060"));
	add_target(w, SPAN("sip:b@10.0.0.3:5060"));
	add_target(w, SPAN("sip:b@pbx.example.net"));
	world_start(w);
}

/* The other member begins with nothing, and with what it needs to live. */
static void take_over(struct world *w)
{
	world_calm++;
	world_kill(w);
	world_calm--;
}

static void play(struct world *w)
{
	request(w, "INVITE", "sip:bob@example.com", 1);
	answer(w, "udp:10.0.0.2:5060", "180 Ringing", "");
	answer(w, "udp:10.0.0.2:5060", "401 No", "WWW-Authenticate: Digest realm=\"a\"\r\n");
	answer(w, "udp:10.0.0.3:5060", "407 No", "Proxy-Authenticate: Digest realm=\"b\"\r\n");
	answer(w, "udp:10.0.0.4:5060", "503 No", "");
	answer(w, "udp:10.0.0.5:5060", "302 No",
	       "Contact: <sip:b@10.0.0.6:5060>, <tel:+1>\r\n");
	answer(w, "udp:10.0.0.6:5060", "486 No", "");
	request(w, "INVITE", "sip:bob@example.com", 2);
	answer(w, "udp:10.0.0.2:5060", "180 Ringing", "");
	request(w, "CANCEL", "sip:bob@example.com", 2);
	answer(w, "udp:10.0.0.2:5060", "200 OK", "");
	request(w, "INVITE", "sip:bob@example.com", 4);
	take_over(w);
	answer(w, "udp:10.0.0.2:5060", "180 Ringing", "");
	answer(w, "udp:10.0.0.3:5060", "183 Early", "");
	take_over(w);
	request(w, "CANCEL", "sip:bob@example.com", 4);
	answer(w, "udp:10.0.0.2:5060", "487 Terminated", "");
	take_over(w);
	answer(w, "udp:10.0.0.2:5060", "487 Terminated", "");
	answer(w, "udp:10.0.0.3:5060", "180 Ringing", "");
	w->opts.journal = &w->forks.journal;
	request(w, "INVITE", "sip:bob@example.com", 5);
	answer(w, "udp:10.0.0.2:5060", "401 No", "WWW-Authenticate: Digest realm=\"a\"\r\n");
	answer(w, "udp:10.0.0.3:5060", "302 No", "Contact: <sip:b@10.0.0.6:5060>\r\n");
	take_over(w);
	world_adopt_all(w);
	answer(w, "udp:10.0.0.6:5060", "180 Ringing", "");
	request(w, "CANCEL", "sip:bob@example.com", 5);
	take_over(w);
	answer(w, "udp:10.0.0.6:5060", "487 Terminated", "");
	w->stateless = true;
	w->ntargets = 0;
	request(w, "OPTIONS", "sip:bob@slow.example.net", 3);
	for (unsigned i = 0; i < w->nlater; i++)
		if (w->later[i].live)
			w->later[i].done(w->later[i].arg, 0, &w->names[1].r);
	for (int i = 0; i < 8; i++)
		world_advance(w, 100000);
}

START_TEST(each_allocation_may_fail)
{
	long n, played;
	for (n = 0;; n++) { /* 0: nothing fails, but what is made once is made */
		long before = live;
		struct world *w = world_new();
		set_scene(w);
		countdown = n;
		armed = true;
		play(w);
		armed = false;
		played = countdown;
		ck_assert_msg(txn_table_counters(w->tt)->live == 0,
			      "allocation %ld: transactions left", n);
		world_free(w);
		ck_assert_msg(!n || live == before, "allocation %ld: %ld left", n,
			      live - before);
		if (n && played > 0)
			break;
	}
	ck_assert_int_gt(n, 30); /* it did fail in many places */
}
END_TEST

#else

START_TEST(each_allocation_may_fail)
{
}
END_TEST

#endif

UNIT_MAIN("proxy out of memory", each_allocation_may_fail)
