/*
 * The server: connections, commands, the reading script in C (redis_write.c has the other one).
 * What has come in one message is answered in one.
 */
#include "tests/sim/redis_write.h"

#include "common/store/redis_parts.h"
#include "tests/sim/redis.h"
#include "tests/sim/stream.h"
#include "tests/sim/trace.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { PORT = 6379, LOADING_MS = 200 };

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
static bool runs, paused, has_write, has_read, forgets;
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

static size_t number(struct span *in, char type)
{
	char *end;
	assert(in->n > 0 && in->p[0] == type);
	size_t v = strtoul(in->p + 1, &end, 10), len = (size_t)(end + 2 - in->p);
	*in = span_of(in->p + len, in->n - len);
	return v;
}

static void read_command(struct span *in, struct redis_command *c)
{
	c->n = (unsigned)number(in, '*');
	assert(c->n <= REDIS_ARGS_MAX);
	for (unsigned i = 0; i < c->n; i++) {
		size_t n = number(in, '$');
		c->arg[i] = span_of(in->p, n);
		*in = span_of(in->p + n + 2, in->n - n - 2);
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
		redis_add_bulk(r->out, f->name);
		redis_add_bulk(r->out, f->value);
	}
	return true;
}

static void read_keys(const struct redis_command *c, FILE *out)
{
	unsigned n = redis_number(c->arg[2]);
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
		redis_add_bulk(r->out, f->key);
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

static void load_script(const struct redis_command *c, FILE *out)
{
	char sha[41];
	bool writes = span_eq(c->arg[2], span_str(redis_script_write));
	assert(writes || span_eq(c->arg[2], span_str(redis_script_read)));
	*(writes ? &has_write : &has_read) = true;
	memset(sha, writes ? 'w' : 'r', 40);
	redis_add_bulk(out, span_of(sha, 40));
}

static void eval(const struct redis_command *c, FILE *out)
{
	bool writes = c->arg[1].p[0] == 'w';
	if (!(writes ? has_write : has_read))
		fputs("-NOSCRIPT No matching script.\r\n", out);
	else if (writes)
		redis_write_units(keys, c, forgets, out);
	else
		read_keys(c, out);
}

/* True: a script was called, so that the ladder is to show it; what an edge reads by its clock
 * as little as the bus's own messages. */
static bool serve(const struct redis_command *c, FILE *out)
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
	return span_eq(name, SPAN("EVALSHA")) && (c->arg[1].p[0] == 'w' || trace_is_all_bus());
}

/* The client may be gone after it. */
static void answer(struct client *c, struct span in)
{
	static struct redis_command command;
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
		trace_bus(machine, stream_peer(c->end), "redis ok", false);
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

void redis_forget(void)
{
	trace_note(machine, "FORGETS");
	forgets = true;
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
