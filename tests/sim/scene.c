/*
 * Scenes: nodes, users and phones.  What nodes there are is in the files of the scenes.
 */
#include "tests/sim/scene_parts.h"

#include "common/directory/directory.h"
#include "tests/sim/files.h"
#include "tests/sim/keepalived.h"
#include "tests/sim/names.h"
#include "tests/sim/trace.h"

#include <assert.h>
#include <stdlib.h>

enum { USERS_MAX = 16, START_APART_MS = 7 };

const char *const scene_domain = "example.org", *const scene_far_domain = "example.net";

struct user {
	const char *name, *home;
	unsigned flags;
	bool later;
	char password[32];
};

static enum scene_kind kind;
static uint64_t seed;
static struct pair pair[SCENE_PAIRS_MAX];
static unsigned npairs;
static struct user user[USERS_MAX];
static unsigned nusers;
static struct addr server;
static struct nat *nat;
static uint32_t kept_off;
static void (*then)(void);

enum scene_kind scene_kind(void)
{
	return kind;
}

unsigned scene_pairs(void)
{
	return npairs;
}

const struct pair *scene_pair(unsigned i)
{
	return &pair[i];
}

const struct pair *scene_pair_of(const struct node *n, struct node **ret_other)
{
	for (unsigned i = 0; i < npairs; i++)
		for (unsigned k = 0; k < 2; k++)
			if (pair[i].member[k] == n) {
				*ret_other = pair[i].member[!k];
				return &pair[i];
			}
	*ret_other = NULL;
	return NULL;
}

/* ---- nodes ---- */

void scene_add_member(const char *name, const char *vip, unsigned index, struct node *n)
{
	unsigned i = 0;
	while (i < npairs && strcmp(pair[i].name, name) != 0)
		i++;
	assert(i < SCENE_PAIRS_MAX);
	if (i == npairs)
		pair[npairs++] = (struct pair){.name = name, .vip = vip};
	pair[i].member[index] = n;
}

void scene_set_server(const char *ip)
{
	server = addr_of(ip, 5060);
}

/* As long as common/app wants it. */
static const char secret[] = "the secret of all simulated ones";

void scene_build(enum scene_kind of, uint64_t run_seed, unsigned workers)
{
	kind = of;
	seed = run_seed;
	nodes_init(seed);
	files_add("/nowhere/secret", secret, sizeof(secret) - 1);
	switch (kind) {
	case SCENE_COMBINED:
		scene_build_combined(workers);
		break;
	case SCENE_CLUSTER:
		scene_build_cluster(workers);
		break;
	}
}

/* ---- users ---- */

void scene_user(const char *name, const char *home, unsigned flags)
{
	for (unsigned i = 0; i < nusers; i++)
		if (strcmp(user[i].name, name) == 0)
			return;
	assert(nusers < USERS_MAX);
	struct user *u = &user[nusers++];
	*u = (struct user){.name = name, .home = home, .flags = flags};
	snprintf(u->password, sizeof(u->password), "secret of %s", name);
}

void scene_user_later(const char *name, const char *home)
{
	scene_user(name, home, 0);
	user[nusers - 1].later = true;
}

static bool has_phone(const struct user *u)
{
	for (unsigned i = 0; i < ua_count(); i++)
		if (strcmp(ua_user(ua_of(i)), u->name) == 0)
			return true;
	return false;
}

bool scene_is_near(const struct node *n)
{
	struct node *other;
	const struct pair *p = scene_pair_of(n, &other);
	for (unsigned i = 0; i < nusers; i++)
		if (strcmp(user[i].home, p->name) == 0 && has_phone(&user[i]))
			return true;
	return n->has_role[APP_EDGE];
}

static int put_user(struct node *n, const struct user *u, void (*done)(void *arg, int error),
		    void *arg)
{
	struct dir_user d = {.flags = u->flags, .permissions = DIR_MAY_CALL_OUT};
	if (kind == SCENE_CLUSTER)
		snprintf(d.home, sizeof(d.home), "%s", u->home);
	if (auth_ha1_make(span_str(u->name), span_str(scene_domain), span_str(u->password),
			  &d.ha1) < 0)
		abort();
	return dir_user_put(n->app->records, span_str(u->name), &d, time_wall_ms(), done, arg);
}

