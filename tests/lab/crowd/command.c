/*
 * Commands on standard input, a line each; what they lead to is told on standard output, a line
 * of JSON each.  tests/lab/README.md lists them.
 */
#include "tests/lab/crowd/crowd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { WORDS_MAX = 8, AUDIT_WINDOW = 20, REGISTER_WINDOW = 40, BURST_MS = 6000 };

static bool read_at(const char *s, struct sockaddr_in *to)
{
	char host[64];
	unsigned port;

	*to = (struct sockaddr_in){.sin_family = AF_INET};
	if (sscanf(s, "%63[^:]:%u", host, &port) != 2 || port == 0 || port > 65535 ||
	    inet_pton(AF_INET, host, &to->sin_addr) != 1)
		return false;
	to->sin_port = htons((uint16_t)port);
	return true;
}

/* rate CALLS MESSAGES REGISTERS */
static bool on_rate(struct crowd *c, char **w, unsigned n)
{
	for (unsigned i = 0; i < 3; i++) {
		c->rate[i] = n == 3 ? atof(w[i]) : 0;
		c->owed[i] = 0;
	}
	return n == 3;
}

/* mix ONE PAR SER CANCELLED, in percent */
static bool on_mix(struct crowd *c, char **w, unsigned n)
{
	if (n != 4)
		return false;
	for (unsigned i = 0; i < KINDS; i++)
		c->mix[i] = (unsigned)atoi(w[i]);
	c->cancel_percent = (unsigned)atoi(w[3]);
	return c->mix[0] + c->mix[1] + c->mix[2] == 100;
}

/* epoch NAME */
static bool on_epoch(struct crowd *c, char **w, unsigned n)
{
	if (n != 1 || !ledger_begin(&c->ledger, w[0], c->now))
		return false;
	ledger_print(&c->ledger);
	return true;
}

/* burst KIND N CANCEL */
static bool on_burst(struct crowd *c, char **w, unsigned n)
{
	if (n != 3)
		return false;
	for (unsigned k = 0; k < KINDS; k++)
		if (strcmp(w[0], kind_name[k]) == 0)
			for (int i = 0; i < atoi(w[1]); i++)
				call_start(c, (enum kind)k, w[2][0] == '1', true);
	c->bursting = true;
	c->burst_until = c->now + BURST_MS;
	return true;
}

static bool on_release(struct crowd *c, char **w, unsigned n)
{
	(void)w;
	for (uint32_t i = 0; i < c->high_call; i++)
		if (c->call[i].state != CALL_FREE && c->call[i].burst)
			call_release(c, &c->call[i]);
	return n == 0;
}

/* audit NAME [ADDRESS:PORT] */
static bool on_audit(struct crowd *c, char **w, unsigned n)
{
	if (n < 1 || n > 2 || c->auditing || (n == 2 && !read_at(w[1], &c->audit_at)))
		return false;
	if (n == 1)
		c->audit_at.sin_port = 0;
	snprintf(c->audit_name, sizeof(c->audit_name), "%s", w[0]);
	c->auditing = true;
	c->audit_next = c->audit_open = c->audit_lost = c->audit_back = c->audit_failed =
		c->audit_bindings = c->audit_users = 0;
	return true;
}

/* only HOME, or none: whose users are called and audited */
static bool on_only(struct crowd *c, char **w, unsigned n)
{
	c->only = n == 1 ? atoi(w[0]) : -1;
	return n <= 1;
}

static bool on_settle(struct crowd *c, char **w, unsigned n)
{
	(void)w;
	c->settling = true;
	return n == 0;
}

static bool on_leave(struct crowd *c, char **w, unsigned n)
{
	(void)w;
	c->leaving = true;
	return n == 0;
}

/* sides ADDRESS:PORT ADDRESS:PORT, or none: where those of home 0 that come and go register */
static bool on_sides(struct crowd *c, char **w, unsigned n)
{
	c->sides = n == 2;
	return n == 0 || (n == 2 && read_at(w[0], &c->side[0]) && read_at(w[1], &c->side[1]));
}

static bool on_quit(struct crowd *c, char **w, unsigned n)
{
	(void)w;
	c->ended = true;
	return n == 0;
}

static const struct {
	const char *name;
	bool (*run)(struct crowd *c, char **word, unsigned n);
} commands[] = {
	{"rate", on_rate},     {"mix", on_mix},		{"epoch", on_epoch},
	{"burst", on_burst},   {"sides", on_sides},	{"audit", on_audit},
	{"quit", on_quit},     {"release", on_release}, {"only", on_only},
	{"settle", on_settle}, {"leave", on_leave},
};

