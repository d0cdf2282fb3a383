/*
 * A world to play a flow in: nodes, users, phones; who takes over whose service address.
 */
#ifndef EAVES_SIM_SCENE_H
#define EAVES_SIM_SCENE_H

#include "tests/sim/node.h"
#include "tests/sim/ua.h"

enum scene_kind { SCENE_COMBINED, SCENE_CLUSTER };
enum { SCENE_PAIRS_MAX = 4 };

/* Two members with a service address, or one without. */
struct pair {
	const char *name, *vip; /* vip NULL: none */
	struct node *member[2];
};

/* Builds the nodes; nothing runs yet.  workers: of each node. */
void scene_build(enum scene_kind kind, uint64_t seed, unsigned workers);
enum scene_kind scene_kind(void);
unsigned scene_pairs(void);
const struct pair *scene_pair(unsigned i);
/* The pair of a node; *ret_other: the other member, or NULL. */
const struct pair *scene_pair_of(const struct node *n, struct node **ret_other);

/* home: name of a pair of homes ("h1", "h2"); flags and permissions as in the directory. */
void scene_user(const char *name, const char *home, unsigned flags);
/* Is it an edge, or of the pair of homes of somebody who has a phone here? */
bool scene_is_near(const struct node *n);
/* He is in the directory when somebody adds him; a home of the cluster's. */
void scene_user_later(const char *name, const char *home);
/* In a round of a node: 0, done comes; 0 and done has come when he is there; -errno. */
int scene_add_user(struct node *n, const char *name, void (*done)(void *arg, int error),
		   void *arg);
/* A phone of a user at the edge's address: UDP, registering; where = "far", "nat", or NULL. */
struct ua_conf scene_phone_conf(const char *device, const char *user);
struct ua *scene_phone(const struct ua_conf *c, const char *where);
/* Starts the nodes, the second member of each pair first or last, fills the directory. */
void scene_start(bool second_first);
/* All phones that register by themselves, then waits for their 200.  False: not within 20 s. */
bool scene_register(void);
/* What happens at the end of scene_register(), before the flow. */
void scene_then(void (*fn)(void));
/* A phone that scene_register() leaves alone. */
void scene_keep_off(const struct ua *u);

extern const char *const scene_domain, *const scene_far_domain;

#endif
