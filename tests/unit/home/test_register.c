/*
 * REGISTERs whose answers wait for the store (home/register.c): how many may.  The registrar
 * and the stack are answered for here.
 */
#include "home/home_priv.h"

#include "common/store/store.h"
#include "tests/unit/unit.h"

#include <stdio.h>

enum { WAITING_MAX = 16384, SECOND = 1 };

static struct home home;
static struct app_worker worker[2] = {{.index = 0}, {.index = SECOND}};
static struct arena arena;
static struct store store; /* the registrar, which would write to it, is not here */

/* What the registrar was asked, and has not answered. */
static struct asked {
	reg_done done;
	void *arg;
} asked[WAITING_MAX + 1];
static unsigned nasked, nanswered, nrefused;

static unsigned status;
static char lines[64];

/* ---- what register.c asks ---- */

void reg_register(struct reg *r, const struct sip_msg *msg, const struct sip_via *top,
		  const struct sip_flow *flow, struct span user, uint64_t wall_ms,
		  reg_done done, void *arg)
{
	(void)r;
	(void)msg;
	(void)top;
	(void)flow;
	(void)wall_ms;
	ck_assert(span_eq(user, SPAN("alice")));
	ck_assert_uint_le(nasked, WAITING_MAX);
	asked[nasked++] = (struct asked){done, arg};
}

bool home_authenticate(struct home *h, struct app_worker *w, const struct app_request *q,
		       enum auth_side side, struct span *ret_name, struct dir_user *ret,
		       msec now)
{
	(void)h;
	(void)w;
	(void)q;
	(void)side;
	(void)ret;
	(void)now;
	*ret_name = SPAN("alice");
	return true;
}

uint64_t home_wall_ms(msec now)
{
	return now;
}

int home_user_of(struct home *h, const struct app_worker *w, const struct sip_uri *u,
		 struct span *ret_user)
{
	(void)h;
	(void)w;
	(void)u;
	*ret_user = SPAN("alice");
	return 0;
}

bool app_is_local(const struct app_worker *w, struct span host, uint16_t port)
{
	(void)w;
	(void)host;
	(void)port;
	return true;
}

void app_reply(struct app_worker *w, const struct app_request *q, unsigned code,
	       const char *reason, struct span more)
{
	(void)w;
	(void)q;
	(void)reason;
	nrefused++;
	status = code;
	snprintf(lines, sizeof(lines), "%.*s", SPAN_FMT(more));
}

void stack_reply(struct stack *s, const struct sip_msg *m, const struct sip_via *top,
		 const struct sip_flow *src, unsigned code, const char *reason,
		 struct span more)
{
	(void)s;
	(void)m;
	(void)top;
	(void)src;
	(void)code;
	(void)reason;
	(void)more;
	ck_abort_msg("it waits");
}

void stack_reply_tag(const struct stack *s, const struct sip_msg *m, const struct sip_via *top,
		     char ret_tag[16])
{
	(void)s;
	(void)m;
	(void)top;
	memset(ret_tag, 'a', 16);
}

void stack_send(struct stack *s, const struct sip_flow *to, const struct iovec *iov, int n,
		uint64_t txn_id)
{
	(void)s;
	(void)to;
	(void)n;
	(void)txn_id;
	nanswered++;
	ck_assert_int_eq(sscanf(iov[0].iov_base, "SIP/2.0 %u", &status), 1);
}

struct loop *stack_loop(struct stack *s)
{
	(void)s;
	return NULL;
}

/* ---- the rig ---- */

static void start(void)
{
	log_set_level(LOG_ERROR);
	ck_assert_int_eq(sip_values_init(), 0);
	ck_assert_int_eq(arena_init(&arena, 65536), 0);
	sip_values_use_arena(&arena);
	home.queue_bytes = 16 << 20;
	home.records = records_new(&store, 1, 100, NULL);
	ck_assert_ptr_nonnull(home.records);
}

static void stop(void)
{
	records_free(home.records);
	arena_done(&arena);
}

/* A REGISTER comes to that worker: does it wait? */
static bool comes(unsigned at)
{
	static const char text[] =
		"REGISTER sip:example.com SIP/2.0\r\n"
		"Via: SIP/2.0/UDP 192.0.2.4;branch=z9hG4bK1\r\n"
		"From: <sip:alice@example.com>;tag=1\r\nTo: <sip:alice@example.com>\r\n"
		"Call-ID: 1@ua\r\nCSeq: 1 REGISTER\r\nContact: <sip:alice@192.0.2.4>\r\n"
		"Content-Length: 0\r\n\r\n";
	static struct sip_hdr hdr[SIP_HDR_MAX];
	struct sip_msg m = {.hdr = hdr};
	struct proxy_request r = {.msg = &m, .src = {.transport = SIP_TRANSPORT_UDP}};
	struct app_request q = {.r = &r};
	struct sip_fault fault;
	unsigned before = nasked;

	ck_assert_int_eq(sip_msg_index(&m, span_str(text), false, &sip_limits_default, &fault),
			 0);
	arena_reset(&arena);
	ck_assert_int_eq(sip_msg_top_via(&m, &r.top), 0);
	ck_assert_int_eq(addr_parse(&r.src.remote, SPAN("192.0.2.4"), 5060), 0);
	home_register(&home, &worker[at], &q, 1000);
	return nasked > before;
}

static void store_answers(unsigned i)
{
	static const struct reg_answer yes = {
		.status = 200, .reason = "OK", .durable = REG_DURABLE, .bindings = 1};

	asked[i].done(asked[i].arg, &yes);
	ck_assert_uint_eq(status, 200);
}

static void is_refused(unsigned at, unsigned so_far)
{
	ck_assert(!comes(at));
	ck_assert_uint_eq(nrefused, so_far);
	ck_assert_uint_eq(status, 503);
	ck_assert_str_eq(lines, "Retry-After: 5\r\n");
	ck_assert_uint_eq(home.counters.registers_full, so_far);
}

START_TEST(no_more_wait_for_the_store_than_have_room_and_the_others_are_told_to_come_later)
{
	start();
	for (unsigned i = 0; i < WAITING_MAX; i++)
		ck_assert(comes(0));
	is_refused(0, 1);
	is_refused(0, 2);
	ck_assert_uint_eq(nanswered, 0);
	store_answers(7); /* room for one */
	ck_assert(comes(0));
	is_refused(0, 3);
	for (unsigned i = 0; i <= WAITING_MAX; i++)
		if (i != 7)
			store_answers(i);
	ck_assert_uint_eq(nanswered, WAITING_MAX + 1);
	ck_assert_uint_eq(home.waiting[0].n, 0);
	ck_assert_uint_eq(home.waiting[0].bytes, 0);
	stop();
}
END_TEST

START_TEST(what_waits_is_limited_in_bytes_too_and_by_worker)
{
	unsigned n = 0;

	start();
	home.queue_bytes = 65536;
	while (comes(0))
		n++;
	ck_assert_uint_ge(n, 200);
	ck_assert_uint_lt(n, 400);
	is_refused(0, 2);
	ck_assert(comes(SECOND));
	for (unsigned i = 0; i <= n; i++)
		store_answers(i);
	ck_assert_uint_eq(home.waiting[0].bytes + home.waiting[SECOND].bytes, 0);
	stop();
}
END_TEST

UNIT_MAIN("home/register",
	  no_more_wait_for_the_store_than_have_room_and_the_others_are_told_to_come_later,
	  what_waits_is_limited_in_bytes_too_and_by_worker)
