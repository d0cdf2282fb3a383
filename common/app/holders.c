/*
 * Which nodes hold which records, and who may write them.
 *
 * The directory is the same everywhere: every home knows who the others' users are, and starts
 * without an edge.  What calls and phones make belongs to the pair of homes that wrote it, and
 * is held by both members and by the edges; how far a fork has come is the pair's own affair.
 */
#include "common/app/app_priv.h"

static uint64_t bit(unsigned i)
{
	return UINT64_C(1) << i;
}

static bool is_directory(uint8_t kind)
{
	return kind == RECORD_USER || kind == RECORD_ALIAS;
}

static bool is_edge(const struct app_nodes *n, unsigned i)
{
	return n->edges & bit(i);
}

static bool same_pair(const struct app_nodes *n, unsigned i, unsigned k)
{
	return n->pair[i] & bit(k);
}

void app_holders_find(struct app_nodes *n)
{
	n->edges = 0;
	for (unsigned i = 0; i < n->conf.n; i++) {
		n->edges |= app_node(n, i)->role == CLUSTER_EDGE ? bit(i) : 0;
		n->pair[i] = 0;
		for (unsigned k = 0; k < n->conf.n; k++)
			if (strcmp(app_node(n, i)->pair, app_node(n, k)->pair) == 0)
				n->pair[i] |= bit(k);
	}
}

/* ---- nodes ---- */

/* Homes of different pairs have nothing to say to each other. */
bool app_nodes_speak(const struct app_nodes *n, unsigned i)
{
	unsigned self = n->conf.self;
	return i != self && (is_edge(n, i) || is_edge(n, self) || same_pair(n, self, i));
}

bool app_same_pair(const struct app *a, uint16_t x, uint16_t y)
{
	const struct app_nodes *n = a->nodes;
	return n && x && y && x <= n->conf.n && y <= n->conf.n && same_pair(n, x - 1u, y - 1u);
}

uint16_t app_first_of_pair(const struct app *a, uint16_t node)
{
	for (uint16_t i = 1; i < node; i++)
		if (app_same_pair(a, i, node))
			return i;
	return node;
}

/* ---- records ---- */

/* The node that wrote it: versions carry its number. */
static int writer_of(const struct app_nodes *n, const struct store_row *row)
{
	return row->node >= 1 && row->node <= n->conf.n ? (int)row->node - 1 : -1;
}

uint64_t app_sharers(void *arg, const struct store_row *row)
{
	const struct app_nodes *n = arg;
	unsigned self = n->conf.self;
	int writer = writer_of(n, row);

	if (is_directory(row->kind))
		return is_edge(n, self) ? UINT64_MAX : n->edges | n->pair[self];
	if (writer < 0 || is_edge(n, (unsigned)writer))
		return 0;
	if (!is_edge(n, self) && !same_pair(n, self, (unsigned)writer))
		return 0;
	if (row->kind == RECORD_FORK)
		return is_edge(n, self) ? 0 : n->pair[self];
	return n->edges | n->pair[writer];
}

/* A home speaks for its own users alone, and as a member of its own pair. */
static bool home_may_write(const struct app_nodes *n, unsigned node,
			   const struct store_row *row)
{
	int writer = writer_of(n, row);
	struct dir_user u;

	if (writer < 0 || !same_pair(n, node, (unsigned)writer))
		return false;
	if (!is_edge(n, n->conf.self))
		return true;
	/* Of a user who is gone the traces may still be taken away. */
	int r = dir_user_get(n->app->records, row->group, time_wall_ms(), &u);
	return r < 0 ? row->deleted : strcmp(u.home, app_node(n, node)->pair) == 0;
}

bool app_may_write(void *arg, unsigned node, const struct store_row *row)
{
	const struct app_nodes *n = arg;
	unsigned self = n->conf.self;

	if (!is_edge(n, node) && !is_edge(n, self) && !same_pair(n, self, node))
		return false;
	if (is_directory(row->kind)) /* administered at the edges; between the members of a pair
				      * of homes it may be handed on */
		return is_edge(n, node) || same_pair(n, self, node);
	return is_edge(n, node) ? app_sharers(arg, row) & bit(node)
				: home_may_write(n, node, row);
}

/* A home hands on the directory to its other member alone. */
bool app_may_offer(void *arg, unsigned node, const struct store_row *row)
{
	const struct app_nodes *n = arg;
	unsigned self = n->conf.self;

	return !is_directory(row->kind) || is_edge(n, self) || same_pair(n, self, node);
}

bool app_kept_below(void *arg, const struct store_row *row)
{
	const struct app_nodes *n = arg;

	if (n->redis)
		return row->kind != RECORD_FORK;
	/* Without another member what is on the disk is all that there will be. */
	return is_directory(row->kind) || n->pair[n->conf.self] == bit(n->conf.self);
}
