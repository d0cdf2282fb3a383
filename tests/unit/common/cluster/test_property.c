/*
 * Whatever happens - loss, repetition, overtaking, partitions, stops, deaths and restarts,
 * clocks that differ - each promise is kept once, a yes is true, what was promised is not lost,
 * and five seconds after the end of it all tables are the same.  One seed, one story:
 * STORY=n tells one, STORIES=n so many.
 */
#include "tests/unit/common/cluster/tables.h"

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
enum { STORIES = 25 };
#else
enum { STORIES = 100 };
#endif
enum { STEPS = 250, USERS = 25, PROMISES = 4000 };

struct oath {
	unsigned node, user, calls, kills;
	int error;
	uint8_t kind;
	uint64_t hlc;
};
static struct oath oath[PROMISES];
static unsigned noaths, kills;
static uint64_t story;

static void user_name(unsigned user, char name[16])
{
	snprintf(name, 16, "u%u", user);
}

/* The version of a user's record, deleted or not. */
static uint64_t version_at(unsigned node, uint8_t kind, unsigned user)
{
	struct record_version v;
	char name[16];
	user_name(user, name);
	records_each(rig[node].r, kind, span_str(name), 0, NULL, NULL, &v);
	return v.hlc;
}

static void on_done(void *arg, int error)
{
	struct oath *o = arg;
	unsigned places = 0;

	o->error = error;
	o->calls++;
	if (error)
		return;
	for (unsigned i = 0; i < NODES; i++)
		places +=
			i != o->node && rig_up(i) && version_at(i, o->kind, o->user) >= o->hlc;
	if (!places && o->kills == kills)
		ck_abort_msg("story %lu: a yes for u%u of node %u without a second place",
			     (unsigned long)story, o->user, o->node);
}

/* Homes write bindings of users of their own, edges write users. */
static void write_something(void)
{
	unsigned node = (unsigned)draw(NODES), user = (unsigned)draw(USERS);
	char name[16], body[16];
	struct oath *o = &oath[noaths];

	if (!rig_up(node) || noaths == PROMISES)
		return;
	user = rig_nodes[node].role == CLUSTER_EDGE ? user + 200
	       : in_pair(node, 'a')		    ? user
						    : user + 100;
	user_name(user, name);
	snprintf(body, sizeof(body), "%c%u", draw(2) ? 'a' : 'b', noaths);
	struct record v = {
		.kind = user >= 200 ? RECORD_USER : RECORD_BINDING,
		.deleted = draw(4) == 0,
		.group = span_str(name),
		.body = span_str(body),
		.expires_ms = user >= 200 || draw(3) ? 0 : net_wall_ms + 500 + draw(20000),
	};
	if (v.deleted)
		v.expires_ms = 0;
	*o = (struct oath){.node = node, .user = user, .kills = kills, .kind = v.kind};
	net_skew_ms = rig[node].skew_ms;
	int rc = records_put(rig[node].r, &v, 1, NULL, time_wall_ms(), on_done, o);
	net_skew_ms = 0;
	MUST(rc == 0 || rc == -ENOSPC); /* it was stopped for long */
	if (rc < 0)
		return;
	o->hlc = version_at(node, v.kind, user);
	noaths++;
}

static void cut_something(void)
{
	unsigned these = (unsigned)draw(1 << NODES), those = (unsigned)draw(1 << NODES);
	rig_cut(these, those, true, draw(2));
}

static void heal(void)
{
	for (unsigned i = 0; i < NODES; i++)
		rig[i].paused = false;
	for (unsigned i = 0; i < NODES; i++) {
		for (unsigned j = 0; j < i; j++) {
			bool cut = net.cut[i][j];
			net.cut[i][j] = net.cut[j][i] = false;
			if (cut)
				rig_connected(i, j, true);
		}
	}
}

/* What was promised before is where it belongs. */
static bool whole(void)
{
	for (unsigned i = 0; i < NODES; i++)
		for (unsigned j = 0; j < NODES; j++)
			if (!rig_up(i) || rig[i].paused || net.cut[i][j])
				return false;
	return all_equal();
}

