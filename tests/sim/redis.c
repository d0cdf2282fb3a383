/*
 * The server: connections, commands, the two scripts in C.  What has come in one message is
 * answered in one.
 */
#include "tests/sim/redis.h"

#include "common/store/redis_parts.h"
#include "tests/sim/stream.h"
#include "tests/sim/trace.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { PORT = 6379, LOADING_MS = 200, ARGS_MAX = 8192 };

struct client {
	struct list link;
	struct stream_end *end;
	struct list waiting; /* while the process is stopped */
};
struct waiting {
	struct list link;
	size_t n;
	char bytes[];
};

static struct host *machine;
static struct redis_keys *keys;
static struct stream_listener listener;
static struct list clients;
static bool runs, paused, has_write, has_read;
static usec loaded_at;

struct host *redis_host(void)
{
	return machine;
}

bool redis_runs(void)
{
	return runs;
}

const struct redis_keys *redis_contents(void)
{
	return keys;
}

static bool is_loading(void)
{
	return sim_now() < loaded_at;
}

bool redis_serves(const struct host *from)
{
	return runs && !paused && !is_loading() && path_open(from, machine) &&
	       path_open(machine, from);
}

/* ---- commands: RESP, as common/store/redis_link.c writes it ---- */

struct command {
	unsigned n;
	struct span arg[ARGS_MAX];
};

static size_t number(struct span *in, char type)
{
	char *end;
	assert(in->n > 0 && in->p[0] == type);
	size_t v = strtoul(in->p + 1, &end, 10), len = (size_t)(end + 2 - in->p);
	*in = span_of(in->p + len, in->n - len);
	return v;
}

static void read_command(struct span *in, struct command *c)
{
	c->n = (unsigned)number(in, '*');
	assert(c->n <= ARGS_MAX);
	for (unsigned i = 0; i < c->n; i++) {
		size_t n = number(in, '$');
		c->arg[i] = span_of(in->p, n);
		*in = span_of(in->p + n + 2, in->n - n - 2);
	}
}

static void add_bulk(FILE *out, struct span s)
{
	fprintf(out, "$%zu\r\n", s.n);
	fwrite(s.p, 1, s.n, out);
	fputs("\r\n", out);
}

static unsigned number_of(struct span s)
{
	uint64_t v = 0;
	int rc = span_u64(s, ARGS_MAX, &v);
	assert(rc == 0);
	return (unsigned)v;
}

/* ---- the writing script ---- */

/* What a call has of each row. */
struct row {
	struct redis_field f;
	struct span guard;
};

static struct row row_of(const struct command *c, unsigned rows, unsigned i)
{
	const struct span *v = &c->arg[3 + rows + 3 + 4 * i];
	return (struct row){{c->arg[3 + i], v[0], v[1]}, v[3]};
}

static int cmp_version(struct span a, struct span b)
{
	return memcmp(a.p, b.p, REDIS_VERSION_N);
}

static bool holds(const struct row *r, struct span old)
{
	const bool gone = old.n && memcmp(old.p + REDIS_VERSION_N + 1, "gone", 4) == 0;
	if (r->guard.n == 0 || old.n == 0)
		return true;
	int cmp = cmp_version(old, r->f.value);
	return cmp == 0 || (cmp < 0 && (span_eq(r->guard, span_of(old.p, REDIS_VERSION_N)) ||
					(gone && span_eq(r->guard, SPAN("0")))));
}

static void write_unit(const struct command *c, unsigned rows, unsigned at, unsigned n,
		       FILE *out)
{
	bool all_hold = true;
	for (unsigned i = at; i < at + n; i++) {
		struct row r = row_of(c, rows, i);
		all_hold &= holds(&r, redis_keys_get(keys, r.f.key, r.f.name));
	}
	fprintf(out, all_hold ? ":0\r\n" : "*%u\r\n", n);
	for (unsigned i = at; i < at + n; i++) {
		struct row r = row_of(c, rows, i);
		struct span old = redis_keys_get(keys, r.f.key, r.f.name);
		if (!all_hold)
			add_bulk(out, old);
		else if (old.n == 0 || cmp_version(r.f.value, old) > 0)
			redis_keys_set(keys, &r.f);
	}
}

