/*
 * Does this node want new calls?  Not before its tables are as those of the others, nor when it
 * is to end.  The nodes are told by the bus, whoever moves the service address by a file:
 * data_dir/drain has 0 while it serves, 1 while it does not (keepalived's track_file).
 */
#include "common/app/app_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum {
	LOOK_MS = 50,
	JOIN_MS = 30000, /* and then with what it has */
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

/* In place: the file is never empty. */
static void write_file(const struct app_service *s, bool serves)
{
	if (s->file >= 0 && pwrite(s->file, serves ? "0\n" : "1\n", 2, 0) != 2)
		log_event(LOG_ERROR, "drain-not-written", LOG_STR("error", strerror(errno)));
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
		write_file(s, may);
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

/* Those that live: each was seen to have what we have.  Not all live: they may yet come, until
 * the dead ones would be known as such. */
static bool has_joined(struct app *a, msec now)
{
	const struct app_nodes *n = a->nodes;
	struct app_service *s = &a->service;
	bool all_live = true, all_equal = true;
	for (unsigned i = 0; i < n->conf.n; i++) {
		struct cluster_node_state v;
		if (!app_nodes_speak(n, i))
			continue;
		cluster_node_state(n->cluster, i, &v);
		if (v.alive && v.equal)
			s->equal |= UINT64_C(1) << i;
		all_live &= v.alive;
		all_equal &= !v.alive || s->equal >> i & 1;
	}
	return all_equal && (all_live || now >= s->since + n->conf.dead_ms);
}

static void look(struct wheel_timer *t, msec now)
{
	struct app *a = container_of(t, struct app, service.timer);
	if (has_joined(a, now)) {
		set_phase(a, APP_SERVING);
	} else if (now >= a->service.since + JOIN_MS) {
		log_event(LOG_WARN, "joined-unequal");
		set_phase(a, APP_SERVING);
	} else {
		show_address(a);
		wheel_arm(loop_wheel(a->loop), t, now + LOOK_MS);
	}
}

/* Who was cut off from all others was taken for dead.  It comes back as if it had just started:
 * what it is asked for may have changed meanwhile.  They hear so with its first word. */
void app_serve_seen(struct app *a, bool any_lives)
{
	struct app_service *s = &a->service;
	bool before = atomic_exchange(&s->apart, !any_lives);
	if (!any_lives && !before)
		cluster_set_draining(a->nodes->cluster, true);
	else if (any_lives && before && !atomic_exchange(&s->again_posted, true))
		loop_post(a->loop, &s->again);
}

static void join_again(struct loop_work *w)
{
	struct app *a = container_of(w, struct app, service.again);
	struct app_service *s = &a->service;
	atomic_store(&s->again_posted, false);
	s->equal = 0;
	if (app_phase(a) != APP_SERVING)
		return;
	s->rejoins = true;
	set_phase(a, APP_JOINING);
	wheel_arm(loop_wheel(a->loop), &s->timer, s->since + LOOK_MS);
}

int app_serve_start(struct app *a, char ret_error[APP_ERROR_MAX])
{
	const char *dir = a->conf->conf->data_dir;
	char path[4096];
	if (!a->nodes)
		return 0;
	if (dir) {
		snprintf(path, sizeof(path), "%s/drain", dir);
		a->service.file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
		if (a->service.file < 0) {
			int error = errno;
			snprintf(ret_error, APP_ERROR_MAX, "%.200s: %s", path, strerror(error));
			return -error;
		}
	}
	wheel_timer_init(&a->service.timer, look);
	a->service.again.run = join_again;
	atomic_store(&a->service.apart, true);
	a->service.shown = true; /* whatever a process before us has left there */
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
	write_file(&a->service, false);
}

void app_serve_close(struct app *a)
{
	if (a->service.file >= 0)
		close(a->service.file);
}
