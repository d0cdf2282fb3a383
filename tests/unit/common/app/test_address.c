/*
 * The service address comes and goes (address.c): on the clock of the cluster's tests, with the
 * machine's addresses as the test says.  The stack is written down, not there.
 */
#include "common/app/app_priv.h"
#include "common/app/flows.h"
#include "tests/unit/common/cluster/net.h"

#include <ifaddrs.h>
#include <net/if.h>

enum { LOOK_MS = 250, KNOCK_MS = 500, HERE_MAX = 8, UDP = 0, TCP, TLS6, ANY, OTHER, LISTENERS };

static struct {
	const char *host[HERE_MAX];
	unsigned n, asked;
	bool fails;
} machine;

/* ---- in place of the system, the stack and the cluster ---- */

struct machine_addr {
	struct ifaddrs i; /* first */
	struct addr a;
};

int getifaddrs(struct ifaddrs **ret)
{
	struct ifaddrs **at = ret;
	*ret = NULL;
	machine.asked++;
	if (machine.fails) {
		errno = ENFILE;
		return -1;
	}
	for (unsigned i = 0; i < machine.n; i++) {
		struct machine_addr *m = calloc(1, sizeof(*m));
		MUST(m && addr_parse(&m->a, span_str(machine.host[i]), 0) == 0);
		m->i.ifa_addr = &m->a.sa;
		*at = &m->i;
		at = &m->i.ifa_next;
	}
	struct machine_addr *down = calloc(1, sizeof(*down)); /* an interface without one */
	MUST(down);
	*at = &down->i;
	return 0;
}

void freeifaddrs(struct ifaddrs *i)
{
	for (struct ifaddrs *next; i; i = next) {
		next = i->ifa_next;
		free(i);
	}
}

static struct app app;
static unsigned abandoned[LISTENERS], knocked, told, told_left;
static enum app_phase phase;
static char token_told[FLOW_TOKEN_MAX + 2];
static bool has_twin;

void stack_group_abandon(struct stack_group *g, unsigned listener)
{
	(void)g;
	abandoned[listener]++;
}

void stack_group_knock(struct stack_group *g, const struct sip_flow *f)
{
	(void)g;
	(void)f;
	knocked++;
}

enum app_phase app_phase(const struct app *a)
{
	(void)a;
	return phase;
}

uint16_t app_twin(const struct app *a)
{
	(void)a;
	return has_twin ? 2 : 0;
}

int app_token_here(const struct app *a, struct span token, struct sip_flow *ret,
		   uint64_t *ret_id)
{
	(void)a;
	(void)token;
	*ret = (struct sip_flow){.transport = SIP_TRANSPORT_TCP};
	*ret_id = 1;
	return -ENOTCONN;
}

static void (*system_tells)(void *arg);

struct net_watch *net_addresses_watch(struct loop *l, void (*changed)(void *arg), void *arg)
{
	(void)l;
	ck_assert_ptr_eq(arg, &app);
	system_tells = changed;
	return (struct net_watch *)&system_tells;
}

struct net_watch *net_addresses_unwatch(struct net_watch *w)
{
	ck_assert(w == (system_tells ? (struct net_watch *)&system_tells : NULL));
	system_tells = NULL;
	return NULL;
}

/* Phones of another process's connections, as if their bindings said so. */
static unsigned elsewhere;

struct phones *app_phones(const struct app *a)
{
	(void)a;
	return elsewhere ? (struct phones *)&elsewhere : NULL;
}

/* A few at a time. */
bool phones_of_others(struct phones *p, struct records_place *at, struct sip_flow *v,
		      unsigned *n, unsigned max)
{
	(void)p;
	for (unsigned i = 0; i < 7 && *n < max && at->bucket < elsewhere; i++, ++*n) {
		v[*n] = (struct sip_flow){.transport = SIP_TRANSPORT_TCP, .listener = TCP};
		MUST(addr_parse(&v[*n].remote, SPAN("198.51.100.7"),
				(uint16_t)(1024 + at->bucket++)) == 0);
	}
	return at->bucket < elsewhere;
}

int cluster_tell(struct cluster *c, int node, unsigned kind, struct span body)
{
	(void)c;
	ck_assert_int_eq(node, 1);
	ck_assert_uint_eq(kind, APP_NOTICE_KNOCK);
	ck_assert_uint_lt(body.n, sizeof(token_told));
	memcpy(token_told, body.p, body.n);
	token_told[body.n] = '\0';
	told++;
	return 0;
}

