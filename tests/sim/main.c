/*
 * The simulator's command: sweeps, single runs, seeds.
 */
#include "tests/sim/rings.h"
#include "tests/sim/sweep.h"

#include <getopt.h>
#include <malloc.h>
#include <stdlib.h>
#include <unistd.h>

int __real_mallopt(int param, int value);

static void usage(FILE *out)
{
	fputs("usage: sim [options]            every flow, every node, every boundary\n"
	      "       sim --one [options]      one run, with its ladder\n"
	      "       sim --seeds N [options]  N random runs from --seed on\n\n"
	      "  --topology combined|cluster\n"
	      "  --flow NAME      one flow alone; --list names them\n"
	      "  --faults LIST    "
	      "kill,restart,cut,off,reboot,stop,peers,deaf,dumb,drain,roll,\n"
	      "                   wipe (of Redis alone), blink, twin, split, move, forget "
	      "(of Redis alone)\n"
	      "  --node NAME --at N --fault KIND   of one run\n"
	      "  --brief          "
	      "faults of who is on its way alone, of flows that are others by other ways\n"
	      "  --points N       at N boundaries of a flow alone\n"
	      "  --bus            all messages of the bus are boundaries\n"
	      "  --seed N --workers N --jobs N --drain\n"
	      "  --wan MS         the way to phones takes so long\n"
	      "  --loss N         permille of datagrams lost, doubled and late, each\n"
	      "  --rings-on MS    "
	      "how long a phone may ring when its call is over\n"
	      "  --dir FOLDER     where ladders of failed runs go\n"
	      "  --live           every message as it is sent (one run)\n"
	      "  --break crash|hang  the run itself does so, with --one at --at\n"
	      "  --limit S        a run takes so long of a processor at most\n"
	      "  --log LEVEL      the nodes' log\n",
	      out);
}

static unsigned fault_list(char *text)
{
	unsigned mask = 0;
	for (char *p = strtok(text, ","); p; p = strtok(NULL, ",")) {
		enum fault_kind k = fault_find(p);
		if (k == FAULT_KINDS) {
			fprintf(stderr, "sim: no fault %s\n", p);
			exit(2);
		}
		mask |= k == FAULT_NONE ? 0 : 1u << k;
	}
	return mask;
}

enum {
	OPT_TOPOLOGY = 256,
	OPT_FLOW,
	OPT_FAULTS,
	OPT_BRIEF,
	OPT_POINTS,
	OPT_BUS,
	OPT_NODE,
	OPT_AT,
	OPT_FAULT,
	OPT_SEED,
	OPT_WORKERS,
	OPT_JOBS,
	OPT_DRAIN,
	OPT_LOSS,
	OPT_WAN,
	OPT_RINGS_ON,
	OPT_DIR,
	OPT_LIVE,
	OPT_BREAK,
	OPT_LIMIT,
	OPT_LOG,
	OPT_ONE,
	OPT_SEEDS,
	OPT_LIST
};
static const struct option options[] = {
	{"topology", required_argument, NULL, OPT_TOPOLOGY},
	{"flow", required_argument, NULL, OPT_FLOW},
	{"faults", required_argument, NULL, OPT_FAULTS},
	{"brief", no_argument, NULL, OPT_BRIEF},
	{"points", required_argument, NULL, OPT_POINTS},
	{"bus", no_argument, NULL, OPT_BUS},
	{"node", required_argument, NULL, OPT_NODE},
	{"at", required_argument, NULL, OPT_AT},
	{"fault", required_argument, NULL, OPT_FAULT},
	{"seed", required_argument, NULL, OPT_SEED},
	{"workers", required_argument, NULL, OPT_WORKERS},
	{"jobs", required_argument, NULL, OPT_JOBS},
	{"drain", no_argument, NULL, OPT_DRAIN},
	{"wan", required_argument, NULL, OPT_WAN},
	{"rings-on", required_argument, NULL, OPT_RINGS_ON},
	{"loss", required_argument, NULL, OPT_LOSS},
	{"dir", required_argument, NULL, OPT_DIR},
	{"live", no_argument, NULL, OPT_LIVE},
	{"break", required_argument, NULL, OPT_BREAK},
	{"limit", required_argument, NULL, OPT_LIMIT},
	{"log", required_argument, NULL, OPT_LOG},
	{"one", no_argument, NULL, OPT_ONE},
	{"seeds", required_argument, NULL, OPT_SEEDS},
	{"list", no_argument, NULL, OPT_LIST},
	{NULL, 0, NULL, 0},
};

struct command {
	struct sweep s;
	bool one;
	unsigned seeds;
};

static void choose_flow(struct sweep *s, const char *name)
{
	s->run.flow = flow_find(name);
	if (!s->run.flow) {
		fprintf(stderr, "sim: no flow %s\n", name);
		exit(2);
	}
}

