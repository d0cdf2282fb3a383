/*
 * Figures 5 to 8: an INVITE that is served and refused, an INVITE that is sent, rings and is
 * cancelled, an OPTIONS either way.  Whatever fails, nothing lives when all timers have run.
 */
#include "tests/oom/message.h"

#include "common/txn/txn.h"

static struct wheel wheel;
static struct txn_table *tt;
static msec now;
static unsigned sent, finals;
static char last[4096];
static struct message msg;

static void on_send(void *arg, const struct sip_flow *to, const struct bytes *b, uint64_t id)
{
	(void)arg;
	(void)to;
	(void)id;
	sent++;
	OOM_HOLDS(b->n < sizeof(last));
	memcpy(last, b->p, b->n);
	last[b->n] = '\0';
}

static void on_response(void *arg, struct txn *t, const struct sip_msg *m, msec at)
{
	(void)arg;
	(void)t;
	(void)at;
	finals += m->status >= 200;
}

static const struct txn_client_user client = {.response = on_response};
static const struct txn_server_user server = {0};

static void setup(void)
{
	OOM_HOLDS(sip_values_init() == 0);
}

static void advance(msec ms)
{
	now += ms;
	wheel_advance(&wheel, now);
}

/* A request is served: 1 when its answer left. */
static unsigned serve(const char *method, const char *branch)
{
	struct sip_flow src = message_flow("192.0.2.9");
	struct txn *t;

	if (!message_request(&msg, method, branch, NULL) ||
	    txn_recv_request(tt, &msg.m, &msg.top, &src, now) != TXN_REQUEST_NEW)
		return 0;
	t = txn_server_new(tt, &msg.m, &msg.top, &src, &server, NULL, now);
	if (!t)
		return 0;
	if (msg.m.method == SIP_INVITE)
		txn_reply(t, 180, (struct span){NULL, 0}, (struct span){NULL, 0}, now);
	if (txn_reply(t, 486, (struct span){NULL, 0}, (struct span){NULL, 0}, now) < 0) {
		txn_forget(t);
		return 0;
	}
	txn_recv_request(tt, &msg.m, &msg.top, &src, now);
	advance(700);
	if (message_request(&msg, "ACK", branch, "x"))
		txn_recv_request(tt, &msg.m, &msg.top, &src, now);
	return 1;
}

static void answer(const char *request, unsigned status)
{
	struct sip_flow src = message_flow("192.0.2.9");

	if (message_response(&msg, request, status))
		txn_recv_response(tt, &msg.m, &msg.top, &src, now);
}

/* A request is sent, and cancelled when it is an INVITE: 1 when all was done. */
static unsigned send_one(enum sip_method method, const char *branch)
{
	struct sip_flow to = message_flow("192.0.2.9");
	char request[4096];
	unsigned before = sent, had = finals;
	struct bytes *b;
	struct txn *t;

	if (!message_request(&msg, sip_method_name(method), branch, NULL))
		return 0;
	strcpy(request, msg.text);
	b = bytes_dup(span_str(request));
	if (!b)
		return 0;
	t = txn_client_new(tt, method, msg.m.method_text, span_str(branch), b, &to, &client,
			   NULL, now);
	bytes_unref(b);
	if (!t)
		return 0;
	advance(600);
	answer(request, 180);
	if (method == SIP_INVITE) {
		txn_cancel(t, SPAN("Reason: SIP;cause=200\r\n"), now);
		if (strncmp(last, "CANCEL", 6) == 0) {
			char cancel[4096];

			strcpy(cancel, last);
			answer(cancel, 200);
		}
	}
	answer(request, 487);
	return finals > had && sent - before >= (method == SIP_INVITE ? 4 : 2);
}

static unsigned work(void)
{
	unsigned n = serve("INVITE", "z9hG4bKs1") + serve("OPTIONS", "z9hG4bKs2");

	n += send_one(SIP_INVITE, "z9hG4bKc1") + send_one(SIP_OPTIONS, "z9hG4bKc2");
	for (unsigned i = 0; i < 100; i++)
		advance(5000);
	OOM_HOLDS(txn_table_counters(tt)->live == 0);
	OOM_HOLDS(wheel.armed == 0);
	return n;
}

static int run(void)
{
	static const struct mac_key key = {1, 2};
	const struct txn_ops ops = {.send = on_send};
	struct arena arena;
	unsigned n = 0;

	now = 1000;
	sent = finals = 0;
	wheel_init(&wheel, now);
	if (arena_init(&arena, 262144) < 0)
		return -1;
	sip_values_use_arena(&arena);
	tt = txn_table_new(&wheel, &txn_timers_default, &ops, &key, 100);
	if (tt)
		n = work();
	txn_table_free(tt);
	sip_values_use_arena(NULL);
	arena_done(&arena);
	return n == 4 ? 0 : -1;
}

const struct oom_scenario oom_scenario = {"txn", setup, run};