static void write_units(const struct command *c, FILE *out)
{
	unsigned rows = number_of(c->arg[2]), at = 0, units = 1;
	struct span sizes = c->arg[3 + rows];
	for (size_t i = 0; i < sizes.n; i++)
		units += sizes.p[i] == ',';
	fprintf(out, "*%u\r\n", units);
	while (sizes.n) {
		ptrdiff_t comma = span_chr(sizes, ',', 0);
		size_t len = comma < 0 ? sizes.n : (size_t)comma;
		unsigned n = number_of(span_of(sizes.p, len));
		write_unit(c, rows, at, n, out);
		at += n;
		len += comma >= 0;
		sizes = span_of(sizes.p + len, sizes.n - len);
	}
}

/* ---- reading ---- */

struct reading {
	FILE *out; /* NULL: they are counted */
	struct span key;
	unsigned n;
};

static bool read_field(void *arg, const struct redis_field *f)
{
	struct reading *r = arg;
	if (!span_eq(f->key, r->key))
		return true;
	r->n += 2;
	if (r->out) {
		add_bulk(r->out, f->name);
		add_bulk(r->out, f->value);
	}
	return true;
}

static void read_keys(const struct command *c, FILE *out)
{
	unsigned n = number_of(c->arg[2]);
	fprintf(out, "*%u\r\n:%u\r\n:0\r\n", n + 2, n);
	for (unsigned i = 0; i < n; i++) {
		struct reading r = {.key = c->arg[3 + i]};
		redis_keys_each(keys, read_field, &r);
		fprintf(out, "*%u\r\n", r.n);
		r.out = out;
		redis_keys_each(keys, read_field, &r);
	}
}

static bool scan_field(void *arg, const struct redis_field *f)
{
	struct reading *r = arg;
	if (span_eq(f->key, r->key))
		return true; /* fields of one key come together */
	r->key = f->key;
	r->n++;
	if (r->out)
		add_bulk(r->out, f->key);
	return true;
}

/* All at once. */
static void scan(FILE *out)
{
	struct reading r = {.out = NULL};
	redis_keys_each(keys, scan_field, &r);
	fprintf(out, "*2\r\n$1\r\n0\r\n*%u\r\n", r.n);
	r = (struct reading){.out = out};
	redis_keys_each(keys, scan_field, &r);
}

/* ---- commands ---- */

static void load_script(const struct command *c, FILE *out)
{
	char sha[41];
	bool writes = span_eq(c->arg[2], span_str(redis_script_write));
	assert(writes || span_eq(c->arg[2], span_str(redis_script_read)));
	*(writes ? &has_write : &has_read) = true;
	memset(sha, writes ? 'w' : 'r', 40);
	add_bulk(out, span_of(sha, 40));
}

static void eval(const struct command *c, FILE *out)
{
	bool writes = c->arg[1].p[0] == 'w';
	if (!(writes ? has_write : has_read))
		fputs("-NOSCRIPT No matching script.\r\n", out);
	else if (writes)
		write_units(c, out);
	else
		read_keys(c, out);
}

/* True: a script was called, so that the ladder is to show it. */
static bool serve(const struct command *c, FILE *out)
{
	struct span name = c->arg[0];
	if (is_loading())
		fputs("-LOADING Redis is loading the dataset in memory\r\n", out);
	else if (span_eq(name, SPAN("PING")))
		fputs("+PONG\r\n", out);
	else if (span_eq(name, SPAN("ROLE")))
		fputs("*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n", out);
	else if (span_eq(name, SPAN("SET")))
		fputs("+OK\r\n", out);
	else if (span_eq(name, SPAN("SCRIPT")))
		load_script(c, out);
	else if (span_eq(name, SPAN("SCAN")))
		scan(out);
	else if (span_eq(name, SPAN("EVALSHA")))
		eval(c, out);
	else
		fprintf(out, "-ERR unknown command '%.*s'\r\n", SPAN_FMT(name));
	return span_eq(name, SPAN("EVALSHA"));
}

