/*
 * Within common/locate: the walk through RFC 3263's steps, choice among SRV records, and the
 * memory of targets that failed.
 */
#ifndef EAVES_LOCATE_PRIV_H
#define EAVES_LOCATE_PRIV_H

#include "common/base/list.h"
#include "common/base/mac.h"
#include "common/dns/dns.h"
#include "common/locate/locate.h"

enum {
	LOCATE_HOSTS_MAX = 8,	 /* names of which addresses are asked for */
	LOCATE_SERVICES_MAX = 4, /* SRV names */
	LOCATE_ADDRS_MAX = 8,	 /* addresses of one name and family */
	FAILED_SETS = 64,
	FAILED_WAYS = 4,
	FAILED_MS = 30000,
	NAME_SETS = 512,
	NAME_WAYS = 4,
};

struct locate_failed {
	struct locate_target target;
	msec until; /* 0: empty */
};

struct locate_name {
	char *text;	 /* NULL: empty */
	uint32_t serial; /* of the name in this slot: 1, 2 ... */
	uint64_t used;
};
struct locate_names {
	struct mac_key key;
	uint64_t clock;
	struct locate_name v[NAME_SETS * NAME_WAYS];
};

struct locate {
	const struct dns_ops *dns;
	uint64_t random;     /* state of the generator */
	struct list queries; /* under way */
	struct locate_failed failed[FAILED_SETS][FAILED_WAYS];
	struct locate_names names;
};

/* What RFC 3263 looks at in the next hop. */
struct locate_ask {
	char host[256]; /* maddr or host; lower case, no last dot */
	bool secure;	/* sips */
	bool numeric;
	uint16_t port;		      /* 0: none */
	enum sip_transport transport; /* NONE: not given */
	enum sip_transport fallback;  /* without NAPTR and SRV */
	struct addr addr;	      /* numeric */
};

/* Weighted order of RFC 2782 among n records, by priority first, in place. */
void locate_srv_order(struct dns_record *v, unsigned n, uint64_t *random);
/* Targets that failed a moment ago go behind the others, otherwise the order stays. */
void locate_failed_last(struct locate *l, struct locate_result *r, msec now);
/* The number of a name, without regard to case; 0: out of memory. */
uint32_t locate_name_add(struct locate_names *n, struct span name);
void locate_names_init(struct locate_names *n, uint64_t seed);
void locate_names_done(struct locate_names *n);
/* 0, -EINVAL, -EPROTONOSUPPORT. */
int locate_ask_read(const struct sip_uri *u, unsigned supported, struct locate_ask *ret);

#endif
