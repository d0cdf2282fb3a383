/*
 * 16.6 to 16.10: an INVITE forked to two targets, one busy, one answers; an INVITE that is
 * cancelled while it rings; an OPTIONS with a look-up that takes a while; an ACK without a
 * transaction.  Whatever fails, nothing lives when all timers have run.
 */
#include "tests/oom/message.h"

#include "common/journal/journal.h"
#include "common/proxy/rebuild.h"

#include <errno.h>

enum { SENT_MAX = 64 };

static const struct proxy_local local = {SIP_TRANSPORT_UDP, {"192.0.2.1", 9}, 5060, false};
static struct wheel wheel;
static struct txn_table *tt;
static struct proxy *proxy;
static struct arena arena;
static msec now;
static unsigned nsent;
static char sent[SENT_MAX][4096];
static struct message msg;
static locate_done waiting;
static void *waiting_arg;

static const struct proxy_local *get_local(void *arg, uint16_t listener)
{
	(void)arg;
	return listener == 0 ? &local : NULL;
}

static int listener_for(void *arg, const struct locate_target *t, uint16_t hint)
{
	(void)arg;
	(void)hint;
	return t->transport == SIP_TRANSPORT_UDP ? 0 : -ENOENT;
}

static bool is_local(void *arg, struct span host, uint16_t port)
{
	(void)arg;
	(void)port;
	return span_ieq(host, SPAN("192.0.2.1"));
}

static int locate(void *arg, const struct sip_uri *u, msec at, locate_done done, void *done_arg,
		  struct locate_result *ret, struct locate_query **ret_q)
{
	(void)arg;
	(void)at;
	ret->n = 1;
	ret->v[0].transport = SIP_TRANSPORT_UDP;
	if (addr_parse(&ret->v[0].addr, u->host, u->port ? u->port : 5060) == 0)
		return 1;
	waiting = done;
	waiting_arg = done_arg;
	*ret_q = (struct locate_query *)&waiting;
	return 0;
}

static void locate_stop(void *arg, struct locate_query *q)
{
	(void)arg;
	(void)q;
	waiting = NULL;
}

static void target_failed(void *arg, const struct locate_target *t, msec at)
{
	(void)arg;
	(void)t;
	(void)at;
}

static void txn_send(void *arg, const struct sip_flow *to, const struct bytes *b, uint64_t id)
{
	(void)arg;
	(void)to;
	(void)id;
	OOM_HOLDS(b->n < sizeof(sent[0]));
	if (nsent == SENT_MAX)
		return; /* retransmissions while all timers run */
	memcpy(sent[nsent], b->p, b->n);
	sent[nsent++][b->n] = '\0';
}

static void proxy_send(void *arg, const struct sip_flow *to, const struct iovec *iov, int n)
{
	size_t at = 0;

	(void)arg;
	(void)to;
	if (nsent == SENT_MAX)
		return;
	for (int i = 0; i < n; i++) {
		OOM_HOLDS(at + iov[i].iov_len < sizeof(sent[0]));
		memcpy(sent[nsent] + at, iov[i].iov_base, iov[i].iov_len);
		at += iov[i].iov_len;
	}
	sent[nsent++][at] = '\0';
}

/* The record of one call; both members see it. */
static struct bytes *record;
static bool journalling;
enum { WALL_MS = 1000000 };

static void journal_write(void *arg, const struct proxy_fork *f, void (*done)(void *done_arg),
			  void *done_arg)
{
	(void)arg;
	bytes_unref(record);
	record = journal_pack(f, WALL_MS);
	done(done_arg);
}

static void journal_drop(void *arg, uint64_t key)
{
	(void)arg;
	(void)key;
	record = bytes_unref(record);
}

static const struct proxy_journal journal = {.write = journal_write, .drop = journal_drop};

static void setup(void)
{
	OOM_HOLDS(sip_values_init() == 0);
}

/* The i-th message sent since `from` that begins with the text, or NULL. */
static const char *find(unsigned from, const char *begin, unsigned i)
{
	for (; from < nsent; from++)
		if (strncmp(sent[from], begin, strlen(begin)) == 0 && i-- == 0)
			return sent[from];
	return NULL;
}

static void advance(msec ms)
{
	now += ms;
	wheel_advance(&wheel, now);
	arena_reset(&arena);
}

static void request(const char *method, const char *branch, const char *to_tag,
		    const struct proxy_target *v, unsigned n)
{
	struct sip_flow src = message_flow("192.0.2.9");
	const struct proxy_opts opts = {.lines = {"X-Added: yes\r\n", 14},
					.journal = journalling ? &journal : NULL};
	struct proxy_request r;
	struct proxy_fault fault;

	arena_reset(&arena);
	if (!message_request(&msg, method, branch, to_tag) ||
	    txn_recv_request(tt, &msg.m, &msg.top, &src, now) == TXN_REQUEST_ABSORBED ||
	    proxy_validate(proxy, &msg.m, &msg.top, &src, &r, &fault) < 0)
		return;
	if (msg.m.method == SIP_ACK)
		proxy_forward_stateless(proxy, &r, v, &opts, now);
	else if (msg.m.method == SIP_CANCEL)
		proxy_rebuild_from_cancel(proxy, &r, v, n, &opts, now);
	else
		proxy_forward(proxy, &r, v, n, &opts, now);
}

static void answer(const char *to, unsigned status)
{
	struct sip_flow src = message_flow("192.0.2.3");

	arena_reset(&arena);
	if (!to || !message_response(&msg, to, status))
		return;
	if (txn_recv_response(tt, &msg.m, &msg.top, &src, now))
		return;
	if (proxy_rebuild_from_response(proxy, &msg.m, &msg.top, &src, NULL, NULL, now))
		proxy_response_stateless(proxy, &msg.m, &msg.top, &src);
}

