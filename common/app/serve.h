/*
 * Whether this node wants new calls, and whom it reaches (serve.c).
 */
#ifndef EAVES_APP_SERVE_H
#define EAVES_APP_SERVE_H

#include "common/base/wheel.h"
#include "common/conf/conf.h"
#include "common/loop/loop.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct app;

enum app_phase { APP_SERVING, APP_JOINING, APP_DRAINING };
struct app_service {
	atomic_int phase; /* enum app_phase; the main thread's to change */
	msec since;
	uint64_t settled; /* a bit a node: what it has and we are to have has come */
	const char *dir;  /* of drain, and of stranded, the bus's thread's to write; or NULL */
	bool shown;	  /* in the first: it serves */
	bool rejoins;	  /* it has served before */
	struct wheel_timer timer;
	atomic_bool apart;	/* no other node lives; the bus's thread's to change */
	struct loop_work again; /* to the main thread: they live again */
	atomic_bool again_posted;
	/* Since when it has reached none of those without whom it can do little: of an edge the
	 * homes, of a home all others; 0: it reaches some. */
	_Atomic msec stranded_since;
	_Atomic msec
		wait_until; /* one of those was lost, or the first is back: for the others */
	uint64_t reached;   /* which of them live, a bit each; the bus's thread's */
};

/* From the start on, in the main thread: it joins, then serves.  -errno and ret_error. */
int app_serve_start(struct app *a, char ret_error[CONF_ERROR_MAX]);
void app_serve_end(struct app *a);     /* it drains */
void app_serve_release(struct app *a); /* its service address may go */
/* A node has come to life or died: which of the others live, a bit each.  From the bus's
 * thread. */
void app_serve_seen(struct app *a, uint64_t live);
/* We were taken for dead, and live: what we have may be old, and what we had may be the other
 * member's.  We join as if we had just started.  From any thread. */
void app_serve_again(struct app *a);
/* It serves, and is no edge that can but refuse calls, for it reaches no home and delivers none
 * alone.  From the main thread. */
bool app_takes_calls(const struct app *a);
/* Does the other member of our pair? */
bool app_other_serves(const struct app *a);
enum app_phase app_phase(const struct app *a);
const char *app_phase_name(enum app_phase p);

#endif
