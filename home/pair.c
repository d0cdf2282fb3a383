/*
 * The other member of our pair: nonce counts in common (RFC 7616 5.5), so that neither takes
 * what was sent to the other; who of the two goes on with the calls when they do not hear of
 * each other.
 */
#include "home/home_priv.h"

#include <stdlib.h>

enum {
	LOOK_MS = 20,
	LATE_MS = 250, /* how long a node is silent is told with the bus's last event */
};

bool home_is_active(const struct home *h)
{
	return !h->cluster || cluster_member(h->cluster, span_str(h->pair), -1) ==
				      (int)cluster_self(h->cluster);
}

bool home_of_our_pair(const struct home *h, uint16_t node)
{
	unsigned self = cluster_self(h->cluster);
	int from = (int)node - 1;
	return from >= 0 && (from == (int)self || from == cluster_partner(h->cluster, self));
}

static void tell_partner(const struct home *h, unsigned kind, struct span body)
{
	int partner = cluster_partner(h->cluster, cluster_self(h->cluster));
	if (partner >= 0 && cluster_alive(h->cluster, (unsigned)partner))
		cluster_tell(h->cluster, partner, kind, body);
}

static void tell_use(void *arg, struct span use)
{
	tell_partner(arg, APP_NOTICE_NONCE, use);
}

void home_tell_rebuilt(struct home *h, uint64_t key)
{
	tell_partner(h, APP_NOTICE_REBUILT, span_of((const char *)&key, sizeof(key)));
}

/* ---- which of the two is cut off? ---- */

/* The bus hears of it, whatever has become of a link. */
static bool is_heard(const struct home *h, unsigned node)
{
	struct cluster_node_state state;
	cluster_node_state(h->cluster, node, &state);
	return state.alive || state.suspected;
}

/* Who hears of an edge after it has lost the other member is not the one that is cut off; but
 * where an edge hears that one, it is the two alone that do not hear each other, and each keeps
 * its calls.  An edge of an older version is no witness of that. */
static bool is_lost_to_edges(const struct home *h, unsigned partner, msec since, msec now)
{
	bool lost = false;
	const struct cluster_node *v;
	struct cluster_node_state state;
	unsigned n = cluster_nodes(h->cluster, &v);
	for (unsigned i = 0; i < n; i++) {
		if (v[i].role != CLUSTER_EDGE)
			continue;
		cluster_node_state(h->cluster, i, &state);
		if (!state.alive || now <= since || state.silent_ms >= now - since)
			continue;
		switch (cluster_word_of(h->cluster, i, partner)) {
		case CLUSTER_HEARS:
			return false;
		case CLUSTER_HEARS_NOT:
		case CLUSTER_NEVER_SAYS:
			lost = true;
			break;
		case CLUSTER_SAID_NOTHING:
			break;
		}
	}
	return lost;
}

static void look(struct wheel_timer *t, msec now)
{
	struct home *h = container_of(t, struct home, orphans.timer);
	struct loop *l = stack_loop(app_worker_at(h->app, 0)->stack);
	int partner = cluster_partner(h->cluster, cluster_self(h->cluster));
	if (is_heard(h, (unsigned)partner) ||
	    !is_lost_to_edges(h, (unsigned)partner, h->orphans.since, now)) {
		wheel_arm(loop_wheel(l), t, now + LOOK_MS);
		return;
	}
	h->orphans.waiting = false;
	home_adopt_all(h, (unsigned)partner);
}

/* What a node's life or death has left: seen by the bus's thread, told to the first worker. */
struct seen {
	struct loop_work work;
	struct home *home;
	bool of_partner, partner_lives, any_heard;
};

static void note(struct home_orphans *o, const struct seen *s, msec now)
{
	if (s->partner_lives) {
		o->waiting = o->apart = false;
	} else if (s->of_partner) {
		o->waiting = true;
		o->since = now + LATE_MS;
	}
	if (!s->any_heard)
		o->apart = true;
	else if (o->apart)
		o->since = now + APP_RETURN_MS; /* the other member may be the next */
	o->apart &= !s->any_heard;
}

static void run_seen(struct loop_work *work)
{
	struct seen *s = container_of(work, struct seen, work);
	struct home *h = s->home;
	struct home_orphans *o = &h->orphans;
	struct loop *l = stack_loop(app_worker_at(h->app, 0)->stack);
	note(o, s, loop_now(l));
	if (o->waiting && !o->apart)
		wheel_arm(loop_wheel(l), &o->timer, loop_now(l) + LOOK_MS);
	else
		wheel_stop(loop_wheel(l), &o->timer);
	free(s);
}

