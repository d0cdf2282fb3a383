/*
 * Every allocation of a call fails in turn: nothing leaks, nothing crashes, and the table can
 * be freed.  The allocator of the C library is replaced in this program; sanitizers bring their
 * own, so there it does nothing.
 */
#include "tests/unit/common/txn/rig.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
START_TEST(the_sanitizers_own_the_allocator)
{
}
END_TEST
UNIT_MAIN("oom", the_sanitizers_own_the_allocator)
#else

#include <errno.h>

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t align, size_t n);
void __libc_free(void *p);

static bool counting, sticky; /* sticky: all from that one on */
static long calls, fail_at, balance;

static bool fails(void)
{
	if (!counting)
		return false;
	if (++calls == fail_at || (sticky && calls > fail_at)) {
		errno = ENOMEM;
		return true;
	}
	balance++;
	return false;
}

void *malloc(size_t n)
{
	return fails() ? NULL : __libc_malloc(n);
}
void *calloc(size_t n, size_t size)
{
	return fails() ? NULL : __libc_calloc(n, size);
}
void *aligned_alloc(size_t align, size_t n)
{
	return fails() ? NULL : __libc_memalign(align, n);
}
void *realloc(void *p, size_t n)
{
	if (counting && p)
		balance--;
	return fails() ? NULL : __libc_realloc(p, n);
}
void free(void *p)
{
	if (counting && p)
		balance--;
	__libc_free(p);
}

static void deny(struct txn *t)
{
	rig_reply(t, 487);
}

/* Check allocates when it asserts: messages are made outside of the count. */
static struct rig_msg *uncounted(struct rig_msg *r)
{
	counting = true;
	return r;
}
#define MESSAGE(make) (counting = false, uncounted(make))

static void responses(const struct sip_flow *f)
{
	static const unsigned statuses[] = {180, 487, 487};
	for (size_t i = 0; i < 3; i++) {
		struct rig_msg *r = MESSAGE(rig_response("INVITE", "z9hG4bKone", statuses[i]));
		txn_recv_response(rig.tt, &r->m, &r->top, f, rig.now);
	}
}

static void both_ends(const struct sip_flow *f)
{
	struct rig_msg *r = MESSAGE(REQUEST(.method = "INVITE"));
	struct txn *c = NULL;
	txn_server_new(rig.tt, &r->m, &r->top, f, &rig_server_user, NULL, rig.now);
	struct bytes *b = bytes_dup(span_str(r->text));
	if (b)
		c = txn_client_new(rig.tt, SIP_INVITE, SPAN("INVITE"), SPAN("z9hG4bKone"), b, f,
				   &rig_client_user, NULL, rig.now);
	bytes_unref(b);
	rig_advance(300);
	if (c)
		txn_cancel(c, SPAN("Reason: SIP;cause=200\r\n"), rig.now);
	responses(f);
	r = MESSAGE(REQUEST(.method = "CANCEL"));
	txn_recv_request(rig.tt, &r->m, &r->top, f, rig.now);
	rig_advance(200000);
}

/* A call that is cancelled at both ends, and the table's own memory. */
static void scenario(const struct sip_flow *f)
{
	static const struct mac_key key = {1, 2};
	const struct txn_ops ops = {.send = rig_send};
	rig.tt = txn_table_new(&rig.wheel, &txn_timers_default, &ops, &key, 100);
	if (!rig.tt)
		return;
	both_ends(f);
	txn_table_free(rig.tt);
}

static void fail_each(const struct sip_flow *f)
{
	for (fail_at = 1;; fail_at++) {
		calls = balance = 0;
		counting = true;
		scenario(f);
		counting = false;
		ck_assert_int_eq(balance, 0);
		ck_assert_uint_eq(rig.wheel.armed, 0);
		if (calls < fail_at)
			break; /* none was left to fail */
	}
	ck_assert_int_gt(fail_at, 12);
}

static void survive(bool all_from_one_on)
{
	rig_start();
	txn_table_free(rig.tt);
	rig.silent = true;
	rig.on_cancel = deny;
	struct sip_flow f = rig_flow(SIP_TRANSPORT_UDP);
	sticky = all_from_one_on;
	fail_each(&f);
	arena_done(&rig.arena);
}

START_TEST(every_allocation_that_fails_alone_is_survived_and_nothing_leaks)
{
	survive(false);
}
END_TEST

START_TEST(memory_that_does_not_come_back_is_survived_and_nothing_leaks)
{
	survive(true);
}
END_TEST

UNIT_MAIN("oom", every_allocation_that_fails_alone_is_survived_and_nothing_leaks,
	  memory_that_does_not_come_back_is_survived_and_nothing_leaks)
#endif
