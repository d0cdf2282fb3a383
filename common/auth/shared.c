/*
 * Nonce counts in common: what the two members of a pair tell each other of their uses, so that
 * what was sent to one is not taken by the other.  In network order: time, instance and serial
 * of the nonce; count, digest and time of the use.  Without a nonce (time 0) the last one says
 * what was told: all uses of nonces made since then; with a count (1), the other's own as well.
 */
#include "common/auth/auth_priv.h"

#include <errno.h>

enum { BATCH = 64 };

static unsigned char *put(unsigned char *p, uint64_t v, unsigned bytes)
{
	while (bytes--)
		*p++ = (unsigned char)(v >> (8 * bytes));
	return p;
}

static uint64_t take(const unsigned char **p, unsigned bytes)
{
	uint64_t v = 0;
	while (bytes--)
		v = v << 8 | *(*p)++;
	return v;
}

int auth_share(struct auth *a, void (*told)(void *arg, struct span use), void *arg,
	       uint64_t wall_ms)
{
	int r = a->replay ? replay_share(a->replay) : 0;
	if (r < 0)
		return r;
	a->told = told;
	a->told_arg = arg;
	a->shared_ms = wall_ms;
	auth_share_since(a, wall_ms);
	return 0;
}

/* One thread at a time. */
void auth_share_since(struct auth *a, uint64_t wall_ms)
{
	if (wall_ms <= atomic_load(&a->since_ms))
		return;
	atomic_store(&a->since_serial, atomic_load(&a->serial));
	atomic_store(&a->since_ms, wall_ms);
}

/* What we have made since then is good, whatever became of our clock: was it set back, we would
 * ask everybody for ever. */
bool auth_knows(const struct auth *a, const struct nonce *n)
{
	if (!a->told)
		return n->instance == a->instance;
	if (n->time_ms >= atomic_load(&a->since_ms))
		return true;
	return n->instance == a->instance &&
	       (int32_t)(n->serial - atomic_load(&a->since_serial)) >= 0;
}

static void put_use(unsigned char *p, const struct nonce *n, const struct replay_use *use)
{
	p = put(p, n->time_ms, 8);
	p = put(p, n->instance, 4);
	p = put(p, n->serial, 4);
	p = put(p, use->nc, 4);
	p = put(p, use->digest, 8);
	put(p, use->wall_ms, 8);
}

void auth_tell(const struct auth *a, const struct nonce *n, const struct replay_use *use)
{
	unsigned char b[AUTH_USE_BYTES];
	if (!a->told)
		return;
	put_use(b, n, use);
	a->told(a->told_arg, span_of((const char *)b, sizeof(b)));
}

struct batch {
	const struct auth *a;
	size_t n;
	unsigned char b[BATCH * AUTH_USE_BYTES];
};

static void batch_tell(struct batch *t)
{
	if (t->n)
		t->a->told(t->a->told_arg, span_of((const char *)t->b, t->n));
	t->n = 0;
}

static void batch_add(void *arg, const struct nonce *n, const struct replay_use *use)
{
	struct batch *t = arg;
	put_use(t->b + t->n, n, use);
	t->n += AUTH_USE_BYTES;
	if (t->n == sizeof(t->b))
		batch_tell(t);
}

/*
 * What is told goes further back than what is taken: the clocks of two members are not quite
 * the same.  What we cannot tell of, the other cannot know: uses of before we were started,
 * when it was not there to be told, and of nonces that had to make room.  It hears so, for it
 * may not have noticed that it was away (stopped for a moment), nor that we were started anew.
 * Of its own uses it knows itself, though we have not heard of them yet: but not of those of a
 * process before it, which it hears of from us.
 */
void auth_share_again(struct auth *a, bool heard_to_end, uint64_t wall_ms)
{
	const struct nonce none = {.time_ms = 0};
	struct replay_use all = {.wall_ms = wall_ms - 2 * AUTH_REPEAT_MS, .nc = heard_to_end};
	struct batch t = {.a = a};
	if (!a->told || !a->replay)
		return;
	uint64_t since = heard_to_end ? atomic_load(&a->since_ms) : a->shared_ms;
	auth_share_since(a, wall_ms - AUTH_REPEAT_MS);
	uint64_t floor = replay_each(a->replay, all.wall_ms, batch_add, &t);
	if (all.wall_ms < since)
		all.wall_ms = since;
	if (all.wall_ms <= floor)
		all.wall_ms = floor + 1;
	batch_add(&t, &none, &all);
	batch_tell(&t);
}

/* It has told what it took, and what a process before us had told it. */
static void know_since(struct auth *a, uint64_t told_ms, uint64_t wall_ms)
{
	uint64_t taken_ms = wall_ms - AUTH_REPEAT_MS;
	uint64_t since = told_ms > taken_ms ? told_ms : taken_ms;
	if (since < atomic_load(&a->since_ms))
		atomic_store(&a->since_ms, since);
}

int auth_use_of_other(struct auth *a, struct span s, bool heard_to_end, uint64_t wall_ms)
{
	const unsigned char *p = (const unsigned char *)s.p;
	struct replay_use use;
	struct nonce n;
	if (s.n != AUTH_USE_BYTES || !a->replay)
		return -EINVAL;
	n.time_ms = take(&p, 8);
	n.instance = (uint32_t)take(&p, 4);
	n.serial = (uint32_t)take(&p, 4);
	use.nc = (uint32_t)take(&p, 4);
	use.digest = take(&p, 8);
	use.wall_ms = take(&p, 8);
	if (n.time_ms)
		replay_mark(a->replay, &n, &use);
	else if (use.nc)
		know_since(a, use.wall_ms, wall_ms);
	else if (!heard_to_end) /* its clock may be ahead; what is made from now on is good */
		auth_share_since(a, use.wall_ms < wall_ms ? use.wall_ms : wall_ms);
	return 0;
}
