/*
 * The operator's commands of a home: users, aliases, registrations.  A command answers when
 * what it did is durable.  Passwords come as secret input and leave here as HA1.
 */
#include "home/home_priv.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- waiting for the store; the commands run in the main thread, calls in the workers' ----
 */

struct durable {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned waiting;
	int error;
};

#define DURABLE_INIT                                                      \
	{                                                                 \
		PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0 \
	}

static void durable_expect(struct durable *d)
{
	pthread_mutex_lock(&d->lock);
	d->waiting++;
	pthread_mutex_unlock(&d->lock);
}

static void durable_done(void *arg, int error)
{
	struct durable *d = arg;
	pthread_mutex_lock(&d->lock);
	d->waiting--;
	if (error)
		d->error = error;
	pthread_cond_signal(&d->changed);
	pthread_mutex_unlock(&d->lock);
}

/* Waits until at most `left` are outstanding; the first error since the start. */
static int durable_wait(struct durable *d, unsigned left)
{
	pthread_mutex_lock(&d->lock);
	while (d->waiting > left)
		pthread_cond_wait(&d->changed, &d->lock);
	int error = d->error;
	pthread_mutex_unlock(&d->lock);
	return error;
}

/* r: what the records call gave; the done of a call that failed never comes. */
static int durable_end(struct durable *d, int r)
{
	if (r < 0) {
		durable_done(d, 0);
		durable_wait(d, 0);
		return r;
	}
	return durable_wait(d, 0);
}

static const char *reason(int r)
{
	switch (r) {
	case -ENOENT:
		return "no such user";
	case -EEXIST:
		return "the name is taken";
	case -EINVAL:
		return "not a usable name: what stands before the @, without spaces or colons";
	case -EIO:
		return "the store could not write it: it ends with the process";
	default:
		return strerror(-r);
	}
}

static int report(struct admin_reply *out, int r, const char *good)
{
	admin_printf(out, "%s\n", r == 0 ? good : reason(r));
	return r;
}

/* What a new user or alias may be called; mistakes are taken for names otherwise.  A colon
 * would make two users of one HA1 (RFC 7616 3.4.2). */
static bool name_usable(struct span name)
{
	for (size_t i = 0; i < name.n; i++)
		if (strchr(" @:<>\"", name.p[i]))
			return false;
	return name.n > 0;
}

/* ---- users ---- */

static int user_store(struct home *h, struct span name, struct span password, bool must_exist,
		      struct durable *d)
{
	struct dir_user u = {.permissions = DIR_MAY_CALL_OUT};
	int known = dir_user_get(h->records, name, time_wall_ms(), &u);
	if (must_exist && known < 0)
		return known;
	if (!must_exist && known == 0)
		return -EEXIST;
	if (known < 0 && !name_usable(name))
		return -EINVAL;
	int r = auth_ha1_make(name, span_str(h->realm), password, &u.ha1);
	if (r < 0)
		return r;
	durable_expect(d);
	r = dir_user_put(h->records, name, &u, time_wall_ms(), durable_done, d);
	if (r < 0)
		durable_done(d, 0);
	return r;
}

static int user_write(struct home *h, char *name, struct span password, bool must_exist,
		      struct admin_reply *out)
{
	struct durable d = DURABLE_INIT;
	int r = user_store(h, span_str(name), password, must_exist, &d);
	int e = durable_wait(&d, 0);
	return report(out, r < 0 ? r : e, must_exist ? "changed" : "added");
}

static int run_user_add(void *arg, int argc, char **argv, struct span secret,
			struct admin_reply *out)
{
	(void)argc;
	return user_write(arg, argv[0], secret, false, out);
}

static int run_user_password(void *arg, int argc, char **argv, struct span secret,
			     struct admin_reply *out)
{
	(void)argc;
	return user_write(arg, argv[0], secret, true, out);
}

enum { IMPORT_WAITING_MAX = 10000 };

static int import_line(struct home *h, struct span line, struct durable *d)
{
	ptrdiff_t space = span_chr(line, ' ', 0);
	if (space <= 0)
		return -EINVAL;
	durable_wait(d, IMPORT_WAITING_MAX);
	struct span name = span_of(line.p, (size_t)space);
	struct span password = span_of(line.p + space + 1, line.n - (size_t)space - 1);
	int r = password.n ? user_store(h, name, password, false, d) : -EINVAL;
	return r == -EEXIST ? user_store(h, name, password, true, d) : r;
}

