/*
 * One connection to the primary, kept up: found among the servers or by the sentinels,
 * authenticated, asked who it is, given the scripts, tried by a write (a primary without its
 * replicas refuses); lost, it is looked for anew with growing pauses.  Commands of the user go
 * over the link while it is up.
 */
#include "common/store/redis_client.h"

#include <errno.h>
#include <stdio.h>

enum {
	BACKOFF_FIRST_MS = 50,
	BACKOFF_MAX_MS = 1000,
	STEADY_MS = 1000, /* up for so long: after that the first attempt is at once */
	PING_MS = 1000,
};

static void set_state(struct redis_client *c, enum redis_client_state state)
{
	wheel_stop(loop_wheel(c->loop), &c->timer);
	c->state = state;
	if (state == REDIS_CLIENT_UP) {
		c->up_since = loop_now(c->loop);
		wheel_arm(loop_wheel(c->loop), &c->timer, c->up_since + PING_MS);
	}
}

void redis_client_error(struct redis_client *c, const char *why)
{
	snprintf(c->error, sizeof(c->error), "%.*s", REDIS_ERROR_MAX - 1, why);
}

/* The next attempt, after a pause of its own. */
static void wait_for_attempt(struct redis_client *c, uint32_t ms)
{
	set_state(c, REDIS_CLIENT_WAITING);
	wheel_arm(loop_wheel(c->loop), &c->timer, loop_now(c->loop) + ms);
}

static uint32_t next_pause(struct redis_client *c)
{
	uint32_t ms = c->backoff_ms ? c->backoff_ms : BACKOFF_FIRST_MS;

	c->backoff_ms = ms * 2 < BACKOFF_MAX_MS ? ms * 2 : BACKOFF_MAX_MS;
	return ms;
}

/* ---- attempts ---- */

static void join(struct redis_client *c, const struct addr *to);

static void attempt(struct redis_client *c)
{
	c->tried = 0;
	if (c->sentinels) {
		set_state(c, REDIS_CLIENT_ASKING);
		redis_sentinels_ask(c->sentinels);
	} else {
		join(c, &c->setup->c.server[c->next]);
	}
}

static void attempt_failed(struct redis_client *c, const char *why, bool refused)
{
	redis_client_error(c, why);
	if (!c->sentinels) {
		c->next = (c->next + 1) % c->setup->c.nservers;
		if (++c->tried < c->setup->c.nservers) {
			join(c, &c->setup->c.server[c->next]);
			return;
		}
	}
	wait_for_attempt(c, next_pause(c));
	c->ops->unreachable(c->arg, refused);
}

static void lost(struct redis_client *c, bool overdue, uint32_t pause_ms)
{
	if (loop_now(c->loop) - c->up_since >= STEADY_MS)
		c->backoff_ms = 0;
	else if (pause_ms == 0)
		pause_ms = next_pause(c);
	counter_inc(&c->counters->lost);
	wait_for_attempt(c, pause_ms);
	c->ops->lost(c->arg, overdue);
}

void redis_client_refused(struct redis_client *c, const char *why)
{
	if (c->state != REDIS_CLIENT_UP)
		return;
	redis_client_error(c, why);
	counter_inc(&c->counters->refused);
	c->link = redis_link_free(c->link);
	if (!c->sentinels)
		c->next = (c->next + 1) % c->setup->c.nservers;
	lost(c, false, next_pause(c));
}

static void on_timer(struct wheel_timer *t, msec now)
{
	struct redis_client *c = container_of(t, struct redis_client, timer);
	const struct span ping = SPAN("PING");

	if (c->state == REDIS_CLIENT_WAITING) {
		attempt(c);
		return;
	}
	if (c->state != REDIS_CLIENT_UP)
		return;
	if (redis_link_inflight(c->link) == 0) {
		redis_link_command(c->link, REDIS_TAG_PING, &ping, 1);
		redis_link_flush(c->link);
	}
	wheel_arm(loop_wheel(c->loop), t, now + PING_MS);
}

