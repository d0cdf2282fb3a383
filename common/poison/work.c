/*
 * What a thread works on, and the stack that its signal handlers run on.
 */
#include "common/poison/poison.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>

_Thread_local struct poison_work poison_work;

/* Enough for a hash and a few system calls, and for a sanitizer's report. */
enum { STACK_BYTES = 64 << 10 };

struct poison_stack {
	stack_t before;
	void *p;
};

struct poison_stack *poison_stack_new(void)
{
	struct poison_stack *s = malloc(sizeof(*s));
	if (!s)
		return NULL;
	s->p = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		    0);
	const stack_t own = {.ss_sp = s->p, .ss_size = STACK_BYTES};
	if (s->p == MAP_FAILED || sigaltstack(&own, &s->before) < 0) {
		if (s->p != MAP_FAILED)
			munmap(s->p, STACK_BYTES);
		free(s);
		return NULL;
	}
	return s;
}

struct poison_stack *poison_stack_free(struct poison_stack *s)
{
	if (!s)
		return NULL;
	sigaltstack(&s->before, NULL);
	munmap(s->p, STACK_BYTES);
	free(s);
	return NULL;
}
