/*
 * Phones whose connection went with another process of our pair.  Flow tokens that name it are
 * in Paths, in Record-Routes and in Vias; by its next registration (RFC 5626) a phone's binding
 * gets another one.  Here is which binding a connection was of, so that what comes back with an
 * old token finds the phone where it is now.  Bounded: of more connections than fit the oldest
 * are forgotten.
 */
#ifndef EAVES_PHONES_PHONES_H
#define EAVES_PHONES_PHONES_H

#include "common/cluster/cluster.h"
#include "common/records/records.h"
#include "common/sip/flow.h"
#include "proto/records.pb-c.h"

struct phones;

/* The connection that a binding is reached by. */
struct phone_way {
	struct sip_flow flow;
	int rc;	     /* 0: it is here and lives; -ENOTCONN: it was here; -ESTALE: elsewhere */
	uint64_t id; /* its identity (flow_token_conn) */
	int node;    /* who has it, where rc is -ESTALE; -1: nobody that is known */
};

enum { PHONES_PAST = 4 }; /* connections of before that a binding remembers */

struct phones_ops {
	/* False: it is reached by none, or by one that is another pair's.  Under the lock of
	 * the records' stripe; ret keeps nothing of b. */
	bool (*way)(void *arg, const Eaves__Binding *b, struct phone_way *ret);
	/* The identities of those that it was reached by before; how many.  Likewise. */
	unsigned (*past)(void *arg, const Eaves__Binding *b, uint64_t ret_id[PHONES_PAST]);
	void *arg;
};

/* NULL: out of memory.  From then on, until records are freed, its bindings are watched. */
struct phones *phones_new(const struct phones_ops *ops, struct records *r, struct cluster *c);
struct phones *phones_free(struct phones *p);
/*
 * Where a message for the phone of a binding leaves: 0 and *ret, its connection here, or the
 * node that has it; -ENOTCONN: it was here, and one of the two has hung up; -ESTALE: it is
 * expected back (*ret in both: the connection that is gone); -ENOENT: there is no such binding,
 * or none by a connection.  From any thread.
 */
int phones_at(struct phones *p, uint64_t tag, struct sip_flow *ret);
/* The same by the identity of a connection that it had; -ENOENT: of nobody known, and *ret is
 * left as it was. */
int phones_moved(struct phones *p, uint64_t id, struct sip_flow *ret);
/* The connections of others by which phones are bound: some hundred records are looked at, from
 * *at on (zero at first), and *n goes up to max at most.  False: that was all.  From any
 * thread.
 */
bool phones_of_others(struct phones *p, struct records_place *at, struct sip_flow *v,
		      unsigned *n, unsigned max);

#endif
