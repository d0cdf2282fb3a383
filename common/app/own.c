/*
 * Requests for the server itself (RFC 3261 11): OPTIONS is answered, nothing else is taken.
 */
#include "common/app/role.h"

/* RFC 3261 8.2.2.3: nothing that a UAS would do for OPTIONS is known here. */
static struct span required(const struct sip_msg *m)
{
	struct sip_list_it it = {0};
	struct span v, all = {NULL, 0};
	while (sip_list_next(m, SIP_HDR_REQUIRE, &it, &v))
		all = arena_printf(sip_arena(), "%.*s%s%.*s", SPAN_FMT(all), all.n ? ", " : "",
				   SPAN_FMT(v));
	return all.n ? arena_printf(sip_arena(), "Unsupported: %.*s\r\n", SPAN_FMT(all)) : all;
}

void app_own_request(struct app_worker *w, const struct app_request *q)
{
	struct span unsupported;
	if (q->r->msg->method !=
	    SIP_OPTIONS) { /* RFC 3261 8.2.1: the server itself is no phone */
		app_reply(w, q, 405, NULL, SPAN("Allow: OPTIONS, REGISTER\r\n"));
		return;
	}
	unsupported = required(q->r->msg);
	if (unsupported.n) {
		app_reply(w, q, 420, NULL, unsupported);
		return;
	}
	const struct conf *c = w->conf;
	app_reply(w, q, 200, NULL,
		  arena_printf(sip_arena(),
			       "Accept: application/sdp, text/plain\r\n"
			       "Accept-Encoding: identity\r\n"
			       "Accept-Language: en\r\n"
			       "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, REGISTER, MESSAGE, "
			       "REFER, SUBSCRIBE, NOTIFY, PUBLISH, INFO, UPDATE, PRACK\r\n"
			       "Supported: path%s%s\r\n",
			       c->registrar.outbound ? ", outbound" : "",
			       c->registrar.gruu ? ", gruu" : ""));
}
