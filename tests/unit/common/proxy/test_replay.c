/*
 * Runs every tests/replay/ *.replay (format: tests/replay/README.md) against the real
 * transaction layer and proxy.
 */
#include "tests/unit/common/proxy/pattern.h"
#include "tests/unit/common/proxy/world.h"

#include <ctype.h>
#include <glob.h>

static glob_t files;

struct replay {
	const char *file;
	int line;
	FILE *in;
	struct world *w;
	struct vars vars;
	char text[4096]; /* the line at hand */
	char *kept[256]; /* what targets and options point into */
	unsigned nkept;
};

#define FAIL(r, ...)                                                   \
	do {                                                           \
		char why_[16384];                                      \
		snprintf(why_, sizeof(why_), __VA_ARGS__);             \
		ck_abort_msg("%s:%d: %s", (r)->file, (r)->line, why_); \
	} while (0)

static bool next_line(struct replay *r)
{
	if (!fgets(r->text, sizeof(r->text), r->in))
		return false;
	r->line++;
	r->text[strcspn(r->text, "\r\n")] = '\0';
	return true;
}

static char *keep(struct replay *r, char *s)
{
	ck_assert(r->nkept < 256);
	r->kept[r->nkept++] = s;
	return s;
}

/* The block behind the line: lines between "<<<" and ">>>", each with "\n".  Without one: "".
 */
static char *block(struct replay *r)
{
	char *out = calloc(1, 65536);
	size_t n = 0;
	long at = ftell(r->in);
	if (!next_line(r) || strcmp(r->text, "<<<") != 0) {
		fseek(r->in, at, SEEK_SET);
		r->line--;
		return keep(r, out);
	}
	while (next_line(r) && strcmp(r->text, ">>>") != 0)
		n += (size_t)sprintf(out + n, "%s\n", r->text);
	return keep(r, out);
}

/* ---- coming in ---- */

static bool has_field(const char *lines, const char *name)
{
	size_t n = strlen(name);
	for (const char *p = lines; p; p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL)
		if (strncasecmp(p, name, n) == 0 && p[n] == ':')
			return true;
	return false;
}

/* What a request must have and the scenario leaves out. */
static void add_missing(char *out, const char *lines, const char *from)
{
	char method[64] = "", transport[8] = "";
	const char *host = strchr(from, ':') + 1;
	sscanf(lines, "%63s", method);
	for (int i = 0; i < 7 && from[i] != ':'; i++)
		transport[i] = (char)toupper((unsigned char)from[i]);
	if (!has_field(lines, "Via"))
		sprintf(out + strlen(out), "Via: SIP/2.0/%s %s;branch=z9hG4bKa1\r\n", transport,
			host);
	if (!has_field(lines, "From"))
		strcat(out, "From: <sip:alice@example.org>;tag=a\r\n");
	if (!has_field(lines, "To"))
		strcat(out, "To: <sip:bob@example.com>\r\n");
	if (!has_field(lines, "Call-ID"))
		strcat(out, "Call-ID: c1@example.org\r\n");
	if (!has_field(lines, "CSeq"))
		sprintf(out + strlen(out), "CSeq: 1 %s\r\n", method);
	if (!has_field(lines, "Max-Forwards") && !strstr(lines, "!Max-Forwards"))
		strcat(out, "Max-Forwards: 70\r\n");
}

static void cmd_recv(struct replay *r, char *args)
{
	char from[80] = "";
	int listener = -1;
	sscanf(args, "%79s %d", from, &listener);
	char *lines = vars_expand(&r->vars, block(r));
	char *out = calloc(1, 65536);
	const char *body = strstr(lines, "\n\n");
	const char *end = body ? body + 1 : lines + strlen(lines);
	for (const char *p = lines; p < end;) {
		const char *nl = strchr(p, '\n');
		if (*p != '!')
			sprintf(out + strlen(out), "%.*s\r\n", (int)(nl - p), p);
		p = nl + 1;
		if (p - lines == nl - lines + 1 && nl == strchr(lines, '\n') &&
		    strncmp(lines, "SIP/2.0", 7) != 0)
			add_missing(out, lines, from);
	}
	body = body ? body + 2 : "";
	if (!has_field(lines, "Content-Length") && !strstr(lines, "!Content-Length"))
		sprintf(out + strlen(out), "Content-Length: %zu\r\n", strlen(body));
	strcat(out, "\r\n");
	strcat(out, body);
	struct sip_flow f = world_flow(from, 0);
	f.listener = listener >= 0			? (uint16_t)listener
		     : f.transport == SIP_TRANSPORT_UDP ? 0
		     : f.transport == SIP_TRANSPORT_TCP ? 1
							: 2;
	world_recv(r->w, out, &f);
	free(out);
	free(lines);
}

