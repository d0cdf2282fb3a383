/* A page of several kilobytes. */
#include "tests/oom/oom.h"

#include "common/metrics/metrics.h"

static void write_page(void *arg, struct metrics_out *o)
{
	(void)arg;
	metrics_family(o, "test_total", METRICS_COUNTER, "A test.");
	for (unsigned i = 0; i < 1000; i++)
		metrics_sample(o, "worker=\"0\"", i);
}

static int run(void)
{
	struct metrics *m = metrics_new();
	bool added = m && metrics_add(m, write_page, NULL) == 0 &&
		     metrics_add(m, write_page, NULL) == 0;
	size_t n = 0;
	char *page = added ? metrics_render(m, &n) : NULL;

	OOM_HOLDS(!page || n > 4096);
	free(page);
	metrics_free(m);
	return page ? 0 : -1;
}

const struct oom_scenario oom_scenario = {"metrics", NULL, run};
