/*
 * Waiting for the store: commands run in the main thread and answer when what they did is
 * durable, which another thread tells.
 */
#include "common/app/role.h"

void app_durable_expect(struct app_durable *d)
{
	pthread_mutex_lock(&d->lock);
	d->waiting++;
	pthread_mutex_unlock(&d->lock);
}

void app_durable_done(void *arg, int error)
{
	struct app_durable *d = arg;
	pthread_mutex_lock(&d->lock);
	d->waiting--;
	if (error)
		d->error = error;
	pthread_cond_signal(&d->changed);
	pthread_mutex_unlock(&d->lock);
}

/* Waits until at most `left` are outstanding; the first error since the start. */
int app_durable_wait(struct app_durable *d, unsigned left)
{
	pthread_mutex_lock(&d->lock);
	while (d->waiting > left)
		pthread_cond_wait(&d->changed, &d->lock);
	int error = d->error;
	pthread_mutex_unlock(&d->lock);
	return error;
}

/* r: what the records call gave; the done of a call that failed never comes. */
int app_durable_end(struct app_durable *d, int r)
{
	if (r < 0) {
		app_durable_done(d, 0);
		app_durable_wait(d, 0);
		return r;
	}
	return app_durable_wait(d, 0);
}
