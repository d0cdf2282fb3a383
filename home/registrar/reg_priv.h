/*
 * What the files of the registrar share: bindings in memory, one REGISTER at work, text
 * building.
 */
#ifndef EAVES_REG_PRIV_H
#define EAVES_REG_PRIV_H

#include "home/registrar/registrar.h"
#include "proto/records.pb-c.h"

#include <stdatomic.h>

enum {
	REG_NAME_BYTES = 8,   /* of a binding's record */
	REG_AGENT_BYTES = 40, /* of User-Agent that are kept */
	REG_TRIES = 256,      /* of compare and set: each lost to another request that won */
};

/* Settings in force; replaced as a whole. */
struct reg_settings {
	struct reg_conf conf;
	struct reg_settings *older; /* kept until reg_free: a thread may still be reading */
	char text[];
};

struct reg {
	_Atomic(struct reg_settings *) settings;
	struct reg_ops ops;
	struct records *records;
	uint64_t boot;
	struct mac_key name_key, gruu_key, hash_key;
	struct reg_counters counters;
};

static inline const struct reg_conf *reg_conf(const struct reg *r)
{
	return &atomic_load_explicit(&r->settings, memory_order_acquire)->conf;
}
static inline void reg_count(uint64_t *c, unsigned n)
{
	if (n)
		__atomic_fetch_add(c, n, __ATOMIC_RELAXED);
}

/* ---- binding.c ---- */

enum reg_change { REG_KEEP, REG_PUT, REG_REMOVE };

struct binding {
	Eaves__Binding *b; /* in the arena */
	struct span name;  /* of the record */
	uint64_t expires_ms;
	enum reg_change change;
	bool fresh; /* not in the table yet */
};

struct bindings {
	struct span user;
	struct record_version version;
	unsigned n;
	struct binding v[2 * REG_CONTACTS_MAX];
};

static inline struct span pb_span(ProtobufCBinaryData d)
{
	return (struct span){(const char *)d.data, d.len};
}
static inline ProtobufCBinaryData pb_bytes(struct span s)
{
	return (ProtobufCBinaryData){s.n, (uint8_t *)(uintptr_t)s.p};
}

/* Fit to stand between angle brackets, in a Request-URI, in quotes. */
bool reg_uri_sound(struct span s);
/* "<urn:...>" likewise. */
bool reg_instance_sound(struct span s);
/* Unpacks a record's body, with spans into it, into an arena; NULL when it is none or the arena
 * is full. */
Eaves__Binding *reg_unpack(struct arena *a, struct span body);
/* What b is to remember of the connections that it had as `old`; in the arena.  0, -ENOMEM. */
int reg_past_set(Eaves__Binding *b, const Eaves__Binding *old);
/* All live bindings of a user, into the arena.  0, -ENOMEM. */
int reg_load(struct reg *r, struct span user, uint64_t wall_ms, struct bindings *ret);
/* Names a binding to reg_flow_failed. */
uint64_t reg_tag(const struct reg *r, const struct bindings *s, const struct binding *b);
/* Writes what has changed, all or nothing; as records_put.  0 also when nothing has (*ret_n 0;
 * done is not called then). */
int reg_store(struct reg *r, struct bindings *s, uint64_t wall_ms,
	      void (*done)(void *arg, int error), void *arg, unsigned *ret_n);
bool reg_uri_same(const struct sip_uri *uri, const Eaves__Binding *b);
void reg_flow_set(struct reg *r, Eaves__Binding *b, const struct sip_flow *f,
		  uint8_t remote[18]);
/* A stream's connection that can still be used. */
bool reg_flow_usable(const struct reg *r, const Eaves__Binding *b, const struct sip_flow *f);
enum reg_elsewhere reg_flow_elsewhere(const struct reg *r, const Eaves__Binding *b,
				      const struct sip_flow *f);

/* ---- register.c, contact.c ---- */

struct reg_work {
	struct reg *r;
	const struct reg_conf *conf;
	const struct sip_msg *msg;
	const struct sip_via *top;   /* NULL: not read yet */
	const struct sip_flow *flow; /* NULL: not straight from the phone */
	uint64_t wall_ms;
	bool sup_path, sup_outbound, sup_gruu;
	bool first_hop_outbound; /* 5626 6: direct, or the first Path has ob */
	bool used_outbound;
	unsigned nonzero, with_reg_id; /* contacts in the request */
	uint32_t expires_s;	       /* of the header, or the default */
	bool has_expires;
	struct span path, agent;
	struct bindings set;
	/* The refusal, when there is one: */
	unsigned status;
	const char *reason;
	struct span lines;
};
/* Sets the refusal; gives -EBADMSG to return. */
int reg_refuse(struct reg_work *w, unsigned status, const char *reason);
/* 10.3 step 7 for one Contact value.  0 or -EBADMSG with the refusal. */
int reg_contact(struct reg_work *w, struct span value);
/* 10.3 step 6: "*". */
int reg_wildcard(struct reg_work *w);

/* ---- answer.c ---- */

struct reg_text {
	char *p;
	size_t n, cap;
	bool full;
};
void reg_text_add(struct reg_text *t, struct span s);
void reg_text_number(struct reg_text *t, uint64_t v);
/* Header lines of the 200 (10.3 step 8), and how long they may be at most. */
size_t reg_lines_max(const struct reg_work *w);
void reg_lines(const struct reg_work *w, struct reg_text *t);
unsigned reg_bindings_left(const struct bindings *s);

/* ---- gruu.c ---- */

uint64_t reg_instance_hash(const struct reg *r, struct span instance);
uint32_t reg_call_id_hash(const struct reg *r, struct span call_id);
/* ;pub-gruu="..." and ;temp-gruu="..." of a binding; at most reg_gruu_max bytes. */
size_t reg_gruu_max(const struct reg_work *w, const Eaves__Binding *b);
void reg_gruu_add(const struct reg_work *w, const Eaves__Binding *b, struct reg_text *t);

#endif
