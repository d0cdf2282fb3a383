/*
 * Clocks, chance, the log and the names of interfaces, as a node sees them: common/base/time.h,
 * log.h, mac_random() and getifaddrs().
 */
#include "common/base/log.h"
#include "common/base/mac.h"
#include "common/base/time.h"
#include "tests/sim/node.h"
#include "tests/sim/trace.h"

#include <errno.h>
#include <ifaddrs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WALL_S = 1700000000 };

static FILE *log_out;
static enum log_level log_at = LOG_WARN;

/* Each machine's clock began at another time; the wall clocks agree. */
msec time_now(void)
{
	struct node *n = node_current();
	return sim_now() / 1000 + (n ? n->mono_base_ms : 1);
}

uint64_t time_wall_ms(void)
{
	return (uint64_t)WALL_S * 1000 + sim_now() / 1000;
}

/* On a clock that stands still while they work. */
uint64_t time_cpu_ms(void)
{
	return 0;
}

void __wrap_mac_random(void *p, size_t n);
void __wrap_mac_random(void *p, size_t n)
{
	struct node *node = node_current();
	unsigned char *out = p;
	for (size_t i = 0; i < n; i++)
		out[i] = (unsigned char)rng_next(node ? &node->rng : hosts_rng());
}

struct interface {
	struct ifaddrs ifa;
	struct addr a;
};

int __wrap_getifaddrs(struct ifaddrs **ret);
int __wrap_getifaddrs(struct ifaddrs **ret)
{
	struct node *node = node_current();
	struct interface *v = sim_alloc(HOST_ADDRS_MAX * sizeof(*v));
	struct addr at[HOST_ADDRS_MAX];
	unsigned n = node ? host_addrs(node->host, at) : 0;
	for (unsigned i = 0; i < n; i++) {
		v[i].a = at[i];
		v[i].ifa.ifa_addr = &v[i].a.sa;
		v[i].ifa.ifa_next = i + 1 < n ? &v[i + 1].ifa : NULL;
	}
	*ret = n ? &v->ifa : NULL;
	if (!n)
		free(v);
	return 0;
}

void __wrap_freeifaddrs(struct ifaddrs *all);
void __wrap_freeifaddrs(struct ifaddrs *all)
{
	if (all)
		free(container_of(all, struct interface, ifa));
}

/* What suits one server with a busy heap does not suit many small ones, forked by thousands. */
int __wrap_mallopt(int param, int value);
int __wrap_mallopt(int param, int value)
{
	(void)param;
	(void)value;
	return 1;
}

/* ---- common/base/log.h ---- */

static const char *const names[] = {"error", "warn", "info", "debug", "trace"};

void node_log_to(FILE *out, enum log_level level)
{
	log_out = out;
	log_at = level;
}

bool log_enabled(enum log_level level)
{
	return level <= LOG_WARN || (log_out && level <= log_at);
}

void log_set_level(enum log_level level)
{
	(void)level; /* it is the simulator's */
}

int log_level_parse(struct span name, enum log_level *ret_level)
{
	for (int i = LOG_ERROR; i <= LOG_TRACE; i++)
		if (span_eq(name, span_str(names[i]))) {
			*ret_level = (enum log_level)i;
			return 0;
		}
	return -EINVAL;
}

void log_write(enum log_level level, const char *event, const struct log_field *f, size_t n)
{
	struct node *node = node_current();
	if (node && level <= LOG_WARN) {
		node->warnings++;
		node->held_once += strcmp(event, "store-failing") == 0;
		trace_note(node->host, "%s", event);
	}
	if (!log_out || level > log_at)
		return;
	fprintf(log_out, "%.6f %s %s %s", (double)sim_now() / 1e6,
		node ? node->host->name : "-", names[level], event);
	for (size_t i = 0; i < n; i++)
		if (f[i].is_number)
			fprintf(log_out, " %s=%lld", f[i].key, (long long)f[i].number);
		else
			fprintf(log_out, " %s=%.*s", f[i].key, SPAN_FMT(f[i].value));
	fputc('\n', log_out);
}

uint64_t log_lost(void)
{
	return 0;
}
