/*
 * Cases: a process each, as many at once as there are jobs; what they are compared with is in
 * memory that they share.
 */
#include "tests/sim/cases.h"

#include "tests/sim/rings.h"
#include "tests/sim/trace.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CASES_MAX = 64, CASE_S = 60, LAST_WORDS_S = 5, LADDERS_MAX = 100 };

struct running {
	pid_t pid;
	char name[CASE_NAME_MAX];
};

struct shared *shared;
const struct sweep *sweep;
static struct running running[CASES_MAX];
static unsigned nrunning;

void cases_begin(const struct sweep *s)
{
	sweep = s;
	if (!shared)
		shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		abort();
	*shared = (struct shared){.told = shared->told};
}

/* ---- the end of a case ---- */

static void write_ladder(const char *name, const char *text)
{
	char path[512];
	if (!sweep->dir ||
	    __atomic_add_fetch(&shared->ladders, 1, __ATOMIC_RELAXED) > LADDERS_MAX)
		return;
	mkdir(sweep->dir, 0777);
	snprintf(path, sizeof(path), "%s/%s.txt", sweep->dir, name);
	FILE *out = fopen(path, "w");
	if (!out)
		return;
	fprintf(out, "%s\n%s\n", name, text);
	trace_print(out, false);
	fclose(out);
}

/* The first that fails of all shows its ladder at once. */
static void tell(const char *name, const char *text)
{
	enum { SHOWN = 600 }; /* and no half a line; its ladder's file has all */
	bool first = !__atomic_exchange_n(&shared->told, true, __ATOMIC_RELAXED);
	const char *end = memrchr(text, '\n', strnlen(text, SHOWN));
	printf("FAILED %s\n%.*s", name, end ? (int)(end + 1 - text) : 0, text);
	if (first)
		trace_print(stdout, false);
	fflush(stdout);
	write_ladder(name, text);
}

size_t case_outcome(const struct run_conf *c, char out[RUN_OUTCOME_MAX])
{
	usec mine = rings_longest(), seen = __atomic_load_n(&shared->rang_on, __ATOMIC_RELAXED);
	while (mine > seen && !__atomic_compare_exchange_n(&shared->rang_on, &seen, mine, false,
							   __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
	return run_outcome(c, out);
}

/* Compares and tells.  The exit status. */
int case_judge(const struct run_conf *c, const char *name)
{
	static char mine[RUN_OUTCOME_MAX];
	char *text = NULL;
	size_t n = 0;
	case_outcome(c, mine);
	FILE *report = open_memstream(&text, &n);
	unsigned differ = run_compare(report, shared->good, mine);
	fclose(report);
	if (differ)
		tell(name, text);
	free(text);
	return differ ? 1 : 0;
}

/* ---- a case that crashes, or does not end ---- */

static char watched[CASE_NAME_MAX];

/* Of the processor: however busy the machine is. */
static void alarm_after(unsigned s)
{
	const struct itimerval t = {.it_value = {.tv_sec = s}};
	setitimer(ITIMER_PROF, &t, NULL);
}

/* Nothing of this is for handlers; but the process is lost anyway, and what goes wrong now ends
 * it by its signal, or by the next alarm, which reap_one() tells. */
static void on_end(int number)
{
	signal(SIGPROF, SIG_DFL);
	alarm_after(LAST_WORDS_S);
	tell(watched, number == SIGPROF ? "  it does not end\n" : "  it crashed\n");
	_exit(1);
}

/* Its ladder is told, as far as it got.  A stack that is full is why it has one of its own. */
static void watch(const char *name)
{
	enum { STACK = 256 << 10 };
	static const int ends[] = {SIGPROF, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
	struct sigaction a = {.sa_handler = on_end, .sa_flags = SA_ONSTACK | SA_RESETHAND};
	stack_t own = {.ss_sp = sim_alloc(STACK), .ss_size = STACK};
	snprintf(watched, sizeof(watched), "%s", name);
	sigaltstack(&own, NULL);
	for (unsigned i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		sigaction(ends[i], &a, NULL);
	alarm_after(sweep->limit_s ? sweep->limit_s : CASE_S);
}

static void reap_one(void)
{
	int status;
	pid_t pid = wait(&status);
	unsigned i = 0;
	while (i < nrunning && running[i].pid != pid)
		i++;
	if (i == nrunning)
		return;
	shared->runs++;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		shared->failed++;
	if (!WIFEXITED(status))
		printf("FAILED %s\n  %s\n", running[i].name,
		       WTERMSIG(status) == SIGPROF ? "it does not end" : "it crashed");
	else if (WEXITSTATUS(status) > 1)
		printf("FAILED %s\n  exit %d\n", running[i].name, WEXITSTATUS(status));
	running[i] = running[--nrunning];
}

void cases_reap(void)
{
	while (nrunning > 0)
		reap_one();
}

/* True in the new process. */
bool case_fork(const char *name)
{
	while (nrunning >= sweep->jobs)
		reap_one();
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		nrunning = 0;
		watch(name);
		prefault();
		return true;
	}
	if (pid < 0) {
		perror("sim: fork");
		exit(2);
	}
	running[nrunning].pid = pid;
	snprintf(running[nrunning++].name, sizeof(running[0].name), "%s", name);
	return false;
}

/* ---- the run without a fault ---- */

static int run_good(const struct run_conf *c)
{
	if (!run_prepare(c)) {
		printf("FAILED %s: a phone cannot register\n", c->flow->name);
		trace_print(stdout, true);
		return 1;
	}
	run_flow(c);
	case_outcome(c, shared->good);
	shared->boundaries = trace_boundaries();
	shared->hash = trace_hash();
	if (!strchr(shared->good, '!'))
		return 0;
	printf("FAILED %s without a fault\n%s", c->flow->name, shared->good);
	trace_print(stdout, false);
	return 1;
}

bool cases_find_good(const struct sweep *s)
{
	struct run_conf c = s->run;
	cases_reap();
	unsigned long failed = shared->failed;
	c.trouble = trouble_none;
	if (case_fork(c.flow->name))
		_exit(run_good(&c) ? (fflush(stdout), 1) : 0);
	cases_reap();
	return shared->failed == failed;
}

void cases_in_process(void (*fn)(const struct run_conf *c, uint64_t first, unsigned n),
		      const struct run_conf *c, uint64_t first, unsigned n)
{
	int status;
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0)
		fn(c, first, n);
	if (waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return;
	printf("FAILED %s: the walk itself\n", c->flow->name);
	fflush(stdout);
	shared->failed++;
}
