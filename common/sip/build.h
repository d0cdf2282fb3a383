/*
 * Builders for what we originate: responses to a request, the ACK to a non-2xx, CANCEL.
 * RFC 3261 sections 8.2.6, 9.1, 17.1.1.3.
 */
#ifndef EAVES_SIP_BUILD_H
#define EAVES_SIP_BUILD_H

#include "common/base/bytes.h"
#include "common/sip/msg.h"

struct sip_response {
	unsigned status;
	struct span reason; /* p NULL: the usual phrase */
	struct span to_tag; /* added to To when the request has none; p NULL: none (a 100) */
	struct span lines;  /* more header lines, each with its CRLF; may be empty */
	struct span content_type; /* p NULL: no body */
	struct span body;
};
/* Via, From, To, Call-ID, CSeq and (of a dialog-forming 1xx/2xx) Record-Route are copied from
 * the request as it stands, Timestamp too for a 100.  NULL when out of memory. */
struct bytes *sip_build_response(const struct sip_msg *req, const struct sip_response *r);

/* ACK for a non-2xx final response to an INVITE that we sent: `invite` is the bytes as sent,
 * indexed; To comes from the response.  NULL when out of memory. */
struct bytes *sip_build_ack(const struct sip_msg *invite, const struct sip_msg *response);
/* CANCEL for an INVITE as sent (same Request-URI, top Via, Route, From, To, Call-ID, CSeq
 * number). `lines` (Reason ...) may be empty. */
struct bytes *sip_build_cancel(const struct sip_msg *invite, struct span lines);

#endif
