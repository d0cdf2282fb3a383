/*
 * Text by printf.
 */
#include "tests/sim/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void text_add(struct text *t, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(t->p + t->n, sizeof(t->p) - t->n, fmt, ap);
	va_end(ap);
	if (n < 0 || t->n + (size_t)n >= sizeof(t->p))
		abort();
	t->n += (size_t)n;
}
