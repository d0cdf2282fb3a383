/*
 * Reload: a new snapshot of the configuration, taken over by each worker between two messages.
 */
#include "common/app/app_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct conf_change {
	struct loop_work work;
	struct app_worker_slot *slot;
	struct app_conf *conf;
};

static void run_change(struct loop_work *w)
{
	struct conf_change *c = container_of(w, struct conf_change, work);
	app_conf_unref(c->slot->conf);
	c->slot->conf = c->conf;
	c->slot->view.conf = c->conf->conf;
	free(c);
}

static int apply(struct app *a, struct app_conf *n)
{
	struct conf_change *change[STACK_WORKERS_MAX];
	for (unsigned i = 0; i < a->nworkers; i++) {
		change[i] = malloc(sizeof(*change[i]));
		if (!change[i]) {
			while (i-- > 0)
				free(change[i]);
			return -ENOMEM;
		}
		*change[i] = (struct conf_change){
			.work.run = run_change, .slot = &a->worker[i], .conf = n};
	}
	atomic_fetch_add_explicit(&n->refs, a->nworkers, memory_order_relaxed);
	for (unsigned i = 0; i < a->nworkers; i++)
		loop_post(stack_loop(a->worker[i].view.stack), &change[i]->work);
	for (int k = 0; k < APP_ROLE_COUNT; k++)
		if (a->role[k] && a->role[k]->reload)
			a->role[k]->reload(a->role_state[k], n->conf);
	log_set_level(n->conf->log.level);
	app_conf_unref(a->conf);
	a->conf = n;
	return 0;
}

int app_reload(struct app *a, char ret_error[APP_ERROR_MAX])
{
	struct conf *c = conf_load(a->conf_path, ret_error);
	const char *fixed = c ? conf_needs_restart(a->conf->conf, c) : NULL;
	struct app_conf *n = NULL;
	int r = -EINVAL;
	if (fixed)
		snprintf(ret_error, APP_ERROR_MAX, "%s cannot change without a restart", fixed);
	else if (c && (r = app_tls_apply(a, c, ret_error)) == 0) {
		snprintf(ret_error, APP_ERROR_MAX, "out of memory");
		n = app_conf_new(c);
		r = n ? apply(a, n) : -ENOMEM;
	}
	if (r < 0 && n)
		app_conf_unref(n);
	else if (r < 0)
		conf_free(c);
	a->reloads++;
	if (r < 0) {
		a->reload_errors++;
		log_event(LOG_ERROR, "reload-refused", LOG_STR("error", ret_error));
	} else {
		log_event(LOG_INFO, "reloaded", LOG_STR("file", a->conf_path));
	}
	return r;
}
