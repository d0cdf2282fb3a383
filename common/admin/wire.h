/*
 * The wire between eavesctl and the server: frames of one type byte, four bytes of length (most
 * significant first) and that many bytes.  README.md has the whole exchange.
 */
#ifndef EAVES_ADMIN_WIRE_H
#define EAVES_ADMIN_WIRE_H

enum {
	WIRE_COMMAND = 'C', /* words, each with a NUL behind it */
	WIRE_INPUT = 'I',   /* what was asked for */
	WIRE_SECRET = 'S',  /* asks for one line that must not be shown */
	WIRE_BULK = 'B',    /* asks for all of stdin */
	WIRE_RESULT = 'R',  /* exit code (one byte) and text; the last frame */
};

enum {
	WIRE_HEAD = 5,
	WIRE_COMMAND_MAX = 65536,
	WIRE_WORDS_MAX = 64,
	WIRE_SECRET_MAX = 1024,
	WIRE_BULK_MAX = 16 << 20,
	WIRE_TEXT_MAX = 64 << 20,
};

/* Exit codes of eavesctl. */
enum { WIRE_EXIT_OK, WIRE_EXIT_FAILED, WIRE_EXIT_USAGE, WIRE_EXIT_UNREACHABLE };

static inline void wire_put_head(unsigned char *p, unsigned char type, unsigned n)
{
	p[0] = type;
	p[1] = (unsigned char)(n >> 24);
	p[2] = (unsigned char)(n >> 16);
	p[3] = (unsigned char)(n >> 8);
	p[4] = (unsigned char)n;
}
static inline unsigned wire_len(const unsigned char *p)
{
	return (unsigned)p[1] << 24 | (unsigned)p[2] << 16 | (unsigned)p[3] << 8 | p[4];
}

#endif
