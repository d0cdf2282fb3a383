/*
 * Messages for the scenarios of transactions and the proxy: text in fixed room, indexed.
 */
#ifndef EAVES_TESTS_OOM_MESSAGE_H
#define EAVES_TESTS_OOM_MESSAGE_H

#include "tests/oom/oom.h"

#include "common/sip/stamp.h"

#include <string.h>

struct message {
	char text[4096];
	struct sip_hdr hdr[SIP_HDR_MAX];
	struct sip_msg m;
	struct sip_via top;
};

/* Indexes x->text.  False when the arena is full (or there is none). */
static inline bool message_read(struct message *x)
{
	struct sip_fault fault;

	x->m.hdr = x->hdr;
	OOM_HOLDS(sip_msg_index(&x->m, span_str(x->text), false, &sip_limits_default, &fault) ==
		  0);
	return sip_msg_top_via(&x->m, &x->top) == 0;
}

static inline bool message_request(struct message *x, const char *method, const char *branch,
				   const char *to_tag)
{
	snprintf(x->text, sizeof(x->text),
		 "%s sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP "
		 "192.0.2.9:5062;branch=%s\r\n"
		 "From: <sip:alice@example.com>;tag=a\r\nTo: <sip:bob@example.com>%s%s\r\n"
		 "Call-ID: c@d\r\nCSeq: 7 %s\r\nMax-Forwards: 70\r\n"
		 "Contact: <sip:alice@192.0.2.9:5062>\r\nContent-Length: 0\r\n\r\n",
		 method, branch, to_tag ? ";tag=" : "", to_tag ? to_tag : "", method);
	return message_read(x);
}

/* A response to a request as it was sent. */
static inline bool message_response(struct message *x, const char *request, unsigned status)
{
	static const char *const copied[] = {"Via",	"From", "To",
					     "Call-ID", "CSeq", "Record-Route"};
	char *p = x->text, *end = x->text + sizeof(x->text);

	p += snprintf(p, (size_t)(end - p), "SIP/2.0 %u Reason\r\n", status);
	for (const char *line = request; *line; line = strstr(line, "\r\n") + 2) {
		int n = (int)(strstr(line, "\r\n") - line);

		if (n == 0)
			break;
		for (unsigned i = 0; i < sizeof(copied) / sizeof(copied[0]); i++) {
			size_t len = strlen(copied[i]);
			bool to = strncmp(line, "To:", 3) == 0 && status > 100 &&
				  !memmem(line, (size_t)n, ";tag=", 5);

			if (strncmp(line, copied[i], len) == 0 && line[len] == ':')
				p += snprintf(p, (size_t)(end - p), "%.*s%s\r\n", n, line,
					      to ? ";tag=b" : "");
		}
	}
	snprintf(p, (size_t)(end - p), "Content-Length: 0\r\n\r\n");
	return message_read(x);
}

static inline struct sip_flow message_flow(const char *host)
{
	struct sip_flow f = {.transport = SIP_TRANSPORT_UDP};

	OOM_HOLDS(addr_parse(&f.remote, span_str(host), 5062) == 0);
	return f;
}

#endif
