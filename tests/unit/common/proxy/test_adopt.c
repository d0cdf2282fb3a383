/*
 * What cannot be said in a replay of common/proxy/journal.h: records that are refused, calls
 * that are let go.
 */
#include "common/proxy/call.h"
#include "tests/unit/common/proxy/world.h"

static struct world *w;

static const char invite[] =
	"INVITE sip:bob@example.com SIP/2.0\r\n"
	"Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKa1\r\n"
	"From: <sip:alice@example.org>;tag=a\r\nTo: <sip:bob@example.com>\r\n"
	"Call-ID: c1\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n";

/* A fork to two was written, and its member is dead. */
static struct proxy_fork *record(void)
{
	struct sip_flow src = world_flow("udp:10.0.0.1:5060", 0);
	w = world_new();
	w->targets[w->ntargets++] =
		(struct proxy_target){.uri = SPAN("sip:b@10.0.0.2"), .tag = 1};
	w->targets[w->ntargets++] =
		(struct proxy_target){.uri = SPAN("sip:b@10.0.0.3"), .tag = 2};
	w->opts.journal = &w->forks.journal;
	world_recv(w, invite, &src);
	ck_assert_uint_eq(w->forks.n, 1);
	ck_assert_uint_eq(w->nsent, 2);
	world_kill(w);
	return &w->forks.v[0].f;
}

static int adopt(const struct proxy_fork *f)
{
	int rc = proxy_adopt(w->p, f, NULL, &w->opts, w->now);
	arena_reset(&w->arena);
	return rc;
}

static void nothing_is_left(unsigned nsent)
{
	ck_assert_uint_eq(w->nsent, nsent);
	ck_assert_uint_eq(proxy_counters(w->p)->calls, 0);
	ck_assert_uint_eq(proxy_counters(w->p)->unanswered, 0);
	world_advance(w, 1000);
	ck_assert_uint_eq(txn_table_counters(w->tt)->live, 0);
}

START_TEST(a_sound_record_is_adopted_once)
{
	struct proxy_fork *f = record();
	ck_assert_int_eq(adopt(f), 0);
	ck_assert_uint_eq(w->nsent, 4);
	ck_assert_int_eq(adopt(f), -EEXIST);
	ck_assert_uint_eq(w->nsent, 4);
	ck_assert_uint_eq(proxy_counters(w->p)->adopted, 1);
	world_free(w);
}
END_TEST

START_TEST(a_damaged_record_is_refused_and_leaves_nothing)
{
	struct proxy_fork *f = record(), bad;
	struct proxy_fork_branch *many = calloc(300, sizeof(*many));
	bad = *f;
	bad.key ^= 1;
	ck_assert_int_eq(adopt(&bad), -EBADMSG); /* written with other keys */
	bad = *f;
	bad.n = 0;
	ck_assert_int_eq(adopt(&bad), -EBADMSG);
	bad = *f;
	bad.v = many;
	bad.n = 300;
	ck_assert_int_eq(adopt(&bad), -EBADMSG);
	bad = *f;
	bad.request.n -= 4;
	ck_assert_int_eq(adopt(&bad), -EBADMSG);
	bad = *f;
	bad.request = SPAN("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP a;branch=z9hG4bKx\r\n"
			   "From: <sip:a@b>;tag=a\r\nTo: <sip:a@b>\r\nCall-ID: c\r\n"
			   "CSeq: 1 INVITE\r\n\r\n");
	ck_assert_int_eq(adopt(&bad), -EBADMSG);
	bad = *f;
	bad.best = SPAN("nonsense");
	bad.best_status = 486;
	ck_assert_int_eq(adopt(&bad), -EBADMSG);
	nothing_is_left(2);
	free(many);
	world_free(w);
}
END_TEST

START_TEST(a_response_in_the_record_that_is_none_is_passed_over)
{
	struct proxy_fork *f = record(), odd = *f;
	struct proxy_fork_branch v[2] = {f->v[0], f->v[1]};
	v[0].response = SPAN("SIP/2.0 200 truncat");
	v[1].response = SPAN("x");
	odd.v = v;
	ck_assert_int_eq(adopt(&odd), 0);
	ck_assert_uint_eq(w->nsent, 2);
	ck_assert_uint_eq(proxy_counters(w->p)->calls, 1);
	world_free(w);
}
END_TEST

