/*
 * Does a node want new calls (serve.c)?  Edges and a pair of homes with the cluster's own
 * engine, over the network and the clock of its tests.
 */
#include "common/app/app_priv.h"

#include "tests/unit/common/cluster/tables.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/inotify.h>
#include <unistd.h>

enum { MET = A2 + 1, DEAD_MS = 750, JOIN_MS = 30000, STRANDED_MS = 2000 };

static struct served {
	struct app app;
	struct app_nodes nodes;
	struct app_conf in_force;
	struct conf conf;
	struct app_role role;
	unsigned began; /* how often the role was told to serve */
	char dir[64];
	int watch;		/* of dir, as keepalived's */
	char drained, stranded; /* what was read at the last of its events */
} served[NODES];

/* In place of common/app/cluster.c, which would bring sockets. */
struct cluster *app_cluster(const struct app *a)
{
	return a->nodes ? a->nodes->cluster : NULL;
}

static unsigned told_missing[NODES]; /* in place of nodes.c, which would bring the stack */

void app_nodes_tell_missing(const struct app *a)
{
	told_missing[container_of(a, struct served, app) - served]++;
}

static void on_changed(void *arg, unsigned node)
{
	struct rig_node *n = arg;
	struct served *s = &served[n->index];
	uint64_t live = 0;
	(void)node;
	for (unsigned i = 0; i < NODES; i++)
		if (i != n->index && cluster_alive(n->c, i))
			live |= UINT64_C(1) << i;
	app_serve_seen(&s->app, live);
}

static void on_serving(void *state)
{
	((struct served *)state)->began++;
}

