/*
 * Edges and a pair of homes with the cluster's own engine, over the network and the clock of
 * its tests, for pair.c.  What becomes of the calls is fork.c's: here it is written down who
 * was told what.
 */
#ifndef EAVES_TESTS_HOME_PAIR_H
#define EAVES_TESTS_HOME_PAIR_H

#include "home/home_priv.h"

#include "common/app/app_priv.h"
#include "common/auth/auth_priv.h"
#include "tests/unit/common/cluster/tables.h"

enum {
	MET = A2 + 1,
	DEAD_MS = 750,
	LATE_MS = 250,
	BEAT_MS = 250,
	LOOK_MS = 20,
	NOBODY = NODES
};

static struct member {
	struct home home;
	struct app app;
	struct loop *loop;	 /* its first worker's, and the bus's */
	unsigned adopted[NODES]; /* how often the calls of each were taken over */
	unsigned let_go;
	uint64_t let_go_plain;
	msec at; /* the last of these */
} member[NODES];

/* ---- in place of fork.c, and of the stack with its sockets ---- */

void home_adopt_all(struct home *h, unsigned node)
{
	struct member *m = container_of(h, struct member, home);
	m->adopted[node]++;
	m->at = net_now;
}

void home_fork_start(struct home *h)
{
	(void)h;
}

void home_let_go_all(struct home *h)
{
	struct member *m = container_of(h, struct member, home);
	m->let_go++;
	m->at = net_now;
}

void home_let_go_plain(struct home *h, struct span keys)
{
	uint64_t key;
	for (size_t i = 0; i + sizeof(key) <= keys.n; i += sizeof(key)) {
		memcpy(&key, keys.p + i, sizeof(key));
		container_of(h, struct member, home)->let_go_plain += key;
	}
}

struct app_worker *app_worker_at(const struct app *a, unsigned i)
{
	static struct app_worker worker[NODES];
	unsigned node = (unsigned)(container_of(a, struct member, app) - member);
	ck_assert_uint_eq(i, 0);
	worker[node].stack = (struct stack *)member[node].loop;
	return &worker[node];
}

struct loop *stack_loop(struct stack *s)
{
	return (struct loop *)s;
}

/* ---- the rig ---- */

static inline void on_changed(void *arg, unsigned node)
{
	struct rig_node *n = arg;
	home_node_changed(&member[n->index].home, node);
}

static inline void on_notice(void *arg, unsigned node, unsigned kind, struct span body)
{
	struct rig_node *n = arg;
	home_notice(&member[n->index].home, node, kind, body);
}

static inline void serve(unsigned i)
{
	static const struct mac_key key = {1, 2};
	struct auth_conf ac = auth_conf_default;
	struct member *m = &member[i];
	*m = (struct member){.home.dead_ms = DEAD_MS, .home.app = &m->app};
	ac.realm = "example.org";
	m->home.auth = auth_new(&ac, &key);
	ck_assert_ptr_nonnull(m->home.auth);
	rig[i].ops.changed = on_changed;
	rig[i].ops.notice = on_notice;
	rig_start(i);
	m->loop = rig[i].loop;
	m->home.cluster = rig[i].c;
	m->home.pair = "a";
	ck_assert_int_eq(home_pair_start(&m->home), 0);
}

static inline void forget(void)
{
	for (unsigned i = A1; i <= A2; i++) {
		memset(member[i].adopted, 0, sizeof(member[i].adopted));
		member[i].let_go = 0;
	}
}

static inline void begin(void)
{
	rig_begin(1);
	rig_start(E1);
	rig_start(E2);
	serve(A1);
	serve(A2);
	RIG_UNTIL(all_equal(), 3000);
	rig_run(2 * DEAD_MS); /* what was before they met is long ago */
	forget();
}

static inline void end(void)
{
	for (unsigned i = A1; i <= A2; i++)
		auth_free(member[i].home.auth);
	rig_end();
}

/* Nobody has taken over or let go of anything. */
static inline bool untouched(unsigned i)
{
	unsigned n = member[i].let_go;
	for (unsigned k = 0; k < NODES; k++)
		n += member[i].adopted[k];
	return n == 0;
}

static const unsigned edges = 1 << E1 | 1 << E2;

#endif
