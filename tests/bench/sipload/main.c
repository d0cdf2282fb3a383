/*
 * Options, phases (prime, fill, warm, measure, drain) and the report: 'name value unit' lines.
 */
#include "tests/bench/sipload/sipload.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

enum { PRIME_WINDOW = 50, FILL_WINDOW = 200, DRAIN_S = 13, SCAN_MS = 20, PHASE_MAX_S = 300 };
#define NS_PER_S 1000000000u

static const char usage_text[] =
	"sipload MODE --target HOST:PORT [options]     MODE: reg rereg call msg options idle\n"
	"  --window N | --rate R   operations at one time, or operations a second\n"
	"  --seconds S --warm S    measured time, and time before it\n"
	"  --count N               exactly N operations instead\n"
	"  --users N --domain D    u0 ... with password p0 ...\n"
	"  --first N               the user that reg begins with\n"
	"  --callers FILE          line n: the number of the user who calls user n\n"
	"  --ringing N             keep N more INVITE transactions ringing meanwhile\n"
	"  --pid PID[,PID...]      servers whose CPU and memory are measured\n"
	"  --uac IP --uas IP --port P --sockets N   our own addresses\n"
	"  --hold-ms N --ring-ms N --expires S --sha256 --busy --verbose\n";

static const struct option long_options[] = {{"target", required_argument, NULL, 't'},
					     {"window", required_argument, NULL, 'w'},
					     {"rate", required_argument, NULL, 'r'},
					     {"seconds", required_argument, NULL, 's'},
					     {"warm", required_argument, NULL, 'W'},
					     {"count", required_argument, NULL, 'n'},
					     {"users", required_argument, NULL, 'u'},
					     {"domain", required_argument, NULL, 'd'},
					     {"ringing", required_argument, NULL, 'R'},
					     {"pid", required_argument, NULL, 'p'},
					     {"uac", required_argument, NULL, 'a'},
					     {"uas", required_argument, NULL, 'A'},
					     {"port", required_argument, NULL, 'P'},
					     {"sockets", required_argument, NULL, 'S'},
					     {"hold-ms", required_argument, NULL, 'H'},
					     {"ring-ms", required_argument, NULL, 'g'},
					     {"expires", required_argument, NULL, 'e'},
					     {"sha256", no_argument, NULL, '2'},
					     {"busy", no_argument, NULL, 'b'},
					     {"verbose", no_argument, NULL, 'v'},
					     {"first", required_argument, NULL, 'f'},
					     {"callers", required_argument, NULL, 'c'},
					     {NULL, 0, NULL, 0}};

static int parse_target(struct options *o, const char *s)
{
	char host[64];
	unsigned port;

	o->target.sin_family = AF_INET;
	if (sscanf(s, "%63[^:]:%u", host, &port) != 2 || port > 65535 ||
	    inet_pton(AF_INET, host, &o->target.sin_addr) != 1)
		return -EINVAL;
	o->target.sin_port = htons((uint16_t)port);
	return 0;
}

static int parse_pids(struct options *o, char *s)
{
	for (char *p = strtok(s, ","); p; p = strtok(NULL, ",")) {
		if (o->npids == PIDS_MAX)
			return -E2BIG;
		o->pids[o->npids++] = atoi(p);
	}
	return 0;
}

/* clang-format off */
static int parse_one(struct options *o, int c, char *arg)
{
	switch (c) {
	case 't': return parse_target(o, arg);
	case 'w': o->window = (unsigned)atoi(arg); return 0;
	case 'r': o->rate = atof(arg); return 0;
	case 's': o->seconds = atof(arg); return 0;
	case 'W': o->warm_s = atof(arg); return 0;
	case 'n': o->count = strtoull(arg, NULL, 10); return 0;
	case 'u': o->users = (unsigned)atoi(arg); return 0;
	case 'd': o->domain = arg; return 0;
	case 'R': o->ringing = (unsigned)atoi(arg); return 0;
	case 'p': return parse_pids(o, arg);
	case 'a': snprintf(o->uac_ip, sizeof(o->uac_ip), "%s", arg); return 0;
	case 'A': snprintf(o->uas_ip, sizeof(o->uas_ip), "%s", arg); return 0;
	case 'P': o->base_port = (unsigned)atoi(arg); return 0;
	case 'S': o->sockets = (unsigned)atoi(arg); return 0;
	case 'H': o->hold_ms = (unsigned)atoi(arg); return 0;
	case 'g': o->ring_ms = (unsigned)atoi(arg); return 0;
	case 'e': o->expires_s = (unsigned)atoi(arg); return 0;
	case 'f': o->first = (unsigned)atoi(arg); return 0;
	case 'c': o->callers = arg; return 0;
	case '2': o->sha256 = true; return 0;
	case 'b': o->busy = true; return 0;
	case 'v': o->verbose = true; return 0;
	default: return -EINVAL;
	}
}
/* clang-format on */

