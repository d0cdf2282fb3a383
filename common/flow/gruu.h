/*
 * The names that we give to phones as temporary GRUUs (RFC 5627 3.1.2): "tgruu.TOKEN", and in a
 * cluster "tgruu.PAIR.TOKEN".  Whose name it is only the homes of that pair can tell; where
 * they are, all nodes are to know.
 */
#ifndef EAVES_FLOW_GRUU_H
#define EAVES_FLOW_GRUU_H

#include "common/sip/values.h"

#define GRUU_TEMPORARY "tgruu."

/* False: uri is none.  *ret_pair: empty where it names none; *ret_token: not looked into. */
bool gruu_temporary(const struct sip_uri *uri, struct span *ret_pair, struct span *ret_token);

#endif
