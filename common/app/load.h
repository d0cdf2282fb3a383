/*
 * What a node tells the others of its load (load.c).
 */
#ifndef EAVES_APP_LOAD_H
#define EAVES_APP_LOAD_H

#include "common/base/time.h"
#include "common/base/wheel.h"

struct app;

struct app_load {
	struct wheel_timer timer;
	msec at;	 /* when it was looked last, */
	uint64_t cpu_ms; /* and what the process had used by then */
};

/* From now on, in the main thread; nothing without a cluster. */
void app_load_start(struct app *a);

#endif
