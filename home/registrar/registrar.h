/*
 * The registrar and location service: RFC 3261 10.3, Path (3327), Service-Route (3608),
 * outbound (5626), GRUU (5627).  An engine without sockets over common/records: one record a
 * binding, group = user name.  The caller has checked the domain, authenticated the request and
 * that the address of record is the authenticated user's (10.3 steps 1, 3 to 5).  All functions
 * are thread-safe; they use the calling thread's arena (sip_arena()).
 */
#ifndef EAVES_REGISTRAR_REGISTRAR_H
#define EAVES_REGISTRAR_REGISTRAR_H

#include "common/base/mac.h"
#include "common/records/records.h"
#include "common/sip/flow.h"
#include "common/sip/values.h"
#include "proto/records.pb-c.h"

struct reg;

enum { REG_CONTACTS_MAX = 64, REG_PATH_MAX_BYTES = 1024, REG_INSTANCE_MAX_BYTES = 256 };

struct reg_conf {
	const char *domain;	    /* of the users, as it stands in GRUUs; not NULL */
	uint32_t expires_default_s; /* 3600 */
	uint32_t expires_min_s;	    /* 60; less gets 423 (1 s up) */
	uint32_t expires_max_s;	    /* 7200; more is cut to it */
	uint32_t contacts_per_user; /* 10, at most REG_CONTACTS_MAX; more: 403 */
	uint32_t contact_bytes;	    /* 512, one Contact value; more: 400 */
	uint32_t flow_timer_s;	    /* Flow-Timer in answers to outbound UAs; 0: none */
	const char *pair;	    /* named in temporary GRUUs; NULL: none */
	const char *service_route;  /* value of Service-Route ("<sip:...;lr>"), or NULL */
	bool no_gruu, no_outbound;  /* as if we knew nothing of RFC 5627, 5626 */
	bool path_strict;	    /* RFC 3327 5.3: Path without Supported: path is 420 */
	bool strict;		    /* a binding that could not be made durable: 503, not 200 */
};
extern const struct reg_conf reg_conf_default;

enum reg_elsewhere {
	REG_LOST,
	REG_AWAITED, /* its process has gone, and it is expected back in a moment */
	REG_AT_OTHER /* another process of our pair has the connection */
};

struct reg_ops {
	/* Does the stream connection f->conn still exist?  Called from any thread.  NULL: yes.
	 */
	bool (*flow_alive)(void *arg, const struct sip_flow *f);
	/* One that does not exist here, or belongs to another start (boot): what of its phone?
	 * NULL: lost. */
	enum reg_elsewhere (*flow_elsewhere)(void *arg, const struct sip_flow *f,
					     uint64_t boot);
	void *arg;
};

/*
 * key: the cluster's, for binding names and temporary GRUUs.  boot: identity of this start of
 * the process (random, not 0): a connection of another start is gone.  records: outlives the
 * reg. NULL: out of memory, or conf out of range.
 */
struct reg *reg_new(const struct reg_conf *conf, const struct reg_ops *ops,
		    struct records *records, const struct mac_key *key, uint64_t boot);
void reg_free(struct reg *r);
/* Replaces the settings (reload); threads may be in the other calls meanwhile: what they
 * started with stays valid until reg_free. */
int reg_set_conf(struct reg *r, const struct reg_conf *conf);

/* ---- REGISTER ---- */

/*
 * The answer.  reason: static text.  lines: header lines, each with CRLF (Contact, Path,
 * Require, Unsupported, Min-Expires, Date ...), valid during the call only.  `bindings`: how
 * many the user has now.
 */
enum reg_durable { REG_NOTHING_WRITTEN, REG_DURABLE, REG_NOT_DURABLE };
struct reg_answer {
	unsigned status;
	enum reg_durable durable;
	const char *reason;
	struct span lines;
	unsigned bindings;
};
/* Called once: before reg_register returns, or later from the store's thread (then hand it over
 * to the worker). */
typedef void (*reg_done)(void *arg, const struct reg_answer *a);

/*
 * top: the top Via, when it has been read already, or NULL.  user: unescaped, as the directory
 * has it.  flow: where the REGISTER came from; it is taken
 * for the phone's own when the request has a single Via (stamped: rport is looked at); else the
 * Path leads to it.  All contacts of the request are taken, or none.
 */
void reg_register(struct reg *r, const struct sip_msg *msg, const struct sip_via *top,
		  const struct sip_flow *flow, struct span user, uint64_t wall_ms,
		  reg_done done, void *arg);

/* ---- look-up ---- */