/* The last request of that method sent there. */
static const struct sent *last_request(const struct replay *r, const char *to,
				       const char *method)
{
	size_t n = strlen(method);
	for (unsigned i = r->w->nsent; i-- > 0;) {
		const struct sent *s = &r->w->sent[i];
		if (strcmp(s->to, to) == 0 && strncmp(s->text, method, n) == 0 &&
		    s->text[n] == ' ')
			return s;
	}
	return NULL;
}

/* answer FROM METHOD STATUS: the response that a plain user agent would give. */
static void cmd_answer(struct replay *r, char *args)
{
	static const char *const copied[] = {
		"Via:", "From:", "To:", "Call-ID:", "CSeq:", "Record-Route:"};
	char from[80] = "", method[32] = "", tag[80], out[16384];
	int status = 0;
	sscanf(args, "%79s %31s %d", from, method, &status);
	snprintf(tag, sizeof(tag), "t-%s", strrchr(from, ':') + 1);
	const struct sent *s = last_request(r, from, method);
	if (!s)
		FAIL(r, "no %s went to %s", method, from);
	size_t n = (size_t)sprintf(out, "SIP/2.0 %d Because\r\n", status);
	for (const char *p = strstr(s->text, "\r\n") + 2; strncmp(p, "\r\n", 2) != 0;
	     p = strstr(p, "\r\n") + 2) {
		int len = (int)(strstr(p, "\r\n") - p);
		for (unsigned i = 0; i < sizeof(copied) / sizeof(copied[0]); i++) {
			if (strncmp(p, copied[i], strlen(copied[i])) != 0)
				continue;
			n += (size_t)sprintf(out + n, "%.*s", len, p);
			if (i == 2 && status > 100 && !memmem(p, (size_t)len, ";tag=", 5))
				n += (size_t)sprintf(out + n, ";tag=%s", tag);
			n += (size_t)sprintf(out + n, "\r\n");
		}
	}
	char *extra = vars_expand(&r->vars, block(r));
	for (const char *p = extra; *p; p = strchr(p, '\n') + 1)
		n += (size_t)sprintf(out + n, "%.*s\r\n", (int)strcspn(p, "\n"), p);
	sprintf(out + n, "Content-Length: 0\r\n\r\n");
	free(extra);
	struct sip_flow f = world_flow(from, s->listener);
	world_recv(r->w, out, &f);
}

/* ---- going out ---- */

/* The nth field of a name, from 0, as a whole line. */
static bool nth_field(const char *msg, struct span name, unsigned nth, struct span *ret)
{
	const char *p = strstr(msg, "\r\n") + 2;
	for (; strncmp(p, "\r\n", 2) != 0; p = strstr(p, "\r\n") + 2) {
		struct span line = span_of(p, (size_t)(strstr(p, "\r\n") - p));
		if (line.n > name.n && line.p[name.n] == ':' &&
		    span_ieq(span_of(p, name.n), name) && nth-- == 0) {
			*ret = line;
			return true;
		}
	}
	return false;
}

static void match_lines(struct replay *r, const struct sent *s, char *lines)
{
	struct span seen[64], line;
	unsigned nseen = 0;
	bool first = true;
	for (char *p = strtok(lines, "\n"); p; p = strtok(NULL, "\n"), first = false) {
		if (first) {
			line = span_of(s->text, strcspn(s->text, "\r"));
			if (!pattern_match(&r->vars, p, line))
				FAIL(r, "got \"%.*s\", not \"%s\"", SPAN_FMT(line), p);
			continue;
		}
		bool absent = *p == '!';
		struct span name = span_of(p + absent, strcspn(p + absent, ":"));
		unsigned nth = 0;
		for (unsigned i = 0; i < nseen; i++)
			nth += span_ieq(seen[i], name);
		if (absent) {
			if (nth_field(s->text, name, nth, &line))
				FAIL(r, "unwanted \"%.*s\"", SPAN_FMT(line));
			continue;
		}
		ck_assert(nseen < 64);
		seen[nseen++] = name;
		if (!nth_field(s->text, name, nth, &line))
			FAIL(r, "no \"%s\" in\n%s", p, s->text);
		if (!pattern_match(&r->vars, p, line))
			FAIL(r, "got \"%.*s\", not \"%s\"", SPAN_FMT(line), p);
	}
}

