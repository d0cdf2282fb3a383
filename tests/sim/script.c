/*
 * One event, armed for the next step.
 */
#include "tests/sim/script.h"

static const struct step *step, *end;
static usec begun;
static struct event next;

static usec at(const struct step *s)
{
	return begun + USEC_MS(s->at_ms);
}

static void on_next(struct event *e)
{
	const struct step *now = step++;
	if (script_is_open())
		event_at(e, at(step));
	now->run();
}

void script_begin(const struct step *steps, unsigned n)
{
	step = steps;
	end = steps + n;
	begun = sim_now();
	event_init(&next, on_next);
	event_at(&next, at(step));
}

bool script_is_open(void)
{
	return step < end;
}

usec script_left(void)
{
	return script_is_open() ? at(end - 1) - sim_now() : 0;
}