static int parse_options(struct options *o, int argc, char **argv)
{
	int c, rc = 0;

	*o = (struct options){.mode = MODE_COUNT,
			      .uac_ip = "127.0.0.11",
			      .uas_ip = "127.0.0.12",
			      .domain = "example.test",
			      .warm_s = 2,
			      .seconds = 8,
			      .users = 10000,
			      .sockets = 8,
			      .base_port = 20000,
			      .hold_ms = 50,
			      .ring_ms = 20,
			      .expires_s = 3600};
	for (int i = 0; argc > 1 && i < MODE_COUNT; i++)
		if (strcmp(argv[1], mode_name[i]) == 0)
			o->mode = (enum mode)i;
	optind = 2;
	while (o->mode != MODE_COUNT && rc == 0 &&
	       (c = getopt_long(argc, argv, "", long_options, NULL)) != -1)
		rc = parse_one(o, c, optarg);
	if (o->rate <= 0 && o->window == 0)
		o->window = 100;
	if (o->mode == MODE_COUNT || !o->target.sin_port || !o->users || !o->sockets ||
	    o->sockets > SOCKETS_MAX)
		return -EINVAL;
	return rc;
}

/* Who calls whom: a user's number for each user, a line each. */
static int read_callers(struct load *l)
{
	FILE *f = fopen(l->opt.callers, "r");
	int r = f && (l->caller = calloc(l->opt.users, sizeof(*l->caller))) ? 0 : -EIO;

	for (unsigned i = 0; r == 0 && i < l->opt.users; i++)
		if (fscanf(f, "%" SCNu32, &l->caller[i]) != 1 || l->caller[i] >= l->opt.users)
			r = -EINVAL;
	if (f)
		fclose(f);
	if (r < 0)
		fprintf(stderr, "sipload: %s does not name a caller for each user\n",
			l->opt.callers);
	return r;
}

static int load_init(struct load *l)
{
	const struct options *o = &l->opt;
	uint32_t ring = 1;

	l->nslots = 65536 + o->ringing < SLOTS_MAX ? 65536 + o->ringing : SLOTS_MAX;
	while (ring < l->nslots)
		ring *= 2;
	l->ops = calloc(l->nslots, sizeof(*l->ops));
	l->free_slots = calloc(l->nslots, sizeof(*l->free_slots));
	l->ring = (struct delay){.v = calloc(ring, sizeof(struct delayed)), .mask = ring - 1};
	l->hold = (struct delay){.v = calloc(ring, sizeof(struct delayed)), .mask = ring - 1};
	if (o->mode == MODE_REREG) {
		l->nonce = calloc(o->users, sizeof(*l->nonce));
		l->nc = calloc(o->users, sizeof(*l->nc));
	}
	if (!l->ops || !l->free_slots || !l->ring.v || !l->hold.v ||
	    (o->mode == MODE_REREG && (!l->nonce || !l->nc)) || digest_init(o->sha256) < 0)
		return -ENOMEM;
	for (uint32_t i = 0; i < l->nslots; i++)
		l->free_slots[l->nfree++] = l->nslots - 1 - i;
	l->now = clock_ns();
	l->run = (l->now ^ (uint64_t)getpid() << 36) & 0xffffffffffff;
	l->random = l->now | 1;
	if (l->opt.callers && read_callers(l) < 0)
		return -EINVAL;
	return net_open(l);
}

static void fire(struct load *l, struct delay *d, void (*due)(struct load *l, struct op *o))
{
	while (d->head != d->tail && d->v[d->head & d->mask].due <= l->now) {
		const struct delayed *x = &d->v[d->head++ & d->mask];
		struct op *o = &l->ops[x->slot];

		if (o->gen == x->gen && o->state != OP_FREE)
			due(l, o);
	}
}