/* ---- sentinels ---- */

static void on_found(void *arg, const struct addr *primary, const char *why)
{
	struct redis_client *c = arg;

	if (c->state != REDIS_CLIENT_ASKING)
		return;
	if (primary)
		join(c, primary);
	else
		attempt_failed(c, why, false);
}

static void on_switched(void *arg, const struct addr *primary)
{
	struct redis_client *c = arg;
	bool was_up = c->state == REDIS_CLIENT_UP;

	if (c->state == REDIS_CLIENT_IDLE)
		return;
	if ((was_up || c->state == REDIS_CLIENT_JOINING) && addr_equal(primary, &c->addr))
		return;
	c->link = redis_link_free(c->link);
	set_state(c, REDIS_CLIENT_WAITING);
	if (was_up) {
		counter_inc(&c->counters->lost);
		c->ops->lost(c->arg, false);
	}
	join(c, primary);
}

static const struct redis_sentinel_ops sentinel_ops = {
	.found = on_found,
	.switched = on_switched,
};

/* ---- joining ---- */

bool redis_reply_refused(const redisReply *r)
{
	static const char *const codes[] = {"READONLY", "NOREPLICAS", "LOADING", "MASTERDOWN"};

	for (unsigned i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (r->type == REDIS_REPLY_ERROR && strstr(r->str, codes[i]))
			return true;
	return false;
}

const char *redis_reply_error(unsigned tag, const redisReply *r)
{
	bool repeats = tag == REDIS_TAG_AUTH && strstr(r->str, "unknown command");
	return repeats ? "ERR unknown command 'AUTH'" : r->str;
}

int redis_client_scripts(struct redis_client *c)
{
	const struct span write[] = {SPAN("SCRIPT"), SPAN("LOAD"),
				     span_str(redis_script_write)};
	const struct span read[] = {SPAN("SCRIPT"), SPAN("LOAD"), span_str(redis_script_read)};
	int rc = redis_link_command(c->link, REDIS_TAG_SCRIPT_WRITE, write, 3);

	return rc < 0 ? rc : redis_link_command(c->link, REDIS_TAG_SCRIPT_READ, read, 3);
}

static int send_hello(struct redis_client *c)
{
	char key[512];
	int n = snprintf(key, sizeof(key), "%swritable", c->setup->c.prefix);
	const struct span auth[] = {SPAN("AUTH"), span_str(c->setup->c.password)};
	const struct span role = SPAN("ROLE");
	const struct span probe[] = {SPAN("SET"), span_of(key, (size_t)n), SPAN("yes"),
				     SPAN("PX"), SPAN("60000")};
	int rc = 0;

	c->owed = 4;
	if (auth[1].p) {
		redis_link_secret(c->link);
		rc = redis_link_command(c->link, REDIS_TAG_AUTH, auth, 2);
		c->owed++;
	}
	if (rc == 0)
		rc = redis_link_command(c->link, REDIS_TAG_ROLE, &role, 1);
	if (rc == 0)
		rc = redis_client_scripts(c);
	if (rc == 0)
		rc = redis_link_command(c->link, REDIS_TAG_PROBE, probe, 5);
	return rc;
}

static void on_connected(void *arg)
{
	struct redis_client *c = arg;

	if (send_hello(c) == 0)
		return;
	c->link = redis_link_free(c->link);
	attempt_failed(c, "out of memory", false);
}

static const char *read_sha(const redisReply *r, char sha[41])
{
	if (r->type != REDIS_REPLY_STRING || r->len != 40)
		return "no hash of a script";
	memcpy(sha, r->str, 41);
	return NULL;
}

/* What is wrong with an answer of joining, or NULL. */
static const char *look_at(struct redis_client *c, unsigned tag, const redisReply *r)
{
	if (r->type == REDIS_REPLY_ERROR)
		return redis_reply_error(tag, r);
	if (tag == REDIS_TAG_ROLE && !(r->type == REDIS_REPLY_ARRAY && r->elements > 0 &&
				       redis_reply_text(r->element[0], "master")))
		return "is not the primary";
	if (tag == REDIS_TAG_SCRIPT_WRITE)
		return read_sha(r, c->sha_write);
	if (tag == REDIS_TAG_SCRIPT_READ)
		return read_sha(r, c->sha_read);
	return NULL;
}

static void on_joining(struct redis_client *c, unsigned tag, const redisReply *r)
{
	char text[ADDR_TEXT_MAX], why[REDIS_ERROR_MAX + ADDR_TEXT_MAX];
	const char *wrong = look_at(c, tag, r);

	if (wrong) {
		addr_text(&c->addr, text);
		snprintf(why, sizeof(why), "%s: %.100s", text, wrong);
		c->link = redis_link_free(c->link);
		attempt_failed(c, why, tag == REDIS_TAG_ROLE || redis_reply_refused(r));
	} else if (--c->owed == 0) {
		counter_inc(&c->counters->connects);
		set_state(c, REDIS_CLIENT_UP);
		c->ops->up(c->arg);
	}
}

static void on_reply(void *arg, unsigned tag, const redisReply *r)
{
	struct redis_client *c = arg;

	if (c->state == REDIS_CLIENT_JOINING) {
		on_joining(c, tag, r);
		return;
	}
	if (tag == REDIS_TAG_SCRIPT_WRITE || tag == REDIS_TAG_SCRIPT_READ ||
	    tag == REDIS_TAG_PING) {
		const char *wrong = look_at(c, tag, r);
		if (wrong)
			redis_client_refused(c, wrong);
		return;
	}
	c->ops->reply(c->arg, tag, r);
}

static void on_closed(void *arg, const char *why, bool overdue)
{
	struct redis_client *c = arg;
	char text[ADDR_TEXT_MAX], error[REDIS_ERROR_MAX + ADDR_TEXT_MAX];

	c->link = NULL;
	addr_text(&c->addr, text);
	snprintf(error, sizeof(error), "%s: %.100s", text, why);
	if (overdue)
		counter_inc(&c->counters->timeouts);
	if (c->state != REDIS_CLIENT_UP) {
		attempt_failed(c, error, false);
		return;
	}
	redis_client_error(c, error);
	lost(c, overdue, 0);
}

static const struct redis_link_ops link_ops = {
	.connected = on_connected,
	.reply = on_reply,
	.closed = on_closed,
};

static void join(struct redis_client *c, const struct addr *to)
{
	char text[ADDR_TEXT_MAX], error[REDIS_ERROR_MAX];

	c->addr = *to;
	set_state(c, REDIS_CLIENT_JOINING);
	c->link = redis_link_new(c->loop, to, c->setup->c.timeout_ms, &link_ops, c);
	if (c->link)
		return;
	int e = errno;
	addr_text(to, text);
	snprintf(error, sizeof(error), "%s: %s", text, strerror(e));
	attempt_failed(c, error, false);
}

/* ---- life ---- */

int redis_client_init(struct redis_client *c, struct loop *l, const struct redis_setup *setup,
		      bool watch, struct redis_counters *counters,
		      const struct redis_client_ops *ops, void *arg)
{
	*c = (struct redis_client){
		.loop = l,
		.setup = setup,
		.counters = counters,
		.ops = ops,
		.arg = arg,
	};
	wheel_timer_init(&c->timer, on_timer);
	if (setup->c.nsentinels == 0)
		return 0;
	c->sentinels = redis_sentinels_new(l, setup, watch, &sentinel_ops, c);
	return c->sentinels ? 0 : -ENOMEM;
}

void redis_client_done(struct redis_client *c)
{
	wheel_stop(loop_wheel(c->loop), &c->timer);
	c->state = REDIS_CLIENT_IDLE;
	c->link = redis_link_free(c->link);
	c->sentinels = redis_sentinels_free(c->sentinels);
}

void redis_client_start(struct redis_client *c)
{
	if (c->state == REDIS_CLIENT_IDLE)
		attempt(c);
}