struct reg_target {
	struct span uri;   /* Request-URI, without what 19.1.1 forbids there */
	struct span route; /* Path: "<sip:...>,<sip:...>", or empty */
	uint16_t q;	   /* 0 to 1000; 1000 without q */
	bool has_flow; /* send over `flow`: phone's connection, or UDP behind a NAT, or outbound
			*/
	struct sip_flow flow;
	/* With has_flow: not LOST: its connection is not here; boot: the start it is of. */
	enum reg_elsewhere elsewhere;
	uint64_t boot;
	struct span instance; /* "<urn:...>" or empty */
	uint32_t reg_id;      /* 0: not outbound */
	uint64_t tag;	      /* names the binding to reg_flow_failed (proxy_target.tag) */
	bool spare; /* another flow to the instance of the target before it (5626 section 7) */
};

/* What a GRUU names. */
struct reg_gruu {
	struct span user;  /* unescaped, in the arena */
	uint64_t instance; /* hash of the instance */
	bool temporary;
	uint32_t call_id; /* hash: a temporary GRUU ends with the Call-ID of its registration */
};
/* 0: uri is a GRUU made here.  -ENOENT: it is none (no gr parameter).  -EINVAL: a gr parameter,
 * but forged, malformed or of nobody: answer 404. */
int reg_gruu_parse(struct reg *r, const struct sip_uri *uri, struct reg_gruu *ret);

/*
 * Targets of a user, spans in the arena, highest q first and older bindings first among equals;
 * with a gruu, those of its instance only.  Of several flows of one instance (5626 section 7)
 * the newest that lives comes first (before what is awaited), the others as spares.  Returns
 * how many; -ENOENT for a temporary GRUU that has ended (404); -ENOMEM.  0: 480.  *ret_bindings
 * (may be NULL): live bindings, whatever their scheme.
 */
int reg_lookup(struct reg *r, struct span user, const struct reg_gruu *gruu, uint64_t wall_ms,
	       struct reg_target *v, unsigned max, unsigned *ret_bindings);

/* The flow kept in a binding; false without one. */
bool reg_flow_get(const Eaves__Binding *b, struct sip_flow *ret);
/* The i-th connection straight to us that it had before, 0 the latest.  False: no more. */
enum { REG_PAST_MAX = 4 };
bool reg_past_conn(const Eaves__Binding *b, unsigned i, uint64_t *ret_boot, uint64_t *ret_conn);
/* The target that a tag names, alone; false when its binding is gone. */
bool reg_target_of(struct reg *r, uint64_t tag, uint64_t wall_ms, struct reg_target *ret);
/* How many live targets the user has whose binding it is, that one included; 0: it is gone. */
unsigned reg_devices_beside(struct reg *r, uint64_t tag, uint64_t wall_ms);
/*
 * The flow of a binding is dead (430, transport error; f: the flow it was sent over, route: the
 * target's).  Bindings by outbound or with a Path are removed (5626 section 7); others lose
 * their connection and are reached by their URI from then on.  Nothing is done when the binding
 * has another connection or Path by now, nor (an ICMP error is easily forged) for UDP.
 */
void reg_flow_failed(struct reg *r, uint64_t tag, const struct sip_flow *f, struct span route,
		     uint64_t wall_ms);

/* ---- administration: from any thread, no arena needed ---- */

struct reg_binding {
	struct span user, contact, params, call_id, path, instance, user_agent;
	uint32_t cseq, reg_id;
	uint16_t q; /* 1000 without q */
	bool has_flow;
	struct sip_flow flow; /* as the REGISTER came, of a single-Via request; else zeroed */
	uint64_t received_ms, expires_ms; /* wall clock */
};
/* Shows the bindings of one user, or of all (user.p NULL); false stops.  Spans live during the
 * call only; `each` must not use the thread's arena or call here. */
void reg_each(struct reg *r, struct span user, uint64_t wall_ms,
	      bool (*each)(void *arg, const struct reg_binding *b), void *arg);
/* Removes the binding of `contact` (equal by RFC 3261 19.1.4), or all (contact.p NULL).  How
 * many were removed, or -errno.  done as records_put's, may be NULL; not called when none was.
 */
int reg_drop(struct reg *r, struct span user, struct span contact, uint64_t wall_ms,
	     void (*done)(void *arg, int error), void *arg);
/* Removes all bindings of a user who was deleted in that version.  Every node that does so
 * writes the same; tell: the others of the cluster are sent it (one member of a pair does). How
 * many were removed, or -errno. */
int reg_forget(struct reg *r, struct span user, struct record_version gone, bool tell,
	       uint64_t wall_ms);

struct reg_counters {
	uint64_t registered, refreshed, removed, queries, refused, too_many, too_brief,
		out_of_order, not_durable, conflicts, flows_failed;
};
/* A copy, read relaxed. */
struct reg_counters reg_counters(const struct reg *r);

#endif