static void choose_log(const char *name)
{
	enum log_level level;
	if (log_level_parse(span_str(name), &level) < 0)
		exit(2);
	node_log_to(stdout, level);
}

static void lossy(struct trouble *t, unsigned permille)
{
	t->udp_loss = t->udp_twice = t->udp_late = permille;
	t->stream_loss = permille / 5;
}

static void list_flows(void)
{
	for (unsigned i = 0; i < nflows; i++)
		puts(flows[i].name);
	exit(0);
}

/* False: it is no number. */
static bool take_number(struct sweep *s, int option, unsigned n)
{
	switch (option) {
	case OPT_AT:
		s->at = n;
		break;
	case OPT_POINTS:
		s->points = n;
		break;
	case OPT_SEED:
		s->run.seed = n;
		break;
	case OPT_WORKERS:
		s->run.workers = n;
		break;
	case OPT_JOBS:
		s->jobs = n;
		break;
	case OPT_LIMIT:
		s->limit_s = n;
		break;
	default:
		return false;
	}
	return true;
}

static void take(struct command *c, int option)
{
	struct sweep *s = &c->s;
	unsigned n = optarg ? (unsigned)strtoul(optarg, NULL, 10) : 0;
	if (take_number(s, option, n))
		return;
	switch (option) {
	case OPT_TOPOLOGY:
		s->run.kind = strcmp(optarg, "cluster") == 0 ? SCENE_CLUSTER : SCENE_COMBINED;
		break;
	case OPT_FLOW:
		choose_flow(s, optarg);
		break;
	case OPT_FAULTS:
		s->faults = fault_list(optarg);
		break;
	case OPT_BRIEF:
		s->brief = true;
		break;
	case OPT_BUS:
		s->run.bus = true;
		break;
	case OPT_NODE:
		s->node = optarg;
		break;
	case OPT_FAULT:
		s->fault = fault_find(optarg);
		break;
	case OPT_DRAIN:
		s->run.drain = true;
		break;
	case OPT_LOSS:
		lossy(&s->run.trouble, n);
		break;
	case OPT_WAN:
		s->run.trouble.wan = USEC_MS(n);
		break;
	case OPT_RINGS_ON:
		rings_allow(USEC_MS(n));
		break;
	case OPT_DIR:
		s->dir = optarg;
		break;
	case OPT_LIVE:
		s->live = true;
		break;
	case OPT_BREAK:
		s->breaks = strcmp(optarg, "hang") == 0 ? BREAKS_HANG : BREAKS_CRASH;
		break;
	case OPT_LOG:
		choose_log(optarg);
		break;
	case OPT_ONE:
		c->one = true;
		break;
	case OPT_SEEDS:
		c->seeds = n;
		break;
	case OPT_LIST:
		list_flows();
		break;
	default:
		usage(stderr);
		exit(2);
	}
}

/* Blocks that are hardly used do not lie between those that are: what a case must copy. */
static void set_up_heap(void)
{
	enum { BLOCK = 16 << 10 };
	__real_mallopt(M_MMAP_THRESHOLD, BLOCK);
}

static struct sweep_count sweep_all(const struct sweep *s)
{
	struct sweep_count sum = {0};
	for (unsigned i = 0; i < nflows; i++) {
		struct sweep one = *s;
		one.run.flow = &flows[i];
		if (!flow_fits(&flows[i], one.run.kind))
			continue;
		struct sweep_count c = sweep_flow(&one);
		sum.runs += c.runs;
		sum.failed += c.failed;
		sum.rang_on = c.rang_on > sum.rang_on ? c.rang_on : sum.rang_on;
	}
	return sum;
}

int main(int argc, char **argv)
{
	struct command c = {.s = {.run = {.seed = 1, .workers = 1, .trouble = trouble_none},
				  .jobs = (unsigned)sysconf(_SC_NPROCESSORS_ONLN)}};
	struct sweep_count n;
	for (int k; (k = getopt_long(argc, argv, "", options, NULL)) != -1;)
		take(&c, k);
	set_up_heap();
	if (sip_values_init() < 0)
		return 2;
	if (c.one && !c.s.run.flow) {
		usage(stderr);
		return 2;
	}
	if (c.one)
		n = sweep_one(&c.s);
	else if (c.seeds)
		n = sweep_seeds(&c.s, c.seeds);
	else if (c.s.run.flow)
		n = sweep_flow(&c.s);
	else
		n = sweep_all(&c.s);
	printf("sim: %lu runs, %lu failed, rang on %.1f s\n", n.runs, n.failed,
	       (double)n.rang_on / 1e6);
	return n.failed ? 1 : 0;
}
