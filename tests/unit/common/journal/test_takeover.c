/*
 * Promise 2 of the design, exhaustively: calls of every kind through a pair, of which the
 * working member is killed at every boundary: when it has got the n-th message, sent it, begun
 * a write, or seen it done.  What caller and phones see is held against the call without the
 * fault.
 */
#include "common/journal/journal.h"
#include "tests/unit/common/journal/phones.h"

#ifdef __SANITIZE_ADDRESS__
enum { SEEDS = 20, SECOND_STEP = 3 };
#elif defined(__SANITIZE_THREAD__)
enum { SEEDS = 5, SECOND_STEP = 11 };
#else
enum { SEEDS = 100, SECOND_STEP = 1 };
#endif
enum { END_MS = 320000 };

struct scenario {
	const char *name;
	unsigned status; /* what the caller hears in the end */
	msec cancel;	 /* 0: he waits */
	unsigned n;
	struct script phone[PHONES_MAX];
	uint16_t q[PHONES_MAX];
	bool crosses;	     /* a CANCEL may meet an answer */
	unsigned timer_c_ms; /* 0: as ever */
};

/* clang-format off */
static const struct scenario scenarios[] = {
	{"answered", 200, 0, 1, {{20, 2000, 200}}, {1000}, false, 0},
	{"answered at once", 200, 0, 1, {{20, 21, 200}}, {1000}, false, 0},
	{"busy", 486, 0, 1, {{20, 2000, 486}}, {1000}, false, 0},
	{"busy at once", 486, 0, 1, {{20, 21, 486}}, {1000}, false, 0},
	{"cancelled while ringing", 487, 3000, 1, {{20, 0, 0}}, {1000}, false, 0},
	{"cancelled before it rings", 487, 1000, 1, {{3000, 0, 0}}, {1000}, false, 0},
	{"cancelled, and silent", 487, 2000, 1, {{0, 0, 0}}, {1000}, false, 0},
	{"cancel crosses the answer", 200, 2001, 1, {{20, 2000, 200}}, {1000}, true, 0},
	{"three, one answers", 200, 0,
	 3, {{20, 0, 0}, {30, 2500, 200}, {40, 0, 0}}, {1000, 1000, 1000}, false, 0},
	{"three, two answer at the same time", 200, 0,
	 3, {{20, 2000, 200}, {30, 2000, 200}, {40, 0, 0}}, {1000, 1000, 1000}, true, 0},
	{"three, all busy", 484, 0,
	 3, {{20, 900, 480}, {30, 1500, 484}, {40, 2500, 486}}, {1000, 1000, 1000}, false, 0},
	{"three, one declines for all", 603, 0,
	 3, {{20, 0, 0}, {30, 2000, 603}, {40, 1000, 486}}, {1000, 1000, 1000}, false, 0},
	{"three, cancelled", 486, 3000,
	 3, {{20, 0, 0}, {30, 0, 0}, {40, 1000, 486}}, {1000, 1000, 1000}, false, 0},
	{"three, one is switched off", 200, 0,
	 3, {{20, 5000, 486}, {0, 0, 0}, {40, 9000, 200}}, {1000, 1000, 1000}, false, 0},
	{"three, two switched off, one busy", 486, 0,
	 3, {{20, 5000, 486}, {0, 0, 0}, {0, 0, 0}}, {1000, 1000, 1000}, false, 0},
	{"serial, the first does not answer", 200, 0,
	 2, {{20, 0, 0}, {20, 2000, 200}}, {1000, 500}, false, 0},
	{"serial, the first is busy", 200, 0,
	 2, {{20, 1000, 486}, {20, 2000, 200}}, {1000, 500}, false, 0},
	{"serial, nobody", 486, 0,
	 3, {{20, 1000, 486}, {20, 0, 0}, {20, 3000, 480}}, {1000, 500, 200}, false, 0},
	{"serial, cancelled in the second group", 480, 4000,
	 3, {{20, 1000, 480}, {20, 0, 0}, {20, 0, 0}}, {1000, 500, 200}, false, 0},
	{"serial, four groups", 200, 0,
	 4, {{20, 0, 0}, {0, 0, 0}, {20, 900, 404}, {20, 4000, 200}},
	 {1000, 700, 500, 200}, false, 0},
	{"two and then one", 200, 0,
	 3, {{20, 0, 0}, {30, 1500, 486}, {20, 1000, 200}}, {1000, 1000, 500}, false, 0},
	{"timer C", 486, 0, 2, {{20, 0, 0}, {20, 1000, 486}}, {1000, 1000}, false, 190000},
};
/* clang-format on */