static nsec next_due(const struct delay *d, nsec otherwise)
{
	nsec due = d->head != d->tail ? d->v[d->head & d->mask].due : otherwise;

	return due < otherwise ? due : otherwise;
}

/* What is launched: until `left` is used up, by window or by rate. */
struct pace {
	unsigned window; /* 0: by rate */
	nsec next, interval;
	uint64_t left;
	nsec last_scan;
};

static void launch(struct load *l, struct pace *p)
{
	if (p->window) {
		while (p->left && l->active - l->ringing < p->window && op_launch(l))
			p->left--;
		return;
	}
	while (p->left && p->next <= l->now) {
		op_launch(l); /* one that found no slot is lost, the pace is kept */
		p->left--;
		p->next += p->interval;
	}
}

static void step(struct load *l, struct pace *p)
{
	l->now = clock_ns();
	fire(l, &l->ring, uas_answer_due);
	fire(l, &l->hold, op_bye_due);
	launch(l, p);
	net_flush(l);
	net_receive(l);
	if (l->now - p->last_scan > SCAN_MS * 1000000u) {
		op_scan(l);
		p->last_scan = l->now;
	}
	net_flush(l);
	if (l->opt.busy)
		return;
	nsec until = clock_ns() + 1000000;
	if (!p->window && p->left && p->next < until)
		until = p->next;
	net_sleep(l, next_due(&l->ring, next_due(&l->hold, until)));
}

/* Runs a phase before the measurement to its end.  False when it took too long. */
static bool run_out(struct load *l, unsigned window, uint64_t n)
{
	struct pace p = {.window = window, .left = n};
	nsec limit = clock_ns() + (nsec)PHASE_MAX_S * NS_PER_S;

	while ((p.left || l->active > l->ringing) && clock_ns() < limit)
		step(l, &p);
	return l->active == l->ringing;
}

static int prepare(struct load *l)
{
	if (l->opt.mode == MODE_REREG) {
		l->priming = true;
		if (!run_out(l, PRIME_WINDOW, l->opt.users) || l->c.failed) {
			fprintf(stderr, "sipload: priming failed (%llu ok, %llu failed)\n",
				(unsigned long long)l->c.ok, (unsigned long long)l->c.failed);
			return -EIO;
		}
		l->priming = false;
	}
	if (l->opt.ringing) {
		l->filling = true;
		run_out(l, FILL_WINDOW, l->opt.ringing);
		l->filling = false;
		l->low = l->high;
		fprintf(stderr, "sipload: %u ringing\n", l->ringing);
		if (l->ringing < l->opt.ringing / 100 * 99)
			return -EIO;
	}
	memset(&l->c, 0, sizeof(l->c));
	memset(l->latency, 0, sizeof(l->latency));
	return 0;
}

struct snapshot {
	nsec at;
	struct usage server;
	uint64_t own_ns;
	struct counters c;
};

static void snapshot(const struct load *l, struct snapshot *s)
{
	struct rusage r;

	s->at = clock_ns();
	s->server = server_usage(false);
	getrusage(RUSAGE_SELF, &r);
	s->own_ns = (uint64_t)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) * NS_PER_S +
		    (uint64_t)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) * 1000;
	s->c = l->c;
}

static struct pace main_pace(const struct load *l)
{
	const struct options *o = &l->opt;
	struct pace p = {.left = o->count ? o->count : UINT64_MAX, .next = clock_ns()};

	if (o->mode == MODE_IDLE)
		p.left = 0; /* what the servers use while nothing is asked of them */
	else if (o->rate > 0)
		p.interval = (nsec)(1e9 / o->rate);
	else
		p.window = o->window;
	return p;
}

static void measure(struct load *l, struct snapshot *a, struct snapshot *b)
{
	const struct options *o = &l->opt;
	struct pace p = main_pace(l);
	nsec start = clock_ns();
	nsec from = start + (o->count ? 0 : (nsec)(o->warm_s * 1e9));
	nsec to = from + (nsec)(o->seconds * 1e9);
	nsec limit = start + (nsec)PHASE_MAX_S * NS_PER_S;

	while (clock_ns() < from)
		step(l, &p);
	snapshot(l, a);
	memset(l->latency, 0, sizeof(l->latency));
	while (o->count ? (p.left || l->active > l->ringing) && clock_ns() < limit
			: clock_ns() < to)
		step(l, &p);
	snapshot(l, b);
	p.left = 0;
	for (nsec end = clock_ns() + (nsec)DRAIN_S * NS_PER_S;
	     l->active > l->ringing && clock_ns() < end;)
		step(l, &p);
}