int cluster_notify(struct cluster *c, int node, unsigned kind, struct span body)
{
	(void)c;
	ck_assert_int_eq(node, -1);
	ck_assert_uint_eq(kind, APP_NOTICE_LEFT);
	ck_assert_uint_eq(body.n, 0);
	told_left++;
	return 0;
}

static uint32_t said[CLUSTER_LISTENERS_MAX];

void cluster_set_addresses(struct cluster *c, const uint32_t at[CLUSTER_LISTENERS_MAX])
{
	(void)c;
	memcpy(said, at, sizeof(said));
}

/* ---- the node ---- */

static struct conf_listener listeners[LISTENERS];
static struct conf conf = {.listeners = listeners, .listeners_count = LISTENERS};
static struct app_conf in_force = {.conf = &conf};
static struct app_nodes nodes;

static void listen_at(unsigned i, const char *host)
{
	ck_assert_int_eq(addr_parse(&listeners[i].addr, span_str(host), 5060), 0);
	app.names.hosts[i] = span_str(host);
}

static void run(msec ms)
{
	for (; ms; ms--) {
		net_now++;
		net_wall_ms++;
		wheel_advance(loop_wheel(app.loop), net_now);
	}
}

static void machine_has(const char *a, const char *b, const char *c)
{
	machine.n = 0;
	machine.host[machine.n++] = "192.0.2.99";
	for (unsigned i = 0; i < 3; i++) {
		const char *host = (const char *[]){a, b, c}[i];
		if (host)
			machine.host[machine.n++] = host;
	}
}

static const char service[] = "192.0.2.10", service6[] = "2001:db8::10", own[] = "192.0.2.11";

static void begin(bool in_cluster)
{
	log_set_level(LOG_ERROR);
	app = (struct app){.fixed = &in_force, .nodes = in_cluster ? &nodes : NULL};
	app.loop = loop_new(0);
	nodes = (struct app_nodes){.app = &app};
	flow_keys_init(&app.flows, SPAN("secret"), 1);
	listen_at(UDP, service);
	listen_at(TCP, service);
	for (unsigned i = 0; i < LISTENERS; i++)
		listeners[i].transport = SIP_TRANSPORT_UDP;
	listeners[TCP].transport = SIP_TRANSPORT_TCP;
	listen_at(TLS6, service6);
	listen_at(ANY, "0.0.0.0");
	listen_at(OTHER, own);
	app_addresses_start(&app);
}

static void end(void)
{
	app_addresses_end(&app);
	ck_assert_ptr_null(app.addresses.watch);
	loop_free(app.loop);
}

/* The listeners whose address has left, a bit each. */
static unsigned left(void)
{
	unsigned v = 0;
	for (unsigned i = 0; i < LISTENERS; i++)
		v |= app_address_left(&app, i) ? 1u << i : 0;
	return v;
}

START_TEST(connections_to_an_address_that_has_gone_are_ended_once)
{
	machine_has(service, service6, own);
	begin(true);
	run(2 * LOOK_MS);
	ck_assert_uint_eq(left(), 0);
	machine_has(service6, own, NULL);
	run(LOOK_MS);
	ck_assert_uint_eq(left(), 1 << UDP | 1 << TCP);
	run(20 * LOOK_MS);
	ck_assert(abandoned[UDP] == 1 && abandoned[TCP] == 1);
	ck_assert(abandoned[TLS6] == 0 && abandoned[ANY] == 0 && abandoned[OTHER] == 0);
	machine_has(own, NULL, NULL);
	run(LOOK_MS);
	ck_assert_uint_eq(left(), 1 << UDP | 1 << TCP | 1 << TLS6);
	ck_assert_uint_eq(abandoned[TLS6], 1);
	end();
}
END_TEST

/* Who ends by itself has hung up on its phones before, and told so. */
START_TEST(all_are_told_once_that_the_address_of_connections_has_left)
{
	machine_has(service, service6, own);
	begin(true);
	machine_has(service, own, NULL);
	run(LOOK_MS);
	ck_assert_uint_eq(told_left, 0);
	machine_has(own, NULL, NULL);
	run(10 * LOOK_MS);
	ck_assert_uint_eq(told_left, 1);
	machine_has(service, own, NULL);
	run(LOOK_MS);
	phase = APP_DRAINING;
	machine_has(own, NULL, NULL);
	run(LOOK_MS);
	ck_assert_uint_eq(told_left, 1);
	end();
}
END_TEST

