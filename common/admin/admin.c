/*
 * The tables of commands and what is said about them; the two ports are socket.c and http.c.
 */
#include "common/admin/admin_priv.h"

#include "common/admin/wire.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct admin *admin_new(struct loop *l, const char *socket_path, const char *http,
			struct metrics *m, bool (*healthy)(void *arg), void *healthy_arg,
			char ret_error[256])
{
	struct admin *a = calloc(1, sizeof(*a));
	int r;

	if (!a) {
		snprintf(ret_error, 256, "out of memory");
		errno = ENOMEM;
		return NULL;
	}
	list_init(&a->later);
	a->loop = l;
	a->metrics = m;
	a->healthy = healthy;
	a->healthy_arg = healthy_arg;
	a->gate = admin_gate_new(l);
	r = a->gate ? admin_socket_start(a, socket_path, ret_error) : -ENOMEM;
	if (!a->gate)
		snprintf(ret_error, 256, "out of memory");
	if (r == 0 && http)
		r = admin_http_start(a, http, ret_error);
	if (r < 0) {
		admin_free(a);
		errno = -r;
		return NULL;
	}
	return a;
}

void admin_free(struct admin *a)
{
	if (!a)
		return;
	admin_later_stop(a);
	admin_port_stop(&a->socket);
	admin_port_stop(&a->http);
	if (a->socket_path)
		unlink(a->socket_path);
	free(a->socket_path);
	free(a);
}

void admin_elsewhere(struct admin *a, const char *text)
{
	a->elsewhere = text;
}

int admin_add(struct admin *a, const struct admin_command *table, unsigned n, void *arg)
{
	if (a->ntables == ADMIN_TABLES_MAX)
		return -ENOSPC;
	a->table[a->ntables].v = table;
	a->table[a->ntables].n = n;
	a->table[a->ntables++].arg = arg;
	return 0;
}

/* Words of a command's name that argv begins with: all of them, or 0. */
static int name_words(const char *name, int argc, char **argv)
{
	int words = 0;

	while (*name) {
		size_t n = strcspn(name, " ");

		if (words == argc || strlen(argv[words]) != n ||
		    memcmp(argv[words], name, n) != 0)
			return 0;
		words++;
		name += n;
		name += strspn(name, " ");
	}
	return words;
}

const struct admin_command *admin_find(const struct admin *a, int argc, char **argv,
				       int *ret_words, void **ret_arg)
{
	const struct admin_command *best = NULL;

	*ret_words = 0;
	for (unsigned t = 0; t < a->ntables; t++) {
		for (unsigned i = 0; i < a->table[t].n; i++) {
			int words = name_words(a->table[t].v[i].name, argc, argv);

			if (words <= *ret_words)
				continue;
			best = &a->table[t].v[i];
			*ret_words = words;
			*ret_arg = a->table[t].arg;
		}
	}
	return best;
}

bool admin_args_fit(const struct admin_command *c, int argc)
{
	const char *p = c->args ? c->args : "";
	int least = 0, most = 0;

	for (p += strspn(p, " "); *p; p += strspn(p, " ")) {
		most++;
		if (*p != '[')
			least++;
		p += strcspn(p, " ");
	}
	return argc >= least && argc <= most;
}

/* Is what was typed the beginning of the name? */
static bool begins(const char *name, int argc, char **argv)
{
	for (int i = 0; i < argc; i++) {
		size_t n = strlen(argv[i]);

		if (strncmp(name, argv[i], n) != 0 || (i + 1 < argc && name[n] != ' '))
			return false;
		name += n + (i + 1 < argc);
	}
	return true;
}

static void list_one(const struct admin_command *c, struct admin_reply *r)
{
	bool args = c->args && *c->args;
	int n = (int)strlen(c->name) + (args ? (int)strlen(c->args) + 1 : 0);

	admin_printf(r, "%s%s%s%*s  %s%s\n", c->name, args ? " " : "", args ? c->args : "",
		     n < 36 ? 36 - n : 0, "", c->help ? c->help : "",
		     c->secret ? " (password from stdin)"
		     : c->bulk ? " (from stdin)"
			       : "");
}

/* Those that begin so; how many there are. */
static unsigned list_some(const struct admin *a, int argc, char **argv, struct admin_reply *r)
{
	unsigned n = 0;

	for (unsigned t = 0; t < a->ntables; t++) {
		for (unsigned i = 0; i < a->table[t].n; i++) {
			if (!begins(a->table[t].v[i].name, argc, argv))
				continue;
			if (r)
				list_one(&a->table[t].v[i], r);
			n++;
		}
	}
	return n;
}

static void list_all(const struct admin *a, struct admin_reply *r)
{
	list_some(a, 0, NULL, r);
	admin_printf(r, "%-36s  this list, or the commands that begin so\n", "help [WORDS]");
}

static void unknown(const struct admin *a, int argc, char **argv, struct admin_reply *r)
{
	if (list_some(a, argc, argv, NULL) > 0) {
		admin_printf(r, "no such command; these begin so:\n");
		list_some(a, argc, argv, r);
	} else {
		admin_printf(r, "no such command; these are there:\n");
		list_all(a, r);
		if (a->elsewhere)
			admin_printf(r, "Elsewhere: %s\n", a->elsewhere);
	}
}

