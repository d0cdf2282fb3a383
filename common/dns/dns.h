/*
 * Names: asynchronous queries by c-ares inside a worker's loop, with a cache that keeps to
 * TTLs.
 */
#ifndef EAVES_DNS_DNS_H
#define EAVES_DNS_DNS_H

#include "common/base/addr.h"
#include "common/base/time.h"
#include "common/loop/loop.h"

enum dns_type { DNS_A, DNS_AAAA, DNS_SRV, DNS_NAPTR };
enum { DNS_RECORDS_MAX = 32, DNS_NAME_MAX = 256 };

struct dns_record {
	uint16_t priority, weight, port; /* SRV; NAPTR: order and preference in the first two */
	char flags;			 /* NAPTR: 's', 'a', 'u' in lower case, or 0 */
	char service[16];		 /* NAPTR: "SIP+D2U" */
	char target[DNS_NAME_MAX];	 /* SRV target, NAPTR replacement; lower case, no dot */
	struct addr addr;		 /* A, AAAA (port 0) */
};
struct dns_answer {
	int error; /* 0, -ENOENT (no such name or no data), -ETIMEDOUT, -EIO */
	unsigned n;
	struct dns_record v[DNS_RECORDS_MAX];
};

struct dns;
struct dns_query;
struct dns_conf {
	const char *servers; /* "127.0.0.1:5353,..."; NULL: resolv.conf */
	uint32_t timeout_ms; /* of one try; default 2000 */
	uint32_t tries;	     /* default 2 */
	uint32_t cache_entries, negative_ttl_s, max_ttl_s; /* defaults 4096, 30, 3600 */
};
extern const struct dns_conf dns_conf_default;

/* What locate stands on: a table of functions, so that tests answer from a table. */
struct dns_ops {
	/* 1: answered at once (*ret_now, done() is not called); 0: done() will be called once,
	 * later, unless cancelled; -errno (-EINVAL: no name; -ENOBUFS: too many under way). */
	int (*query)(void *arg, const char *name, enum dns_type type, msec now,
		     void (*done)(void *done_arg, const struct dns_answer *a), void *done_arg,
		     struct dns_answer *ret_now, struct dns_query **ret_q);
	void (*cancel)(void *arg, struct dns_query *q);
	void *arg;
};

struct dns_counters {
	uint64_t queries, cache_hits, failures, refused; /* refused: too many under way */
};

/* NULL: out of memory, or `servers` is no list of addresses. */
struct dns *dns_new(struct loop *l, const struct dns_conf *c);
/* Queries under way end without their done() being called.  Not from within a done(). */
void dns_free(struct dns *d);
const struct dns_counters *dns_counters(const struct dns *d);
const struct dns_ops *dns_ops(struct dns *d);

#endif