static void serve(unsigned i)
{
	struct served *s = &served[i];
	char error[APP_ERROR_MAX] = "";
	*s = (struct served){.in_force.conf = &s->conf,
			     .nodes = {.app = &s->app, .conf = rig[i].conf},
			     .role.serving = on_serving};
	told_missing[i] = 0;
	strcpy(s->dir, "/tmp/eaves-serve-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(s->dir));
	s->watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	MUST(inotify_add_watch(s->watch, s->dir, IN_CLOSE_WRITE | IN_DELETE | IN_MOVE) >= 0);
	rig[i].ops.changed = on_changed;
	rig_start(i);
	s->conf.data_dir = s->dir;
	s->app.conf = s->app.fixed = &s->in_force;
	s->app.nodes = &s->nodes;
	s->app.loop = rig[i].loop;
	s->nodes.cluster = rig[i].c;
	s->nodes.loop = rig[i].loop;
	s->app.role[APP_HOME] = &s->role;
	s->app.role_state[APP_HOME] = s;
	app_holders_find(&s->nodes);
	ck_assert_msg(app_serve_start(&s->app, error) == 0, "%s", error);
}

static enum app_phase phase(unsigned i)
{
	return app_phase(&served[i].app);
}

static char first_of(const struct served *s, const char *file)
{
	char path[384], text[4] = "";
	snprintf(path, sizeof(path), "%s/%s", s->dir, file);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	MUST(fd >= 0 && read(fd, text, sizeof(text)) == 2);
	close(fd);
	MUST(strcmp(text, "0\n") == 0 || strcmp(text, "1\n") == 0);
	return text[0];
}

/* What keepalived does: it reads a file when who has written to it has closed it. */
static const struct served *watched(unsigned i)
{
	struct served *s = &served[i];
	_Alignas(struct inotify_event) char buf[4096];
	ssize_t n;
	while ((n = read(s->watch, buf, sizeof(buf))) > 0) {
		for (char *p = buf; p < buf + n;) {
			const struct inotify_event *e = (const void *)p;
			if (strcmp(e->name, "drain") == 0)
				s->drained = first_of(s, e->name);
			else if (strcmp(e->name, "stranded") == 0)
				s->stranded = first_of(s, e->name);
			p += sizeof(*e) + e->len;
		}
	}
	MUST(errno == EAGAIN);
	return s;
}

/* May the service address be at i? */
static bool address_at(unsigned i)
{
	return watched(i)->drained == '0';
}

/* Is it better off at the other member, if that is not? */
static bool is_stranded(unsigned i)
{
	return watched(i)->stranded == '1';
}

static bool waits(unsigned i)
{
	return app_serve_waits(&served[i].app, loop_now(rig[i].loop));
}

static bool takes_calls(unsigned i)
{
	return app_takes_calls(&served[i].app);
}

static bool all_serve(void)
{
	for (unsigned i = 0; i < MET; i++)
		if (phase(i) != APP_SERVING)
			return false;
	return true;
}

static void begin(void)
{
	rig_begin(1);
	for (unsigned i = 0; i < MET; i++)
		serve(i);
	RIG_UNTIL(all_serve(), 3000);
	rig_run(500); /* all have heard so */
}

static void end(void)
{
	rig_end(); /* who is left alone says so */
	for (unsigned i = 0; i < MET; i++) {
		char path[128];
		if (!served[i].dir[0])
			continue;
		close(served[i].watch);
		snprintf(path, sizeof(path), "%s/drain", served[i].dir);
		unlink(path);
		snprintf(path, sizeof(path), "%s/stranded", served[i].dir);
		unlink(path);
		rmdir(served[i].dir);
	}
}

static const unsigned others_of_a1 = 1 << E1 | 1 << E2 | 1 << A2;

START_TEST(a_node_serves_when_its_table_is_as_those_of_the_others)
{
	rig_begin(1);
	for (unsigned i = E1; i <= A1; i++)
		serve(i);
	/* Not all live: they may yet come, until the dead would be known as such. */
	msec took = RIG_UNTIL(phase(A1) == APP_SERVING, 3000);
	ck_assert_uint_ge(took, DEAD_MS);
	for (unsigned i = 0; i < 3000; i++) {
		char user[16];
		snprintf(user, sizeof(user), "u%u", i);
		MUST(bind_at(A1, user, "sip:x", NULL) == 0);
	}
	serve(A2);
	ck_assert(phase(A2) == APP_JOINING && !address_at(A2));
	RIG_UNTIL(phase(A2) == APP_SERVING, 3000);
	ck_assert(has(A2, "u0", "sip:x") && has(A2, "u2999", "sip:x"));
	ck_assert(address_at(A2) && served[A2].began == 1);
	ck_assert(told_missing[A1] == 1 && told_missing[A2] == 1);
	RIG_UNTIL(cluster_serving(rig[A1].c, A2), 500);
	end();
}
END_TEST

START_TEST(who_was_apart_joins_again_before_it_is_asked)
{
	begin();
	rig_cut(1 << A1, others_of_a1, true, false);
	RIG_UNTIL(!cluster_alive(rig[A1].c, E1) && !cluster_alive(rig[A1].c, A2) &&
			  !cluster_alive(rig[E1].c, A1),
		  2000);
	/* Nobody has said that it cannot serve whoever reaches it. */
	ck_assert(phase(A1) == APP_SERVING && address_at(A1));
	ck_assert(phase(A2) == APP_SERVING &&
		  phase(E1) == APP_SERVING); /* they hear each other */
	for (unsigned i = 0; i < 500; i++) {
		char user[16];
		snprintf(user, sizeof(user), "u%u", i);
		MUST(bind_at(A2, user, "sip:x", NULL) == 0);
	}

	net.delay_min_ms = net.delay_max_ms =
		40; /* comparison takes longer than a look at it */
	rig_cut(1 << A1, others_of_a1, false, false);
	RIG_UNTIL(phase(A1) == APP_JOINING, 3000);
	ck_assert(!address_at(A1)); /* the other member has it */
	for (unsigned i = 0; phase(A1) == APP_JOINING && i < 5000; i++) {
		for (unsigned k = 0; k < MET; k++) /* not once is it chosen for a new call */
			MUST(k == A1 || !cluster_serving(rig[k].c, A1));
		rig_run(1);
	}
	ck_assert(phase(A1) == APP_SERVING && address_at(A1));
	ck_assert(has(A1, "u0", "sip:x") && has(A1, "u499", "sip:x"));
	ck_assert_uint_eq(served[A1].began, 2);
	ck_assert_uint_eq(served[A2].began, 1); /* it was never apart */
	RIG_UNTIL(cluster_serving(rig[E1].c, A1) && cluster_serving(rig[A2].c, A1), 1000);
	/* The one that went on stays the one that is asked. */
	ck_assert_int_eq(cluster_member(rig[E1].c, SPAN("a"), -1), A2);
	end();
}
END_TEST

START_TEST(an_address_that_nobody_else_could_take_stays_when_all_were_cut_off_from_each_other)
{
	begin();
	for (unsigned i = 0; i < MET; i++)
		rig_cut(1 << i, ((1 << MET) - 1) & ~(1 << i), true, true);
	rig_run(3000);
	for (unsigned i = 0; i < MET; i++)
		ck_assert(phase(i) == APP_SERVING && address_at(i));
	for (unsigned i = 0; i < MET; i++)
		rig_cut(1 << i, ((1 << MET) - 1) & ~(1 << i), false, true);
	/* All join again; as long as neither member serves, the address is at one of them. */
	RIG_UNTIL(phase(A1) == APP_JOINING && phase(A2) == APP_JOINING, 3000);
	while (!all_serve()) {
		MUST(address_at(A1) || address_at(A2));
		rig_run(1);
		MUST(net_now < 100000);
	}
	for (unsigned i = 0; i < MET; i++)
		ck_assert(address_at(i) && served[i].began == 2);
	end();
}
END_TEST

/* What comparison needs is larger than this; hellos and heartbeats are not. */
static bool small_alone(unsigned from, unsigned to, struct span bytes)
{
	return (from != A2 && to != A2) || bytes.n < 300;
}

START_TEST(a_node_that_does_not_become_equal_serves_after_half_a_minute_with_what_it_has)
{
	rig_begin(1);
	for (unsigned i = E1; i <= A1; i++)
		serve(i);
	RIG_UNTIL(phase(A1) == APP_SERVING, 3000);
	MUST(bind_at(A1, "alice", "sip:x", NULL) == 0);
	net.look = small_alone;
	serve(A2);
	rig_run(JOIN_MS - 1000);
	ck_assert(cluster_alive(rig[A2].c, A1) && cluster_alive(rig[A1].c, A2));
	ck_assert(phase(A2) == APP_JOINING && !address_at(A2));
	RIG_UNTIL(phase(A2) == APP_SERVING, 2000);
	ck_assert(address_at(A2));
	end();
}
END_TEST

START_TEST(who_is_to_end_does_not_join_again)
{
	begin();
	app_serve_end(&served[A1].app);
	ck_assert(phase(A1) == APP_DRAINING && address_at(A1)); /* phones find out first */
	RIG_UNTIL(!cluster_serving(rig[E1].c, A1), 500);
	app_serve_release(&served[A1].app);
	ck_assert(!address_at(A1));
	rig_cut(1 << A1, others_of_a1, true, true);
	rig_run(2000);
	rig_cut(1 << A1, others_of_a1, false, true);
	rig_run(3000);
	ck_assert(phase(A1) == APP_DRAINING && !address_at(A1));
	ck_assert(cluster_alive(rig[E1].c, A1) && !cluster_serving(rig[E1].c, A1));
	ck_assert_uint_eq(served[A1].began, 1);
	end();
}
END_TEST

START_TEST(two_cuts_at_once_are_one_return)
{
	begin();
	for (unsigned i = 0; i < 5; i++) { /* the bus breaks and is back, told within a round */
		rig_cut(1 << A1, others_of_a1, true, true);
		rig_cut(1 << A1, others_of_a1, false, true);
		rig_run(1);
	}
	RIG_UNTIL(phase(A1) == APP_SERVING && cluster_serving(rig[E1].c, A1), 5000);
	rig_run(2000);
	ck_assert(all_serve() && address_at(A1));
	ck_assert_uint_le(served[A1].began, 3);
	end();
}
END_TEST

START_TEST(an_edge_that_reaches_no_home_is_stranded)
{
	const unsigned homes = 1 << A1 | 1 << A2;
	begin();
	rig_run(STRANDED_MS); /* they all have just begun */
	for (unsigned i = 0; i < MET; i++)
		ck_assert(!is_stranded(i) && !waits(i));
	rig_cut(1 << E1, homes, true, true);
	RIG_UNTIL(is_stranded(E1), 2000);
	ck_assert(waits(E1)); /* the address may be on its way to the other one */
	rig_run(STRANDED_MS + 1);
	ck_assert(is_stranded(E1) && !waits(E1)); /* it is here still, then */
	/* It may have the address all the same, if nobody else can. */
	ck_assert(phase(E1) == APP_SERVING && address_at(E1));
	for (unsigned i = E2; i < MET; i++)
		ck_assert(!is_stranded(i) && !waits(i)); /* the homes hear the other edge */
	ck_assert(!takes_calls(E1) && takes_calls(E2));
	served[E1].conf.edge.deliver_alone = true;
	ck_assert(takes_calls(E1));
	served[E1].conf.edge.deliver_alone = false;
	rig_cut(1 << E1, homes, false, true);
	RIG_UNTIL(!is_stranded(E1), 3000);
	ck_assert(takes_calls(E1));
	rig_run(STRANDED_MS); /* the other home may come later */
	ck_assert(!waits(E1));
	end();
}
END_TEST

START_TEST(an_edge_that_has_just_lost_a_home_waits_for_word_of_the_others)
{
	begin();
	rig_run(STRANDED_MS); /* they all have just begun */
	rig_cut(1 << E1, 1 << A1, true, true);
	RIG_UNTIL(!cluster_alive(rig[E1].c, A1), 2000);
	ck_assert(!is_stranded(E1) && waits(E1) && !waits(E2));
	rig_run(rig[E1].conf.heartbeat_ms);
	ck_assert(waits(E1));
	rig_run(100);
	ck_assert(!is_stranded(E1) && !waits(E1)); /* it is alone in that */
	end();
}
END_TEST

START_TEST(an_edge_that_has_just_reached_a_home_waits_for_the_others)
{
	begin();
	rig_cut(1 << E1, 1 << A1 | 1 << A2, true, true);
	RIG_UNTIL(is_stranded(E1), 2000);
	rig_run(STRANDED_MS + 1);
	rig_cut(1 << E1, 1 << A1, false, true);
	RIG_UNTIL(!is_stranded(E1), 3000);
	rig_run(STRANDED_MS - 100);
	ck_assert(waits(E1));
	rig_run(100);
	ck_assert(!waits(E1));
	end();
}
END_TEST

START_TEST(with_all_homes_dead_both_edges_are_alike)
{
	begin();
	rig_cut(1 << E1 | 1 << E2, 1 << A1 | 1 << A2, true, true);
	RIG_UNTIL(is_stranded(E1) && is_stranded(E2), 2000);
	rig_run(STRANDED_MS + 1);
	ck_assert(address_at(E1) && address_at(E2) && !waits(E1) && !waits(E2));
	end();
}
END_TEST

START_TEST(a_home_is_stranded_when_it_reaches_nobody_at_all)
{
	begin();
	rig_cut(1 << A1, 1 << E1 | 1 << E2, true, true);
	rig_run(2000);
	ck_assert(!is_stranded(A1)); /* it and its other member have each other */
	rig_cut(1 << A1, 1 << A2, true, true);
	RIG_UNTIL(is_stranded(A1), 2000);
	ck_assert(!is_stranded(A2) && !is_stranded(E1));
	ck_assert(takes_calls(A1)); /* of phones that are straight at it */
	rig_cut(1 << A1, others_of_a1, false, true);
	RIG_UNTIL(!is_stranded(A1), 3000);
	end();
}
END_TEST

START_TEST(who_has_not_reached_anybody_yet_is_stranded)
{
	rig_begin(1);
	serve(E1);
	ck_assert(is_stranded(E1) && waits(E1) && !takes_calls(E1));
	served[E1].conf.edge.deliver_alone = true;
	ck_assert(!takes_calls(E1)); /* it joins */
	RIG_UNTIL(phase(E1) == APP_SERVING, 3000);
	ck_assert(is_stranded(E1) && address_at(E1));
	serve(A1);
	RIG_UNTIL(!is_stranded(E1) && !is_stranded(A1), 3000);
	end();
}
END_TEST

UNIT_MAIN("common/app serve", a_node_serves_when_its_table_is_as_those_of_the_others,
	  who_was_apart_joins_again_before_it_is_asked,
	  an_address_that_nobody_else_could_take_stays_when_all_were_cut_off_from_each_other,
	  a_node_that_does_not_become_equal_serves_after_half_a_minute_with_what_it_has,
	  who_is_to_end_does_not_join_again, two_cuts_at_once_are_one_return,
	  an_edge_that_reaches_no_home_is_stranded,
	  an_edge_that_has_just_lost_a_home_waits_for_word_of_the_others,
	  an_edge_that_has_just_reached_a_home_waits_for_the_others,
	  with_all_homes_dead_both_edges_are_alike,
	  a_home_is_stranded_when_it_reaches_nobody_at_all,
	  who_has_not_reached_anybody_yet_is_stranded)
