/*
 * One reading of a message: a strict, one-pass index over the bytes that arrived.  Everything
 * else (values, edits, forwarding, authorisation) works on this index, so what was checked is
 * what is forwarded.  RFC 3261 section 7 and 25.1.  No I/O, no allocation.
 */
#ifndef EAVES_SIP_MSG_H
#define EAVES_SIP_MSG_H

#include "common/base/span.h"

enum sip_method {
	SIP_METHOD_OTHER, /* an extension method: compare sip_msg.method as text */
	SIP_INVITE,
	SIP_ACK,
	SIP_BYE,
	SIP_CANCEL,
	SIP_REGISTER,
	SIP_OPTIONS,
	SIP_MESSAGE,
	SIP_SUBSCRIBE,
	SIP_NOTIFY,
	SIP_PUBLISH,
	SIP_PRACK,
	SIP_UPDATE,
	SIP_INFO,
	SIP_REFER,
	SIP_METHOD_COUNT
};

/* Header fields that are looked up by kind; compact forms are the same kind. */
enum sip_hdr_kind {
	SIP_HDR_OTHER,
	SIP_HDR_VIA,
	SIP_HDR_FROM,
	SIP_HDR_TO,
	SIP_HDR_CALL_ID,
	SIP_HDR_CSEQ,
	SIP_HDR_MAX_FORWARDS,
	SIP_HDR_ROUTE,
	SIP_HDR_RECORD_ROUTE,
	SIP_HDR_CONTACT,
	SIP_HDR_CONTENT_LENGTH,
	SIP_HDR_CONTENT_TYPE,
	SIP_HDR_EXPIRES,
	SIP_HDR_MIN_EXPIRES,
	SIP_HDR_AUTHORIZATION,
	SIP_HDR_PROXY_AUTHORIZATION,
	SIP_HDR_WWW_AUTHENTICATE,
	SIP_HDR_PROXY_AUTHENTICATE,
	SIP_HDR_REQUIRE,
	SIP_HDR_PROXY_REQUIRE,
	SIP_HDR_SUPPORTED,
	SIP_HDR_UNSUPPORTED,
	SIP_HDR_ALLOW,
	SIP_HDR_PATH,
	SIP_HDR_SERVICE_ROUTE,
	SIP_HDR_P_ASSERTED_IDENTITY,
	SIP_HDR_P_PREFERRED_IDENTITY,
	SIP_HDR_PRIVACY,
	SIP_HDR_MAX_BREADTH,
	SIP_HDR_RETRY_AFTER,
	SIP_HDR_DATE,
	SIP_HDR_EVENT,
	SIP_HDR_REQUEST_DISPOSITION,
	SIP_HDR_ACCEPT_CONTACT,
	SIP_HDR_REPLY_TO,
	SIP_HDR_WARNING,
	SIP_HDR_REMOTE_PARTY_ID, /* what P-Asserted-Identity was before RFC 3325 */
	SIP_HDR_EAVES_LINK, /* between nodes of a cluster alone: what one knows of a request */
	SIP_HDR_COUNT
};

enum {
	SIP_HDR_MAX = 128, /* header fields in one message, whatever the configuration says */
	SIP_HDR_NONE = 0xff,
};

/* What a message may be at most; from configuration (section `limits`). */
struct sip_limits {
	uint32_t datagram_bytes; /* default 8192, at most 65535 */
	uint32_t stream_bytes;	 /* default 65536 */
	uint32_t headers;	 /* default 96, at most SIP_HDR_MAX */
	uint32_t header_bytes;	 /* name, colon and value of one field; default 2048 */
	uint32_t commas;	 /* in one field that is a list; default 32 */
	uint32_t semicolons;	 /* in one field; default 24 */
};
extern const struct sip_limits sip_limits_default;

/* Offsets are from the start of the message, so an index may be copied along with its bytes. */
struct sip_hdr {
	uint32_t off;	    /* of the name */
	uint32_t value_off; /* of the value, leading white space skipped */
	uint16_t value_len; /* trailing white space left out; folded lines are inside as they
			       came */
	uint16_t name_len;
	uint16_t len; /* the whole field with its CRLF */
	uint8_t kind; /* enum sip_hdr_kind */
	uint8_t next; /* next field of the same kind, or SIP_HDR_NONE; for OTHER always NONE */
};

/* What sip_msg_check_values() found, for sip_msg_tag(): a place in the field's value, so that
 * it stays true when the value moves. */
struct sip_tag {
	uint16_t off;
	uint16_t len; /* 0: none */
	bool known;
};

