/*
 * The operator's commands of a home: registrations, and who has guessed too often.
 */
#include "home/home_priv.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>

/* ---- registrations ---- */

/* What a phone says of itself goes to a terminal: as letters, not as commands to it, which are
 * above ASCII too (U+009B). */
static int harmless(struct span s, char *out, size_t room)
{
	size_t n = s.n < room ? s.n : room;
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		out[i] = c < ' ' || c >= 0x7f || c == '"' ? '?' : s.p[i];
	}
	return (int)n;
}

/* "udp/192.0.2.7:5060", "udp/e1" for a phone behind an edge, or "-". */
static void show_way(struct admin_reply *out, const struct reg_binding *b)
{
	char text[ADDR_TEXT_MAX], leg[8];
	struct span edge = flow_path_param(b->path, ";m="),
		    by = flow_path_param(b->path, ";leg=");
	if (b->has_flow) {
		addr_text(&b->flow.remote, text);
		admin_printf(out, " via=%s/%s", sip_transport_uri(b->flow.transport), text);
	} else if (edge.n) {
		int n = harmless(by, leg, sizeof(leg));
		admin_printf(out, " via=%.*s/%.*s", n, leg, harmless(edge, text, sizeof(text)),
			     text);
	} else {
		admin_printf(out, " via=-");
	}
}

static bool show_binding(void *arg, const struct reg_binding *b)
{
	char agent[128];
	int agent_n = harmless(b->user_agent, agent, sizeof(agent));
	uint64_t now = time_wall_ms();
	uint64_t left = b->expires_ms > now ? (b->expires_ms - now) / 1000 : 0;
	admin_printf(arg, "%.*s %.*s q=%u.%03u expires=%llu", SPAN_FMT(b->user),
		     SPAN_FMT(b->contact), b->q / 1000, b->q % 1000, (unsigned long long)left);
	show_way(arg, b);
	admin_printf(arg, " agent=\"%.*s\"\n", agent_n, agent);
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
	struct app_durable d = APP_DURABLE_INIT;
	struct span contact = argc > 1 ? span_str(argv[1]) : span_of(NULL, 0);
	(void)secret;
	app_durable_expect(&d);
	int n = reg_drop(h->reg, span_str(argv[0]), contact, time_wall_ms(), app_durable_done,
			 &d);
	if (n <= 0)
		app_durable_done(&d, 0);
	int e = app_durable_wait(&d, 0);
	if (n < 0) {
		admin_printf(out, "%s\n", strerror(-n));
		return n;
	}
	admin_printf(out, "%d dropped\n", n);
	return n ? e : -ENOENT;
}

/* ---- locks ---- */

enum { LOCKS_SHOWN = 1000 };

struct locks {
	struct admin_reply *out;
	unsigned shown, more;
};

static void show_lock(void *arg, const struct guard_lock *l)
{
	char source[ADDR_TEXT_MAX], user[GUARD_NAME_MAX_BYTES];
	struct locks *s = arg;
	if (s->shown == LOCKS_SHOWN) {
		s->more++;
		return;
	}
	s->shown++;
	guard_source_text(&l->source, source);
	admin_printf(s->out, "source=%s", source);
	if (l->user.p)
		admin_printf(s->out, " user=\"%.*s\"", harmless(l->user, user, sizeof(user)),
			     user);
	admin_printf(s->out, " failures=%u left=%llus\n", l->failures,
		     (unsigned long long)(l->left_ms + 999) / 1000);
}

/* As a log has it, with a port. */
static bool is_source(struct span word, struct addr_net *ret)
{
	if (addr_net_parse(ret, word) == 0)
		return true;
	size_t n = word.n;
	while (n && isdigit((unsigned char)word.p[n - 1]))
		n--;
	return n > 1 && n < word.n && word.p[n - 1] == ':' &&
	       addr_net_parse(ret, span_of(word.p, n - 1)) == 0;
}

/* A name may look like an address: it is both then. */
static struct guard_whose whose_locks(const char *word, struct addr_net *net)
{
	return (struct guard_whose){
		.user = span_str(word),
		.net = is_source(span_str(word), net) ? net : NULL,
	};
}

static int run_auth_locks(void *arg, int argc, char **argv, struct span secret,
			  struct admin_reply *out)
{
	struct home *h = arg;
	struct locks s = {.out = out};
	struct guard_whose whose = {.net = NULL};
	struct addr_net net;
	(void)secret;
	if (argc > 0)
		whose = whose_locks(argv[0], &net);
	guard_each(h->guard, whose, time_now(), show_lock, &s);
	admin_sort_lines(out);
	if (s.more)
		admin_printf(out, "and %u more: name a user or an address\n", s.more);
	return 0;
}

static int run_auth_unlock(void *arg, int argc, char **argv, struct span secret,
			   struct admin_reply *out)
{
	struct home *h = arg;
	struct addr_net net;
	unsigned n = guard_lift(h->guard, whose_locks(argv[0], &net), time_now());
	(void)argc;
	(void)secret;
	if (n == 0) {
		admin_printf(out, "no lock of that user or address is here; a source may be "
				  "locked for all its users (auth locks)\n");
		return -ENOENT;
	}
	admin_printf(out, "%u lifted\n", n);
	return 0;
}

const struct admin_command home_commands[HOME_COMMANDS] = {
	{.name = "registration list",
	 .args = "[NAME]",
	 .help = "registered contacts",
	 .run = run_reg_list},
	{.name = "registration drop",
	 .args = "NAME [CONTACT]",
	 .help = "removes all, or one contact",
	 .run = run_reg_drop},
	{.name = "auth locks",
	 .args = "[USER|ADDRESS]",
	 .help = "who is locked out after wrong passwords",
	 .run = run_auth_locks},
	{.name = "auth unlock",
	 .args = "USER|ADDRESS",
	 .help = "lets him, or that source or network, try again",
	 .run = run_auth_unlock},
};