static void print(const char *name, double value, const char *unit)
{
	printf("%s %.*f %s\n", name, value < 1000 ? 3 : 0, value, unit);
}

/* What the threads of one name have used: cpu.PID.NAME. */
static void print_threads(const struct threads *a, const struct threads *b, double n)
{
	for (unsigned i = 0; i < b->n; i++) {
		const struct thread_cpu *t = &b->v[i];
		uint64_t before = 0;
		char name[64];

		for (unsigned k = 0; k < a->n; k++)
			if (a->v[k].pid == t->pid && strcmp(a->v[k].name, t->name) == 0)
				before = a->v[k].ns;
		snprintf(name, sizeof(name), "cpu.%d.%s", t->pid, t->name);
		print(name, (double)(t->ns - before) / 1e3 / n, "us/op");
	}
}

static void report(const struct load *l, const struct snapshot *a, const struct snapshot *b,
		   uint64_t kib_before)
{
	double cpu_ns = (double)(b->server.cpu_ns - a->server.cpu_ns);
	double s = (double)(b->at - a->at) / 1e9;
	double ok = (double)(b->c.ok - a->c.ok), n = ok > 0 ? ok : 1;

	print("seconds", s, "s");
	print("rate", ok / s, "1/s");
	print("ok", ok, "ops");
	print("failed", (double)l->c.failed + (double)(l->active - l->ringing), "ops");
	for (unsigned i = 0; i < 700; i++)
		if (l->c.by_status[i])
			printf("failed_%u %llu ops\n", i,
			       (unsigned long long)l->c.by_status[i]);
	print("retransmits", (double)(l->c.retransmits + l->c.uas_retransmits), "messages");
	print("no_slot", (double)l->c.no_slot, "ops");
	print("challenges", (double)(b->c.challenges - a->c.challenges), "responses");
	print("ringing", l->ringing, "transactions");
	print("sent_per_op", (double)(b->c.sent - a->c.sent) / n, "packets");
	print("received_per_op", (double)(b->c.received - a->c.received) / n, "packets");
	if (l->opt.npids) {
		print("server_cpu", cpu_ns / 1e3 / n, "us/op");
		uint64_t user = b->server.user_ticks - a->server.user_ticks;
		uint64_t kernel = b->server.kernel_ticks - a->server.kernel_ticks;

		print("server_kernel",
		      user + kernel ? 100.0 * (double)kernel / (double)(user + kernel) : 0,
		      "%");
		print("server_cores", cpu_ns / 1e9 / s, "cores");
		print("server_pss_before", (double)kib_before, "KiB");
		print("server_pss_after", (double)server_usage(true).pss_kib, "KiB");
		print("server_processes", b->server.processes, "processes");
		print_threads(&a->server.threads, &b->server.threads, n);
	}
	print("own_cpu", (double)(b->own_ns - a->own_ns) / 1e3 / n, "us/op");
	for (int i = 0; i < LAT_COUNT; i++) {
		char name[64];

		if (!l->latency[i].n)
			continue;
		snprintf(name, sizeof(name), "%s_p50", latency_name[i]);
		print(name, (double)histogram_us(&l->latency[i], 0.5), "us");
		snprintf(name, sizeof(name), "%s_p99", latency_name[i]);
		print(name, (double)histogram_us(&l->latency[i], 0.99), "us");
	}
}

int main(int argc, char **argv)
{
	static struct load l;
	struct snapshot a, b;

	if (parse_options(&l.opt, argc, argv) < 0) {
		fputs(usage_text, stderr);
		return 2;
	}
	if (load_init(&l) < 0 || prepare(&l) < 0)
		return 1;
	l.next_user = l.opt.first;
	server_find(&l.opt);
	uint64_t kib_before = server_usage(true).pss_kib;
	measure(&l, &a, &b);
	report(&l, &a, &b, kib_before);
	return 0;
}
