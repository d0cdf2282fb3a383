/* The page is what Prometheus expects, to the byte, and promtool has nothing to say about it.
 */
#include "tests/unit/unit.h"

#include "common/metrics/metrics.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

static void write_two(void *arg, struct metrics_out *o)
{
	metrics_family(o, "txn_timeouts_total", METRICS_COUNTER,
		       "Transactions that timed out.");
	metrics_sample(o, "worker=\"0\"", *(double *)arg);
	metrics_sample(o, "worker=\"1\"", 12345678901.0);
	metrics_family(o, "load_ratio", METRICS_GAUGE, "Busy time, a \\ and\na second line.");
	metrics_sample(o, NULL, 0.25);
}

static void write_single(void *arg, struct metrics_out *o)
{
	(void)arg;
	metrics_counter(o, "reloads_total", "Reloads", 3);
	metrics_gauge(o, "users", "Users", 12345678901);
}

START_TEST(a_family_of_one_sample_has_no_labels)
{
	struct metrics *m = metrics_new();
	size_t n;
	ck_assert_ptr_nonnull(m);
	ck_assert_int_eq(metrics_add(m, write_single, NULL), 0);
	char *text = metrics_render(m, &n);
	ck_assert_str_eq(text, "# HELP eaves_reloads_total Reloads\n"
			       "# TYPE eaves_reloads_total counter\n"
			       "eaves_reloads_total 3\n"
			       "# HELP eaves_users Users\n"
			       "# TYPE eaves_users gauge\n"
			       "eaves_users 12345678901\n");
	free(text);
	metrics_free(m);
}
END_TEST

static void write_strange(void *arg, struct metrics_out *o)
{
	(void)arg;
	metrics_sample(o, NULL, 1); /* no family was begun by this source */
	metrics_family(o, "strange_seconds", METRICS_GAUGE, "Values that are none.");
	metrics_sample(o, "kind=\"nan\"", NAN);
	metrics_sample(o, "kind=\"inf\"", INFINITY);
	metrics_sample(o, "kind=\"negative\"", -INFINITY);
	metrics_sample(o, "kind=\"empty\"", -0.5);
}

static const char page[] = "# HELP eaves_txn_timeouts_total Transactions that timed out.\n"
			   "# TYPE eaves_txn_timeouts_total counter\n"
			   "eaves_txn_timeouts_total{worker=\"0\"} 3\n"
			   "eaves_txn_timeouts_total{worker=\"1\"} 12345678901\n"
			   "# HELP eaves_load_ratio Busy time, a \\\\ and\\na second line.\n"
			   "# TYPE eaves_load_ratio gauge\n"
			   "eaves_load_ratio 0.25\n"
			   "# HELP eaves_strange_seconds Values that are none.\n"
			   "# TYPE eaves_strange_seconds gauge\n"
			   "eaves_strange_seconds{kind=\"nan\"} NaN\n"
			   "eaves_strange_seconds{kind=\"inf\"} +Inf\n"
			   "eaves_strange_seconds{kind=\"negative\"} -Inf\n"
			   "eaves_strange_seconds{kind=\"empty\"} -0.5\n";

static struct metrics *make(double *v)
{
	struct metrics *m = metrics_new();

	ck_assert_ptr_nonnull(m);
	ck_assert_int_eq(metrics_add(m, write_two, v), 0);
	ck_assert_int_eq(metrics_add(m, write_strange, NULL), 0);
	return m;
}

START_TEST(page_has_every_source_in_order)
{
	double three = 3;
	struct metrics *m = make(&three);
	size_t n;
	char *text = metrics_render(m, &n);

	ck_assert_str_eq(text, page);
	ck_assert_uint_eq(n, sizeof(page) - 1);
	free(text);
	metrics_free(m);
}
END_TEST

START_TEST(page_without_sources_is_empty)
{
	struct metrics *m = metrics_new();
	size_t n = 1;
	char *text = metrics_render(m, &n);

	ck_assert_str_eq(text, "");
	ck_assert_uint_eq(n, 0);
	free(text);
	metrics_free(m);
	metrics_free(NULL);
}
END_TEST

static void write_endless(void *arg, struct metrics_out *o)
{
	(void)arg;
	metrics_family(o, "endless_total", METRICS_COUNTER, "More than a page may be.");
	for (unsigned i = 0; i < 1000000; i++)
		metrics_sample(o, "label=\"0123456789\"", i);
}

START_TEST(page_that_is_too_big_is_refused_whole)
{
	struct metrics *m = metrics_new();
	size_t n = 7;

	ck_assert_int_eq(metrics_add(m, write_endless, NULL), 0);
	ck_assert_ptr_null(metrics_render(m, &n));
	ck_assert_uint_eq(n, 7);
	metrics_free(m);
}
END_TEST

START_TEST(promtool_finds_no_fault)
{
	double three = 3;
	struct metrics *m;
	char *text;
	size_t n;
	FILE *f;

	if (access("/usr/bin/promtool", X_OK) != 0)
		return;
	m = make(&three);
	text = metrics_render(m, &n);
	f = popen("/usr/bin/promtool check metrics", "w");
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(text, 1, n, f), n);
	ck_assert_int_eq(pclose(f), 0);
	free(text);
	metrics_free(m);
}
END_TEST

UNIT_MAIN("metrics", page_has_every_source_in_order, page_without_sources_is_empty,
	  a_family_of_one_sample_has_no_labels, page_that_is_too_big_is_refused_whole,
	  promtool_finds_no_fault)
