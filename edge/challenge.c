/*
 * Who has to prove himself at a home and brings no credentials is asked for them here (RFC 3261
 * 22), so that the first half of every proof stays out of the cluster: what the home would have
 * said, with a nonce under the key of its pair, of which nothing is kept before it is used.
 * Whether credentials are right is the home's to say.
 */
#include "edge/edge_priv.h"

#include <errno.h>
#include <string.h>

int edge_challenge_start(struct edge *e, const struct conf *c)
{
	struct auth_conf ac = auth_conf_default;
	ac.realm = e->realm;
	ac.md5 = c->auth.md5;
	ac.sha256 = c->auth.sha256;
	ac.replay_check = false; /* the homes look */
	for (unsigned i = 0; i < e->nhomes; i++) {
		struct mac_key key = app_key_of_pair(e->app, e->home[i], "nonce");
		e->auth[i] = auth_new(&ac, &key);
		explicit_bzero(&key, sizeof(key));
		if (!e->auth[i])
			return -ENOMEM;
	}
	return 0;
}

void edge_challenge_stop(struct edge *e)
{
	for (unsigned i = 0; i < e->nhomes; i++)
		auth_free(e->auth[i]);
}

/* What a home looks at before credentials, and what has none of ours to look at, is its. */
static bool has_to_be_asked(const struct app_request *q, enum auth_side side)
{
	const struct sip_msg *m = q->r->msg;
	return !q->r->src.node && m->method != SIP_ACK && m->method != SIP_CANCEL &&
	       !sip_msg_first(m, side == AUTH_UAS ? SIP_HDR_AUTHORIZATION
						  : SIP_HDR_PROXY_AUTHORIZATION) &&
	       !(side == AUTH_UAS && sip_msg_first(m, SIP_HDR_REQUIRE));
}

bool edge_challenge(struct edge *e, struct app_worker *w, const struct app_request *q,
		    const char *pair)
{
	bool registers =
		q->r->msg->method == SIP_REGISTER && app_is_ours(w, q->r) && !q->r->has_route;
	enum auth_side side = registers ? AUTH_UAS : AUTH_PROXY;
	unsigned i = 0;
	if (!has_to_be_asked(q, side))
		return false;
	while (e->home[i] != pair)
		i++;
	struct span lines =
		auth_challenge(e->auth[i], side, &q->r->src.remote, false, time_wall_ms());
	if (!lines.n)
		return false;
	edge_count(&e->challenged);
	app_reply(w, q, side == AUTH_UAS ? 401 : 407, NULL, lines);
	return true;
}
