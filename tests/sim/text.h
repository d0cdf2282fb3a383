/*
 * Text that is put together piece by piece.
 */
#ifndef EAVES_SIM_TEXT_H
#define EAVES_SIM_TEXT_H

#include <stddef.h>

struct text {
	size_t n;
	char p[4096];
};
/* Too much of it ends the program. */
void text_add(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
