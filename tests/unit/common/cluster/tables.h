/*
 * Records in the rig: writing, reading, and whether two tables are the same where they should.
 */
#ifndef EAVES_TESTS_CLUSTER_TABLES_H
#define EAVES_TESTS_CLUSTER_TABLES_H

#include "tests/unit/common/cluster/rig.h"

struct promise {
	unsigned calls;
	int error;
};

static inline void keep_promise(void *arg, int error)
{
	struct promise *p = arg;
	p->calls++;
	p->error = error;
}

static inline int write_record(unsigned node, struct record *v, struct promise *p)
{
	if (p)
		*p = (struct promise){0, 1};
	net_skew_ms = rig[node].skew_ms;
	int rc = records_put(rig[node].r, v, 1, NULL, time_wall_ms(), p ? keep_promise : NULL,
			     p);
	net_skew_ms = 0;
	return rc;
}

static inline int bind_for(unsigned node, const char *user, const char *contact,
			   uint64_t ttl_ms, struct promise *p)
{
	struct record v = {
		.kind = RECORD_BINDING,
		.group = span_str(user),
		.name = SPAN("phone"),
		.body = span_str(contact),
		.expires_ms = ttl_ms ? net_wall_ms + ttl_ms : 0,
	};
	return write_record(node, &v, p);
}

static inline int bind_at(unsigned node, const char *user, const char *contact,
			  struct promise *p)
{
	return bind_for(node, user, contact, 3600 * 1000, p);
}

static inline int unbind(unsigned node, const char *user, struct promise *p)
{
	struct record v = {.kind = RECORD_BINDING,
			   .deleted = true,
			   .group = span_str(user),
			   .name = SPAN("phone")};
	return write_record(node, &v, p);
}

/* home: "a" or "b", and what else there is to say. */
static inline int put_user(unsigned node, const char *user, const char *home, struct promise *p)
{
	struct record v = {
		.kind = RECORD_USER, .group = span_str(user), .body = span_str(home)};
	return write_record(node, &v, p);
}

static inline bool copy_body(void *arg, const struct record *rec)
{
	snprintf(arg, 64, "%.*s", SPAN_FMT(rec->body));
	return true;
}

/* The body of a user's record, or "". */
static inline const char *look_up(unsigned node, uint8_t kind, const char *user)
{
	static char text[64];
	text[0] = 0;
	records_each(rig[node].r, kind, span_str(user), net_wall_ms, copy_body, text, NULL);
	return text;
}

static inline const char *binding(unsigned node, const char *user)
{
	return look_up(node, RECORD_BINDING, user);
}

static inline bool has(unsigned node, const char *user, const char *contact)
{
	return strcmp(binding(node, user), contact) == 0;
}

/* A sum over what lives and both are to have; whoever swept meanwhile does not matter. */
struct table_sum {
	unsigned node, other;
	uint64_t sum;
	size_t rows;
};

static inline bool add_to_sum(void *arg, const struct record *rec)
{
	struct table_sum *t = arg;
	const struct store_row row = {.kind = rec->kind,
				      .deleted = rec->deleted,
				      .group = rec->group,
				      .name = rec->name,
				      .body = rec->body,
				      .node = rec->version.node};
	struct mac m;

	/* A clock that is ahead may have swept it. */
	if (rec->deleted || (rec->expires_ms && rec->expires_ms <= net_wall_ms + 3000) ||
	    !shared(t->node, t->other, &row))
		return true;
	mac_init(&m, &rig_key);
	mac_add_u64(&m, rec->kind);
	mac_add(&m, rec->group);
	mac_add(&m, rec->name);
	mac_add(&m, rec->body);
	mac_add_u64(&m, rec->version.hlc);
	mac_add_u64(&m, rec->expires_ms);
	t->sum ^= mac_final(&m);
	t->rows++;
	return true;
}

static inline struct table_sum sum_of(unsigned node, unsigned other)
{
	struct table_sum t = {node, other, 0, 0};
	records_scan_all(rig[node].r, add_to_sum, &t);
	return t;
}

static inline bool same(unsigned a, unsigned b)
{
	struct table_sum x = sum_of(a, b), y = sum_of(b, a);
	return x.sum == y.sum && x.rows == y.rows;
}

static inline bool all_same(void)
{
	for (unsigned i = 0; i < NODES; i++)
		for (unsigned j = 0; j < i; j++)
			if (rig_up(i) && rig_up(j) && !same(i, j))
				return false;
	return true;
}

static inline struct cluster_node_state state_of(unsigned node, unsigned of)
{
	struct cluster_node_state s;
	cluster_node_state(rig[node].c, of, &s);
	return s;
}

/* All that are up think that they are equal to all others. */
static inline bool all_equal(void)
{
	for (unsigned i = 0; i < NODES; i++)
		for (unsigned j = 0; j < NODES; j++)
			if (i != j && rig_up(i) && rig_up(j) && !state_of(i, j).equal)
				return false;
	return true;
}

static inline struct cluster_counters counters_of(unsigned node)
{
	return cluster_counters(rig[node].c);
}

/* Everybody has met everybody, and compared. */
static inline void rig_meet(unsigned n)
{
	rig_start_all(n);
	RIG_UNTIL(all_equal(), 2000);
}

#endif