static void do_something(void)
{
	unsigned node = (unsigned)draw(NODES);

	switch (draw(60)) {
	case 0:
		cut_something();
		break;
	case 1:
	case 2:
		heal();
		break;
	case 3:
		rig[node].paused = rig_up(node) && draw(2);
		break;
	case 4: /* the next one only when nothing is left of the last */
	case 9:
	case 10:
		if (whole() && (homes_give_users || rig_nodes[node].role == CLUSTER_HOME)) {
			kills++;
			rig_kill(node);
		}
		break;
	case 5:
	case 6:
		if (!rig_up(node))
			rig_start(node);
		break;
	case 7:
		if (rig_up(node))
			cluster_suspect(rig[node].c, (unsigned)draw(NODES));
		break;
	case 8:
		if (rig_up(node))
			records_sweep(rig[node].r, net_wall_ms);
		break;
	default:
		write_something();
	}
}

static uint64_t all_sharers(void *arg, const struct store_row *row)
{
	const struct rig_node *n = arg;
	uint64_t nodes = 0;
	for (unsigned i = 0; i < NODES; i++)
		nodes |= shared(n->index, i, row) ? UINT64_C(1) << i : 0;
	return nodes;
}

/* Where edges take nothing back from homes, an edge that dies may leave what nobody was
 * promised at homes: in such a story only homes die. */
static void begin(uint64_t seed)
{
	story = seed;
	noaths = kills = 0;
	homes_give_users = seed / 2 % 2;
	rig_begin(seed);
	for (unsigned i = 0; i < NODES; i++) {
		rig[i].skew_ms = (int64_t)draw(4000) - 2000;
		if (seed % 2)
			rig[i].ops.sharers = all_sharers;
		if (seed % 5 == 0)
			rig[i].conf.queue_bytes = 2000; /* little more than one */
	}
	rig_meet(NODES);
	net.loss_permille = (unsigned)draw(3) * 80;
	net.twice_permille = (unsigned)draw(3) * 100;
	net.delay_max_ms = 1 + draw(3) * 15;
}

static void end(void)
{
	for (unsigned i = 0; i < NODES; i++)
		if (!rig_up(i))
			rig_start(i);
	heal();
	net.loss_permille = net.twice_permille = 0;
	msec from = net_now;
	while (!(all_equal() && all_same()) && net_now < from + 5000)
		rig_run(5);
	if (!all_same())
		ck_abort_msg("story %lu: tables differ after 5 s", (unsigned long)story);
	rig_run(1100); /* for those of the last moment */
	for (unsigned i = 0; i < noaths; i++) {
		const struct oath *o = &oath[i];
		if (o->calls != 1)
			ck_abort_msg("story %lu: promise %u was answered %u times",
				     (unsigned long)story, i, o->calls);
		if (o->error == 0 && version_at(o->node, o->kind, o->user) < o->hlc)
			ck_abort_msg("story %lu: u%u was promised, and is lost",
				     (unsigned long)story, o->user);
	}
}

static void tell(uint64_t from, uint64_t n)
{
	unsigned kept = 0, all = 0, killed = 0;

	for (uint64_t seed = from; seed < from + n; seed++) {
		begin(seed);
		for (unsigned i = 0; i < STEPS; i++) {
			for (uint64_t k = draw(4); k; k--)
				do_something();
			rig_run(draw(30));
		}
		end();
		for (unsigned i = 0; i < noaths; i++)
			kept += oath[i].error == 0;
		all += noaths;
		killed += kills;
		rig_end();
	}
	printf("%lu stories: %u promises, %u of them kept at a second place, %u deaths\n",
	       (unsigned long)n, all, kept, killed);
	if (n >= STORIES) {
		ck_assert_uint_gt(kept, all / 2);
		ck_assert_uint_gt(killed, (unsigned)n / 4);
	}
}

START_TEST(any_story_ends_in_equal_tables_and_kept_promises)
{
	const char *only = getenv("STORY"), *more = getenv("STORIES");

	if (only)
		tell(strtoull(only, NULL, 10), 1);
	else
		tell(1, more ? strtoull(more, NULL, 10) : STORIES);
}
END_TEST

START_TEST(and_so_do_others)
{
	tell(STORIES + 1, STORIES);
}
END_TEST

START_TEST(and_so_does_the_third_quarter)
{
	tell(2 * STORIES + 1, STORIES);
}
END_TEST

START_TEST(and_so_does_the_last_quarter)
{
	tell(3 * STORIES + 1, STORIES);
}
END_TEST

UNIT_MAIN("common/cluster property", any_story_ends_in_equal_tables_and_kept_promises,
	  and_so_do_others, and_so_does_the_third_quarter, and_so_does_the_last_quarter)
