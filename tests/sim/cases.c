/*
 * Cases: a process each, as many at once as there are jobs; what they are compared with is in
 * memory that they share.
 */
#include "tests/sim/cases.h"

#include "tests/sim/trace.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CASES_MAX = 64, CASE_S = 60, LADDERS_MAX = 100 };

struct running {
	pid_t pid;
	char name[96];
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
	bool first = !__atomic_exchange_n(&shared->told, true, __ATOMIC_RELAXED);
	printf("FAILED %s\n%.600s", name, text);
	if (first)
		trace_print(stdout, false);
	fflush(stdout);
	write_ladder(name, text);
}

/* Compares and tells.  The exit status. */
int case_judge(const struct run_conf *c, const char *name)
{
	static char mine[RUN_OUTCOME_MAX];
	char *text = NULL;
	size_t n = 0;
	run_outcome(c, mine);
	FILE *report = open_memstream(&text, &n);
	unsigned differ = run_compare(report, shared->good, mine);
	fclose(report);
	if (differ)
		tell(name, text);
	free(text);
	return differ ? 1 : 0;
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
		       WTERMSIG(status) == SIGALRM ? "it does not end" : "it crashed");
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
		alarm(CASE_S);
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
	run_outcome(c, shared->good);
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
