/*
 * The other member of our pair: nonce counts in common (RFC 7616 5.5), so that neither takes
 * what was sent to the other.
 */
#include "home/home_priv.h"

static void tell_use(void *arg, struct span use)
{
	const struct home *h = arg;
	int partner = cluster_partner(h->cluster, cluster_self(h->cluster));
	if (partner >= 0 && cluster_alive(h->cluster, (unsigned)partner))
		cluster_tell(h->cluster, partner, APP_NOTICE_NONCE, use);
}

void home_pair_start(struct home *h)
{
	if (h->cluster)
		auth_share(h->auth, tell_use, h, time_wall_ms());
}

/* What it could not tell us while it was away, it will not. */
void home_node_changed(void *state, unsigned node)
{
	struct home *h = state;
	if (!h->cluster || (int)node != cluster_partner(h->cluster, cluster_self(h->cluster)))
		return;
	if (cluster_alive(h->cluster, node))
		auth_share_since(h->auth, time_wall_ms());
	else
		home_adopt_all(h, node);
}

void home_notice(void *state, unsigned node, unsigned kind, struct span body)
{
	struct home *h = state;
	if (!h->cluster || kind != APP_NOTICE_NONCE ||
	    (int)node != cluster_partner(h->cluster, cluster_self(h->cluster)))
		return;
	for (; body.n >= AUTH_USE_BYTES;
	     body = span_of(body.p + AUTH_USE_BYTES, body.n - AUTH_USE_BYTES))
		auth_use_of_other(h->auth, span_of(body.p, AUTH_USE_BYTES));
}
