/*
 * Phones whose connection went with the other member of our pair.  Flow tokens that name it are
 * in Paths, in Record-Routes and in Vias; by its next registration (RFC 5626) a phone's binding
 * gets another one.  Here is which binding a connection was of, so that what comes back with an
 * old token finds the phone at its new connection.  Bounded: of more connections than fit the
 * oldest are forgotten.
 */
#include "edge/edge_priv.h"
#include "proto/records.pb-c.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

enum {
	BITS = 18,
	CONNS = 1 << BITS,
	WAYS = 4,
	SETS = CONNS / WAYS,
	TOKEN_MAX = 72,
	FOUND_MAX = 64
};

struct known {
	uint64_t id;  /* of a connection; 0: none */
	uint64_t tag; /* of the binding */
};

struct phones {
	struct records *records;
	const struct app *app;
	pthread_mutex_t lock;
	uint8_t next[SETS];
	struct known v[CONNS];
};

static void note(struct phones *p, uint64_t id, uint64_t tag)
{
	size_t set = (id >> 32) % SETS;
	struct known *at = &p->v[set * WAYS], *to = NULL;
	pthread_mutex_lock(&p->lock);
	for (unsigned i = 0; i < WAYS && !to; i++)
		to = at[i].id == id ? &at[i] : NULL;
	if (!to)
		to = &at[p->next[set]++ % WAYS];
	*to = (struct known){id, tag};
	pthread_mutex_unlock(&p->lock);
}

static bool find(struct phones *p, uint64_t id, uint64_t *ret_tag)
{
	const struct known *at = &p->v[(id >> 32) % SETS * WAYS];
	bool found = false;
	pthread_mutex_lock(&p->lock);
	for (unsigned i = 0; i < WAYS && !found; i++) {
		found = at[i].id == id;
		*ret_tag = at[i].tag;
	}
	pthread_mutex_unlock(&p->lock);
	return found;
}

struct span edge_token_in(struct span path)
{
	static const char begin[] = "<sip:";
	ptrdiff_t at = span_chr(path, '@', 0);
	size_t skip = sizeof(begin) - 1;
	if (path.n < skip || memcmp(path.p, begin, skip) != 0 || at <= (ptrdiff_t)skip ||
	    at - (ptrdiff_t)skip > TOKEN_MAX)
		return SPAN("");
	return span_of(path.p + skip, (size_t)at - skip);
}

/* The node that has the connection: ";m=NAME" of the first Path value; -1: it does not say. */
static int member_in(const struct cluster *c, struct span path)
{
	ptrdiff_t end = span_chr(path, '>', 0);
	struct span first = span_of(path.p, end < 0 ? 0 : (size_t)end);
	const char *m = first.n ? memmem(first.p, first.n, ";m=", 3) : NULL;
	if (!m)
		return -1;
	struct span name = span_of(m + 3, (size_t)(first.p + first.n - m - 3));
	ptrdiff_t semi = span_chr(name, ';', 0);
	return cluster_node_by_name(c, semi < 0 ? name : span_of(name.p, (size_t)semi));
}

/* Tokens of a user's bindings, copied under the lock of the records' stripe. */
struct found {
	const struct records *records;
	const struct cluster *cluster;
	unsigned n;
	struct {
		char token[TOKEN_MAX];
		size_t n;
		uint64_t tag;
		int member;
	} v[FOUND_MAX];
};

static bool gather(void *arg, const struct record *rec)
{
	struct found *f = arg;
	Eaves__Binding *b =
		eaves__binding__unpack(NULL, rec->body.n, (const uint8_t *)rec->body.p);
	if (!b)
		return true;
	struct span t = edge_token_in(span_of((const char *)b->path.data, b->path.len));
	if (t.n) {
		memcpy(f->v[f->n].token, t.p, t.n);
		f->v[f->n].n = t.n;
		f->v[f->n].member =
			member_in(f->cluster, span_of((const char *)b->path.data, b->path.len));
		f->v[f->n++].tag = records_tag(f->records, rec);
	}
	eaves__binding__free_unpacked(b, NULL);
	return f->n < FOUND_MAX;
}

static void note_all(struct phones *p, const struct found *f)
{
	struct sip_flow flow;
	uint64_t id;
	for (unsigned i = 0; i < f->n; i++) {
		app_token_here(p->app, span_of(f->v[i].token, f->v[i].n), &flow, &id);
		if (id)
			note(p, id, f->v[i].tag);
	}
}

static void changed(void *arg, uint8_t kind, struct span user)
{
	struct phones *p = arg;
	struct found f = {.records = p->records, .cluster = app_cluster(p->app)};
	records_each(p->records, kind, user, time_wall_ms(), gather, &f, NULL);
	note_all(p, &f);
}

/* What was read from the store before anybody watched. */
static bool loaded(void *arg, const struct record *rec)
{
	struct phones *p = arg;
	struct found f = {.records = p->records, .cluster = app_cluster(p->app)};
	gather(&f, rec);
	note_all(p, &f);
	return true;
}

struct phones *phones_new(struct records *r, const struct app *a)
{
	struct phones *p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->records = r;
	p->app = a;
	pthread_mutex_init(&p->lock, NULL);
	records_watch(r, RECORD_BINDING, changed, p);
	records_scan(r, RECORD_BINDING, time_wall_ms(), loaded, p);
	return p;
}

struct phones *phones_free(struct phones *p)
{
	if (!p)
		return NULL;
	pthread_mutex_destroy(&p->lock);
	free(p);
	return NULL;
}

int edge_moved(void *state, const struct app *a, uint64_t id, struct sip_flow *ret)
{
	struct edge *e = state;
	struct found f = {.records = e->records, .cluster = e->cluster};
	uint64_t tag, id_now;
	if (!e->phones || !id || !find(e->phones, id, &tag))
		return -ENOENT;
	if (!records_each_tag(e->records, RECORD_BINDING, tag, time_wall_ms(), gather, &f))
		return -ENOENT;
	if (!f.n)
		return -ESTALE;
	if (app_token_here(a, span_of(f.v[0].token, f.v[0].n), ret, &id_now) == 0)
		return 0;
	int member = f.v[0].member;
	if (member < 0 || member == (int)cluster_self(e->cluster) ||
	    !cluster_serving(e->cluster, (unsigned)member))
		return -ESTALE;
	*ret = (struct sip_flow){.transport = SIP_TRANSPORT_TCP,
				 .node = (uint16_t)(member + 1)};
	return 0;
}
