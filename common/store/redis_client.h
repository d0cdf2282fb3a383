/*
 * A client of Redis: its configuration, a connection that speaks RESP, who is the primary
 * (sentinels), one connection to it that is kept up.  For the Redis store alone.
 */
#ifndef EAVES_STORE_REDIS_CLIENT_H
#define EAVES_STORE_REDIS_CLIENT_H

#include "common/base/counter.h"
#include "common/store/redis.h"

#include <hiredis/hiredis.h>

/* ---- the configuration, in one allocation of strings (redis_setup.c) ---- */

struct redis_setup {
	struct redis_conf c;
	char *text; /* every string of c */
	size_t text_n;
	struct span prefix, pattern;		/* pattern: of all keys, for SCAN */
	struct span kind_key[REDIS_KINDS_MAX];	/* prefix, kind and ":" */
	struct span kind_name[REDIS_KINDS_MAX]; /* the kind in it */
};
/* 0, or -errno and a message (256 bytes). */
int redis_setup_init(struct redis_setup *s, const struct redis_conf *c, char *ret_error);
void redis_setup_done(struct redis_setup *s);

/* ---- a connection (redis_link.c) ---- */

enum { REDIS_INFLIGHT_MAX = 64 };
struct redis_link;
struct redis_link_ops {
	void (*connected)(void *arg);
	/* Of the command that was given `tag`, in the order of commands.  The link may be freed
	 * in it; the reply stays until it returns. */
	void (*reply)(void *arg, unsigned tag, const redisReply *r);
	/* Published to a subscriber; NULL: a link without. */
	void (*message)(void *arg, const redisReply *r);
	/* It is gone (not by redis_link_free); overdue: an answer or the connection did not
	 * come in time. */
	void (*closed)(void *arg, const char *why, bool overdue);
};
/* NULL and errno. */
struct redis_link *redis_link_new(struct loop *l, const struct addr *to, uint32_t timeout_ms,
				  const struct redis_link_ops *ops, void *arg);
/* Takes NULL; returns NULL.  closed() is not called. */
struct redis_link *redis_link_free(struct redis_link *k);
/* A command: begin, argc arguments (each of n pieces in a row), end: 0, or -ENOMEM, -EBUSY and
 * nothing is sent. */
void redis_link_begin(struct redis_link *k, unsigned tag, unsigned argc);
void redis_link_arg(struct redis_link *k, const struct span *piece, unsigned n);
int redis_link_end(struct redis_link *k);
/* The same in one. */
static inline int redis_link_command(struct redis_link *k, unsigned tag,
				     const struct span *argv, unsigned argc)
{
	redis_link_begin(k, tag, argc);
	for (unsigned i = 0; i < argc; i++)
		redis_link_arg(k, &argv[i], 1);
	return redis_link_end(k);
}
/* What was sent holds a secret: the buffer is wiped once it is out. */
void redis_link_secret(struct redis_link *k);
/* Writes what the socket takes; the rest goes when it can. */
void redis_link_flush(struct redis_link *k);
/* It is this string or status. */
bool redis_reply_text(const redisReply *r, const char *text);
/* Commands without an answer yet. */
unsigned redis_link_inflight(const struct redis_link *k);

/* ---- who is the primary: sentinels (redis_sentinel.c) ---- */

struct redis_sentinels;
struct redis_sentinel_ops {
	/* The answer to redis_sentinels_ask: NULL and why when none knows. */
	void (*found)(void *arg, const struct addr *primary, const char *why);
	/* A sentinel says that the primary has changed. */
	void (*switched)(void *arg, const struct addr *primary);
};
/* watch: keep a subscription at every sentinel.  NULL: out of memory. */
struct redis_sentinels *redis_sentinels_new(struct loop *l, const struct redis_setup *setup,
					    bool watch, const struct redis_sentinel_ops *ops,
					    void *arg);
struct redis_sentinels *redis_sentinels_free(struct redis_sentinels *s);
/* Asks one after the other, beginning with another one each time.  One question at a time. */
void redis_sentinels_ask(struct redis_sentinels *s);

/* ---- a connection to the primary that is kept up (redis_client.c) ---- */

enum redis_tag {
	REDIS_TAG_AUTH,
	REDIS_TAG_ROLE,
	REDIS_TAG_SCRIPT_WRITE,
	REDIS_TAG_SCRIPT_READ,
	REDIS_TAG_PROBE,
	REDIS_TAG_PING,
	REDIS_TAG_ASK,
	REDIS_TAG_SUBSCRIBE,
	/* The user's: */
	REDIS_TAG_WRITE,
	REDIS_TAG_SCAN,
	REDIS_TAG_READ,
};
enum redis_client_state {
	REDIS_CLIENT_IDLE,
	REDIS_CLIENT_WAITING, /* for the next attempt */
	REDIS_CLIENT_ASKING,  /* the sentinels */
	REDIS_CLIENT_JOINING, /* connecting, authenticating, looking who it is */
	REDIS_CLIENT_UP,
};
extern const char redis_script_write[], redis_script_read[];
struct redis_client_ops {
	void (*up)(void *arg);
	/* It was up.  overdue: it did not answer in time, as who has gone. */
	void (*lost)(void *arg, bool overdue);
	/* An attempt failed; there will be others.  refused: somebody is there who does not
	 * serve (yet): a replica, one without its replicas, one that still loads. */
	void (*unreachable)(void *arg, bool refused);
	void (*reply)(void *arg, enum redis_tag tag, const redisReply *r);
};
struct redis_client {
	struct loop *loop;
	const struct redis_setup *setup;
	struct redis_counters *counters;
	const struct redis_client_ops *ops;
	void *arg;
	enum redis_client_state state;
	struct redis_link *link;
	struct redis_sentinels *sentinels;
	struct wheel_timer timer;
	uint32_t backoff_ms;
	unsigned next, tried; /* of the servers */
	unsigned owed;	      /* replies of joining that have not come */
	msec up_since;
	struct addr addr;
	char sha_write[41], sha_read[41];
	char error[REDIS_ERROR_MAX];
};
/* watch: be told by the sentinels.  0 or -ENOMEM. */
int redis_client_init(struct redis_client *c, struct loop *l, const struct redis_setup *setup,
		      bool watch, struct redis_counters *counters,
		      const struct redis_client_ops *ops, void *arg);
void redis_client_done(struct redis_client *c);
void redis_client_start(struct redis_client *c);
/* The primary refuses to serve: leaves it, waits a little and looks anew.  lost() is called. */
void redis_client_refused(struct redis_client *c, const char *why);
/* A script is missing there (SCRIPT FLUSH): sent again, in front of what is sent next. */
int redis_client_scripts(struct redis_client *c);
/* Why the last attempt failed, or what Redis said. */
void redis_client_error(struct redis_client *c, const char *why);
/* READONLY, NOREPLICAS and their like: somebody else, or a little later, may do better. */
bool redis_reply_refused(const redisReply *r);
/* What an error says, fit for logs: who does not have AUTH repeats the password. */
const char *redis_reply_error(unsigned tag, const redisReply *r);

#endif
