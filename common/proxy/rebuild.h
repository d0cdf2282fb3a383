/*
 * Two nodes of a pair share all keys, so either may get any message of a transaction that the
 * other one began (docs/decisions/0007-rebuilding.md).  What a response or a CANCEL says, and
 * where the targets are, is enough to go on with an INVITE to one device; what is not in them
 * is in the record of a fork (journal.h), which is to be adopted first where there is one.
 */
#ifndef EAVES_PROXY_REBUILD_H
#define EAVES_PROXY_REBUILD_H

#include "common/proxy/proxy.h"

/* What a response that matches no transaction says of the request that it answers. */
struct proxy_origin {
	uint64_t key; /* names the request: that of its fork's record, where there is one */
	uint64_t tag; /* proxy_target.tag of its branch (of an INVITE), or 0 */
	struct span token; /* proxy_opts.via_flow: where the request came from, or empty */
};
/* False: no Via of ours on top, or one that our key did not make for that request. */
bool proxy_response_is_ours(const struct proxy *p, const struct sip_msg *m,
			    const struct sip_via *top, struct proxy_origin *ret);
/* The same name, of a request as it came in (an INVITE or its CANCEL). */
uint64_t proxy_request_key(const struct proxy *p, const struct proxy_request *r);

/*
 * A response to an INVITE, which matches no transaction: the transactions are made as another
 * member had them, and the response is dealt with as any other (1xx but 100, and 2xx go on,
 * others with repeats until their ACK, and are ACKed). target: what proxy_origin.tag names, for
 * the Request-URI and Route of an ACK or CANCEL and the flow that they take; NULL when it is
 * gone: To's URI, and whence the response came.
 *
 * opts: of responses; lines and tokens do not matter here.
 *
 * 0: dealt with; -EPERM: not ours; -EINVAL: not to an INVITE; others: it could not be. After an
 * error nothing was sent, and proxy_response_stateless() may send it on.
 */
int proxy_rebuild_from_response(struct proxy *p, const struct sip_msg *m,
				const struct sip_via *top, const struct sip_flow *src,
				const struct proxy_target *target,
				const struct proxy_opts *opts, msec now);
/*
 * A CANCEL that matches nothing: the INVITE's transactions are made as another member had them,
 * with the targets and options that the INVITE would be forwarded with, and the CANCEL is dealt
 * with as any other: CANCELs to all targets, 200, 487 when they have answered.  A device that
 * never got the INVITE says so (481) and is not waited for.
 * r: of proxy_validate() over the CANCEL.  0: dealt with; -errno: nothing was sent, and 481 is
 * the answer.
 */
int proxy_rebuild_from_cancel(struct proxy *p, const struct proxy_request *r,
			      const struct proxy_target *v, unsigned n,
			      const struct proxy_opts *opts, msec now);
/*
 * An ACK that matches no transaction: true when it can be told that it is hop by hop, for a
 * non-2xx that another member has sent (RFC 3261 17.1.1.3).  It ends here.  One for a 2xx comes
 * along the Record-Route that we wrote, or goes to a contact; so ask only where Record-Route is
 * written, and not of what is forwarded statelessly.
 */
bool proxy_ack_is_hop(const struct proxy *p, const struct proxy_request *r);

#endif
