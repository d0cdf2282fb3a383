/*
 * Framing on a stream (RFC 3261 18.3): where one message ends, strictly.  Looks at no more than
 * it must, so that a slow sender costs linear time.
 */
#ifndef EAVES_SIP_FRAME_H
#define EAVES_SIP_FRAME_H

#include "common/sip/msg.h"

enum sip_frame_result {
	SIP_FRAME_MORE,	     /* not whole yet */
	SIP_FRAME_MESSAGE,   /* f->len bytes are one message */
	SIP_FRAME_KEEPALIVE, /* f->len bytes: CRLFCRLF, answer with CRLF (RFC 5626 4.4.1) */
	SIP_FRAME_SKIP,	     /* f->len bytes: a single CRLF (a pong, or white space between) */
	SIP_FRAME_BROKEN,    /* no way to find the next message: close; f->fault says why */
};

/* State of one stream; zeroed at the start and set anew by sip_frame after each result but
 * MORE. */
struct sip_framer {
	size_t scanned; /* no need to look again before this */
	/* Of a result: its bytes.  Of BROKEN: the head, for sip_msg_index to find out whether
	 * and where an answer goes; 0 when there is no whole head.  Of MORE: the message's
	 * bytes once they are known, else 0. */
	size_t len;
	struct sip_fault fault; /* of BROKEN: status of an answer that may be tried, reason */
	bool half_ping; /* the last result was a CRLF with nothing behind it: one more makes a
			 * keep-alive of the two (a ping may be cut in half on its way) */
};

/* `bytes`: all that is buffered, from the end of the last result on.  message_max: of a
 * message, in bytes (sip_limits.stream_bytes). */
enum sip_frame_result sip_frame(struct sip_framer *f, struct span bytes, size_t message_max);

#endif
