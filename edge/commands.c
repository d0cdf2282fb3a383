/*
 * The operator's commands for the directory: users, aliases.  A command answers when what it
 * did is durable.  Passwords come as secret input and leave here as HA1.
 */
#include "edge/edge_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

const char *edge_reason(const struct edge *e, int r)
{
	char why[APP_WHY_MAX];
	switch (r) {
	case -ENOENT:
		return "no such user";
	case -EEXIST:
		return "the name is taken";
	case -EINVAL:
		return "not a usable name: what stands before the @, without spaces or colons";
	case -EIO:
		return app_redis_away(e->app, why)
			       ? "done at this edge alone"
			       : "the store could not write it: it ends with the process";
	case -EAGAIN:
		return "changed at the other edge at the same time: look, and do it again";
	default:
		return strerror(-r);
	}
}

/* Done: in a second place, which was not Redis; -EIO: nowhere else. */
void edge_tell_away(const struct edge *e, struct admin_reply *out, int r)
{
	char why[APP_WHY_MAX];
	if ((r == 0 || r == -EIO) && app_redis_away(e->app, why))
		admin_printf(out, "Redis is away (%s) and gets this when it is back: %s\n", why,
			     r == 0 ? "until then the other edge has it"
				    : "if this edge ends before, it is lost");
}

