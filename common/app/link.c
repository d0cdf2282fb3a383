/*
 * The links between roles in one process, and what both roles do alike with a request.
 */
#include "common/app/app_priv.h"
#include "common/app/flows.h"

#include <ctype.h>

void app_link(struct app_worker *w, enum app_role_kind to, const struct app_request *q,
	      msec now)
{
	const struct app_role *role = w->app->role[to];
	if (role)
		role->request(w->app->role_state[to], w, q, now);
	else
		app_reply(w, q, 503, "No Link To The Other Role", SPAN("Retry-After: 5\r\n"));
}

bool app_has_role(const struct app *a, enum app_role_kind kind)
{
	return a->role[kind] != NULL;
}

struct app_worker *app_worker_at(const struct app *a, unsigned i)
{
	return i < a->nworkers ? &a->worker[i].view : NULL;
}

void app_reply(struct app_worker *w, const struct app_request *q, unsigned status,
	       const char *reason, struct span lines)
{
	stack_reply(w->stack, q->r->msg, &q->r->top, &q->r->src, status, reason, lines);
}

struct span app_uri_shown(const struct sip_uri *u)
{
	const char *end = u->raw.p + u->raw.n;
	if (!u->password.p)
		return u->raw;
	const char *colon = u->password.p - 1, *at = u->password.p + u->password.n;
	return arena_printf(sip_arena(), "%.*s%.*s", (int)(colon - u->raw.p), u->raw.p,
			    (int)(end - at), at);
}

static uint64_t bit(enum sip_hdr_kind k)
{
	return (uint64_t)1 << k;
}

/* RFC 3261 22.3: credentials for us are used up here, whether they were asked for or not; those
 * for another realm go on.  True where there are some of ours; *ret_others: the other fields.
 */
static bool has_credentials(const struct app_worker *w, const struct sip_msg *m,
			    struct span *ret_others)
{
	const struct sip_hdr *h = sip_msg_first(m, SIP_HDR_PROXY_AUTHORIZATION);
	struct span realm = span_str(w->conf->auth.realm);
	bool ours = false;
	*ret_others = SPAN("");
	for (; h; h = sip_msg_next(m, h)) {
		struct sip_credentials c;
		if (sip_credentials_parse(sip_hdr_value(m, h), &c) == 0 &&
		    span_eq(c.realm, realm))
			ours = true;
		else
			*ret_others = ARENA_JOIN(sip_arena(), *ret_others,
						 span_of(m->base + h->off, h->len));
	}
	return ours;
}

/* The user part as it stands in a URI (RFC 3261 25.1: unreserved and user-unreserved pass). */
static struct span escape_user(struct span user)
{
	static const char pass[] = "-_.!~*'()&=+$,;?/";
	static const char hex[] = "0123456789ABCDEF";
	char *out = arena_alloc(sip_arena(), 3 * user.n + 1);
	size_t n = 0;
	if (!out)
		return SPAN("");
	for (size_t i = 0; i < user.n; i++) {
		unsigned char c = (unsigned char)user.p[i];
		if ((c < 0x80 && isalnum(c)) || (c && strchr(pass, c))) {
			out[n++] = (char)c;
			continue;
		}
		out[n++] = '%';
		out[n++] = hex[c >> 4];
		out[n++] = hex[c & 15];
	}
	return span_of(out, n);
}

void app_forward_opts(const struct app_worker *w, const struct app_request *q, bool to_trusted,
		      struct proxy_opts *ret_opts)
{
	const uint64_t asserted =
		bit(SIP_HDR_P_ASSERTED_IDENTITY) | bit(SIP_HDR_REMOTE_PARTY_ID);
	const struct sip_msg *m = q->r->msg;
	struct span others;
	bool shown = to_trusted || !sip_msg_has_token(m, SIP_HDR_PRIVACY, SPAN("id"));
	*ret_opts = (struct proxy_opts){.record_user = app_caller_token(w, q),
					.strip = bit(SIP_HDR_EAVES_LINK)};
	if (has_credentials(w, m, &others)) {
		ret_opts->strip |= bit(SIP_HDR_PROXY_AUTHORIZATION);
		ret_opts->lines = others;
	}
	if (!to_trusted) /* nobody has proved what it says */
		ret_opts->strip_responses = asserted;
	if (q->marks & APP_MARK_INSIDER) {
		ret_opts->strip |= shown ? 0 : asserted;
		return;
	}
	ret_opts->strip |= asserted | bit(SIP_HDR_P_PREFERRED_IDENTITY);
	if (!(q->marks & APP_MARK_AUTHENTICATED) || !shown)
		return;
	ret_opts->lines = ARENA_JOIN(sip_arena(), ret_opts->lines,
				     SPAN("P-Asserted-Identity: <sip:"), escape_user(q->user),
				     SPAN("@"), span_str(w->conf->domain), SPAN(">\r\n"));
}
