/*
 * Flow tokens (RFC 5626 5.2): a flow as the user part of a Record-Route or Path URI of ours, so
 * that what comes back along it goes out over that very flow.  The token is under a MAC: nobody
 * else can name a flow.  And whether a phone is behind a NAT at all.
 */
#ifndef EAVES_FLOW_TOKEN_H
#define EAVES_FLOW_TOKEN_H

#include "common/base/mac.h"
#include "common/sip/flow.h"
#include "common/sip/values.h"

enum { FLOW_TOKEN_MAX = 72 }; /* characters, all of them unreserved in a URI */

enum flow_flag {
	FLOW_OUTBOUND = 1, /* RFC 5626: over this flow or not at all (430) */
};

struct flow_keys {
	struct mac_key key;
	uint32_t boot;
};

/* secret: the cluster's.  boot: identity of this start of the process; a connection of another
 * start is gone. */
void flow_keys_init(struct flow_keys *k, struct span secret, uint64_t boot);

/* The token of a flow, without NUL: its length; 0: none (no address). */
size_t flow_token_write(const struct flow_keys *k, const struct sip_flow *f, unsigned flags,
			char out[FLOW_TOKEN_MAX]);
/*
 * What a token names.  0; -EINVAL: it is no token; -EPERM: it looks like one, but was not made
 * with this key; -ESTALE: a connection of another start, *ret and *ret_flags are set all the
 * same.  Whether a connection still lives is not looked at.
 */
int flow_token_read(const struct flow_keys *k, struct span token, struct sip_flow *ret,
		    unsigned *ret_flags);
/* The identity of the connection that a token names, whichever start of which process it is of;
 * 0: it names none.  The token has been read before. */
uint64_t flow_token_conn(const struct flow_keys *k, struct span token);

/* Does a token name a connection?  Nothing is said of whose it is, or who made it. */
bool flow_token_has_conn(struct span token);
/* The token that stands in the first of a Path's values, as we write them; else empty. */
struct span flow_token_in(struct span path);
/* A parameter of that value, such as ";m=" of "<sip:TOKEN@edge;lr;m=e1;leg=udp>"; else empty.
 */
struct span flow_path_param(struct span path, const char *name);
/* The same of a connection by the start of its process (boot) and its number. */
uint64_t flow_conn_id(const struct flow_keys *k, uint64_t boot, uint64_t conn);
/* What a token says of the start of a process. */
uint32_t flow_boot(uint64_t boot);

/*
 * Is a phone that sent a request over `f`, UDP, with this contact reached by the way the
 * request came rather than by the contact's address?  rport: its Via asked for symmetric
 * responses.  By its contact when that is where the request came from, or a name that DNS may
 * know.  False for streams and for sips.
 */
bool flow_behind_nat(const struct sip_flow *f, const struct sip_uri *contact, bool rport);

#endif