/* The client may be gone after it. */
static void answer(struct client *c, struct span in)
{
	static struct command command;
	char *text = NULL;
	size_t n = 0;
	bool shown = false;
	FILE *out = open_memstream(&text, &n);
	if (!out)
		abort();
	while (in.n) {
		read_command(&in, &command);
		shown |= serve(&command, out);
	}
	fclose(out);
	stream_write(c->end, span_of(text, n));
	free(text);
	if (shown && trace_is_counting())
		trace_bus(machine, stream_peer(c->end), "redis ok");
}

/* ---- connections ---- */

static void client_free(struct client *c)
{
	list_for_each_safe (it, &c->waiting)
		free(container_of(it, struct waiting, link));
	list_remove(&c->link);
	free(c);
}

static void on_message(void *arg, struct span bytes)
{
	struct client *c = arg;
	if (!paused) {
		answer(c, bytes);
		return;
	}
	struct waiting *w = sim_alloc(sizeof(*w) + bytes.n);
	memcpy(w->bytes, bytes.p, w->n = bytes.n);
	list_append(&c->waiting, &w->link);
}

static void on_closed(void *arg, int error)
{
	(void)error;
	client_free(arg);
}

static const struct stream_ops client_ops = {.message = on_message, .closed = on_closed};

/* The system does it, even when the process is stopped. */
static void on_accept(struct stream_listener *l, struct stream_end *e, const struct addr *from)
{
	struct client *c = sim_alloc(sizeof(*c));
	(void)l;
	(void)from;
	c->end = e;
	list_init(&c->waiting);
	list_append(&clients, &c->link);
	stream_set_quiet(e);
	stream_accept(e, &client_ops, c);
}

/* ---- life ---- */

static void begin(void)
{
	const struct addr at = machine->addr;
	struct addr local = at;
	addr_set_port(&local, PORT);
	machine->powered = runs = true;
	paused = has_write = has_read = false;
	stream_listen(&listener, machine, &local);
}

struct host *redis_machine(const char *ip)
{
	machine = host_new("redis", ip, HOST_NODE, NULL);
	keys = redis_keys_new();
	list_init(&clients);
	listener.accept = on_accept;
	begin();
	return machine;
}

void redis_kill(bool silent)
{
	if (!runs)
		return;
	trace_note(machine, silent ? "POWER OFF" : "KILLED");
	runs = paused = false;
	stream_listen_end(&listener);
	list_for_each_safe (it, &clients) {
		struct client *c = container_of(it, struct client, link);
		if (silent)
			stream_drop(c->end);
		else
			stream_close(c->end);
		client_free(c);
	}
	if (silent) {
		machine->powered = false;
		redis_keys_lose(keys);
	}
}

void redis_start(bool empty)
{
	if (runs)
		return;
	if (empty)
		redis_keys_forget(keys);
	trace_note(machine, empty ? "started, empty" : "started");
	loaded_at = sim_now() + USEC_MS(LOADING_MS);
	begin();
}

void redis_pause(void)
{
	trace_note(machine, "STOPPED");
	paused = runs;
}

/* In the middle of it the process may be killed, and with it the client. */
static void serve_waiting(struct client *c)
{
	while (runs && !list_empty(&c->waiting)) {
		struct waiting *w = container_of(c->waiting.next, struct waiting, link);
		list_remove(&w->link);
		answer(c, span_of(w->bytes, w->n));
		free(w);
	}
}

void redis_resume(void)
{
	if (!paused)
		return;
	trace_note(machine, "CONTINUED");
	paused = false;
	list_for_each_safe (it, &clients)
		if (runs)
			serve_waiting(container_of(it, struct client, link));
}