enum { SCENARIOS = sizeof(scenarios) / sizeof(scenarios[0]) };

/* How a member dies, and how that is noticed. */
struct fault {
	const char *name;
	msec write_ms, switch_ms, found_ms;
	bool writes_arrive;
};

static const struct fault faults[] = {
	{"writes at once, the network knows at once", 0, 0, 750, true},
	{"writes at once, found after a while", 0, 300, 750, true},
	{"writes take a while and are lost", 2, 300, 750, false},
	{"writes take a while and arrive", 2, 300, 750, true},
	{"writes take a while and arrive, found at once", 2, 0, 0, true},
};

enum { FAULTS = sizeof(faults) / sizeof(faults[0]) };

struct run {
	struct net net;
	const struct scenario *s;
	const struct fault *f;
	unsigned kill[2]; /* after which operation of the first member, of the second */
	uint32_t seed;	  /* of a bad network; 0: a good one */
	unsigned kills;
	msec start, switch_at, adopt_at;
};

static struct arena unpack_arena;

static struct span pack(const struct proxy_fork *f)
{
	static struct bytes *latest;
	bytes_unref(latest);
	latest = journal_pack(f, 5000000);
	must(latest);
	return bytes_span(latest);
}

static bool unpack(struct span bytes, struct proxy_fork *ret)
{
	arena_reset(&unpack_arena);
	return journal_unpack(bytes, 5000000, &unpack_arena, ret) == 0;
}

static void start(struct run *r)
{
	static const char *const uri[] = {"sip:bob@10.0.0.2:5060", "sip:bob@10.0.0.3:5060",
					  "sip:bob@10.0.0.4:5060", "sip:bob@10.0.0.5:5060"};
	struct net *n = &r->net;
	struct world *w = world_new();
	n->w = w;
	n->nphones = r->s->n;
	n->seed = r->seed;
	n->write_ms = r->f->write_ms;
	w->forks.later = r->f->write_ms > 0;
	w->forks.pack = pack;
	w->forks.unpack = unpack;
	w->opts.journal = &w->forks.journal;
	w->writes_arrive = r->f->writes_arrive;
	w->conf.serial_group_ms = 5000;
	if (r->s->timer_c_ms)
		w->conf.timer_c_ms = r->s->timer_c_ms;
	w->kill_at = r->kill[0];
	for (unsigned i = 0; i < n->nphones; i++)
		w->targets[w->ntargets++] = (struct proxy_target){
			.uri = span_str(uri[i]), .q = r->s->q[i], .tag = i + 1};
	world_start(w);
	r->start = w->now;
	for (unsigned i = 0; i <= n->nphones; i++) {
		ua_init(n, (int)i);
		if (i)
			n->ua[i].script = r->s->phone[i - 1];
	}
	caller_invite(n);
}

/* ---- what happens ---- */

/* What the members have sent since is on its way. */
static void collect(struct run *r)
{
	struct world *w = r->net.w;
	for (unsigned i = 0; i < w->nsent; i++) {
		struct sent *s = &w->sent[i];
		int to = CALLER;
		while (to <= (int)r->net.nphones && strcmp(net_address(to), s->to) != 0)
			to++;
		must(to <= (int)r->net.nphones);
		net_send(&r->net, NODE, to, s->text, s->n);
		free(s->text);
	}
	w->nsent = 0;
}

/* When something has left a member that was to be the last. */
static void bury(struct run *r)
{
	struct world *w = r->net.w;
	collect(r);
	if (!w->mute)
		return;
	net_say(&r->net, "killed");
	world_kill(w);
	r->kills++;
	w->ops = 0;
	w->kill_at = r->kills == 1 ? r->kill[1] : 0;
	r->net.dead = true;
	r->net.written_at = 0;
	r->switch_at = w->now + r->f->switch_ms;
	r->adopt_at = w->now + r->f->found_ms;
}

static void to_node(struct run *r, const struct packet *k)
{
	struct world *w = r->net.w;
	struct sip_flow src = world_flow(net_address(k->from), 0);
	if (r->net.dead)
		return;
	if (world_op(w) && !w->mute)
		world_recv(w, k->text, &src);
	bury(r);
}

