/*
 * Who sends: digest (RFC 3261 22, RFC 8760) against the directory, with a lock for sources that
 * guess.  A wrong password and an unknown user get the same answer at the same cost.
 */
#include "home/home_priv.h"

#include <errno.h>

uint64_t home_wall_ms(msec now)
{
	static _Thread_local struct {
		msec now;
		uint64_t wall_ms;
	} last;
	if (last.now != now) {
		last.now = now;
		last.wall_ms = time_wall_ms();
	}
	return last.wall_ms;
}

int home_resolve(struct home *h, struct span name, struct span *ret_user, struct dir_user *ret)
{
	char user[DIR_NAME_MAX_BYTES + 1];
	struct dir_user record;
	int n = dir_resolve(h->records, name, time_wall_ms(), user, &record);
	if (n < 0 || (record.flags & DIR_DISABLED))
		return -ENOENT;
	*ret_user = arena_dup(sip_arena(), span_of(user, (size_t)n));
	if (ret)
		*ret = record;
	return ret_user->p ? 0 : -ENOMEM;
}

int home_user_of(struct home *h, const struct app_worker *w, const struct sip_uri *u,
		 struct span *ret_user)
{
	struct span name;
	if (u->scheme == SIP_SCHEME_OTHER || !u->user.p || !app_is_local(w, u->host, u->port) ||
	    sip_uri_user(u, &name) < 0)
		return -ENOENT;
	return home_resolve(h, name, ret_user, NULL);
}

bool home_may_call_out(struct home *h, const struct app_worker *w, const struct app_request *q)
{
	struct dir_user u;
	if (!w->conf->edge.outbound)
		return false;
	if (q->marks & APP_MARK_INSIDER)
		return true;
	return (q->marks & APP_MARK_AUTHENTICATED) &&
	       dir_user_get(h->records, q->user, time_wall_ms(), &u) == 0 &&
	       (u.permissions & DIR_MAY_CALL_OUT);
}

struct key_lookup {
	struct records *records;
	uint64_t wall_ms;
	struct dir_user user; /* as last found */
	bool found;
};

static bool find_keys(void *arg, struct span name, struct auth_ha1 *ret)
{
	struct key_lookup *l = arg;
	if (dir_user_get(l->records, name, l->wall_ms, &l->user) < 0 ||
	    (l->user.flags & DIR_DISABLED))
		return false;
	*ret = l->user.ha1;
	l->found = true;
	return true;
}

static void challenge(struct home *h, struct app_worker *w, const struct app_request *q,
		      enum auth_side side, bool stale, msec now)
{
	struct span lines =
		auth_challenge(h->auth, side, &q->r->src.remote, stale, home_wall_ms(now));
	if (!lines.n) {
		app_reply(w, q, 500, NULL, SPAN(""));
		return;
	}
	home_count(&h->counters.challenged);
	app_reply(w, q, side == AUTH_UAS ? 401 : 407, NULL, lines);
}

static const struct span nobody = {NULL, 0};

static void failed(struct home *h, const struct app_request *q, struct span user, msec now)
{
	const struct addr *from = &q->r->src.remote;
	char source[ADDR_TEXT_MAX];
	size_t n = addr_text(from, source);
	home_count(&h->counters.auth_failed);
	log_event(LOG_INFO, "auth-failed", LOG_S("user", user),
		  LOG_S("source", span_of(source, n)));
	if (guard_failed(h->guard, from, nobody, now))
		log_event(LOG_WARN, "source-locked", LOG_S("source", span_of(source, n)));
	if (guard_failed(h->guard, from, user, now))
		log_event(LOG_WARN, "user-locked", LOG_S("user", user),
			  LOG_S("source", span_of(source, n)));
}

static bool refuse_locked(struct home *h, struct app_worker *w, const struct app_request *q,
			  struct span user, msec now)
{
	if (!guard_locked(h->guard, &q->r->src.remote, user, now))
		return false;
	home_count(&h->counters.auth_locked);
	app_reply(w, q, 403, "Too Many Failures", SPAN(""));
	return true;
}

/* Who joins may not have heard yet of the user, or of his new password: he comes again. */
static void refuse(struct home *h, struct app_worker *w, const struct app_request *q,
		   enum auth_side side, struct span user, bool known, msec now)
{
	bool joins = app_joins(w->app);
	if (known || !joins)
		failed(h, q, user, now);
	if (joins)
		app_reply(w, q, 503, "Not Known Yet", SPAN("Retry-After: 2\r\n"));
	else
		challenge(h, w, q, side, false, now);
}

static bool proven(const struct key_lookup *keys, struct span name, struct span *ret_name,
		   struct dir_user *ret)
{
	*ret_name = name;
	if (ret)
		*ret = keys->user;
	return true;
}

bool home_authenticate(struct home *h, struct app_worker *w, const struct app_request *q,
		       enum auth_side side, struct span *ret_name, struct dir_user *ret,
		       msec now)
{
	struct span user = {NULL, 0};
	if (refuse_locked(h, w, q, nobody, now))
		return false;
	struct key_lookup keys = {.records = h->records, .wall_ms = home_wall_ms(now)};
	enum auth_result r = auth_check(h->auth, q->r->msg, side, &q->r->src.remote, find_keys,
					&keys, keys.wall_ms, &user);
	/* Right or wrong, the answer is the same. */
	if (user.p && refuse_locked(h, w, q, user, now))
		return false;
	switch (r) {
	case AUTH_OK:
		guard_passed(h->guard, &q->r->src.remote, nobody, now);
		guard_passed(h->guard, &q->r->src.remote, user, now);
		return proven(&keys, user, ret_name, ret);
	case AUTH_REPEAT:
		/* REGISTER is idempotent and keeps no transaction: its retransmission is
		 * answered again.  Of another request, in a cluster, it may have been the other
		 * member that let it through, or we without a transaction: it goes on as what
		 * it is, a retransmission, with the same branch.  Else the answer, one without
		 * a transaction, was lost: stale, since the password is right and needs no
		 * asking for. */
		if (side == AUTH_UAS || h->cluster)
			return proven(&keys, user, ret_name, ret);
		challenge(h, w, q, side, true, now);
		return false;
	case AUTH_NONE:
		challenge(h, w, q, side, false, now);
		return false;
	case AUTH_STALE:
		challenge(h, w, q, side, true, now);
		return false;
	case AUTH_WRONG:
		refuse(h, w, q, side, user, keys.found, now);
		return false;
	case AUTH_BAD:
		app_reply(w, q, 400, "Bad Credentials", SPAN(""));
		return false;
	}
	return false;
}