static void run(struct crowd *c, char *line)
{
	char *word[WORDS_MAX], *save = NULL;
	unsigned n = 0;

	for (char *w = strtok_r(line, " \r", &save); w && n < WORDS_MAX;
	     w = strtok_r(NULL, " \r", &save))
		word[n++] = w;
	for (unsigned i = 0; n && i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(commands[i].name, word[0]) == 0 &&
		    commands[i].run(c, word + 1, n - 1))
			return;
	fprintf(stderr, "crowd: not understood: %s\n", n ? word[0] : "an empty line");
}

void command_poll(struct crowd *c)
{
	static char buf[4096];
	static size_t used;
	ssize_t n = read(STDIN_FILENO, buf + used, sizeof(buf) - 1 - used);

	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		c->ended = true; /* who gave the commands is gone */
	if (n <= 0)
		return;
	used += (size_t)n;
	for (char *nl; (nl = memchr(buf, '\n', used));) {
		*nl = 0;
		run(c, buf);
		used -= (size_t)(nl + 1 - buf);
		memmove(buf, nl + 1, used);
	}
	if (used == sizeof(buf) - 1)
		used = 0;
}

/* Phones that are not registered yet, some at a time. */
static void registering_step(struct crowd *c)
{
	unsigned wanting = 0, phones = 0, under_way = 0;

	for (unsigned i = 0; i < c->opt.users; i++)
		for (unsigned d = 0; d < c->user[i].ndev; d++)
			under_way += c->user[i].phone[d]->busy;
	for (unsigned i = 0; i < c->opt.users; i++) {
		for (unsigned d = 0; d < c->user[i].ndev; d++, phones++) {
			struct phone *p = c->user[i].phone[d];

			if (p->bound == BOUND_IN)
				continue;
			wanting++;
			if (!p->busy && net_up(p) && under_way < REGISTER_WINDOW)
				under_way += op_register(c, p, c->opt.expires_s);
		}
	}
	if (wanting)
		return;
	c->registering = false;
	printf("{\"event\":\"registered\",\"phones\":%u}\n", phones);
}

static void leaving_step(struct crowd *c)
{
	unsigned staying = 0, under_way = 0;

	for (unsigned i = 0; i < c->opt.users; i++) {
		for (unsigned d = 0; d < c->user[i].ndev; d++) {
			struct phone *p = c->user[i].phone[d];

			staying += p->busy || p->bound != BOUND_OUT;
			under_way += p->busy;
			if (!p->busy && p->bound != BOUND_OUT && net_up(p) &&
			    under_way < REGISTER_WINDOW)
				under_way += op_register(c, p, 0);
		}
	}
	if (staying)
		return;
	c->leaving = false;
	printf("{\"event\":\"left\"}\n");
}

static bool rings(const struct call *x)
{
	for (unsigned d = 0; d < x->callee->ndev; d++)
		if (x->leg[d].state != LEG_RINGING && (d == 0 || x->kind != KIND_SER))
			return false;
	return x->state == CALL_RINGING;
}

static void burst_step(struct crowd *c)
{
	unsigned all = 0, ringing = 0;

	for (uint32_t i = 0; i < c->high_call; i++) {
		const struct call *x = &c->call[i];

		if (x->state == CALL_FREE || !x->burst)
			continue;
		all++;
		ringing += rings(x);
	}
	if (ringing < all && c->now < c->burst_until)
		return;
	c->bursting = false;
	printf("{\"event\":\"ringing\",\"calls\":%u,\"of\":%u}\n", ringing, all);
}

static void audit_step(struct crowd *c)
{
	while (c->audit_next < c->opt.users && c->audit_open < AUDIT_WINDOW) {
		struct user *u = &c->user[c->audit_next++];

		if (c->only >= 0 && (int)u->home != c->only)
			continue;
		c->audit_users++;
		if (op_fetch(c, u, &c->audit_at))
			c->audit_open++;
		else
			c->audit_failed++;
	}
	if (c->audit_open)
		return;
	c->auditing = false;
	printf("{\"audit\":\"%s\",\"users\":%u,\"bindings\":%u,\"lost\":%u,\"back\":%u,"
	       "\"failed\":%u}\n",
	       c->audit_name, c->audit_users, c->audit_bindings, c->audit_lost, c->audit_back,
	       c->audit_failed);
}

static void settling_step(struct crowd *c)
{
	for (unsigned i = 0; i < c->opt.users; i++)
		for (unsigned d = 0; d < c->user[i].ndev; d++) {
			const struct phone *p = c->user[i].phone[d];

			if (!net_up(p) || p->closed_at || p->busy)
				return;
		}
	c->settling = false;
	printf("{\"event\":\"settled\"}\n");
}

void command_step(struct crowd *c)
{
	if (c->settling)
		settling_step(c);
	if (c->registering)
		registering_step(c);
	if (c->leaving)
		leaving_step(c);
	if (c->bursting)
		burst_step(c);
	if (c->auditing)
		audit_step(c);
	ledger_print(&c->ledger);
	fflush(stdout);
}