/* By both members alike, where they have it, and of UDP alone. */
START_TEST(all_are_told_which_addresses_are_here)
{
	machine_has(service, own, NULL);
	begin(true);
	uint32_t here = said[UDP];
	ck_assert(here & 1 && said[OTHER] & 1 && here != said[OTHER]);
	ck_assert_uint_eq(said[TCP] | said[ANY], 0);
	machine_has(own, NULL, NULL);
	run(LOOK_MS);
	ck_assert(said[UDP] == (here & ~1u) && said[OTHER] & 1);
	end();
	machine_has(NULL, NULL, NULL); /* the other machine */
	begin(true);
	ck_assert_uint_eq(said[UDP], here & ~1u);
	end();
}
END_TEST

START_TEST(an_address_that_is_back_may_leave_again)
{
	machine_has(service, service6, own);
	begin(true);
	for (unsigned i = 1; i <= 3; i++) {
		machine_has(own, NULL, NULL);
		run(LOOK_MS);
		ck_assert(app_address_left(&app, TCP));
		machine_has(service, service6, own);
		run(LOOK_MS);
		ck_assert_uint_eq(left(), 0);
		ck_assert_uint_eq(abandoned[TCP], i);
	}
	end();
}
END_TEST

START_TEST(an_address_that_was_never_here_has_not_left)
{
	machine_has(own, NULL, NULL);
	msec start = net_now;
	begin(true);
	run(10 * LOOK_MS);
	ck_assert_uint_eq(left(), 0);
	ck_assert(app_address_came(&app, OTHER, start));
	ck_assert(!app_address_came(&app, OTHER, start + 1));
	ck_assert(!app_address_came(&app, UDP, 0) && !app_address_came(&app, ANY, 0));
	machine_has(service, own, NULL);		 /* it comes here for the first time */
	ck_assert(app_address_came(&app, UDP, net_now)); /* before the main thread looks */
	ck_assert(!app_address_came(&app, ANY, 0));
	machine.fails = true;
	ck_assert(!app_address_came(&app, UDP, 0));
	machine.fails = false;
	run(LOOK_MS);
	ck_assert_uint_eq(left(), 0);
	ck_assert(app_address_came(&app, UDP, net_now - LOOK_MS));
	ck_assert(!app_address_came(&app, UDP, net_now + 1));
	ck_assert(!app_address_came(&app, NET_LISTENERS_MAX, 0));
	machine_has(own, NULL, NULL);
	run(LOOK_MS);
	ck_assert_uint_eq(left(), 1 << UDP | 1 << TCP);
	ck_assert(!app_address_left(&app, NET_LISTENERS_MAX));
	end();
}
END_TEST

/* The other member may be dead, and not found to be; or live, and not have looked. */
START_TEST(an_address_that_comes_is_taken_for_as_long_as_a_death_takes_to_be_found)
{
	enum { DEAD_MS = 750, SURE_MS = 1250 };
	machine_has(own, NULL, NULL);
	begin(true);
	nodes.conf.dead_ms = DEAD_MS;
	ck_assert(!app_address_taken(&app, OTHER)); /* it was here: the other one has its own */
	ck_assert(!app_address_taken(&app, TCP));
	machine_has(service, own, NULL);
	run(LOOK_MS);
	ck_assert(app_address_taken(&app, TCP) && !app_address_taken(&app, OTHER));
	ck_assert(!app_address_taken(&app, ANY) && !app_address_taken(&app, TLS6));
	ck_assert(!app_address_taken(&app, NET_LISTENERS_MAX));
	machine_has(own, NULL, NULL);
	app_addresses_look(&app);
	ck_assert(!app_address_taken(&app, TCP));
	machine_has(service, own, NULL);
	run(DEAD_MS);
	ck_assert(app_address_taken(&app, TCP));
	run(SURE_MS);
	ck_assert(!app_address_taken(&app, TCP) && !app_address_left(&app, TCP));
	end();
}
END_TEST