static int run_user_import(void *arg, int argc, char **argv, struct span in,
			   struct admin_reply *out)
{
	struct durable d = DURABLE_INIT;
	size_t number = 0, users = 0;
	int r = 0;
	(void)argc;
	(void)argv;
	while (in.n && r == 0) {
		ptrdiff_t end = span_chr(in, '\n', 0);
		size_t n = end < 0 ? in.n : (size_t)end;
		struct span line = span_trim(span_of(in.p, n));
		number++;
		if (line.n && (r = import_line(arg, line, &d)) == 0)
			users++;
		n += end >= 0;
		in = span_of(in.p + n, in.n - n);
	}
	int e = durable_wait(&d, 0);
	if (r < 0)
		admin_printf(out, "line %zu is not \"NAME PASSWORD\": %s\n", number, reason(r));
	admin_printf(out, "%zu %s\n", users, users == 1 ? "user" : "users");
	if (e < 0)
		admin_printf(out, "not all of them: %s\n", reason(e));
	return r < 0 ? r : e;
}

struct names {
	struct span user;
	char *p; /* names with a NUL behind each */
	size_t n;
	bool failed;
};

/* Under the lock: a copy. */
static bool gather_alias(void *arg, struct span alias, struct span user)
{
	struct names *v = arg;
	if (!span_eq(user, v->user))
		return true;
	char *p = realloc(v->p, v->n + alias.n + 1);
	if (!p) {
		v->failed = true;
		return false;
	}
	memcpy(p + v->n, alias.p, alias.n);
	p[v->n + alias.n] = '\0';
	v->p = p;
	v->n += alias.n + 1;
	return true;
}

/* A name must not come to somebody else who is given the user's name later. */
static int remove_aliases(struct home *h, struct span user, struct durable *d)
{
	struct names v = {.user = user};
	int r = 0;
	dir_alias_each(h->records, time_wall_ms(), gather_alias, &v);
	for (size_t at = 0; at < v.n && !v.failed && r == 0; at += strlen(v.p + at) + 1) {
		durable_expect(d);
		r = dir_alias_remove(h->records, span_str(v.p + at), time_wall_ms(),
				     durable_done, d);
		if (r < 0)
			durable_done(d, 0);
		if (r == -ENOENT)
			r = 0;
	}
	free(v.p);
	return v.failed ? -ENOMEM : r;
}

static int run_user_remove(void *arg, int argc, char **argv, struct span secret,
			   struct admin_reply *out)
{
	struct home *h = arg;
	struct durable d = DURABLE_INIT;
	struct span name = span_str(argv[0]);
	(void)argc;
	(void)secret;
	durable_expect(&d);
	int r = dir_user_remove(h->records, name, time_wall_ms(), durable_done, &d);
	if (r < 0)
		durable_done(&d, 0);
	if (r == 0)
		r = remove_aliases(h, name, &d);
	if (r == 0) {
		durable_expect(&d);
		int n = reg_drop(h->reg, name, span_of(NULL, 0), time_wall_ms(), durable_done,
				 &d);
		if (n <= 0)
			durable_done(&d, 0);
		r = n < 0 ? n : 0;
	}
	int e = durable_wait(&d, 0);
	return report(out, r < 0 ? r : e, "removed");
}

/* Reads "on" or "off", has `change` do it to the user's record, and writes that. */
static int user_switch(struct home *h, char **argv, struct admin_reply *out,
		       void (*change)(struct dir_user *u, bool on))
{
	struct durable d = DURABLE_INIT;
	struct dir_user u;
	struct span name = span_str(argv[0]);
	bool on = strcmp(argv[1], "on") == 0;
	if (!on && strcmp(argv[1], "off") != 0) {
		admin_printf(out, "say on or off\n");
		return -EINVAL;
	}
	int r = dir_user_get(h->records, name, time_wall_ms(), &u);
	if (r < 0)
		return report(out, r, "");
	change(&u, on);
	durable_expect(&d);
	r = durable_end(&d,
			dir_user_put(h->records, name, &u, time_wall_ms(), durable_done, &d));
	return report(out, r, "changed");
}