static int report(const struct edge *e, struct admin_reply *out, int r, const char *good)
{
	admin_printf(out, "%s\n", r == 0 ? good : edge_reason(e, r));
	edge_tell_away(e, out, r);
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

int edge_user_store(struct edge *e, struct span name, struct span password, const char *home,
		    bool must_exist, void (*done)(void *arg, int error), void *arg)
{
	struct dir_user u = {.permissions = DIR_MAY_CALL_OUT};
	int known = dir_user_get(e->records, name, time_wall_ms(), &u);
	if (must_exist && known < 0)
		return known;
	if (!must_exist && known == 0)
		return -EEXIST;
	if (known < 0 && !name_usable(name))
		return -EINVAL;
	if (known < 0)
		snprintf(u.home, sizeof(u.home), "%s", home ? home : edge_home_for(e, name));
	int r = auth_ha1_make(name, span_str(e->realm), password, &u.ha1);
	return r < 0 ? r : dir_user_put(e->records, name, &u, time_wall_ms(), done, arg);
}

static int no_home(struct admin_reply *out)
{
	admin_printf(out, "no such pair of homes\n");
	return -EINVAL;
}

static int user_write(struct edge *e, char *name, struct span password, const char *home,
		      bool must_exist, struct admin_reply *out)
{
	struct app_durable d = APP_DURABLE_INIT;
	if (home && !*edge_home_named(e, span_str(home)))
		return no_home(out);
	app_durable_expect(&d);
	int r = app_durable_end(&d, edge_user_store(e, span_str(name), password, home,
						    must_exist, app_durable_done, &d));
	return report(e, out, r, must_exist ? "changed" : "added");
}

static int run_user_add(void *arg, int argc, char **argv, struct span secret,
			struct admin_reply *out)
{
	return user_write(arg, argv[0], secret, argc > 1 ? argv[1] : NULL, false, out);
}

static int run_user_password(void *arg, int argc, char **argv, struct span secret,
			     struct admin_reply *out)
{
	(void)argc;
	return user_write(arg, argv[0], secret, NULL, true, out);
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
static int remove_aliases(struct edge *e, struct span user, struct app_durable *d)
{
	struct names v = {.user = user};
	int r = 0;
	dir_alias_each(e->records, time_wall_ms(), gather_alias, &v);
	for (size_t at = 0; at < v.n && !v.failed && r == 0; at += strlen(v.p + at) + 1) {
		app_durable_expect(d);
		r = dir_alias_remove(e->records, span_str(v.p + at), time_wall_ms(),
				     app_durable_done, d);
		if (r < 0)
			app_durable_done(d, 0);
		if (r == -ENOENT)
			r = 0;
	}
	free(v.p);
	return v.failed ? -ENOMEM : r;
}

static int run_user_remove(void *arg, int argc, char **argv, struct span secret,
			   struct admin_reply *out)
{
	struct edge *e = arg;
	struct app_durable d = APP_DURABLE_INIT;
	struct span name = span_str(argv[0]);
	(void)argc;
	(void)secret;
	app_durable_expect(&d);
	int r = dir_user_remove(e->records, name, time_wall_ms(), app_durable_done, &d);
	if (r < 0)
		app_durable_done(&d, 0);
	if (r == 0)
		r = remove_aliases(e, name, &d);
	int error = app_durable_wait(&d, 0);
	return report(e, out, r < 0 ? r : error, "removed");
}

/* Reads "on" or "off", has `change` do it to the user's record, and writes that. */
static int user_switch(struct edge *e, char **argv, struct admin_reply *out,
		       void (*change)(struct dir_user *u, bool on))
{
	struct app_durable d = APP_DURABLE_INIT;
	struct dir_user u;
	struct span name = span_str(argv[0]);
	bool on = strcmp(argv[1], "on") == 0;
	if (!on && strcmp(argv[1], "off") != 0) {
		admin_printf(out, "say on or off\n");
		return -EINVAL;
	}
	int r = dir_user_get(e->records, name, time_wall_ms(), &u);
	if (r < 0)
		return report(e, out, r, "");
	change(&u, on);
	app_durable_expect(&d);
	r = app_durable_end(
		&d, dir_user_put(e->records, name, &u, time_wall_ms(), app_durable_done, &d));
	return report(e, out, r, "changed");
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

static int run_user_home(void *arg, int argc, char **argv, struct span secret,
			 struct admin_reply *out)
{
	struct edge *e = arg;
	struct app_durable d = APP_DURABLE_INIT;
	struct span name = span_str(argv[0]);
	struct dir_user u;
	(void)argc;
	(void)secret;
	if (!*edge_home_named(e, span_str(argv[1])))
		return no_home(out);
	int r = dir_user_get(e->records, name, time_wall_ms(), &u);
	if (r < 0)
		return report(e, out, r, "");
	snprintf(u.home, sizeof(u.home), "%s", argv[1]);
	app_durable_expect(&d);
	r = app_durable_end(
		&d, dir_user_put(e->records, name, &u, time_wall_ms(), app_durable_done, &d));
	return report(e, out, r, "changed");
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
	admin_printf(arg, "%.*s%s%s%s%s%s\n", SPAN_FMT(name), *u->home ? " home=" : "", u->home,
		     u->flags & DIR_REDIRECT ? " redirect" : "",
		     u->flags & DIR_DISABLED ? " disabled" : "",
		     u->permissions & DIR_MAY_CALL_OUT ? "" : " no-outbound");
	return true;
}

static int run_user_list(void *arg, int argc, char **argv, struct span secret,
			 struct admin_reply *out)
{
	struct edge *e = arg;
	(void)argc;
	(void)argv;
	(void)secret;
	dir_user_each(e->records, time_wall_ms(), show_user, out);
	admin_sort_lines(out);
	return 0;
}

/* ---- aliases ---- */

static int run_alias_add(void *arg, int argc, char **argv, struct span secret,
			 struct admin_reply *out)
{
	struct edge *e = arg;
	struct app_durable d = APP_DURABLE_INIT;
	struct span alias = span_str(argv[0]), user = span_str(argv[1]);
	char owner[DIR_NAME_MAX_BYTES + 1];
	(void)argc;
	(void)secret;
	if (!name_usable(alias))
		return report(e, out, -EINVAL, "");
	/* Calls must not come to somebody else by a slip of the keyboard. */
	int n = dir_resolve(e->records, alias, time_wall_ms(), owner, NULL);
	if (n > 0 && !span_eq(span_of(owner, (size_t)n), alias) &&
	    !span_eq(span_of(owner, (size_t)n), user)) {
		admin_printf(out, "taken: a name of %s; remove it first\n", owner);
		return -EEXIST;
	}
	app_durable_expect(&d);
	int r = app_durable_end(&d, dir_alias_put(e->records, alias, user, time_wall_ms(),
						  app_durable_done, &d));
	return report(e, out, r, "added");
}

static int run_alias_remove(void *arg, int argc, char **argv, struct span secret,
			    struct admin_reply *out)
{
	struct edge *e = arg;
	struct app_durable d = APP_DURABLE_INIT;
	(void)argc;
	(void)secret;
	app_durable_expect(&d);
	int r = app_durable_end(&d, dir_alias_remove(e->records, span_str(argv[0]),
						     time_wall_ms(), app_durable_done, &d));
	if (r == -ENOENT) {
		admin_printf(out, "no such alias\n");
		return r;
	}
	return report(e, out, r, "removed");
}

static bool show_alias(void *arg, struct span alias, struct span user)
{
	admin_printf(arg, "%.*s %.*s\n", SPAN_FMT(alias), SPAN_FMT(user));
	return true;
}

static int run_alias_list(void *arg, int argc, char **argv, struct span secret,
			  struct admin_reply *out)
{
	struct edge *e = arg;
	(void)argc;
	(void)argv;
	(void)secret;
	dir_alias_each(e->records, time_wall_ms(), show_alias, out);
	admin_sort_lines(out);
	return 0;
}

const struct admin_command edge_commands[EDGE_COMMANDS] = {
	{.name = "user add",
	 .args = "NAME [HOME]",
	 .help = "a new user, at a pair of homes (by his name where none is given)",
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
	 .run = edge_import},
	{.name = "user remove",
	 .args = "NAME",
	 .help = "a user, his aliases and registrations",
	 .run = run_user_remove},
	{.name = "user home",
	 .args = "NAME HOME",
	 .help = "moves him to another pair of homes",
	 .run = run_user_home},
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
};