static void deliver(struct run *r)
{
	struct net *n = &r->net;
	for (unsigned i = 0; i < n->npackets;) {
		struct packet k = n->packet[i];
		if (k.at > n->w->now) {
			i++;
			continue;
		}
		memmove(&n->packet[i], &n->packet[i + 1],
			(--n->npackets - i) * sizeof(n->packet[0]));
		if (k.to == NODE)
			to_node(r, &k);
		else
			ua_receive(&n->ua[k.to], k.text);
		free(k.text);
		i = 0;
	}
}

static bool is_writing(const struct net *n)
{
	for (unsigned i = 0; i < n->w->forks.n; i++)
		if (n->w->forks.v[i].done)
			return true;
	return false;
}

static void writes(struct run *r)
{
	struct net *n = &r->net;
	struct world *w = n->w;
	if (!n->written_at || w->now < n->written_at)
		return;
	n->written_at = 0;
	if (world_op(w) && !w->mute)
		forks_done_one(&w->forks), net_say(n, "written");
	arena_reset(&w->arena);
	bury(r);
}

static void recover(struct run *r)
{
	struct world *w = r->net.w;
	if (r->switch_at && w->now >= r->switch_at) {
		r->switch_at = 0;
		r->net.dead = false;
		net_say(&r->net, "the other one gets it");
	}
	if (r->adopt_at && w->now >= r->adopt_at) {
		r->adopt_at = 0;
		net_say(&r->net, "found dead");
		world_adopt_all(w);
		bury(r);
	}
}

static msec next_time(const struct run *r)
{
	const struct net *n = &r->net;
	struct world *w = n->w;
	int64_t wait = wheel_wait(&w->wheel, w->now);
	msec next = r->start + END_MS;
	if (wait >= 0 && w->now + (msec)wait < next)
		next = w->now + (msec)wait;
	for (unsigned i = 0; i < n->npackets; i++)
		next = n->packet[i].at < next ? n->packet[i].at : next;
	const msec others[] = {r->switch_at, r->adopt_at, n->written_at};
	for (unsigned i = 0; i < 3; i++)
		if (others[i] && others[i] < next)
			next = others[i];
	if (w->now < r->start + r->s->cancel && r->start + r->s->cancel < next)
		next = r->start + r->s->cancel;
	return next > w->now ? next : w->now + 1;
}

static void run(struct run *r)
{
	struct world *w = r->net.w;
	msec cancel = r->s->cancel ? r->start + r->s->cancel : 0;
	while (w->now < r->start + END_MS) {
		world_advance(w, next_time(r) - w->now);
		bury(r);
		recover(r);
		if (cancel && w->now >= cancel) {
			cancel = 0;
			if (r->net.ua[CALLER].t)
				txn_cancel(r->net.ua[CALLER].t, span_of(NULL, 0), w->now);
		}
		deliver(r);
		writes(r);
		if (!r->net.written_at && is_writing(&r->net))
			r->net.written_at = w->now + r->net.write_ms;
	}
}

/* ---- what came of it ---- */