bool admin_help(const struct admin *a, int argc, char **argv, struct admin_reply *r,
		int *ret_status)
{
	if (argc < 1 || strcmp(argv[0], "help") != 0)
		return false;
	*ret_status = 0;
	if (argc == 1)
		list_all(a, r);
	else if (list_some(a, argc - 1, argv + 1, r) == 0) {
		unknown(a, argc - 1, argv + 1, r);
		*ret_status = -EINVAL;
	}
	return true;
}

void admin_usage(const struct admin *a, const struct admin_command *c, int argc, char **argv,
		 struct admin_reply *r)
{
	if (c)
		admin_printf(r, "usage: %s%s%s\n", c->name, c->args && *c->args ? " " : "",
			     c->args ? c->args : "");
	else
		unknown(a, argc, argv, r);
}

/* Room for n bytes and a NUL; r->n never passes WIRE_TEXT_MAX. */
static bool reserve(struct admin_reply *r, size_t n)
{
	size_t cap = r->cap ? r->cap : 1024;
	char *p;

	if (r->failed || n > WIRE_TEXT_MAX - r->n) {
		r->failed = true;
		return false;
	}
	if (r->cap > r->n + n)
		return true;
	while (cap <= r->n + n)
		cap *= 2;
	p = realloc(r->p, cap);
	if (!p) {
		r->failed = true;
		return false;
	}
	r->p = p;
	r->cap = cap;
	return true;
}

void admin_printf(struct admin_reply *r, const char *fmt, ...)
{
	va_list ap, again;
	int n;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	if (n >= 0 && reserve(r, (size_t)n)) {
		vsnprintf(r->p + r->n, (size_t)n + 1, fmt, again);
		r->n += (size_t)n;
	}
	va_end(again);
	va_end(ap);
}

/* ---- order ---- */

static int line_compare(const void *a, const void *b)
{
	const struct span *x = a, *y = b;
	int c = memcmp(x->p, y->p, x->n < y->n ? x->n : y->n);

	return c ? c : (x->n > y->n) - (x->n < y->n);
}

void admin_sort_lines(struct admin_reply *r)
{
	size_t lines = 0, n = 0, at = 0;

	for (size_t i = 0; i < r->n; i++)
		lines += r->p[i] == '\n';
	if (lines < 2 || r->failed)
		return;
	struct span *v = calloc(lines, sizeof(*v));
	char *sorted = malloc(r->cap);

	if (v && sorted) {
		for (size_t i = 0; i < r->n; i++) {
			if (r->p[i] != '\n')
				continue;
			v[n++] = span_of(r->p + at, i - at);
			at = i + 1;
		}
		qsort(v, n, sizeof(*v), line_compare);
		size_t rest = r->n - at;
		memcpy(sorted + at, r->p + at, rest);
		at = 0;
		for (size_t i = 0; i < n; i++) {
			memcpy(sorted + at, v[i].p, v[i].n);
			sorted[at + v[i].n] = '\n';
			at += v[i].n + 1;
		}
		sorted[at + rest] = '\0';
		char *old = r->p;
		r->p = sorted;
		sorted = old;
	}
	free(sorted);
	free(v);
}

/* ---- without a socket ---- */

static void answer_told(struct admin_later *l)
{
	const struct admin_reply *r = &l->reply;

	if (l->left)
		l->told(l->told_arg, -ECANCELED, SPAN(ADMIN_ENDING));
	else if (r->failed)
		l->told(l->told_arg, -EMSGSIZE, SPAN(""));
	else
		l->told(l->told_arg, l->status, span_of(r->p, r->n));
}

void admin_run(struct admin *a, int argc, char **argv,
	       void (*told)(void *arg, int status, struct span text), void *arg)
{
	struct admin_reply r = {0};
	void *command_arg = NULL;
	struct admin_later *l;
	int words, status = -EINVAL;
	const struct admin_command *c = admin_find(a, argc, argv, &words, &command_arg);

	if (admin_help(a, argc, argv, &r, &status)) {
		/* said */
	} else if (!c || !admin_args_fit(c, argc - words)) {
		admin_usage(a, c, argc, argv, &r);
	} else if (c->secret || c->bulk) {
		admin_printf(&r, "%s takes input: run it at the node itself\n", c->name);
	} else if (!(l = admin_later_new(a))) {
		admin_printf(&r, ADMIN_NO_ROOM);
		status = -EBUSY;
	} else {
		l->answer = answer_told;
		l->told = told;
		l->told_arg = arg;
		admin_later_run(l, c, command_arg, argc - words, argv + words,
				span_of(NULL, 0));
		return;
	}
	if (r.failed)
		status = -EMSGSIZE;
	told(arg, status, span_of(r.p, r.failed ? 0 : r.n));
	admin_reply_done(&r);
}

void admin_reply_done(struct admin_reply *r)
{
	free(r->p);
	*r = (struct admin_reply){0};
}