static void cmd_expect(struct replay *r, char *args)
{
	struct world *w = r->w;
	if (strcmp(args, "nothing") == 0) {
		for (unsigned i = 0; i < w->nsent; i++)
			if (!w->sent[i].seen)
				FAIL(r, "sent to %s:\n%s", w->sent[i].to, w->sent[i].text);
		return;
	}
	for (unsigned i = 0; i < w->nsent; i++) {
		struct sent *s = &w->sent[i];
		if (s->seen || strcmp(s->to, args) != 0)
			continue;
		s->seen = true;
		match_lines(r, s, block(r));
		return;
	}
	FAIL(r, "nothing was sent to %s", args);
}

static void cmd_ignore(struct replay *r, char *args)
{
	(void)args;
	for (unsigned i = 0; i < r->w->nsent; i++)
		r->w->sent[i].seen = true;
}

/* ---- setting the scene ---- */

static void cmd_config(struct replay *r, char *args)
{
	struct proxy_conf *c = &r->w->conf;
	char name[64] = "";
	unsigned v = 0;
	sscanf(args, "%63s %u", name, &v);
	if (strcmp(name, "timer_c_ms") == 0)
		c->timer_c_ms = v;
	else if (strcmp(name, "serial_group_ms") == 0)
		c->serial_group_ms = v;
	else if (strcmp(name, "max_breadth") == 0)
		c->max_breadth = v;
	else if (strcmp(name, "max_targets") == 0)
		c->max_targets = v;
	else if (strcmp(name, "recurse_3xx") == 0)
		c->recurse_3xx = v;
	else if (strcmp(name, "record_route") == 0)
		c->record_route = v;
	else if (strcmp(name, "transactions") == 0)
		r->w->txn_limit = v;
	else if (strcmp(name, "stateless") == 0)
		r->w->stateless = v;
	else if (strcmp(name, "journal") == 0)
		r->w->opts.journal = v ? &r->w->forks.journal : NULL;
	else if (strcmp(name, "journal_later") == 0)
		r->w->forks.later = v;
	else if (strcmp(name, "no_follow") == 0)
		r->w->no_follow = v;
	else
		FAIL(r, "no such setting: %s", name);
}

static void cmd_target(struct replay *r, char *args)
{
	struct world *w = r->w;
	if (strcmp(args, "none") == 0) {
		w->ntargets = 0;
		return;
	}
	struct proxy_target t = {.q = 1000};
	char *copy = keep(r, strdup(args));
	for (char *p = strtok(copy, " "); p; p = strtok(NULL, " ")) {
		if (strncmp(p, "q=", 2) == 0)
			sip_qvalue_parse(span_str(p + 2), &t.q);
		else if (strncmp(p, "route=", 6) == 0)
			t.route = span_str(p + 6);
		else if (strncmp(p, "user=", 5) == 0)
			t.record_user = span_str(p + 5);
		else if (strncmp(p, "tag=", 4) == 0)
			t.tag = strtoull(p + 4, NULL, 10);
		else if (strncmp(p, "flow=", 5) == 0) {
			t.has_flow = true;
			t.flow = world_flow(p + 5, strncmp(p + 5, "udp", 3) ? 1 : 0);
		} else if (strcmp(p, "keep") == 0)
			t.flags |= PROXY_TARGET_KEEP_URI;
		else if (strcmp(p, "above") == 0)
			t.flags |= PROXY_TARGET_NAMED_ABOVE;
		else if (strcmp(p, "spare") == 0)
			t.flags |= PROXY_TARGET_SPARE;
		else
			t.uri = span_str(p);
	}
	ck_assert(w->ntargets < TARGETS_MAX);
	w->targets[w->ntargets++] = t;
}