static bool any_is_heard(const struct home *h)
{
	const struct cluster_node *v;
	unsigned n = cluster_nodes(h->cluster, &v);
	for (unsigned i = 0; i < n; i++)
		if (i != cluster_self(h->cluster) && is_heard(h, i))
			return true;
	return false;
}

/*
 * The members meet: each tells what it took, as far back as it can know, and how far that is
 * (auth_share_again), and what is older is asked for anew.  Whoever was started anew, or
 * stopped, or cut off, and whether the other one noticed, this comes out right:
 * - Who has just been started does not know what it took before, nor what the other one took
 *   before they met: nonces of before their first meeting are stale here, and the other one,
 *   when it hears so, holds those of before our start for stale too: the process before us
 *   may have taken them when it was not there to be told.  But not who heard that process to
 *   its end: a phone that repeats its request there, a second after the death, is to be let
 *   through.  It tells the new process so, which takes them too from then on: it may be the
 *   next to be left alone.
 * - What is taken while they do not hear each other is told at the meeting; what is taken
 *   between a hello and the first word that knows us waits in the cluster's queue.
 * - A link that breaks is a meeting too when it is back; what was stale remains so.
 */
static void meet_partner(struct home *h)
{
	uint64_t wall_ms = time_wall_ms();
	if (!h->partner_met)
		auth_share_since(h->auth, wall_ms);
	h->partner_met = true;
	h->partner_told = cluster_heard_to_end(
		h->cluster, (unsigned)cluster_partner(h->cluster, cluster_self(h->cluster)));
	auth_share_again(h->auth, h->partner_told, wall_ms);
}

/* Who loses all in one cut, the other member too, is the one that is cut off: the other one
 * hears of the edges and goes on with the calls.  Whose partner has long been dead has them. */
static void note_loss(struct home *h, bool of_partner, bool partner_lives, bool any)
{
	msec now = time_now();
	if (of_partner && partner_lives)
		meet_partner(h);
	else if (of_partner)
		h->partner_lost = now;
	if (!any && now <= h->partner_lost + 2 * h->dead_ms)
		home_let_go_all(h);
}

void home_node_changed(void *state, unsigned node)
{
	struct home *h = state;
	int partner = h->cluster ? cluster_partner(h->cluster, cluster_self(h->cluster)) : -1;
	if (partner < 0)
		return;
	const struct seen seen = {.work.run = run_seen,
				  .home = h,
				  .of_partner = (int)node == partner,
				  .partner_lives = cluster_alive(h->cluster, (unsigned)partner),
				  .any_heard = any_is_heard(h)};
	note_loss(h, seen.of_partner, seen.partner_lives, seen.any_heard);
	struct seen *s = malloc(sizeof(*s));
	if (!s)
		return; /* what comes for a call of the partner's will lead to it */
	*s = seen;
	loop_post(stack_loop(app_worker_at(h->app, 0)->stack), &s->work);
}

/* Calls that nobody has gone on with: we were dead, or let them go, for so short a time that
 * the other member did not take them over, or it was cut off too. */
void home_serving(void *state)
{
	struct home *h = state;
	if (h->cluster)
		home_adopt_all(h, cluster_self(h->cluster));
}

int home_pair_start(struct home *h)
{
	wheel_timer_init(&h->orphans.timer, look);
	home_fork_start(h);
	return h->cluster ? auth_share(h->auth, tell_use, h, time_wall_ms()) : 0;
}

void home_notice(void *state, unsigned node, unsigned kind, struct span body)
{
	struct home *h = state;
	if (!h->cluster || (int)node != cluster_partner(h->cluster, cluster_self(h->cluster)))
		return;
	if (kind == APP_NOTICE_REBUILT)
		home_let_go_plain(h, body);
	uint64_t wall_ms = time_wall_ms();
	for (; kind == APP_NOTICE_NONCE && body.n >= AUTH_USE_BYTES;
	     body = span_of(body.p + AUTH_USE_BYTES, body.n - AUTH_USE_BYTES))
		auth_use_of_other(h->auth, span_of(body.p, AUTH_USE_BYTES), h->partner_told,
				  wall_ms);
}
