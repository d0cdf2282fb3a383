/*
 * Lists: a run has few keys.  Of each field there is what was written last, and what of it the
 * disk had got before this second began.
 */
#include "tests/sim/redis_keys.h"

#include "common/base/time.h"
#include "tests/sim/event.h"

#include <stdlib.h>

struct value {
	char *p; /* NULL: it is not there */
	size_t n;
	usec at;
};
struct field {
	struct field *next;
	struct span name;
	struct value now, synced;
};
struct end {
	uint64_t ms; /* 0: none */
	usec at;
};
struct key {
	struct key *next;
	struct span name;
	struct field *fields;
	struct end now, synced;
};
struct redis_keys {
	struct key *keys;
};

static char *copy(struct span s)
{
	char *p = sim_alloc(s.n + 1);
	if (s.n)
		memcpy(p, s.p, s.n);
	return p;
}

static struct span keep(struct span s)
{
	return span_of(copy(s), s.n);
}

struct redis_keys *redis_keys_new(void)
{
	return sim_alloc(sizeof(struct redis_keys));
}

static void free_fields(struct key *key)
{
	while (key->fields) {
		struct field *f = key->fields;
		key->fields = f->next;
		free(f->now.p);
		free(f->synced.p);
		free((char *)f->name.p);
		free(f);
	}
}

static struct key **key_at(struct redis_keys *k, struct span name)
{
	struct key **at = &k->keys;
	while (*at && !span_eq((*at)->name, name))
		at = &(*at)->next;
	return at;
}

static bool has_ended(const struct key *key)
{
	return key->now.ms && key->now.ms <= time_wall_ms();
}

/* What has come to its end is not there. */
static struct key *find(const struct redis_keys *k, struct span name)
{
	struct key *key = *key_at((struct redis_keys *)k, name);
	return key && !has_ended(key) ? key : NULL;
}

static struct field **field_at(struct key *key, struct span name)
{
	struct field **at = &key->fields;
	while (*at && !span_eq((*at)->name, name))
		at = &(*at)->next;
	return at;
}

struct span redis_keys_get(const struct redis_keys *k, struct span key, struct span name)
{
	struct key *found = find(k, key);
	struct field *f = found ? *field_at(found, name) : NULL;
	return f && f->now.p ? span_of(f->now.p, f->now.n) : SPAN("");
}

static usec this_second(void)
{
	return sim_now() - sim_now() % USEC_S(1);
}

static struct key *key_for(struct redis_keys *k, struct span name)
{
	struct key **at = key_at(k, name), *key = *at;
	if (!key) {
		key = *at = sim_alloc(sizeof(*key));
		key->name = keep(name);
	} else if (has_ended(key)) {
		free_fields(key);
		key->now = key->synced = (struct end){0};
	}
	return key;
}

static void change(struct field *f, struct value v)
{
	if (f->now.at < this_second()) {
		free(f->synced.p);
		f->synced = f->now;
	} else {
		free(f->now.p);
	}
	f->now = v;
}

void redis_keys_set(struct redis_keys *k, const struct redis_field *v)
{
	struct field **at = field_at(key_for(k, v->key), v->name), *f = *at;
	if (!f) {
		f = *at = sim_alloc(sizeof(*f));
		f->name = keep(v->name);
	}
	change(f, (struct value){copy(v->value), v->value.n, sim_now()});
}

void redis_keys_drop(struct redis_keys *k, const struct redis_field *v)
{
	struct key *key = find(k, v->key);
	struct field *f = key ? *field_at(key, v->name) : NULL;
	if (f)
		change(f, (struct value){.at = sim_now()});
}

void redis_keys_set_end(struct redis_keys *k, struct span name, uint64_t ms)
{
	struct key *key = find(k, name);
	if (!key)
		return;
	if (key->now.at < this_second())
		key->synced = key->now;
	key->now = (struct end){ms, sim_now()};
}

uint64_t redis_keys_end(const struct redis_keys *k, struct span name)
{
	const struct key *key = find(k, name);
	return key ? key->now.ms : 0;
}

void redis_keys_each(const struct redis_keys *k,
		     bool (*each)(void *arg, const struct redis_field *f), void *arg)
{
	bool more = true;
	for (const struct key *key = k->keys; key; key = key->next)
		for (const struct field *f = has_ended(key) ? NULL : key->fields; f && more;
		     f = f->next) {
			const struct redis_field v = {key->name, f->name,
						      span_of(f->now.p, f->now.n)};
			more = !f->now.p || each(arg, &v);
		}
}

static void lose(struct field *f)
{
	if (f->now.at < this_second())
		return;
	free(f->now.p);
	f->now = f->synced;
	f->synced = (struct value){0};
}

void redis_keys_lose(struct redis_keys *k)
{
	for (struct key *key = k->keys; key; key = key->next) {
		for (struct field *f = key->fields; f; f = f->next)
			lose(f);
		if (key->now.at >= this_second())
			key->now = key->synced;
	}
}

void redis_keys_forget(struct redis_keys *k)
{
	while (k->keys) {
		struct key *key = k->keys;
		k->keys = key->next;
		free_fields(key);
		free((char *)key->name.p);
		free(key);
	}
}