static const struct proxy_target targets[] = {
	{.uri = {"sip:bob@192.0.2.3:5070", 22}, .q = 1000},
	{.uri = {"sip:bob@192.0.2.4:5070", 22}, .route = {"<sip:192.0.2.5;lr>", 18}, .q = 1000},
	{.uri = {"sip:bob@slow.example.com", 24}, .q = 1000},
};

static bool forked_call(void)
{
	unsigned from = nsent;

	request("INVITE", "z9hG4bK1", NULL, targets, 2);
	answer(find(from, "INVITE", 0), 180);
	answer(find(from, "INVITE", 0), 486);
	answer(find(from, "INVITE", 1), 200);
	request("ACK", "z9hG4bK2", "b", targets, 1);
	return find(from, "SIP/2.0 180", 0) && find(from, "SIP/2.0 200", 0) &&
	       find(from, "ACK sip:bob@192.0.2.3", 0);
}

static bool cancelled_call(void)
{
	unsigned from = nsent;

	request("INVITE", "z9hG4bK3", NULL, targets, 1);
	answer(find(from, "INVITE", 0), 180);
	request("CANCEL", "z9hG4bK3", NULL, NULL, 0);
	answer(find(from, "CANCEL", 0), 200);
	answer(find(from, "INVITE", 0), 487);
	return find(from, "SIP/2.0 487", 0) != NULL;
}

static bool slow_name(void)
{
	struct locate_result found = {.n = 1};
	unsigned from = nsent;

	request("OPTIONS", "z9hG4bK4", NULL, &targets[2], 1);
	if (waiting) {
		locate_done done = waiting;

		waiting = NULL;
		found.v[0].transport = SIP_TRANSPORT_UDP;
		OOM_HOLDS(addr_parse(&found.v[0].addr, SPAN("192.0.2.6"), 5060) == 0);
		done(waiting_arg, 0, &found);
	}
	answer(find(from, "OPTIONS", 0), 200);
	return find(from, "SIP/2.0 200", 0) != NULL;
}

static bool begin(void)
{
	static const struct mac_key key = {1, 2};
	const struct txn_ops tops = {.send = txn_send};
	const struct proxy_ops ops = {.local = get_local,
				      .listener_for = listener_for,
				      .is_local = is_local,
				      .locate = locate,
				      .locate_cancel = locate_stop,
				      .target_failed = target_failed,
				      .send = proxy_send};

	tt = txn_table_new(&wheel, &txn_timers_default, &tops, &key, 100);
	proxy = tt ? proxy_new(&proxy_conf_default, &ops, tt, &wheel, &key) : NULL;
	return proxy != NULL;
}

static void end(void)
{
	proxy_free(proxy);
	txn_table_free(tt);
	proxy = NULL;
	tt = NULL;
}

static bool take_over(void)
{
	end();
	return begin();
}

/* The other member of the pair gets what comes, and makes the transactions of that. */
static bool taken_over(void)
{
	unsigned from = nsent;
	const char *first, *other;

	request("INVITE", "z9hG4bK5", NULL, targets, 2);
	first = find(from, "INVITE", 0);
	other = find(from, "INVITE", 1);
	if (!take_over())
		return false;
	answer(first, 180);
	answer(other, 486);
	if (!take_over())
		return false;
	request("CANCEL", "z9hG4bK5", NULL, targets, 2);
	answer(first, 487);
	return find(from, "SIP/2.0 180", 0) && find(from, "CANCEL sip:bob@192.0.2.3", 0) &&
	       find(from, "ACK sip:bob@192.0.2.3", 0);
}

static void adopt(void)
{
	const struct proxy_opts opts = {.journal = &journal};
	struct proxy_fork f;

	arena_reset(&arena);
	if (record && journal_unpack(bytes_span(record), WALL_MS, &arena, &f) == 0)
		proxy_adopt(proxy, &f, NULL, &opts, now);
}

/* The same from the record: one has said that it is busy, the other one rings on. */
static bool adopted(void)
{
	unsigned from = nsent;
	const char *other;

	journalling = true;
	request("INVITE", "z9hG4bK6", NULL, targets, 2);
	answer(find(from, "INVITE", 0), 401);
	other = find(from, "INVITE", 1);
	if (!take_over())
		return false;
	adopt();
	answer(other, 180);
	request("CANCEL", "z9hG4bK6", NULL, targets, 2);
	if (!take_over())
		return false;
	adopt();
	answer(other, 407);
	request("ACK", "z9hG4bK6", "b", targets, 1);
	journalling = false;
	return find(from, "SIP/2.0 180", 0) && find(from, "CANCEL sip:bob@192.0.2.4", 1) &&
	       find(from, "SIP/2.0 401", 0);
}

static int work(void)
{
	int done = forked_call();

	done += cancelled_call();
	done += slow_name();
	done += taken_over();
	if (!proxy)
		return -1;
	done += adopted();
	if (!proxy)
		return -1;
	for (unsigned i = 0; i < 100; i++)
		advance(5000);
	OOM_HOLDS(txn_table_counters(tt)->live == 0);
	OOM_HOLDS(wheel.armed == 0);
	return done == 5 ? 0 : -1;
}

static int run(void)
{
	int r = -1;

	now = 1000;
	nsent = 0;
	waiting = NULL;
	wheel_init(&wheel, now);
	if (arena_init(&arena, 262144) < 0)
		return -1;
	sip_values_use_arena(&arena);
	journalling = false;
	if (begin())
		r = work();
	end();
	record = bytes_unref(record);
	sip_values_use_arena(NULL);
	arena_done(&arena);
	return r;
}

const struct oom_scenario oom_scenario = {"proxy", setup, run};
