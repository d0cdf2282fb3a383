/*
 * Within common/dns: the cache of answers, and the reading of replies.
 */
#ifndef EAVES_DNS_PRIV_H
#define EAVES_DNS_PRIV_H

#include "common/base/counter.h"
#include "common/base/mac.h"
#include "common/dns/dns.h"

struct dns_cache;

/* entries: at most; the least recently used goes first.  NULL: out of memory. */
struct dns_cache *dns_cache_new(uint32_t entries, const struct mac_key *key);
void dns_cache_free(struct dns_cache *c);
/* True and *ret_a for an answer that has not expired. */
bool dns_cache_get(struct dns_cache *c, const char *name, enum dns_type t, msec now,
		   struct dns_answer *ret_a);
/* Keeps a copy until `until`; out of memory, it keeps nothing. */
void dns_cache_put(struct dns_cache *c, const char *name, enum dns_type t, msec until,
		   const struct dns_answer *a);

uint64_t dns_name_hash(const struct mac_key *k, const char *name, enum dns_type t);
/* Copies without error and records that are not there. */
void dns_answer_copy(struct dns_answer *to, const struct dns_answer *from);

/* A reply as it came from the server (c-ares has matched it to the question) to an answer, and
 * the smallest TTL in its answer section.  A malformed one is -EIO in ret_a->error. */
void dns_reply_read(const unsigned char *p, size_t n, enum dns_type t, struct dns_answer *ret_a,
		    uint32_t *ret_ttl_s);
/* The smallest TTL of the answer section: 0, or -EBADMSG. */
int dns_reply_ttl(const unsigned char *p, size_t n, uint32_t *ret_ttl_s);

#endif
