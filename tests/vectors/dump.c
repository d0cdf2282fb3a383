/*
 * Prints the table of vectors, one a line, tabs between: name, section, transport, outcome,
 * status, answer of an element, message in hexadecimal.  For tests that drive a running server.
 */
#include "tests/vectors/vectors.h"

int main(void)
{
	static const char *const outcomes[] = {"accept", "refuse", "drop"};
	for (size_t i = 0; i < VECTORS; i++) {
		const struct vector *v = &vectors[i];
		size_t n;
		char *p = vector_bytes(v, &n);
		printf("%s\t%s\t%s\t%s\t%u\t%u\t", v->name, v->section, v->transport,
		       outcomes[v->outcome], v->status, v->element);
		for (size_t j = 0; j < n; j++)
			printf("%02x", (unsigned char)p[j]);
		puts("");
		free(p);
	}
	return 0;
}
