/*
 * What the servers under test have used, and histograms: CPU by /proc/PID/task/TID/schedstat of
 * each given process and its descendants, memory by Pss.
 */
#include "tests/bench/sipload/sipload.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

enum { PROCESSES_MAX = 1024 };
static int process[PROCESSES_MAX];
static int root[PROCESSES_MAX]; /* the given process that it descends from */
static unsigned nprocess;

/* Parent, and clock ticks in user mode and in the kernel, of /proc/PID/stat.  False without. */
static bool read_stat(int pid, int *ret_parent, uint64_t *ret_user, uint64_t *ret_kernel)
{
	char path[64], text[512];
	unsigned long long user, kernel;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	FILE *f = fopen(path, "r");
	if (!f)
		return false;
	size_t n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[n] = 0;
	const char *p = strrchr(text, ')'); /* the name may hold anything */
	if (!p || sscanf(p + 1, " %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu",
			 ret_parent, &user, &kernel) != 3)
		return false;
	*ret_user = user;
	*ret_kernel = kernel;
	return true;
}

static int parent_of(int pid)
{
	uint64_t user, kernel;
	int parent;

	return read_stat(pid, &parent, &user, &kernel) ? parent : -1;
}

/* Its place in the table, or -1. */
static int known(int pid)
{
	for (unsigned i = 0; i < nprocess; i++)
		if (process[i] == pid)
			return (int)i;
	return -1;
}

/* One pass over /proc; true when a child of a known process was new. */
static bool find_children(void)
{
	DIR *d = opendir("/proc");
	bool found = false;

	for (struct dirent *e; d && (e = readdir(d));) {
		int pid = atoi(e->d_name), parent;

		if (!isdigit((unsigned char)e->d_name[0]) || known(pid) >= 0 ||
		    (parent = known(parent_of(pid))) < 0 || nprocess == PROCESSES_MAX)
			continue;
		process[nprocess] = pid;
		root[nprocess++] = root[parent];
		found = true;
	}
	if (d)
		closedir(d);
	return found;
}

void server_find(const struct options *o)
{
	nprocess = 0;
	for (unsigned i = 0; i < o->npids; i++) {
		process[nprocess] = o->pids[i];
		root[nprocess++] = o->pids[i];
	}
	while (nprocess && find_children())
		;
}

/* The first line of a file, without its end.  False without. */
static bool read_line(const char *path, char *line, int n)
{
	FILE *f = fopen(path, "r");
	bool there = f && fgets(line, n, f);

	if (f)
		fclose(f);
	if (there)
		line[strcspn(line, "\n")] = 0;
	return there;
}

static void note(struct threads *t, int pid, const char *name, uint64_t ns)
{
	struct thread_cpu *v = t->v;
	unsigned i = 0;

	while (i < t->n && (v[i].pid != pid || strcmp(v[i].name, name) != 0))
		i++;
	if (i == THREADS_MAX)
		return;
	if (i == t->n)
		v[t->n++] = (struct thread_cpu){.pid = pid};
	snprintf(v[i].name, sizeof(v[i].name), "%s", name);
	v[i].ns += ns;
}

/* Of all threads of a process; by the threads' names too. */
static uint64_t cpu_of(unsigned i, struct threads *ret)
{
	char path[320], line[128], name[sizeof(ret->v[0].name)];
	uint64_t sum = 0;

	snprintf(path, sizeof(path), "/proc/%d/task", process[i]);
	DIR *d = opendir(path);
	for (struct dirent *e; d && (e = readdir(d));) {
		if (!isdigit((unsigned char)e->d_name[0]))
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%s/comm", process[i], e->d_name);
		if (!read_line(path, line, sizeof(line)))
			continue;
		snprintf(name, sizeof(name), "%.*s", (int)sizeof(name) - 1, line);
		for (char *p = name; *p; p++)
			*p = *p == ' ' ? '_' : *p;
		snprintf(path, sizeof(path), "/proc/%d/task/%s/schedstat", process[i],
			 e->d_name);
		if (!read_line(path, line, sizeof(line)))
			continue;
		uint64_t ns = strtoull(line, NULL, 10);
		sum += ns;
		note(ret, root[i], name, ns);
	}
	if (d)
		closedir(d);
	return sum;
}

static uint64_t pss_of(int pid)
{
	char path[64], line[256];
	unsigned long long kib = 0;

	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);
	FILE *f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Pss: %llu", &kib) == 1)
			break;
	if (f)
		fclose(f);
	return kib;
}

struct usage server_usage(bool memory)
{
	struct usage u = {.processes = nprocess};

	for (unsigned i = 0; i < nprocess; i++) {
		uint64_t user = 0, kernel = 0;
		int parent;

		u.cpu_ns += cpu_of(i, &u.threads);
		if (read_stat(process[i], &parent, &user, &kernel)) {
			u.user_ticks += user;
			u.kernel_ticks += kernel;
		}
		if (memory)
			u.pss_kib += pss_of(process[i]);
	}
	return u;
}

const char *const latency_name[LAT_COUNT] = {"challenge", "ringing", "answer", "bye", "final"};

void histogram_add(struct histogram *h, nsec took)
{
	uint64_t us = took / 1000;
	unsigned top = us < 64 ? 0 : 63 - (unsigned)__builtin_clzll(us) - 5;
	unsigned i = top * 64 + (unsigned)(us >> (top ? top - 1 : 0)) - (top ? 64 : 0);
	enum { BINS = sizeof(h->bin) / sizeof(h->bin[0]) };

	h->bin[i < BINS ? i : BINS - 1]++;
	h->n++;
}

uint64_t histogram_us(const struct histogram *h, double part)
{
	uint64_t want = (uint64_t)((double)h->n * part), seen = 0;
	unsigned i = 0;

	while (i < sizeof(h->bin) / sizeof(h->bin[0]) - 1) {
		seen += h->bin[i];
		if (seen > want)
			break;
		i++;
	}
	unsigned top = i / 64;
	return top == 0 ? i : (uint64_t)(i % 64 + 64) << (top - 1);
}
