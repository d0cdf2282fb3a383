/*
 * Both ends over a network that loses, repeats and delays (RFC 3261 17's promise): whatever it
 * does short of silence, each request is seen once, each final answer is told once, and nothing
 * is left behind.  Client and server side share one table here.
 */
#include "tests/unit/common/txn/rig.h"

enum { IN_FLIGHT = 256, CALLS = 40 };

struct packet {
	msec due; /* 0: free */
	size_t n;
	char p[1024];
};
static struct packet net[IN_FLIGHT];
static uint64_t seed;
static unsigned loss_percent;
static const char *method;
static unsigned answer; /* what the server answers with */
static struct txn *server;
static unsigned requests, finals, failures, acks;
static msec answer_at;

static uint64_t rnd(uint64_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % below;
}

static void carry(const struct bytes *b)
{
	/* At most 64 * T1 of bad luck: 1 in 5 is said twice. */
	for (unsigned copies = rnd(5) == 0 ? 2 : 1; copies; copies--) {
		if (rnd(100) < loss_percent)
			continue;
		for (int i = 0; i < IN_FLIGHT; i++) {
			if (net[i].due)
				continue;
			net[i].due = rig.now + 1 + rnd(300);
			net[i].n = b->n;
			ck_assert_uint_lt(b->n, sizeof(net[i].p));
			memcpy(net[i].p, b->p, b->n);
			break;
		}
	}
}

static void deliver(const struct packet *p)
{
	static struct rig_msg r;
	struct sip_flow f = rig_flow(SIP_TRANSPORT_UDP);
	memcpy(r.text, p->p, p->n);
	r.text[p->n] = '\0';
	rig_index(&r);
	if (!r.m.is_request) {
		txn_recv_response(rig.tt, &r.m, &r.top, &f, rig.now);
		return;
	}
	switch (txn_recv_request(rig.tt, &r.m, &r.top, &f, rig.now)) {
	case TXN_REQUEST_NEW:
		requests++;
		server = txn_server_new(rig.tt, &r.m, &r.top, &f, NULL, NULL, rig.now);
		ck_assert_ptr_nonnull(server);
		answer_at = rig.now + 1 + rnd(3000);
		break;
	case TXN_REQUEST_ACK:
		acks++;
		break;
	case TXN_REQUEST_ABSORBED:
	case TXN_REQUEST_MERGED:
		break;
	}
}

static void count_final(struct txn *t, unsigned status)
{
	(void)t;
	finals += status >= 200;
}

static void count_failure(struct txn *t)
{
	(void)t;
	failures++;
}

static void run(msec until)
{
	while (rig.now < until) {
		rig_advance(5);
		for (int i = 0; i < IN_FLIGHT; i++) {
			if (net[i].due && net[i].due <= rig.now) {
				struct packet p = net[i];
				net[i].due = 0;
				deliver(&p);
			}
		}
		if (answer_at && rig.now >= answer_at) {
			answer_at = 0;
			if (rnd(2))
				rig_reply(server, 180);
			rig_reply(server, answer);
		}
	}
}

static void call(const char *m, unsigned status, unsigned loss)
{
	rig_start();
	rig.silent = true;
	rig.on_send = carry;
	rig.on_response = count_final;
	rig.on_failed = count_failure;
	memset(net, 0, sizeof(net));
	method = m;
	answer = status;
	loss_percent = loss;
	requests = finals = failures = acks = 0;
	answer_at = 0;
	rig_client(m, SIP_TRANSPORT_UDP);
	run(rig.now + 120000);
}

START_TEST(a_refused_invite_survives_loss_and_repetition)
{
	for (unsigned i = 1; i <= CALLS; i++) {
		seed = i * 7919;
		call("INVITE", 486, 30);
		ck_assert_uint_eq(requests, 1);
		ck_assert_uint_eq(finals, 1);
		ck_assert_uint_eq(failures, 0);
		assert_live(0);
		rig_stop();
	}
}
END_TEST

START_TEST(a_request_other_than_invite_survives_loss_and_repetition)
{
	for (unsigned i = 1; i <= CALLS; i++) {
		seed = i * 104729;
		call("MESSAGE", 200, 30);
		ck_assert_uint_eq(requests, 1);
		ck_assert_uint_eq(finals, 1);
		ck_assert_uint_eq(failures, 0);
		assert_live(0);
		rig_stop();
	}
}
END_TEST

START_TEST(an_accepted_invite_is_one_request_however_often_it_comes)
{
	for (unsigned i = 1; i <= CALLS; i++) {
		seed = i * 1299709;
		call("INVITE", 200, 0);
		ck_assert_uint_eq(requests, 1);
		ck_assert_uint_ge(finals, 1); /* 6026: every copy of the 2xx is passed up */
		ck_assert_uint_eq(failures, 0);
		assert_live(0);
		rig_stop();
	}
}
END_TEST

START_TEST(silence_ends_in_one_time_out)
{
	seed = 5;
	call("INVITE", 486, 100);
	ck_assert_uint_eq(requests + finals, 0);
	ck_assert_uint_eq(failures, 1);
	assert_live(0);
	rig_stop();
}
END_TEST

UNIT_MAIN("lossy", a_refused_invite_survives_loss_and_repetition,
	  a_request_other_than_invite_survives_loss_and_repetition,
	  an_accepted_invite_is_one_request_however_often_it_comes,
	  silence_ends_in_one_time_out)
