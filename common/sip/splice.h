/*
 * Splice forwarding: a list of edits over the bytes of an indexed message, rendered by
 * scatter/gather.  What is not edited leaves as it came, to the byte.
 */
#ifndef EAVES_SIP_SPLICE_H
#define EAVES_SIP_SPLICE_H

#include "common/base/bytes.h"
#include "common/sip/msg.h"

#include <sys/uio.h>

enum { SIP_SPLICE_MAX = 32, SIP_SPLICE_IOV = 2 * SIP_SPLICE_MAX + 1 };

struct sip_edit {
	uint32_t off;
	uint32_t del;
	struct span ins; /* must live until the message is rendered */
};

struct sip_splice {
	const struct sip_msg *m;
	unsigned n;
	bool overflow; /* more than SIP_SPLICE_MAX edits, or edits that overlap */
	struct sip_edit
		e[SIP_SPLICE_MAX]; /* by offset; same offset: in the order they were added */
};

void sip_splice_init(struct sip_splice *s, const struct sip_msg *m);
/* Replaces del bytes at off (from the start of the message) by ins. */
void sip_splice_replace(struct sip_splice *s, uint32_t off, uint32_t del, struct span ins);
static inline void sip_splice_insert(struct sip_splice *s, uint32_t off, struct span ins)
{
	sip_splice_replace(s, off, 0, ins);
}
/* `what` lies inside the message's bytes. */
void sip_splice_replace_span(struct sip_splice *s, struct span what, struct span ins);
void sip_splice_remove_hdr(struct sip_splice *s, const struct sip_hdr *h);
/* Removes the first value of a list field, and the field with it when it was the only one. */
void sip_splice_remove_first_value(struct sip_splice *s, enum sip_hdr_kind k);
/* Whole lines ("Via: ...\r\n") in front of the first field of kind k; without one, in front of
 * the first header field. */
void sip_splice_prepend(struct sip_splice *s, enum sip_hdr_kind k, struct span lines);
/* Whole lines behind the last header field. */
void sip_splice_append(struct sip_splice *s, struct span lines);

/* Who reads a stream must know where the message ends (RFC 3261 20.14): a Content-Length, where
 * it has none.  The line is in room, and lives there. */
enum { SIP_LENGTH_ROOM = sizeof("Content-Length: 4294967295\r\n") };
void sip_splice_length(struct sip_splice *s, char room[SIP_LENGTH_ROOM]);

/* Bytes of the result; 0 when overflow. */
size_t sip_splice_len(const struct sip_splice *s);
/* Pieces written to iov (at most SIP_SPLICE_IOV), or -EOVERFLOW. */
int sip_splice_iov(const struct sip_splice *s, struct iovec *iov);
/* The result in counted bytes, or NULL (out of memory, overflow). */
struct bytes *sip_splice_bytes(const struct sip_splice *s);

#endif
