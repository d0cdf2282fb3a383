/*
 * Where a request goes: RFC 3263 over a resolver (common/dns), with the choice of transport,
 * NAPTR, SRV by priority and weight, A and AAAA.  Numeric hosts never leave the calling
 * function.
 */
#ifndef EAVES_LOCATE_LOCATE_H
#define EAVES_LOCATE_LOCATE_H

#include "common/base/time.h"
#include "common/sip/flow.h"
#include "common/sip/values.h"

enum { LOCATE_MAX = 16 };

struct locate_target {
	enum sip_transport transport;
	struct addr addr;
};

struct locate_result {
	unsigned n; /* in the order of trying */
	struct locate_target v[LOCATE_MAX];
	/* With a TLS target: what its certificate must be good for (RFC 5922): the domain that
	 * was asked for, or the address where that was numeric.  See locate_name(). */
	uint32_t name;
};

struct locate;
struct locate_query;
struct dns_ops;

/* seed: for the choice by weight among SRV records.  NULL: out of memory. */
struct locate *locate_new(const struct dns_ops *dns, uint64_t seed);
void locate_free(struct locate *l);

typedef void (*locate_done)(void *arg, int error, const struct locate_result *r);

/*
 * Resolves the next hop.  1: known at once, *ret_now is filled, `done` is not called (numeric
 * host, or in the cache).  0: on its way, *ret_query may be cancelled until done is called.
 * -EPROTONOSUPPORT: no transport of ours fits (sips over UDP, unknown transport=); -EINVAL: no
 * host; the errors of `done`, when they are known at once; -ENOMEM.
 * done: error -ENOENT (no such name), -ETIMEDOUT, -EIO (servers failed), 0.
 * A cancelled query and those under way in locate_free() end without `done` being called.
 * supported: a bit (1 << enum sip_transport) for each transport that can be used.
 */
int locate_start(struct locate *l, const struct sip_uri *next_hop, unsigned supported, msec now,
		 locate_done done, void *arg, struct locate_result *ret_now,
		 struct locate_query **ret_query);
void locate_cancel(struct locate_query *q);
/* The text behind locate_result.name, good until the next query; NULL: forgotten (the table is
 * bounded), to be treated as a connection that failed, never as a name that matches. */
const char *locate_name(const struct locate *l, uint32_t name);
/* A target that failed just now (time-out, 503, transport error) is tried last for a while. */
void locate_mark_failed(struct locate *l, const struct locate_target *t, msec now);

#endif