static uint32_t with_bit(uint32_t bits, uint32_t b, bool on)
{
	return on ? bits | b : bits & ~b;
}

static void set_redirect(struct dir_user *u, bool on)
{
	u->flags = with_bit(u->flags, DIR_REDIRECT, on);
}

static void set_enabled(struct dir_user *u, bool on)
{
	u->flags = with_bit(u->flags, DIR_DISABLED, !on);
}

static void set_outbound(struct dir_user *u, bool on)
{
	u->permissions = with_bit(u->permissions, DIR_MAY_CALL_OUT, on);
}

static int run_user_redirect(void *arg, int argc, char **argv, struct span secret,
			     struct admin_reply *out)
{
	(void)argc;
	(void)secret;
	return user_switch(arg, argv, out, set_redirect);
}

static int run_user_enabled(void *arg, int argc, char **argv, struct span secret,
			    struct admin_reply *out)
{
	(void)argc;
	(void)secret;
	return user_switch(arg, argv, out, set_enabled);
}

static int run_user_outbound(void *arg, int argc, char **argv, struct span secret,
			     struct admin_reply *out)
{
	(void)argc;
	(void)secret;
	return user_switch(arg, argv, out, set_outbound);
}

static bool show_user(void *arg, struct span name, const struct dir_user *u)
{
	admin_printf(arg, "%.*s%s%s%s\n", SPAN_FMT(name),
		     u->flags & DIR_REDIRECT ? " redirect" : "",
		     u->flags & DIR_DISABLED ? " disabled" : "",
		     u->permissions & DIR_MAY_CALL_OUT ? "" : " no-outbound");
	return true;
}

static int run_user_list(void *arg, int argc, char **argv, struct span secret,
			 struct admin_reply *out)
{
	struct home *h = arg;
	(void)argc;
	(void)argv;
	(void)secret;
	dir_user_each(h->records, time_wall_ms(), show_user, out);
	admin_sort_lines(out);
	return 0;
}

/* ---- aliases ---- */

static int run_alias_add(void *arg, int argc, char **argv, struct span secret,
			 struct admin_reply *out)
{
	struct home *h = arg;
	struct durable d = DURABLE_INIT;
	struct span alias = span_str(argv[0]), user = span_str(argv[1]);
	char owner[DIR_NAME_MAX_BYTES + 1];
	(void)argc;
	(void)secret;
	if (!name_usable(alias))
		return report(out, -EINVAL, "");
	/* Calls must not come to somebody else by a slip of the keyboard. */
	int n = dir_resolve(h->records, alias, time_wall_ms(), owner, NULL);
	if (n > 0 && !span_eq(span_of(owner, (size_t)n), alias) &&
	    !span_eq(span_of(owner, (size_t)n), user)) {
		admin_printf(out, "taken: a name of %s; remove it first\n", owner);
		return -EEXIST;
	}
	durable_expect(&d);
	int r = durable_end(
		&d, dir_alias_put(h->records, alias, user, time_wall_ms(), durable_done, &d));
	return report(out, r, "added");
}

static int run_alias_remove(void *arg, int argc, char **argv, struct span secret,
			    struct admin_reply *out)
{
	struct home *h = arg;
	struct durable d = DURABLE_INIT;
	(void)argc;
	(void)secret;
	durable_expect(&d);
	int r = durable_end(&d, dir_alias_remove(h->records, span_str(argv[0]), time_wall_ms(),
						 durable_done, &d));
	if (r == -ENOENT) {
		admin_printf(out, "no such alias\n");
		return r;
	}
	return report(out, r, "removed");
}

static bool show_alias(void *arg, struct span alias, struct span user)
{
	admin_printf(arg, "%.*s %.*s\n", SPAN_FMT(alias), SPAN_FMT(user));
	return true;
}

static int run_alias_list(void *arg, int argc, char **argv, struct span secret,
			  struct admin_reply *out)
{
	struct home *h = arg;
	(void)argc;
	(void)argv;
	(void)secret;
	dir_alias_each(h->records, time_wall_ms(), show_alias, out);
	admin_sort_lines(out);
	return 0;
}