START_TEST(who_gets_the_address_knocks_at_the_phones_of_others_little_by_little)
{
	machine_has(own, NULL, NULL);
	begin(true);
	app.stacks = (struct stack_group *)&machine;
	elsewhere = 50;
	run(4 * LOOK_MS);
	ck_assert_uint_eq(knocked, 0);
	machine_has(service, own, NULL);
	run(LOOK_MS);
	ck_assert_uint_eq(knocked, 0); /* the network may not know yet */
	run(110);
	ck_assert_uint_eq(knocked, 20);
	run(100);
	ck_assert_uint_eq(knocked, 40);
	run(1000);
	ck_assert_uint_eq(knocked, 50);
	machine_has(own, NULL, NULL); /* it leaves in the middle: from here it is no use */
	run(LOOK_MS);
	machine_has(service, own, NULL);
	system_tells(&app);
	run(210);
	ck_assert_uint_eq(knocked, 90);
	machine_has(own, NULL, NULL);
	run(LOOK_MS);
	unsigned then = knocked;
	run(10 * LOOK_MS);
	ck_assert_uint_eq(knocked, then);
	elsewhere = 0;
	end();
}
END_TEST

/* A worker that finds that its process was stopped does not wait for the next look. */
START_TEST(a_worker_sees_that_an_address_is_gone_before_the_main_thread_does)
{
	machine_has(service, own, NULL);
	begin(true);
	run(2 * LOOK_MS);
	machine_has(own, NULL, NULL);
	ck_assert(!app_address_left(&app, TCP));
	app_addresses_look(&app);
	ck_assert(app_address_left(&app, TCP) && abandoned[TCP] == 0);
	ck_assert(!app_address_left(&app, TLS6));
	run(LOOK_MS);
	ck_assert(app_address_left(&app, TCP) && abandoned[TCP] == 1);
	machine_has(service, own, NULL);
	run(LOOK_MS);
	ck_assert(!app_address_left(&app, TCP));
	end();
}
END_TEST

/* Who has just connected here has sent something that nobody else will get. */
START_TEST(an_address_that_has_just_come_back_is_not_away_any_more)
{
	machine_has(service, own, NULL);
	begin(true);
	machine_has(own, NULL, NULL);
	run(LOOK_MS);
	ck_assert(app_address_left(&app, TCP) && app_address_away(&app, TCP));
	machine_has(service, own, NULL);
	run(1);
	ck_assert(app_address_left(&app, TCP) && !app_address_away(&app, TCP));
	ck_assert(!app_address_left(&app, TCP) && app_address_left(&app, UDP));
	run(LOOK_MS);
	ck_assert(!app_address_away(&app, UDP) && abandoned[TCP] == 1);
	machine_has(own, NULL, NULL);
	run(LOOK_MS);
	app_addresses_look(&app);
	ck_assert(app_address_away(&app, TCP) && abandoned[TCP] == 2);
	machine_has(service, own, NULL);
	machine.fails = true;
	run(1);
	ck_assert(app_address_away(&app, TCP));
	machine.fails = false;
	run(1);
	ck_assert(!app_address_away(&app, TCP) && !app_address_left(&app, TCP));
	ck_assert(!app_address_away(&app, NET_LISTENERS_MAX));
	end();
}
END_TEST

/* Between two looks of the main thread, to which it was here all the time. */
START_TEST(an_address_that_was_away_for_a_moment_is_not_away_any_more)
{
	machine_has(service, own, NULL);
	begin(true);
	machine_has(own, NULL, NULL);
	app_addresses_look(&app);
	ck_assert(app_address_away(&app, TCP));
	machine_has(service, own, NULL);
	run(1);
	ck_assert(!app_address_away(&app, TCP) && !app_address_left(&app, TCP));
	end();
}
END_TEST

START_TEST(a_thousand_requests_for_an_address_that_is_away_ask_for_it_once_in_a_millisecond)
{
	machine_has(service, own, NULL);
	begin(true);
	machine_has(own, NULL, NULL);
	run(LOOK_MS);
	machine.asked = 0;
	for (unsigned i = 0; i < 2000; i++) {
		ck_assert(app_address_away(&app, TCP));
		if (i % 1000 == 999)
			run(1);
	}
	ck_assert_uint_eq(machine.asked, 2);
	end();
}
END_TEST

START_TEST(what_the_system_tells_is_not_waited_for)
{
	machine_has(service, own, NULL);
	begin(true);
	machine_has(own, NULL, NULL);
	system_tells(&app);
	ck_assert(app_address_left(&app, TCP) && abandoned[TCP] == 1);
	system_tells(&app);
	ck_assert_uint_eq(abandoned[TCP], 1);
	machine_has(service, own, NULL);
	system_tells(&app);
	ck_assert(!app_address_left(&app, TCP));
	end();
}
END_TEST

