/*
 * Messages with what must become of each: one table for unit tests (index and values) and for
 * system tests (dump.c prints it).  Written for this tree after the descriptions of RFC 4475
 * and RFC 5118, and after what libosip2 is known to let through.
 *
 * Text: a line end stands for CRLF, {CL} for the length of the body, {xx} (two hexadecimal
 * digits) for a byte, {r:N:text} for text N times.
 */
#ifndef EAVES_TESTS_VECTORS_H
#define EAVES_TESTS_VECTORS_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum vector_outcome {
	ACCEPT, /* index and values are sound */
	REFUSE, /* -EBADMSG with `status` and `reason` */
	DROP,	/* -EBADMSG, not to be answered */
};

struct vector {
	const char *name; /* of an RFC's case: its file name without .dat */
	const char *section;
	const char *transport; /* "UDP": datagram; "TCP": stream */
	enum vector_outcome outcome;
	unsigned status;    /* REFUSE: of the answer */
	const char *reason; /* REFUSE and DROP: part of the reason, NULL: any */
	/* ACCEPT: what a combined server must answer to it for its content; 0 when it depends
	 * on the configuration (or nothing: a response). */
	unsigned element;
	const char *note;
	const char *text;
};

static const struct vector vectors[] = {
#include "tests/vectors/libosip2.inc"
#include "tests/vectors/rfc4475_invalid.inc"
#include "tests/vectors/rfc4475_layers.inc"
#include "tests/vectors/rfc4475_valid.inc"
#include "tests/vectors/rfc5118.inc"
};

enum { VECTORS = sizeof(vectors) / sizeof(vectors[0]) };

struct vector_out {
	char *p;
	size_t n, cap;
};

static inline void vector_put(struct vector_out *o, const char *p, size_t n)
{
	if (o->n + n > o->cap) {
		o->cap = 2 * (o->n + n) + 1024;
		o->p = realloc(o->p, o->cap);
		if (!o->p)
			abort();
	}
	memcpy(o->p + o->n, p, n);
	o->n += n;
}

static inline void vector_expand_part(struct vector_out *o, const char *t, const char *end,
				      size_t body_len)
{
	char tmp[32];
	for (; t < end; t++) {
		if (*t == '\n') {
			vector_put(o, "\r\n", 2);
		} else if (strncmp(t, "{CL}", 4) == 0) {
			vector_put(o, tmp, (size_t)snprintf(tmp, sizeof(tmp), "%zu", body_len));
			t += 3;
		} else if (strncmp(t, "{r:", 3) == 0) {
			char *text;
			unsigned long times = strtoul(t + 3, &text, 10);
			size_t n = strcspn(++text, "}");
			while (times--)
				vector_put(o, text, n);
			t = text + n;
		} else if (*t == '{' && strspn(t + 1, "0123456789abcdef") == 2 && t[3] == '}') {
			char byte = (char)strtoul(t + 1, NULL, 16);
			vector_put(o, &byte, 1);
			t += 3;
		} else {
			vector_put(o, t, 1);
		}
	}
}

/* The bytes of a vector; the caller frees them. */
static inline char *vector_bytes(const struct vector *v, size_t *ret_n)
{
	struct vector_out o = {0}, body = {0};
	const char *end = v->text + strlen(v->text), *empty = strstr(v->text, "\n\n");
	const char *split = empty ? empty + 2 : end;
	vector_expand_part(&body, split, end, 0);
	vector_expand_part(&o, v->text, split, body.n);
	vector_put(&o, body.p ? body.p : "", body.n);
	free(body.p);
	*ret_n = o.n;
	return o.p;
}

#endif
