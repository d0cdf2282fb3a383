/*
 * Phones behind the edge: their connections are in the Paths that we wrote.
 */
#include "edge/edge_priv.h"

#include "common/app/address.h"
#include "common/flow/token.h"

#include <errno.h>

/* The node that has the connection; -1: it does not say. */
static int member_in(const struct cluster *c, struct span path)
{
	struct span name = flow_path_param(path, ";m=");
	return name.n ? cluster_node_by_name(c, name) : -1;
}

static bool way(void *arg, const Eaves__Binding *b, struct phone_way *ret)
{
	const struct edge *e = arg;
	struct span path = span_of((const char *)b->path.data, b->path.len);
	struct span token = flow_token_in(path);
	if (!token.n)
		return false;
	ret->rc = app_token_here(e->app, token, &ret->flow, &ret->id);
	ret->node = app_address_taken(e->app, ret->flow.listener) ? -1
								  : member_in(e->cluster, path);
	return true;
}

/* Only what we have made ourselves counts. */
static unsigned past(void *arg, const Eaves__Binding *b, uint64_t ret_id[PHONES_PAST])
{
	const struct edge *e = arg;
	struct span all = span_of((const char *)b->past_tokens.data, b->past_tokens.len);
	unsigned n = 0;
	while (all.n && n < PHONES_PAST) {
		ptrdiff_t end = span_chr(all, ' ', 0);
		size_t len = end < 0 ? all.n : (size_t)end;
		struct sip_flow flow;
		app_token_here(e->app, span_of(all.p, len), &flow, &ret_id[n]);
		n += ret_id[n] != 0;
		len += end >= 0;
		all = span_of(all.p + len, all.n - len);
	}
	return n;
}

int edge_phones_start(struct edge *e)
{
	const struct phones_ops ops = {.way = way, .past = past, .arg = e};
	e->phones = phones_new(&ops, e->records, e->cluster);
	return e->phones ? 0 : -ENOMEM;
}

struct phones *edge_phones(void *state)
{
	const struct edge *e = state;
	return e->phones;
}
