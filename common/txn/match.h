/*
 * What transactions are known by and found by: match.c.  For the files of common/txn.
 */
#ifndef EAVES_TXN_MATCH_H
#define EAVES_TXN_MATCH_H

#include "common/txn/txn.h"

/* What a request is known by. */
struct txn_key {
	uint64_t hash;	    /* 17.2.3, without the method */
	uint64_t merge;	    /* 8.2.2.2, without the method */
	struct span branch; /* without the cookie, or (RFC 2543) the whole top Via */
	struct span host;
	uint16_t port;
	bool cookie;
	bool mergeable; /* no tag in To, not an ACK or CANCEL */
};

/* Fills in all but what txn_key_merge does. */
void txn_key_of(const struct txn_table *tt, const struct sip_msg *m, const struct sip_via *top,
		struct txn_key *ret_key);
void txn_key_merge(const struct txn_table *tt, const struct sip_msg *m, struct txn_key *k);
/* Remembers the hashes of a request that is new; gives them back once, or makes them. */
void txn_key_remember(struct txn_table *tt, const struct sip_msg *m, const struct txn_key *k);
void txn_key_recall(struct txn_table *tt, const struct sip_msg *m, const struct sip_via *top,
		    struct txn_key *ret_key);
/* Puts a server transaction, its copy of m kept, in the tables and derives its To tag. */
void txn_key_link(struct txn *t, const struct sip_msg *m, const struct txn_key *k);
/* The server transaction that m belongs to when its method is taken for `method`; m's own
 * method decides on the rule for ACK.  NULL. */
struct txn *txn_find_server(struct txn_table *tt, const struct sip_msg *m,
			    const struct txn_key *k, enum sip_method method);
/* Another server transaction of the same request (8.2.2.2)? */
bool txn_find_merged(struct txn_table *tt, const struct sip_msg *m, const struct txn_key *k);
uint64_t txn_client_hash(const struct txn_table *tt, enum sip_method method,
			 struct span method_text, struct span branch);
struct txn *txn_find_client(struct txn_table *tt, const struct sip_msg *m,
			    const struct sip_via *top);
/* Behind z9hG4bK, or the whole of it without. */
struct span txn_branch_id(struct span branch);

#endif
