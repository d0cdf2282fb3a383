/*
 * For the files of common/loop alone: when a loop pauses instead of sleeping.
 */
#ifndef EAVES_LOOP_LOOP_PRIV_H
#define EAVES_LOOP_LOOP_PRIV_H

#include "common/base/time.h"

#include <stdbool.h>

struct moderation {
	unsigned us;	  /* how long a pause is; 0: never */
	unsigned served;  /* messages, since the last decision */
	unsigned gain;	  /* mean of what a pause gathered, in sixteenths of a message */
	unsigned holdoff; /* rounds until the next trial */
	unsigned penalty; /* holdoff after a trial that did not pay */
	msec last;	  /* when we decided last */
	bool paused;	  /* this round began with a pause */
};

void moderation_init(struct moderation *m, unsigned us);
/* The decision alone: is a pause worth while now? */
bool moderation_wants(struct moderation *m, msec now);
/* Decides and, if so, pauses.  True: look at what is there without sleeping. */
bool moderation_pause(struct moderation *m, msec now);

#endif