/* resolve HOST [later] ADDRESS... | resolve HOST [later] error ENOENT|ETIMEDOUT|EIO */
static void cmd_resolve(struct replay *r, char *args)
{
	struct name *n = &r->w->names[r->w->nnames++];
	ck_assert(r->w->nnames <= NAMES_MAX);
	char *p = strtok(args, " ");
	snprintf(n->host, sizeof(n->host), "%s", p);
	while ((p = strtok(NULL, " "))) {
		if (strcmp(p, "later") == 0) {
			n->later = true;
		} else if (strcmp(p, "error") == 0) {
			p = strtok(NULL, " ");
			n->error = strcmp(p, "ENOENT") == 0	 ? -ENOENT
				   : strcmp(p, "ETIMEDOUT") == 0 ? -ETIMEDOUT
								 : -EIO;
		} else {
			struct sip_flow f = world_flow(p, 0);
			n->r.v[n->r.n++] = (struct locate_target){f.transport, f.remote};
		}
	}
}

/* The answer to what was asked of HOST is there. */
static void cmd_resolved(struct replay *r, char *args)
{
	struct world *w = r->w;
	for (unsigned i = 0; i < w->nlater; i++) {
		struct later *l = &w->later[i];
		if (!l->live || strcmp(l->name->host, args) != 0)
			continue;
		l->live = false;
		l->done(l->arg, l->name->error, &l->name->r);
		arena_reset(&w->arena);
		return;
	}
	FAIL(r, "nobody asks for %s", args);
}

static void cmd_option(struct replay *r, char *args)
{
	struct proxy_opts *o = &r->w->opts;
	char *copy = keep(r, strdup(args));
	if (strncmp(copy, "strip ", 6) == 0)
		o->strip |= UINT64_C(1) << sip_hdr_kind_of(span_str(copy + 6));
	else if (strncmp(copy, "user ", 5) == 0)
		o->record_user = span_str(copy + 5);
	else if (strncmp(copy, "line ", 5) == 0) {
		char *line = keep(r, malloc(strlen(copy) + 8));
		sprintf(line, "%s\r\n", copy + 5);
		o->lines = span_str(line);
	} else
		FAIL(r, "no such option: %s", copy);
}

static void cmd_advance(struct replay *r, char *args)
{
	world_advance(r->w, strtoull(args, NULL, 10));
}

/* What was sent there last cannot be delivered. */
static void cmd_fail(struct replay *r, char *args)
{
	for (unsigned i = r->w->nsent; i-- > 0;) {
		const struct sent *s = &r->w->sent[i];
		if (strcmp(s->to, args) != 0 || !s->txn_id)
			continue;
		txn_transport_error(r->w->tt, s->txn_id, r->w->now);
		arena_reset(&r->w->arena);
		return;
	}
	FAIL(r, "nothing went to %s", args);
}

static void cmd_moved(struct replay *r, char *args)
{
	char *tag = strtok(args, " "), *flow = strtok(NULL, " ");
	if (!tag || !flow)
		FAIL(r, "moved TAG FLOW");
	r->w->moved_tag = strtoull(tag, NULL, 10);
	r->w->moved_to = world_flow(flow, strncmp(flow, "udp", 3) ? 1 : 0);
}

static void cmd_differ(struct replay *r, char *args)
{
	char *a = strtok(args, " "), *b = strtok(NULL, " ");
	const char *va = vars_find(&r->vars, span_str(a)),
		   *vb = vars_find(&r->vars, span_str(b));
	if (!va || !vb || strcmp(va, vb) == 0)
		FAIL(r, "%s and %s do not differ", a, b);
}

static void cmd_check(struct replay *r, char *args)
{
	char name[64] = "";
	unsigned long long want = 0, got = 0;
	const struct world *w = r->w;
	sscanf(args, "%63s %llu", name, &want);
	if (strcmp(name, "done") == 0)
		got = w->done ? w->done_status : 0;
	else if (strcmp(name, "done_calls") == 0)
		got = w->done;
	else if (strcmp(name, "flow_failed") == 0)
		got = w->flow_failed ? w->failed_tag : 0;
	else if (strcmp(name, "looked") == 0)
		got = w->looked;
	else if (strcmp(name, "target_failed") == 0)
		got = w->target_failed;
	else if (strcmp(name, "transactions") == 0)
		got = txn_table_counters(w->tt)->live;
	else if (strcmp(name, "loops") == 0)
		got = proxy_counters(w->p)->loops;
	else if (strcmp(name, "stateless") == 0)
		got = proxy_counters(w->p)->stateless;
	else if (strcmp(name, "rebuilt") == 0)
		got = proxy_counters(w->p)->rebuilt;
	else if (strcmp(name, "calls") == 0)
		got = proxy_counters(w->p)->calls;
	else if (strcmp(name, "adopted") == 0)
		got = proxy_counters(w->p)->adopted;
	else if (strcmp(name, "forks") == 0)
		got = w->forks.n;
	else if (strcmp(name, "writes") == 0)
		got = w->forks.writes;
	else if (strcmp(name, "hop_acks") == 0)
		got = w->hop_acks;
	else
		FAIL(r, "no such figure: %s", name);
	if (got != want)
		FAIL(r, "%s is %llu, not %llu", name, got, want);
}

