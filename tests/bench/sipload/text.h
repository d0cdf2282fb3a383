/*
 * Writing and reading of SIP messages, and digests: what load generators need of it and no
 * more.
 */
#ifndef EAVES_SIPLOAD_TEXT_H
#define EAVES_SIPLOAD_TEXT_H

#include "common/base/span.h"

/* Bounded writing: what does not fit sets `over`, and the message is not sent. */
struct out {
	char *start, *p, *end;
	bool over;
};
void put(struct out *o, struct span s);
void put_str(struct out *o, const char *s);
void put_num(struct out *o, uint64_t v);
void put_hex(struct out *o, uint64_t v, unsigned digits);
static inline size_t out_len(const struct out *o)
{
	return (size_t)(o->p - o->start);
}

/* A message received: whole header lines without CRLF. */
enum { VIAS_MAX = 8, ROUTES_MAX = 8, CHALLENGES_MAX = 4 };
struct message {
	bool is_request;
	unsigned status;
	struct span method; /* of a response: CSeq's */
	uint32_t cseq;
	struct span via[VIAS_MAX], route[ROUTES_MAX], challenge[CHALLENGES_MAX];
	unsigned nvia, nroute, nchallenge;
	bool proxy_challenge;
	struct span from, to, call_id, cseq_line, contact;
};
bool message_read(struct message *m, struct span bytes);
/* What stands behind the colon. */
struct span line_value(struct span line);
/* The value of key= in a challenge or of ;key= in an address; empty without. */
struct span param_of(struct span line, const char *key);

/* digest.c: MD5 or SHA-256 in hexadecimal. */
enum { DIGEST_HEX_MAX = 65 };
int digest_init(bool sha256);
void digest_hex(const char *text, size_t n, char out[DIGEST_HEX_MAX]);

#endif
