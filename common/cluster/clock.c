/*
 * How far another node's clock is from ours.  A heartbeat says what its sender's clock showed:
 * what that is ahead of ours when it is read, it is ahead at least, however long it was on its
 * way; the most that was seen in a while comes close.  How far ours is ahead only the other one
 * can know: it says so in its heartbeats.  So no delay, and nobody's standing still, makes
 * clocks look apart.  It is told of, and nothing else hangs on it.
 */
#include "common/cluster/cluster_priv.h"

/*
 * With NTP nodes are within milliseconds of each other.  What suffers first: what one member of
 * a pair has let through with a password is known to the other for 64*T1 by the clock
 * (common/auth), and so long a request is repeated, every 4 s in the end (T2, RFC 3261
 * 17.1.2.2): up to 2 s only its last repetition can be taken for a replay.  Registrations end
 * by the clock too, and phones renew them earlier than that.
 */
enum {
	CLOCK_APART_MS = 2000,
	CLOCK_TOGETHER_MS = 1000, /* not before this again */
	CLOCK_LOOK_MS = 5000,
	CLOCK_HEARTBEATS = 8, /* in that time at least: one of them was quick */
};

/* More than a hundred years is no clock. */
static const uint64_t CLOCK_MAX_MS = UINT64_C(3200000000000);

static uint64_t ahead_of(uint64_t a, uint64_t b)
{
	uint64_t ms = a > b ? a - b : 0;
	return ms < CLOCK_MAX_MS ? ms : CLOCK_MAX_MS;
}

static void judge(struct peer *p, uint64_t ahead_ms, uint64_t behind_ms)
{
	bool ahead = ahead_ms >= behind_ms;
	uint64_t ms = ahead ? ahead_ms : behind_ms;
	int side = ahead ? 1 : -1, told = p->clock.told;
	bool apart = ms > CLOCK_APART_MS && told != side;
	bool together = ms <= CLOCK_TOGETHER_MS && told;

	atomic_store(&p->clock_ms, side * (int64_t)ms);
	if (!apart && !together)
		return;
	p->clock.told = apart ? side : 0;
	if (apart)
		log_event(LOG_WARN, "clock-apart", log_node(p),
			  LOG_STR("it_is", ahead ? "ahead" : "behind"), LOG_N("ms", ms));
	else
		log_event(LOG_INFO, "clock-together", log_node(p));
}

void clock_heard(struct peer *p, const Eaves__Heartbeat *h)
{
	struct peer_clock *k = &p->clock;
	msec now = loop_now(p->c->loop);
	uint64_t ahead;

	if (!h->wall_ms) /* it is of an older version */
		return;
	ahead = ahead_of(h->wall_ms, time_wall_ms());
	if (k->heard++ == 0)
		k->since = now;
	if (ahead > k->most_ms)
		k->most_ms = ahead;
	if (k->heard < CLOCK_HEARTBEATS || now - k->since < CLOCK_LOOK_MS)
		return;
	k->said_ms = 1 + k->most_ms;
	if (h->ahead_ms) /* else it has not looked for so long yet */
		judge(p, k->most_ms, ahead_of(h->ahead_ms, 1));
	k->heard = 0;
	k->most_ms = 0;
}

void clock_forget(struct peer *p)
{
	p->clock = (struct peer_clock){.told = p->clock.told};
	atomic_store(&p->clock_ms, CLUSTER_CLOCK_UNKNOWN);
}