#define CHECK(r, x)                                                                          \
	do {                                                                                 \
		if (!(x))                                                                    \
			ck_abort_msg("%s; %s; killed at %u, %u; seed %u: %s (%u)",           \
				     (r)->s->name, (r)->f->name, (r)->kill[0], (r)->kill[1], \
				     (r)->seed, #x, (r)->net.ua[CALLER].status);             \
	} while (0)

/* In a bad network two things may fail at once: a message is lost and its sender dies.  Then a
 * CANCEL may be too late, and a phone that was ACKed for a lost answer is called once more. */
static void check(struct run *r)
{
	const struct net *n = &r->net;
	const struct ua *caller = &n->ua[CALLER];
	bool late = r->s->crosses || r->seed;
	struct world *w = n->w;
	unsigned answered = 0, acked = 0;
	CHECK(r, caller->status == r->s->status ||
			 (late && r->s->cancel && caller->status == 487));
	CHECK(r, caller->timeouts == 0);
	for (unsigned i = 1; i <= n->nphones; i++) {
		const struct ua *u = &n->ua[i];
		CHECK(r, !u->ringing);			  /* nobody rings on */
		CHECK(r, u->rings <= 1 + (r->seed != 0)); /* nor anew */
		CHECK(r, u->timeouts == 0);		  /* every non-2xx got its ACK */
		CHECK(r, !u->late_cancels || late);	  /* who has answered, has */
		answered += u->answered;
		acked += u->answered && u->acks > 0;
	}
	CHECK(r, (caller->status / 100 == 2) == (answered > 0));
	CHECK(r, acked == answered);
	CHECK(r, txn_table_counters(w->tt)->live == 0);
	CHECK(r, proxy_counters(w->p)->calls == 0);
	CHECK(r, w->forks.n == 0);
}

static void finish(struct run *r)
{
	struct net *n = &r->net;
	for (unsigned i = 0; i < n->npackets; i++)
		free(n->packet[i].text);
	for (unsigned i = 0; i <= n->nphones; i++)
		ua_done(&n->ua[i]);
	world_free(n->w);
}

static bool ladder;

/* Operations of the member that was at work in the end. */
static unsigned play(const struct scenario *s, const struct fault *f, unsigned kill0,
		     unsigned kill1, uint32_t seed)
{
	static struct run r;
	r = (struct run){.s = s, .f = f, .kill = {kill0, kill1}, .seed = seed};
	r.net.ladder = ladder;
	start(&r);
	run(&r);
	check(&r);
	unsigned ops = r.net.w->ops;
	finish(&r);
	return ops;
}

START_TEST(without_a_fault_all_goes_well)
{
	ck_assert_int_eq(arena_init(&unpack_arena, 65536), 0);
	for (unsigned f = 0; f < FAULTS; f++)
		ck_assert_uint_gt(play(&scenarios[_i], &faults[f], 0, 0, 0), 6);
	arena_done(&unpack_arena);
}
END_TEST

START_TEST(killed_at_any_boundary_nobody_sees_a_difference)
{
	unsigned killed = 0;
	ck_assert_int_eq(arena_init(&unpack_arena, 65536), 0);
	for (unsigned f = 0; f < FAULTS; f++) {
		unsigned ops = play(&scenarios[_i], &faults[f], 0, 0, 0);
		for (unsigned k = 1; k <= ops; k++, killed++)
			play(&scenarios[_i], &faults[f], k, 0, 0);
	}
	ck_assert_uint_gt(killed, 30);
	arena_done(&unpack_arena);
}
END_TEST

/* The other one too, at any boundary of what it went on with; the first is back by then, with
 * nothing. */
START_TEST(both_killed_one_after_the_other_nobody_sees_a_difference)
{
	ck_assert_int_eq(arena_init(&unpack_arena, 65536), 0);
	for (unsigned f = 1; f < FAULTS; f += 2) {
		unsigned ops = play(&scenarios[_i], &faults[f], 0, 0, 0);
		for (unsigned k = 1; k <= ops; k++) {
			unsigned more = play(&scenarios[_i], &faults[f], k, 0, 0);
			for (unsigned j = 1 + k % SECOND_STEP; j <= more; j += SECOND_STEP)
				play(&scenarios[_i], &faults[f], k, j, 0);
		}
	}
	arena_done(&unpack_arena);
}
END_TEST

START_TEST(in_a_bad_network_nobody_rings_on)
{
	ck_assert_int_eq(arena_init(&unpack_arena, 65536), 0);
	for (uint32_t seed = 1; seed <= SEEDS; seed++) {
		const struct fault *f = &faults[seed % FAULTS];
		play(&scenarios[_i], f, 1 + seed * 7 % 23, seed % 3 ? 0 : 1 + seed % 11, seed);
	}
	arena_done(&unpack_arena);
}
END_TEST

int main(int argc, char **argv)
{
	unsigned v[5] = {0};
	if (argc > 1) { /* SCENARIO FAULT KILL KILL SEED: that one alone, told */
		for (int i = 1; i < argc && i < 6; i++)
			v[i - 1] = (unsigned)atoi(argv[i]);
		ladder = true;
		if (arena_init(&unpack_arena, 65536))
			return EXIT_FAILURE;
		return play(&scenarios[v[0] % SCENARIOS], &faults[v[1] % FAULTS], v[2], v[3],
			    v[4]) > 0
			       ? EXIT_SUCCESS
			       : EXIT_FAILURE;
	}
	Suite *s = suite_create("takeover");
	TCase *c = tcase_create("takeover");
	tcase_set_timeout(c, 300);
	tcase_add_loop_test(c, without_a_fault_all_goes_well, 0, SCENARIOS);
	tcase_add_loop_test(c, killed_at_any_boundary_nobody_sees_a_difference, 0, SCENARIOS);
	tcase_add_loop_test(c, both_killed_one_after_the_other_nobody_sees_a_difference, 0,
			    SCENARIOS);
	tcase_add_loop_test(c, in_a_bad_network_nobody_rings_on, 0, SCENARIOS);
	suite_add_tcase(s, c);
	SRunner *sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
