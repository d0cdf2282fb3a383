/*
 * Moderation of wake-ups.  A loop that has just served a message and is woken often waits a
 * fixed moment before it looks again, so that one wake-up serves several.  A pause is a kernel
 * timer and costs what six to eight wake-ups by a datagram cost (measured: 15 to 20 us on a
 * virtual machine), so it must gather eight messages on the mean; else (idle, or peers that
 * wait for each answer) it ends for a while, twice as long after each trial in vain.  Never
 * when a round served so much that the loop would not have slept anyway.
 */
#include "common/loop/loop_priv.h"

#include <time.h>

enum {
	PAUSE_MAX_US = 500,
	BUSY = 64,	  /* messages in a round: no pause, there is work */
	GAIN_START = 192, /* 12.0: a trial lasts a few rounds */
	GAIN_MIN = 128,	  /* 8.0 */
	PENALTY_MIN = 16, /* rounds */
	PENALTY_MAX = 4096,
};

void moderation_init(struct moderation *m, unsigned us)
{
	*m = (struct moderation){.us = us < PAUSE_MAX_US ? us : PAUSE_MAX_US,
				 .gain = GAIN_START,
				 .penalty = PENALTY_MIN};
}

/* Was the last pause worth it?  False: no more for now. */
static bool pays(struct moderation *m, unsigned served)
{
	m->gain = (m->gain * 7 + (served < BUSY ? served : BUSY) * 16) / 8;
	if (m->gain >= GAIN_MIN) {
		if (m->gain > GAIN_START)
			m->penalty = PENALTY_MIN;
		return true;
	}
	m->gain = GAIN_START;
	m->holdoff = m->penalty;
	if (m->penalty < PENALTY_MAX)
		m->penalty *= 2;
	return false;
}

bool moderation_wants(struct moderation *m, msec now)
{
	unsigned served = m->served;
	bool paused = m->paused, often = now - m->last <= 1;

	m->served = 0;
	m->last = now;
	m->paused = false;
	if (m->us == 0)
		return false;
	if (paused && !pays(m, served))
		return false;
	if (m->holdoff > 0) {
		m->holdoff -= served > 0;
		return false;
	}
	m->paused = often && served > 0 && served < BUSY;
	return m->paused;
}

bool moderation_pause(struct moderation *m, msec now)
{
	struct timespec t = {0, (long)m->us * 1000};

	if (!moderation_wants(m, now))
		return false;
	clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL); /* a signal may cut it short: no harm */
	return true;
}
