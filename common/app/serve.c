/*
 * Does this node want new calls?  Not before its tables are as those of the others, nor when it
 * is to end.  The nodes are told by the bus, whoever moves the service address by files
 * (keepalived's track_file): data_dir/drain has 0 while it serves, 1 while it does not.
 * data_dir/stranded has 1 while it reaches none of those without whom it can do little; whether
 * the other member does, or is there at all, it cannot know: the address goes where it is
 * better off, if there is such a place.
 */
#include "common/app/app_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum {
	LOOK_MS = 50,
	JOIN_MS = 30000, /* and then with what it has */
	PATH_ROOM = 4096,
	/* From when it reaches nobody: longer than the service address needs to go. */
	STRANDED_MS = 2000,
};

const char *app_phase_name(enum app_phase p)
{
	static const char *const names[] = {"serving", "joining", "draining"};
	return names[p];
}

enum app_phase app_phase(const struct app *a)
{
	return (enum app_phase)atomic_load_explicit(&a->service.phase, memory_order_relaxed);
}

/* In place, so that the file is never empty, and closed: keepalived reads it then, not when it
 * is written to (inotify's IN_CLOSE_WRITE).  -errno and ret_path. */
static int write_file(const char *dir, const char *name, bool well, char ret_path[PATH_ROOM])
{
	if (!dir)
		return 0;
	snprintf(ret_path, PATH_ROOM, "%s/%s", dir, name);
	int file = open(ret_path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (file < 0)
		return -errno;
	int r = pwrite(file, well ? "0\n" : "1\n", 2, 0) == 2 ? 0 : -errno;
	close(file);
	return r;
}

bool app_joins(const struct app *a)
{
	return app_phase(a) == APP_JOINING;
}

static void write_to(const struct app_service *s, const char *name, bool well)
{
	char path[PATH_ROOM];
	int r = write_file(s->dir, name, well, path);
	if (r < 0)
		log_event(LOG_ERROR, "drain-not-written", LOG_STR("file", name),
			  LOG_STR("error", strerror(-r)));
}

bool app_other_serves(const struct app *a)
{
	struct cluster *c = app_cluster(a);
	int other = c ? cluster_partner(c, cluster_self(c)) : -1;
	return other >= 0 && cluster_serving(c, (unsigned)other);
}

/* May the service address be here?  Who joins once more keeps it where nobody else could take
 * it, as when all were cut off from each other. */
static void show_address(struct app *a)
{
	struct app_service *s = &a->service;
	bool may = app_phase(a) == APP_SERVING || (s->rejoins && !app_other_serves(a));
	if (may != s->shown)
		write_to(s, "drain", may);
	s->shown = may;
}

static void set_phase(struct app *a, enum app_phase p)
{
	struct app_service *s = &a->service;
	atomic_store_explicit(&s->phase, p, memory_order_relaxed);
	s->since = loop_now(a->loop);
	if (!a->nodes)
		return;
	if (p != APP_DRAINING)
		show_address(a);
	/* Who hears nobody says so with its first word when it does. */
	cluster_set_draining(a->nodes->cluster, p != APP_SERVING || atomic_load(&s->apart));
	log_event(LOG_INFO, app_phase_name(p));
	for (int k = 0; k < APP_ROLE_COUNT && p == APP_SERVING; k++)
		if (a->role[k] && a->role[k]->serving && a->role_state[k])
			a->role[k]->serving(a->role_state[k]);
}

/* Those that live: of each we have seen all that we lacked and it may give.  Not all live: they
 * may yet come, until the dead ones would be known as such; after a cut that takes longer, and
 * who serves goes on with calls that the other member may have. */
static bool has_joined(struct app *a, msec now)
{
	const struct app_nodes *n = a->nodes;
	struct app_service *s = &a->service;
	msec patience = s->rejoins ? APP_RETURN_MS : n->conf.dead_ms;
	bool all_live = true, all_settled = true;
	for (unsigned i = 0; i < n->conf.n; i++) {
		struct cluster_node_state v;
		if (!app_nodes_speak(n, i))
			continue;
		cluster_node_state(n->cluster, i, &v);
		if (v.alive && v.settled)
			s->settled |= UINT64_C(1) << i;
		all_live &= v.alive;
		all_settled &= !v.alive || s->settled >> i & 1;
	}
	return all_settled && (all_live || now >= s->since + patience);
}

static void look(struct wheel_timer *t, msec now)
{
	struct app *a = container_of(t, struct app, service.timer);
	if (has_joined(a, now)) {
		set_phase(a, APP_SERVING);
		app_nodes_tell_missing(a);
	} else if (now >= a->service.since + JOIN_MS) {
		log_event(LOG_WARN, "joined-unequal");
		set_phase(a, APP_SERVING);
	} else {
		show_address(a);
		wheel_arm(loop_wheel(a->loop), t, now + LOOK_MS);
	}
}

/* ---- whom it reaches ---- */

/* now: not 0, which is "it reaches some". */
static void set_stranded(struct app_service *s, msec now)
{
	atomic_store(&s->stranded_since, now ? now : 1);
}

static void show_reach(struct app *a, bool reaches)
{
	struct app_service *s = &a->service;
	if (reaches == (atomic_load(&s->stranded_since) == 0))
		return;
	if (reaches) {
		atomic_store(&s->stranded_since, 0);
		write_to(s, "stranded", true);
		log_event(LOG_INFO, "in-reach");
	} else {
		set_stranded(s, loop_now(a->nodes->loop));
		write_to(s, "stranded", false);
		log_event(LOG_WARN, "stranded");
	}
}

/* Without a home an edge can but refuse.  A home does much by itself and with its other member.
 */
static uint64_t needed(const struct app_nodes *n)
{
	bool edge = app_node(n, n->conf.self)->role == CLUSTER_EDGE;
	return edge ? ~n->edges : UINT64_MAX;
}

bool app_takes_calls(const struct app *a)
{
	const struct app_nodes *n = a->nodes;
	if (app_phase(a) != APP_SERVING)
		return false;
	if (!n || app_node(n, n->conf.self)->role != CLUSTER_EDGE)
		return true;
	return a->conf->conf->edge.deliver_alone ||
	       atomic_load_explicit(&a->service.stranded_since, memory_order_relaxed) == 0;
}

/* Those that were cut off from it together fall silent one after the other, within a heartbeat,
 * and come back so, when TCP tries again: a pair of homes may be down when another home still
 * lives, or lives again. */
bool app_serve_waits(const struct app *a, msec now)
{
	const struct app_nodes *n = a->nodes;
	msec since = atomic_load_explicit(&a->service.stranded_since, memory_order_relaxed);
	msec until = atomic_load_explicit(&a->service.wait_until, memory_order_relaxed);
	if (!n || cluster_partner(n->cluster, n->conf.self) < 0)
		return false;
	return (since && now < since + STRANDED_MS) || now < until;
}

static void note_change(struct app *a, uint64_t reached)
{
	struct app_service *s = &a->service;
	msec now = loop_now(a->nodes->loop);
	if (!s->reached)
		atomic_store(&s->wait_until, now + STRANDED_MS);
	else if (s->reached & ~reached)
		atomic_store(&s->wait_until, now + a->nodes->conf.heartbeat_ms + LOOK_MS);
	s->reached = reached;
}

/* Who was cut off from all others was taken for dead.  It comes back as if it had just started:
 * what it is asked for may have changed meanwhile.  They hear so with its first word. */
void app_serve_seen(struct app *a, uint64_t live)
{
	struct app_service *s = &a->service;
	bool any_lives = live != 0;
	note_change(a, live & needed(a->nodes));
	show_reach(a, s->reached);
	bool before = atomic_exchange(&s->apart, !any_lives);
	if (!any_lives && !before)
		cluster_set_draining(a->nodes->cluster, true);
	else if (any_lives && before)
		app_serve_again(a);
}

void app_serve_again(struct app *a)
{
	if (!atomic_exchange(&a->service.again_posted, true))
		loop_post(a->loop, &a->service.again);
}

static void join_again(struct loop_work *w)
{
	struct app *a = container_of(w, struct app, service.again);
	struct app_service *s = &a->service;
	atomic_store(&s->again_posted, false);
	s->settled = 0;
	if (app_phase(a) != APP_SERVING)
		return;
	s->rejoins = true;
	set_phase(a, APP_JOINING);
	wheel_arm(loop_wheel(a->loop), &s->timer, s->since + LOOK_MS);
}

/* Neither may it have the address yet nor does it reach anybody, whatever a process before it
 * has left there. */
static int write_both(const struct app_service *s, char ret_error[APP_ERROR_MAX])
{
	char path[PATH_ROOM];
	int r = write_file(s->dir, "drain", false, path);
	if (r == 0)
		r = write_file(s->dir, "stranded", false, path);
	if (r < 0)
		snprintf(ret_error, APP_ERROR_MAX, "%.200s: %s", path, strerror(-r));
	return r;
}

int app_serve_start(struct app *a, char ret_error[APP_ERROR_MAX])
{
	struct app_service *s = &a->service;
	if (!a->nodes)
		return 0;
	s->dir = a->fixed->conf->data_dir;
	int r = write_both(s, ret_error);
	if (r < 0)
		return r;
	set_stranded(s, loop_now(a->loop));
	wheel_timer_init(&a->service.timer, look);
	a->service.again.run = join_again;
	atomic_store(&a->service.apart, true);
	set_phase(a, APP_JOINING);
	wheel_arm(loop_wheel(a->loop), &a->service.timer, a->service.since + LOOK_MS);
	return 0;
}

void app_serve_end(struct app *a)
{
	if (app_phase(a) == APP_JOINING)
		wheel_stop(loop_wheel(a->loop), &a->service.timer);
	set_phase(a, APP_DRAINING);
}

void app_serve_release(struct app *a)
{
	write_to(&a->service, "drain", false);
}