START_TEST(a_look_that_fails_says_nothing)
{
	machine_has(service, service6, own);
	begin(true);
	machine.fails = true;
	run(10 * LOOK_MS);
	ck_assert_uint_eq(left(), 0);
	machine.fails = false;
	machine_has(own, NULL, NULL);
	run(LOOK_MS);
	ck_assert(app_address_left(&app, TCP));
	machine.fails = true;
	run(10 * LOOK_MS);
	ck_assert(app_address_left(&app, TCP) && abandoned[TCP] == 1);
	end();
}
END_TEST

START_TEST(a_server_alone_looks_at_no_address)
{
	machine_has(service, service6, own);
	begin(false);
	machine_has(NULL, NULL, NULL);
	run(10 * LOOK_MS);
	ck_assert_uint_eq(left(), 0);
	ck_assert_uint_eq(abandoned[TCP], 0);
	end();
}
END_TEST

static struct sip_flow phone(const char *host)
{
	struct sip_flow f = {.transport = SIP_TRANSPORT_TCP, .listener = TCP, .conn = 7};
	ck_assert_int_eq(addr_parse(&f.remote, span_str(host), 40000), 0);
	return f;
}

START_TEST(who_has_the_address_knocks_and_who_has_not_asks_the_other_member)
{
	machine_has(service, service6, own);
	begin(true);
	has_twin = true;
	struct sip_flow f = phone("198.51.100.1");
	app_knock(&app, &f);
	ck_assert(knocked == 1 && told == 0);
	machine_has(own, NULL, NULL);
	run(LOOK_MS + KNOCK_MS);
	app_knock(&app, &f);
	ck_assert(knocked == 1 && told == 1);
	ck_assert(strlen(token_told) > 1 && token_told[strlen(token_told) - 1] == ' ');
	/* Of the other member's knock the address is asked for here. */
	app.stacks = (struct stack_group *)&app;
	app_knock_notice(&app, 1, SPAN("token another "));
	ck_assert_uint_eq(knocked, 3);
	app_knock_notice(&app, 3, SPAN("token "));
	ck_assert_uint_eq(knocked, 3);
	has_twin = false;
	run(KNOCK_MS);
	app_knock(&app, &f);
	ck_assert(knocked == 3 && told == 1);
	end();
}
END_TEST

START_TEST(a_phone_is_knocked_at_twice_a_second_at_most)
{
	machine_has(service, service6, own);
	begin(true);
	struct sip_flow f = phone("198.51.100.1"), g = phone("198.51.100.2");
	struct sip_flow udp = phone("198.51.100.3"), far = phone("198.51.100.4");
	for (unsigned i = 0; i < 2000; i++) {
		app_knock(&app, &f);
		run(1);
	}
	ck_assert_uint_ge(knocked, 2000 / KNOCK_MS);
	ck_assert_uint_le(knocked, 2000 / KNOCK_MS + 1);
	knocked = 0;
	app_knock(&app, &g); /* another one */
	ck_assert_uint_eq(knocked, 1);
	udp.transport = SIP_TRANSPORT_UDP;
	far.node = 3;
	app_knock(&app, &udp);
	app_knock(&app, &far);
	ck_assert_uint_eq(knocked, 1);
	end();
}
END_TEST

UNIT_MAIN("common/app address", connections_to_an_address_that_has_gone_are_ended_once,
	  all_are_told_once_that_the_address_of_connections_has_left,
	  all_are_told_which_addresses_are_here, an_address_that_is_back_may_leave_again,
	  an_address_that_was_never_here_has_not_left,
	  an_address_that_comes_is_taken_for_as_long_as_a_death_takes_to_be_found,
	  who_gets_the_address_knocks_at_the_phones_of_others_little_by_little,
	  a_worker_sees_that_an_address_is_gone_before_the_main_thread_does,
	  an_address_that_has_just_come_back_is_not_away_any_more,
	  an_address_that_was_away_for_a_moment_is_not_away_any_more,
	  a_thousand_requests_for_an_address_that_is_away_ask_for_it_once_in_a_millisecond,
	  what_the_system_tells_is_not_waited_for, a_look_that_fails_says_nothing,
	  a_server_alone_looks_at_no_address,
	  who_has_the_address_knocks_and_who_has_not_asks_the_other_member,
	  a_phone_is_knocked_at_twice_a_second_at_most)
