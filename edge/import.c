/*
 * "user import": line by line, a slice a round of the loop, so that the process answers, hears
 * its signals and serves its address meanwhile.  It is answered when all is durable.
 */
#include "edge/edge_priv.h"

#include <errno.h>
#include <stdlib.h>

/* Waiting: each is answered as late as those before it take, and in second_place_ms at most. */
enum {
	WAITING_MAX = 500,
	BEHIND_BYTES = 64 << 10,
	BEHIND_MS = 1000, /* of one line */
	SLICE_MS = 2,
	LOOK_MS = 2,
};

struct import {
	struct edge *e;
	struct admin_reply *out;
	struct admin_later *later; /* NULL: it is over */
	struct loop *loop;
	struct loop_work next;	  /* posted, or else: */
	struct wheel_timer again; /* it waits for others */
	atomic_uint refs;	  /* of the two above one; one a user that is not durable yet */
	atomic_int error;
	bool ending;
	msec behind_since; /* 0: nobody is */
	struct span left;
	size_t number, users;
	int r;
	size_t n;
	char text[];
};

static void import_unref(struct import *im)
{
	if (atomic_fetch_sub(&im->refs, 1) == 1)
		free(im);
}

/* From any thread. */
static void on_durable(void *arg, int error)
{
	struct import *im = arg;
	if (error)
		atomic_store(&im->error, error);
	import_unref(im);
}

static unsigned waiting(struct import *im)
{
	return atomic_load(&im->refs) - 1;
}

/* What the node that is furthest behind has not taken yet, of those that live. */
static uint64_t behind(const struct edge *e)
{
	const struct cluster_node *nodes;
	unsigned n = e->cluster ? cluster_nodes(e->cluster, &nodes) : 0;
	uint64_t most = 0;
	for (unsigned i = 0; i < n; i++) {
		struct cluster_node_state s;
		cluster_node_state(e->cluster, i, &s);
		if (s.alive && s.queued_bytes > most)
			most = s.queued_bytes;
	}
	return most;
}

/* An import goes no faster than all nodes take it: who is buried in records is late with its
 * heartbeats and with its word on second places.  Who takes nothing is dead soon; who is slow
 * for another reason is not waited for for ever, since an operator waits here. */
static bool must_wait(struct import *im)
{
	if (waiting(im) > WAITING_MAX)
		return true;
	msec now = time_now();
	if (behind(im->e) <= BEHIND_BYTES)
		im->behind_since = 0;
	else if (!im->behind_since)
		im->behind_since = now;
	else if (now >= im->behind_since + BEHIND_MS)
		im->behind_since = 0;
	return im->behind_since != 0;
}

static int store_user(struct import *im, struct span name, struct span password,
		      bool must_exist)
{
	atomic_fetch_add(&im->refs, 1);
	int r = edge_user_store(im->e, name, password, NULL, must_exist, on_durable, im);
	if (r < 0)
		atomic_fetch_sub(&im->refs, 1);
	return r;
}

static int import_line(struct import *im, struct span line)
{
	ptrdiff_t space = span_chr(line, ' ', 0);
	if (space <= 0)
		return -EINVAL;
	struct span name = span_of(line.p, (size_t)space);
	struct span password = span_of(line.p + space + 1, line.n - (size_t)space - 1);
	int r = password.n ? store_user(im, name, password, false) : -EINVAL;
	return r == -EEXIST ? store_user(im, name, password, true) : r;
}

static void next_line(struct import *im)
{
	ptrdiff_t end = span_chr(im->left, '\n', 0);
	size_t n = end < 0 ? im->left.n : (size_t)end;
	struct span line = span_trim(span_of(im->left.p, n));
	im->number++;
	if (line.n && (im->r = import_line(im, line)) == 0)
		im->users++;
	n += end >= 0;
	im->left = span_of(im->left.p + n, im->left.n - n);
}

static bool goes_on(const struct import *im)
{
	return im->left.n && im->r == 0 && !im->ending;
}

/* unsure: how many of them may not be durable. */
static void finish(struct import *im, unsigned unsure)
{
	struct admin_later *later = im->later;
	int r = im->r, error = atomic_load(&im->error);
	if (r < 0)
		admin_printf(im->out, "line %zu is not \"NAME PASSWORD\": %s\n", im->number,
			     edge_reason(im->e, r));
	else if (im->left.n)
		admin_printf(im->out, "the server is ending: %zu %s done\n", im->number,
			     im->number == 1 ? "line" : "lines");
	if (unsure > 0)
		admin_printf(im->out, "the server is ending: %u of these may not be durable\n",
			     unsure);
	admin_printf(im->out, "%zu %s\n", im->users, im->users == 1 ? "user" : "users");
	if (error < 0)
		admin_printf(im->out, "not all of them: %s\n", edge_reason(im->e, error));
	if (im->users > 0)
		edge_tell_away(im->e, im->out, error);
	if (r == 0 && (im->left.n || unsure > 0))
		r = -ECANCELED;
	explicit_bzero(im->text, im->n);
	im->later = NULL;
	admin_later_done(later, r < 0 ? r : error);
}

static void slice(struct import *im)
{
	const msec until = time_now() + SLICE_MS;
	bool wait = false;
	while (im->later && goes_on(im) && time_now() < until && !(wait = must_wait(im)))
		next_line(im);
	if (!im->later) {
		import_unref(im);
	} else if (goes_on(im) && !wait) {
		loop_post(im->loop, &im->next);
	} else if (goes_on(im) || waiting(im) > 0) {
		wheel_arm(loop_wheel(im->loop), &im->again, loop_now(im->loop) + LOOK_MS);
	} else {
		finish(im, 0);
		import_unref(im);
	}
}

static void on_next(struct loop_work *w)
{
	slice(container_of(w, struct import, next));
}

static void on_again(struct wheel_timer *t, msec now)
{
	(void)now;
	slice(container_of(t, struct import, again));
}

/* What waits for a second place still may have it, but not be waited for when it ends now. */
static void on_ending(void *arg, bool now)
{
	struct import *im = arg;
	im->ending = true;
	if (!now)
		return;
	finish(im, waiting(im));
	if (!wheel_armed(&im->again))
		return; /* posted: it finds that it is over */
	wheel_stop(loop_wheel(im->loop), &im->again);
	import_unref(im);
}

int edge_import(void *arg, int argc, char **argv, struct span in, struct admin_reply *out)
{
	struct import *im = malloc(sizeof(*im) + in.n);
	(void)argc;
	(void)argv;
	if (!im)
		return -ENOMEM;
	*im = (struct import){.e = arg, .out = out, .refs = 1, .n = in.n};
	if (in.n)
		memcpy(im->text, in.p, in.n);
	im->left = span_of(im->text, in.n);
	im->next.run = on_next;
	wheel_timer_init(&im->again, on_again);
	im->later = admin_later(out, on_ending, im);
	im->loop = admin_later_loop(im->later);
	slice(im);
	return 0;
}