struct sip_msg {
	const char *base;
	uint32_t len; /* start line, headers and body; bytes behind (UDP) are not counted */
	bool is_request;
	uint8_t method; /* enum sip_method; of a response: CSeq's */
	uint8_t nhdr;
	uint16_t status; /* 100 to 699, 0 in a request */
	uint32_t cseq;
	uint32_t body_off;
	uint32_t body_len;
	uint32_t start_len;	 /* start line with its CRLF */
	struct span method_text; /* of a response: CSeq's */
	struct span uri;	 /* Request-URI */
	struct span reason;
	struct span call_id;
	struct sip_tag from_tag, to_tag;
	uint8_t first[SIP_HDR_COUNT]; /* index in hdr, or SIP_HDR_NONE */
	uint8_t last[SIP_HDR_COUNT];
	struct sip_hdr *hdr;
};

/* Why a message was refused, and with what answer, if any. */
struct sip_fault {
	uint16_t status; /* 400, 413, 505 ...; 0: not to be answered (a response, an ACK, or no
			  * sound Via, From, To, Call-ID and CSeq to answer with) */
	const char *reason; /* static text that names the fault, fit for a reason phrase */
};

/*
 * Indexes one whole message.  m->hdr must point to room for SIP_HDR_MAX fields; m refers to
 * `bytes` afterwards.  On a stream `bytes` is exactly one message (see sip/frame.h); of a
 * datagram the body is what Content-Length says, or all of the rest without one. Returns 0, or
 * -EBADMSG with *ret_fault; m is then still good for building the answer when ret_fault->status
 * is not 0.  Checks what sip/README.md lists (mandatory and single fields, CSeq against method,
 * characters, limits); the syntax of values is checked by sip/values.h.
 */
int sip_msg_index(struct sip_msg *m, struct span bytes, bool stream,
		  const struct sip_limits *lim, struct sip_fault *ret_fault);

enum sip_method sip_method_parse(struct span name);
const char *sip_method_name(enum sip_method m);
/* Canonical name of a kind ("Call-ID"), NULL for OTHER. */
const char *sip_hdr_name(enum sip_hdr_kind k);
/* By name or compact form, without regard to case. */
enum sip_hdr_kind sip_hdr_kind_of(struct span name);
/* "OK" ...; "Unknown" without one of our own. */
const char *sip_reason(unsigned status);

static inline const struct sip_hdr *sip_msg_first(const struct sip_msg *m, enum sip_hdr_kind k)
{
	return m->first[k] == SIP_HDR_NONE ? NULL : &m->hdr[m->first[k]];
}
static inline const struct sip_hdr *sip_msg_next(const struct sip_msg *m,
						 const struct sip_hdr *h)
{
	return h->next == SIP_HDR_NONE ? NULL : &m->hdr[h->next];
}
static inline struct span sip_hdr_value(const struct sip_msg *m, const struct sip_hdr *h)
{
	return (struct span){m->base + h->value_off, h->value_len};
}
/* The value of the first field of a kind, or the empty span with p NULL. */
static inline struct span sip_msg_value(const struct sip_msg *m, enum sip_hdr_kind k)
{
	const struct sip_hdr *h = sip_msg_first(m, k);
	return h ? sip_hdr_value(m, h) : (struct span){NULL, 0};
}
static inline struct span sip_msg_body(const struct sip_msg *m)
{
	return (struct span){m->base + m->body_off, m->body_len};
}

/*
 * Walks the comma-separated values of all fields of a kind, in order, minding quotes and angle
 * brackets.  Start with a zeroed cursor; true and *ret_value (trimmed, may be empty) while
 * there is one.  it->hdr and the span tell where it stands, for splicing.
 */
struct sip_list_it {
	const struct sip_hdr *hdr;
	struct span rest;
	bool started;
};
bool sip_list_next(const struct sip_msg *m, enum sip_hdr_kind k, struct sip_list_it *it,
		   struct span *ret_value);
/* True when a list field (Supported, Require ...) has the token, without regard to case. */
bool sip_msg_has_token(const struct sip_msg *m, enum sip_hdr_kind k, struct span token);

/*
 * A kept message: index and bytes in one counted allocation.
 */
struct sip_kept {
	unsigned refs; /* one worker: not atomic */
	struct sip_msg msg;
};
/* A copy with one reference, or NULL when out of memory. */
struct sip_kept *sip_kept_new(const struct sip_msg *m);
struct sip_kept *sip_kept_ref(struct sip_kept *k);
/* Takes NULL; returns NULL. */
struct sip_kept *sip_kept_unref(struct sip_kept *k);

#endif