static void cmd_switch(struct replay *r, char *args)
{
	(void)args;
	world_switch(r->w);
}

static void cmd_adopt(struct replay *r, char *args)
{
	(void)args;
	world_adopt_all(r->w);
}

/* What was written last is known to be another's now. */
static void cmd_let_go(struct replay *r, char *args)
{
	(void)args;
	if (!proxy_let_go(r->w->p, r->w->forks.last_key))
		FAIL(r, "no such call");
}

static void cmd_written(struct replay *r, char *args)
{
	(void)args;
	if (!forks_done_one(&r->w->forks))
		FAIL(r, "nothing is being written");
	arena_reset(&r->w->arena);
}

static void cmd_kill(struct replay *r, char *args)
{
	r->w->writes_arrive = strcmp(args, "written") == 0;
	world_kill(r->w);
}

static const struct {
	const char *name;
	void (*run)(struct replay *r, char *args);
} commands[] = {
	{"recv", cmd_recv},	    {"answer", cmd_answer},   {"expect", cmd_expect},
	{"ignore", cmd_ignore},	    {"config", cmd_config},   {"target", cmd_target},
	{"resolve", cmd_resolve},   {"option", cmd_option},   {"advance", cmd_advance},
	{"resolved", cmd_resolved}, {"fail", cmd_fail},	      {"differ", cmd_differ},
	{"check", cmd_check},	    {"switch", cmd_switch},   {"kill", cmd_kill},
	{"adopt", cmd_adopt},	    {"written", cmd_written}, {"let_go", cmd_let_go},
	{"moved", cmd_moved},
};

static void run_line(struct replay *r)
{
	char copy[sizeof(r->text)];
	strcpy(copy, r->text);
	char *args = copy + strcspn(copy, " ");
	if (*args)
		*args++ = '\0';
	if (!*copy || *copy == '#')
		return;
	for (unsigned i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(commands[i].name, copy) == 0) {
			commands[i].run(r, args);
			return;
		}
	FAIL(r, "no such command: %s", copy);
}

static void run_replay(const char *file, bool journal)
{
	struct replay *r = calloc(1, sizeof(*r));
	r->file = file;
	r->in = fopen(r->file, "r");
	ck_assert_ptr_nonnull(r->in);
	r->w = world_new();
	if (journal)
		r->w->opts.journal = &r->w->forks.journal;
	while (next_line(r))
		run_line(r);
	cmd_expect(r, (char[]){"nothing"});
	world_free(r->w);
	for (unsigned i = 0; i < r->nkept; i++)
		free(r->kept[i]);
	fclose(r->in);
	free(r);
}

START_TEST(a_replay_goes_as_written)
{
	run_replay(files.gl_pathv[_i], false);
}
END_TEST

/* Whatever is written down, nobody sees a difference. */
START_TEST(a_replay_goes_the_same_with_a_journal)
{
	if (!strstr(files.gl_pathv[_i], "promise2-")) /* those say themselves */
		run_replay(files.gl_pathv[_i], true);
}
END_TEST

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "tests/replay/*.replay";
	if (glob(what, 0, NULL, &files))
		return EXIT_FAILURE;
	Suite *s = suite_create("replay");
	TCase *c = tcase_create("replay");
	tcase_add_loop_test(c, a_replay_goes_as_written, 0, (int)files.gl_pathc);
	tcase_add_loop_test(c, a_replay_goes_the_same_with_a_journal, 0, (int)files.gl_pathc);
	suite_add_tcase(s, c);
	SRunner *sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	globfree(&files);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
