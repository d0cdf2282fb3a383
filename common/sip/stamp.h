/*
 * What receiving adds to a message (RFC 3261 18.2.1, RFC 3581 section 4) and where its response
 * goes (18.2.2).  After the stamp, received and rport of the top Via are ours, never a peer's
 * claim.
 */
#ifndef EAVES_SIP_STAMP_H
#define EAVES_SIP_STAMP_H

#include "common/sip/values.h"

enum { SIP_STAMP_ROOM = 96 }; /* bytes that a stamp may add at most */

/*
 * Writes received= (when the source differs from sent-by, or rport is there) and the value of
 * rport into the top Via of a request, in place, and keeps index and *top in step.  `buf` is
 * m->base, with room for `cap` bytes.  Claimed values are replaced.  0, or -ENOSPC.
 */
int sip_stamp_via(struct sip_msg *m, char *buf, size_t cap, struct sip_via *top,
		  const struct addr *src);

/*
 * Replaces del bytes at off (inside the header part) by ins and shifts the index: what
 * sip_stamp_via is made of.  Spans parsed before are stale afterwards.  0, or -ENOSPC.
 */
int sip_msg_replace(struct sip_msg *m, char *buf, size_t cap, uint32_t off, uint32_t del,
		    struct span ins);

/*
 * Where the response to a (stamped) Via goes.  *f: in, the flow that the request came by, or,
 * with conn 0, only a listener; out, the destination.  UDP: a multicast maddr, else received
 * and rport, else sent-by.  Streams: the same connection while conn is set; fall-back address
 * as for UDP with the port of sent-by.  -EINVAL when sent-by is a name and there is no
 * received.  A node of the cluster: the flow stays as it is.
 */
int sip_via_dest(const struct sip_via *via, struct sip_flow *f);

#endif