int scene_add_user(struct node *n, const char *name, void (*done)(void *arg, int error),
		   void *arg)
{
	struct dir_user d;
	unsigned i = 0;
	while (i < nusers && strcmp(user[i].name, name) != 0)
		i++;
	assert(i < nusers);
	if (dir_user_get(n->app->records, span_str(name), time_wall_ms(), &d) < 0)
		return put_user(n, &user[i], done, arg);
	done(arg, 0);
	return 0;
}

static void fill_directory(struct node *n, void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < nusers; i++)
		if (!user[i].later && put_user(n, &user[i], NULL, NULL) < 0)
			abort();
}

/* ---- phones ---- */

struct ua_conf scene_phone_conf(const char *device, const char *of)
{
	unsigned i = 0;
	while (i < nusers && strcmp(user[i].name, of) != 0)
		i++;
	return (struct ua_conf){.device = device,
				.user = of,
				.password = i < nusers ? user[i].password : "",
				.domain = scene_domain,
				.transport = SIP_TRANSPORT_UDP,
				.server = server,
				.port = 5060,
				.expires_s = 600,
				.registers = true};
}

static struct ua *far_phone(struct ua_conf c)
{
	struct host *h = host_new(c.device, "10.9.0.1", HOST_FAR, NULL);
	c.domain = scene_far_domain;
	c.behind = "10.9.9.9:5062"; /* nobody reaches it but its proxy */
	c.registers = false;
	names_add_srv("_sip._udp.example.net", "sip.example.net", 5060, 1);
	names_add_a("sip.example.net", "10.9.0.1");
	return ua_new(h, &c, seed);
}

struct ua *scene_phone(const struct ua_conf *c, const char *where)
{
	char ip[32];
	bool behind = where && strcmp(where, "nat") == 0;
	if (where && strcmp(where, "far") == 0)
		return far_phone(*c);
	if (behind && !nat)
		nat = nat_new("10.8.0.1");
	snprintf(ip, sizeof(ip), "%s.%u", behind ? "192.168.0" : "10.1.0", ua_count() + 1);
	struct ua_conf own = *c;
	for (unsigned i = 0; i < npairs && where; i++)
		if (strcmp(where, pair[i].name) == 0)
			own.server = addr_of(pair[i].vip, 5060);
	return ua_new(host_new(c->device, ip, HOST_PHONE, behind ? nat : NULL), &own, seed);
}

void scene_keep_off(const struct ua *u)
{
	for (unsigned i = 0; i < ua_count(); i++)
		if (ua_of(i) == u)
			kept_off |= 1u << i;
}

void scene_then(void (*fn)(void))
{
	then = fn;
}

/* One after the other, so that what each does by its clock is apart from what others do. */
static void start_member(unsigned k)
{
	for (unsigned i = 0; i < npairs; i++)
		if (pair[i].member[k]) {
			node_start(pair[i].member[k]);
			event_run_until(sim_now() + USEC_MS(START_APART_MS));
		}
}

static void addresses_at(unsigned k)
{
	for (unsigned i = 0; i < npairs; i++)
		if (pair[i].vip && pair[i].member[k])
			vip_move(pair[i].vip, pair[i].member[k]->host);
}

/* As in a cluster that has lived for some time each member has had the service address, and has
 * seen it go. */
void scene_start(bool second_first)
{
	start_member(second_first);
	event_run_until(sim_now() + USEC_S(1)); /* they serve */
	start_member(!second_first);
	event_run_until(sim_now() + USEC_MS(500));
	addresses_at(1);
	event_run_until(sim_now() + USEC_MS(500));
	addresses_at(0);
	for (unsigned i = 0; i < npairs; i++)
		if (pair[i].member[0]->has_role[APP_EDGE])
			node_call(pair[i].member[0], fill_directory, NULL);
	keepalived_begin();
	event_run_until(sim_now() + USEC_MS(1500));
}

static bool all_registered(void)
{
	for (unsigned i = 0; i < ua_count(); i++)
		if (!(kept_off >> i & 1) && ua_registers(ua_of(i)) &&
		    !ua_is_registered(ua_of(i)))
			return false;
	return true;
}

bool scene_register(void)
{
	for (unsigned i = 0; i < ua_count(); i++)
		if (!(kept_off >> i & 1) && ua_registers(ua_of(i)))
			ua_register(ua_of(i));
	for (int i = 0; i < 200 && !all_registered(); i++)
		event_run_until(sim_now() + USEC_MS(100));
	event_run_until(sim_now() + USEC_MS(500));
	if (!all_registered())
		return false;
	if (then)
		then();
	return true;
}
