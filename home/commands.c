/*
 * The operator's commands of a home: registrations.
 */
#include "home/home_priv.h"

#include <errno.h>
#include <stdio.h>

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

const struct admin_command home_commands[HOME_COMMANDS] = {
	{.name = "registration list",
	 .args = "[NAME]",
	 .help = "registered contacts",
	 .run = run_reg_list},
	{.name = "registration drop",
	 .args = "NAME [CONTACT]",
	 .help = "removes all, or one contact",
	 .run = run_reg_drop},
};