START_TEST(with_a_full_table_nothing_is_adopted)
{
	struct proxy_fork *f = record();
	w->txn_limit = 0;
	proxy_free(w->p);
	txn_table_free(w->tt);
	w->p = NULL;
	world_start(w);
	ck_assert_int_eq(adopt(f), -ENOSPC);
	nothing_is_left(2);
	world_free(w);
}
END_TEST

START_TEST(a_role_without_a_journal_adopts_and_writes_nothing)
{
	struct proxy_fork *f = record();
	unsigned writes = w->forks.writes;
	w->opts.journal = NULL;
	ck_assert_int_eq(adopt(f), 0);
	ck_assert_uint_eq(w->nsent, 4);
	ck_assert_uint_eq(w->forks.writes, writes);
	world_free(w);
}
END_TEST

START_TEST(what_is_let_go_ends_without_a_word)
{
	struct proxy_fork *f = record();
	struct sip_flow src = world_flow("udp:10.0.0.1:5060", 0);
	uint64_t key = f->key;
	ck_assert(!proxy_let_go(w->p, key));
	ck_assert_uint_eq(w->forks.held, 0);
	ck_assert_int_eq(adopt(f), 0);
	ck_assert_uint_eq(w->forks.held, 1);
	ck_assert(!proxy_let_go(w->p, key ^ 1));
	ck_assert(proxy_let_go(w->p, key));
	ck_assert_uint_eq(w->forks.held, 0);
	ck_assert_uint_eq(w->forks.n, 1); /* the record is the other one's */
	nothing_is_left(4);
	/* All: forks, and calls to one device, which are written nowhere. */
	ck_assert_int_eq(adopt(&w->forks.v[0].f), 0);
	w->ntargets = 1;
	char other[sizeof(invite)];
	memcpy(other, invite, sizeof(invite));
	strstr(other, "z9hG4bKa1")[8] = '2';
	world_recv(w, other, &src);
	unsigned nsent = w->nsent;
	ck_assert_uint_eq(proxy_counters(w->p)->calls, 2);
	proxy_let_go_all(w->p);
	nothing_is_left(nsent);
	world_free(w);
}
END_TEST

static void plain_call(void)
{
	struct sip_flow src = world_flow("udp:10.0.0.1:5060", 0);
	w = world_new();
	w->targets[w->ntargets++] =
		(struct proxy_target){.uri = SPAN("sip:b@10.0.0.2"), .tag = 1};
	w->opts.journal = &w->forks.journal;
	world_recv(w, invite, &src);
	ck_assert_uint_eq(w->forks.n, 0);
}

/* May what was sent still go to its device, if it has waited? */
static bool is_past(unsigned sent)
{
	struct sip_hdr hdr[SIP_HDR_MAX];
	struct sip_msg m = {.hdr = hdr};
	struct sip_limits lim = sip_limits_default;
	struct sip_fault fault;
	struct sip_via top;
	const char *text = w->sent[sent].text;
	ck_assert_int_eq(sip_msg_index(&m, span_str(text), false, &lim, &fault), 0);
	ck_assert_int_eq(sip_msg_top_via(&m, &top), 0);
	return proxy_is_past(w->p, &m, &top);
}

START_TEST(a_call_without_a_record_is_let_go_by_its_name)
{
	plain_call();
	world_advance(w, 5000); /* it is written, for it lasts */
	ck_assert_uint_eq(w->forks.n, 1);
	uint64_t key = w->forks.v[0].f.key;
	ck_assert(!proxy_let_go_plain(w->p, key));
	world_free(w);

	plain_call();
	ck_assert(!proxy_let_go(w->p, key) && !proxy_let_go_plain(w->p, key ^ 1));
	unsigned nsent = w->nsent;
	ck_assert(!is_past(0));
	ck_assert(proxy_let_go_plain(w->p, key));
	ck_assert(is_past(0));
	ck_assert(!proxy_let_go_plain(w->p, key));
	nothing_is_left(nsent);
	world_free(w);
}
END_TEST

UNIT_MAIN("proxy adopt", a_sound_record_is_adopted_once,
	  a_damaged_record_is_refused_and_leaves_nothing,
	  a_response_in_the_record_that_is_none_is_passed_over,
	  with_a_full_table_nothing_is_adopted,
	  a_role_without_a_journal_adopts_and_writes_nothing,
	  what_is_let_go_ends_without_a_word, a_call_without_a_record_is_let_go_by_its_name)
