/*
 * The nodes of the rig: an edge pair (e1, e2) and home pairs (a1, a2; b1, b2).  A binding is of
 * the pair of the node that wrote it: its members and the edges hold it.  A user is of the pair
 * that its body begins with: that and the edges hold it, edges write it.
 */
#ifndef EAVES_TESTS_CLUSTER_POLICY_H
#define EAVES_TESTS_CLUSTER_POLICY_H

#include "common/cluster/cluster.h"
#include "tests/unit/common/cluster/net.h"

enum { E1, E2, A1, A2, B1, B2, NODES };
_Static_assert((int)NODES <= (int)NET_NODES, "the network is too small");

static const struct mac_key rig_key = {11, 22};
static const struct cluster_node rig_nodes[NODES] = {
	{"e1", "edge", CLUSTER_EDGE}, {"e2", "edge", CLUSTER_EDGE}, {"a1", "a", CLUSTER_HOME},
	{"a2", "a", CLUSTER_HOME},    {"b1", "b", CLUSTER_HOME},    {"b2", "b", CLUSTER_HOME},
};

static inline bool in_pair(unsigned node, char pair)
{
	return rig_nodes[node].pair[0] == pair;
}

/* Numbers in versions have room in between: see take_back() in pull.c. */
static inline uint32_t number_of(unsigned node)
{
	return 10 * (node + 1);
}

/* NODES: of nobody. */
static inline unsigned writer_of(const struct store_row *row)
{
	return row->node && row->node <= 10 * NODES ? (row->node - 1) / 10 : NODES;
}

static inline bool holds(unsigned node, const struct store_row *row)
{
	if (rig_nodes[node].role == CLUSTER_EDGE)
		return true;
	if (row->kind == RECORD_BINDING)
		return writer_of(row) < NODES &&
		       in_pair(node, rig_nodes[writer_of(row)].pair[0]);
	return row->deleted || (row->body.n && in_pair(node, row->body.p[0]));
}

static inline bool shared(unsigned a, unsigned b, const struct store_row *row)
{
	return holds(a, row) && holds(b, row);
}

/* Do edges take users back from homes? */
static bool homes_give_users;

static inline bool may_write(unsigned at, unsigned node, const struct store_row *row)
{
	if (row->kind == RECORD_BINDING && writer_of(row) == NODES)
		return false;
	if (rig_nodes[node].role == CLUSTER_EDGE)
		return true;
	if (row->kind == RECORD_BINDING)
		return in_pair(node, rig_nodes[writer_of(row)].pair[0]);
	if (rig_nodes[at].role == CLUSTER_EDGE)
		return homes_give_users;
	return /* the partner hands it on */
		strcmp(rig_nodes[node].pair, rig_nodes[at].pair) == 0;
}

#endif