/* ---- registrations ---- */

/* What a phone says of itself goes to a terminal: as letters, not as commands to it. */
static int harmless(struct span s, char *out, size_t room)
{
	size_t n = s.n < room ? s.n : room;
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		out[i] = c < ' ' || c == 0x7f || c == '"' ? '?' : s.p[i];
	}
	return (int)n;
}

static bool show_binding(void *arg, const struct reg_binding *b)
{
	char flow[ADDR_TEXT_MAX] = "-", agent[128];
	int agent_n = harmless(b->user_agent, agent, sizeof(agent));
	uint64_t now = time_wall_ms();
	uint64_t left = b->expires_ms > now ? (b->expires_ms - now) / 1000 : 0;
	if (b->has_flow)
		addr_text(&b->flow.remote, flow);
	admin_printf(arg, "%.*s %.*s q=%u.%03u expires=%llu via=%s/%s agent=\"%.*s\"\n",
		     SPAN_FMT(b->user), SPAN_FMT(b->contact), b->q / 1000, b->q % 1000,
		     (unsigned long long)left,
		     b->has_flow ? sip_transport_uri(b->flow.transport) : "-", flow, agent_n,
		     agent);
	return true;
}

static int run_reg_list(void *arg, int argc, char **argv, struct span secret,
			struct admin_reply *out)
{
	struct home *h = arg;
	struct span user = argc > 0 ? span_str(argv[0]) : span_of(NULL, 0);
	(void)secret;
	reg_each(h->reg, user, time_wall_ms(), show_binding, out);
	admin_sort_lines(out);
	return 0;
}

static int run_reg_drop(void *arg, int argc, char **argv, struct span secret,
			struct admin_reply *out)
{
	struct home *h = arg;
	struct durable d = DURABLE_INIT;
	struct span contact = argc > 1 ? span_str(argv[1]) : span_of(NULL, 0);
	(void)secret;
	durable_expect(&d);
	int n = reg_drop(h->reg, span_str(argv[0]), contact, time_wall_ms(), durable_done, &d);
	if (n <= 0)
		durable_done(&d, 0);
	int e = durable_wait(&d, 0);
	if (n < 0)
		return report(out, n, "");
	admin_printf(out, "%d dropped\n", n);
	return n ? e : -ENOENT;
}

const struct admin_command home_commands[HOME_COMMANDS] = {
	{.name = "user add",
	 .args = "NAME",
	 .help = "a new user",
	 .secret = true,
	 .run = run_user_add},
	{.name = "user password",
	 .args = "NAME",
	 .help = "a new password",
	 .secret = true,
	 .run = run_user_password},
	{.name = "user import",
	 .args = "",
	 .help = "users or new passwords, a line \"NAME PASSWORD\" each",
	 .bulk = true,
	 .run = run_user_import},
	{.name = "user remove",
	 .args = "NAME",
	 .help = "a user, his aliases and registrations",
	 .run = run_user_remove},
	{.name = "user redirect",
	 .args = "NAME on|off",
	 .help = "his callers are redirected (302), or not",
	 .run = run_user_redirect},
	{.name = "user outbound",
	 .args = "NAME on|off",
	 .help = "may call other domains, or not",
	 .run = run_user_outbound},
	{.name = "user enabled",
	 .args = "NAME on|off",
	 .help = "off: neither registers, calls nor is called",
	 .run = run_user_enabled},
	{.name = "user list", .args = "", .help = "all users", .run = run_user_list},
	{.name = "alias add",
	 .args = "ALIAS NAME",
	 .help = "another name for a user",
	 .run = run_alias_add},
	{.name = "alias remove",
	 .args = "ALIAS",
	 .help = "takes a name away",
	 .run = run_alias_remove},
	{.name = "alias list", .args = "", .help = "all aliases", .run = run_alias_list},
	{.name = "registration list",
	 .args = "[NAME]",
	 .help = "registered contacts",
	 .run = run_reg_list},
	{.name = "registration drop",
	 .args = "NAME [CONTACT]",
	 .help = "removes all, or one contact",
	 .run = run_reg_drop},
};
