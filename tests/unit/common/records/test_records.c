/*
 * Records: versions, batches, compare and set, expiry, tombstones, limits, watches.
 */
#include "tests/unit/unit.h"

#include "common/records/records.h"

#include <errno.h>
#include <stdio.h>

enum { T0 = 1000000 };

static struct record rec(const char *group, const char *name, const char *body)
{
	return (struct record){
		.kind = RECORD_BINDING,
		.group = span_str(group),
		.name = span_str(name),
		.body = span_str(body),
	};
}

static int put(struct records *r, const char *group, const char *name, const char *body,
	       uint64_t expires_ms)
{
	struct record v = rec(group, name, body);
	v.expires_ms = expires_ms;
	return records_put(r, &v, 1, NULL, T0, NULL, NULL);
}

static int del(struct records *r, const char *group, const char *name)
{
	struct record v = rec(group, name, "");
	v.deleted = true;
	return records_put(r, &v, 1, NULL, T0, NULL, NULL);
}

struct text {
	char s[512];
	uint64_t tag;
	struct records *r;
};

static bool join(void *arg, const struct record *c)
{
	struct text *t = arg;
	size_t n = strlen(t->s);
	snprintf(t->s + n, sizeof(t->s) - n, "%.*s=%.*s ", SPAN_FMT(c->name),
		 SPAN_FMT(c->body));
	if (t->r)
		t->tag = records_tag(t->r, c);
	return true;
}

static const char *show(struct records *r, const char *group, uint64_t now)
{
	static struct text t;
	t.s[0] = 0;
	records_each(r, RECORD_BINDING, span_str(group), now, join, &t, NULL);
	return t.s;
}

static void count_done(void *arg, int error)
{
	ck_assert_int_eq(error, 0);
	(*(int *)arg)++;
}

START_TEST(records_of_a_group_come_in_order_of_first_insertion)
{
	struct records *r = records_new(NULL, 1, 100, NULL);
	ck_assert_int_eq(put(r, "alice", "b", "1", 0), 0);
	ck_assert_int_eq(put(r, "alice", "a", "2", 0), 0);
	ck_assert_int_eq(put(r, "bob", "a", "3", 0), 0);
	ck_assert_int_eq(put(r, "alice", "b", "much longer than it was before, so moved", 0),
			 0);
	ck_assert_str_eq(show(r, "alice", T0),
			 "b=much longer than it was before, so moved a=2 ");
	ck_assert_str_eq(show(r, "carol", T0), "");
	ck_assert_uint_eq(records_count(r, RECORD_BINDING), 3);
	ck_assert_uint_eq(records_count(r, RECORD_USER), 0);
	records_free(r);
}
END_TEST

START_TEST(many_groups_survive_growth_in_order)
{
	struct records *r = records_new(NULL, 1, 100000, NULL);
	char group[16];
	for (int i = 0; i < 20000; i++) {
		snprintf(group, sizeof(group), "u%d", i % 10000);
		ck_assert_int_eq(put(r, group, i < 10000 ? "z" : "a", "x", 0), 0);
	}
	for (int i = 0; i < 10000; i++) {
		snprintf(group, sizeof(group), "u%d", i);
		ck_assert_str_eq(show(r, group, T0), "z=x a=x ");
	}
	ck_assert_uint_eq(records_count(r, RECORD_BINDING), 20000);
	records_free(r);
}
END_TEST

START_TEST(done_is_called_at_once_without_a_store)
{
	struct records *r = records_new(NULL, 1, 100, NULL);
	struct record v = rec("alice", "a", "1");
	int done = 0;
	ck_assert_int_eq(records_put(r, &v, 1, NULL, T0, count_done, &done), 0);
	ck_assert_int_eq(done, 1);
	records_free(r);
}
END_TEST

START_TEST(a_batch_is_of_one_group_without_repeated_names)
{
	struct records *r = records_new(NULL, 1, 100, NULL);
	struct record v[2] = {rec("alice", "a", "1"), rec("bob", "a", "2")};
	int done = 0;
	ck_assert_int_eq(records_put(r, v, 2, NULL, T0, count_done, &done), -EINVAL);
	v[1] = v[0];
	ck_assert_int_eq(records_put(r, v, 2, NULL, T0, count_done, &done), -EINVAL);
	ck_assert_int_eq(records_put(r, v, 0, NULL, T0, count_done, &done), -EINVAL);
	v[0].kind = 0;
	ck_assert_int_eq(records_put(r, v, 1, NULL, T0, count_done, &done), -EINVAL);
	v[0] = rec("", "a", "1");
	ck_assert_int_eq(records_put(r, v, 1, NULL, T0, count_done, &done), -EINVAL);
	ck_assert_int_eq(done, 0);
	ck_assert_uint_eq(records_counters(r).records, 0);
	records_free(r);
}
END_TEST

START_TEST(compare_and_set_fails_when_the_group_has_changed)
{
	struct records *r = records_new(NULL, 1, 100, NULL);
	struct record_version seen;
	struct record v = rec("alice", "a", "1");
	struct text t = {{0}, 0, NULL};

	records_each(r, RECORD_BINDING, SPAN("alice"), T0, join, &t, &seen);
	ck_assert_uint_eq(seen.hlc, 0);
	ck_assert_int_eq(records_put(r, &v, 1, &seen, T0, NULL, NULL), 0);
	ck_assert_int_eq(records_put(r, &v, 1, &seen, T0, NULL, NULL), -EAGAIN);
	records_each(r, RECORD_BINDING, SPAN("alice"), T0, join, &t, &seen);
	ck_assert_int_eq(records_put(r, &v, 1, &seen, T0, NULL, NULL), 0);
	records_each(r, RECORD_BINDING, SPAN("alice"), T0, join, &t, &seen);
	ck_assert_int_eq(del(r, "alice", "a"), 0);
	ck_assert_int_eq(records_put(r, &v, 1, &seen, T0, NULL, NULL), -EAGAIN);
	ck_assert_uint_eq(records_counters(r).conflicts, 2);
	records_free(r);
}
END_TEST

START_TEST(an_expired_record_is_not_shown_and_sweeps_into_a_tombstone)
{
	struct records *r = records_new(NULL, 1, 100, NULL);
	ck_assert_int_eq(put(r, "alice", "a", "1", T0 + 10), 0);
	ck_assert_int_eq(put(r, "alice", "b", "2", T0 + 20), 0);
	ck_assert_str_eq(show(r, "alice", T0 + 9), "a=1 b=2 ");
	ck_assert_str_eq(show(r, "alice", T0 + 10), "b=2 ");
	for (int i = 0; i < 16; i++)
		records_sweep(r, T0 + 15);
	ck_assert_uint_eq(records_count(r, RECORD_BINDING), 1);
	ck_assert_uint_eq(records_counters(r).records, 2);
	ck_assert_uint_eq(records_counters(r).expired, 1);
	for (int i = 0; i < 16; i++)
		records_sweep(r, T0 + 10 + RECORDS_TOMBSTONE_MS);
	for (int i = 0; i < 16; i++)
		records_sweep(r, T0 + 20 + RECORDS_TOMBSTONE_MS);
	ck_assert_uint_eq(records_counters(r).records, 0);
	records_free(r);
}
END_TEST

START_TEST(a_late_update_does_not_bring_back_what_was_deleted_or_expired)
{
	struct records *r = records_new(NULL, 1, 100, NULL);
	struct record late = rec("alice", "a", "old");
	late.version = (struct record_version){(uint64_t)(T0 - 5) << 16, 9};

	ck_assert_int_eq(put(r, "alice", "a", "new", T0 + 10), 0);
	for (int i = 0; i < 16; i++)
		records_sweep(r, T0 + 10);
	ck_assert_int_eq(records_merge(r, &late, 1, T0 + 10, NULL, NULL), 0);
	ck_assert_str_eq(show(r, "alice", T0 + 10), "");
	ck_assert_int_eq(put(r, "alice", "a", "new", 0), 0);
	ck_assert_int_eq(del(r, "alice", "a"), 0);
	ck_assert_int_eq(records_merge(r, &late, 1, T0, NULL, NULL), 0);
	ck_assert_str_eq(show(r, "alice", T0), "");
	ck_assert_uint_eq(records_counters(r).passed_over, 2);
	records_free(r);
}
END_TEST

START_TEST(the_table_refuses_more_than_its_limit)
{
	struct records *r = records_new(NULL, 1, 2, NULL);
	ck_assert_int_eq(put(r, "alice", "a", "1", 0), 0);
	ck_assert_int_eq(put(r, "bob", "a", "1", 0), 0);
	ck_assert_int_eq(put(r, "carol", "a", "1", 0), -ENOSPC);
	ck_assert_int_eq(put(r, "bob", "a", "2", 0), 0);
	ck_assert_uint_eq(records_counters(r).full, 1);
	ck_assert_uint_eq(records_counters(r).records, 2);
	ck_assert_str_eq(show(r, "carol", T0), "");
	records_free(r);
}
END_TEST

START_TEST(deletions_remembered_in_a_group_are_bounded)
{
	struct records *r = records_new(NULL, 1, 100000, NULL);
	char name[16];
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "n%d", i);
		ck_assert_int_eq(put(r, "alice", name, "x", 0), 0);
		ck_assert_int_eq(del(r, "alice", name), 0);
	}
	ck_assert_uint_eq(records_count(r, RECORD_BINDING), 0);
	ck_assert_uint_eq(records_counters(r).records, RECORDS_TOMBSTONES_PER_GROUP + 1);
	for (int i = 0; i < 16; i++)
		records_sweep(r, T0 + RECORDS_TOMBSTONE_DAYS * UINT64_C(86400000) +
					 2 * RECORDS_TOMBSTONE_MS);
	ck_assert_uint_eq(records_counters(r).records, 0);
	records_free(r);
}
END_TEST

START_TEST(expired_records_remembered_in_a_group_are_bounded_too)
{
	enum { N = RECORDS_TOMBSTONES_PER_GROUP + 8 };
	struct records *r = records_new(NULL, 1, 1000, NULL);
	struct text t = {{0}, 0, NULL};
	char name[16];
	for (int i = 0; i < N; i++) {
		snprintf(name, sizeof(name), "n%02d", i);
		ck_assert_int_eq(put(r, "alice", name, "x", T0 + 5), 0);
	}
	for (int i = 0; i < 16; i++)
		records_sweep(r, T0 + 5);
	ck_assert_uint_eq(records_counters(r).records, RECORDS_TOMBSTONES_PER_GROUP + 1);
	records_scan_all(r, join, &t);
	ck_assert_ptr_null(strstr(t.s, "n07="));
	ck_assert_ptr_nonnull(strstr(t.s, "n08="));
	records_free(r);
}
END_TEST

/* "old", and then more deletions than are remembered.  The version of "old". */
static struct record_version delete_many(struct records *r, uint32_t node)
{
	struct record v = rec("alice", "old", "x");
	struct record_version old = {0, 0};
	char name[16];

	v.version = (struct record_version){(uint64_t)T0 << 16, node};
	if (node == 1)
		v.version = old;
	ck_assert_int_ge(node == 1 ? records_put(r, &v, 1, NULL, T0, NULL, NULL)
				   : records_merge(r, &v, 1, T0, NULL, NULL),
			 0);
	records_each(r, RECORD_BINDING, SPAN("alice"), T0, NULL, NULL, &old);
	ck_assert_int_eq(del(r, "alice", "old"), 0);
	for (int i = 0; i < RECORDS_TOMBSTONES_PER_GROUP; i++) {
		snprintf(name, sizeof(name), "n%d", i);
		ck_assert_int_eq(put(r, "alice", name, "x", 0), 0);
		ck_assert_int_eq(del(r, "alice", name), 0);
	}
	return old;
}

static int merge_old(struct records *r, struct record_version version)
{
	struct record v = rec("alice", "old", "x");

	v.version = version;
	return records_merge(r, &v, 1, T0, NULL, NULL);
}

START_TEST(what_was_deleted_does_not_come_back_when_its_deletion_is_forgotten)
{
	for (uint32_t node = 1; node <= 2; node++) {
		struct records *r = records_new(NULL, 1, 1000, NULL);
		struct record_version old = delete_many(r, node);

		ck_assert_uint_eq(old.node, node);
		if (node == 2)
			records_heard(r, old);
		ck_assert_int_eq(merge_old(r, old), 0);
		ck_assert_str_eq(show(r, "alice", T0), "");
		ck_assert_uint_eq(records_counters(r).buried, 1);
		records_free(r);
	}
}
END_TEST

START_TEST(what_was_never_here_is_taken_however_much_is_forgotten)
{
	struct records *r = records_new(NULL, 1, 1000, NULL);
	struct record_version old = delete_many(r, 2);

	/* Its writer went on with it while we did not hear of it. */
	records_heard(r, (struct record_version){old.hlc - 1, 2});
	ck_assert_int_eq(merge_old(r, old), 1);
	ck_assert_str_eq(show(r, "alice", T0), "old=x ");
	ck_assert_uint_eq(records_counters(r).buried, 0);
	records_free(r);
}
END_TEST

START_TEST(of_another_group_or_newer_than_what_is_forgotten_nothing_is_taken_for_deleted)
{
	struct records *r = records_new(NULL, 1, 1000, NULL);
	struct record_version old = delete_many(r, 2);
	struct record v = rec("bob", "old", "x");

	records_heard(r, (struct record_version){UINT64_MAX, 2});
	v.version = old;
	ck_assert_int_eq(records_merge(r, &v, 1, T0, NULL, NULL), 1);
	v.group = SPAN("alice");
	v.kind = RECORD_USER;
	ck_assert_int_eq(records_merge(r, &v, 1, T0, NULL, NULL), 1);
	ck_assert_int_eq(merge_old(r, (struct record_version){(T0 + 1ull) << 16, 2}), 1);
	ck_assert_uint_eq(records_counters(r).buried, 0);
	records_free(r);
}
END_TEST

static bool note_end(void *arg, const struct record *c)
{
	*(uint64_t *)arg = c->deleted ? c->expires_ms : 0;
	return true;
}

START_TEST(a_deletion_is_remembered_for_longer_than_its_record_would_have_lived)
{
	const uint64_t day = 86400000;
	struct records *r = records_new(NULL, 1, 100, NULL);
	uint64_t until = 0;
	ck_assert_int_eq(del(r, "alice", "never there"), 0);
	records_scan_all(r, note_end, &until);
	ck_assert_uint_eq(until, T0 + RECORDS_TOMBSTONE_MS);
	ck_assert_int_eq(put(r, "alice", "never there", "x", T0 + day), 0);
	ck_assert_int_eq(del(r, "alice", "never there"), 0);
	records_scan_all(r, note_end, &until);
	ck_assert_uint_eq(until, T0 + day + RECORDS_TOMBSTONE_MS);
	ck_assert_int_eq(del(r, "alice", "never there"), 0); /* once more shortens nothing */
	records_scan_all(r, note_end, &until);
	ck_assert_uint_eq(until, T0 + day + RECORDS_TOMBSTONE_MS);
	ck_assert_int_eq(put(r, "alice", "never there", "x", 0), 0);
	ck_assert_int_eq(del(r, "alice", "never there"), 0);
	records_scan_all(r, note_end, &until);
	ck_assert_uint_eq(until, T0 + RECORDS_TOMBSTONE_DAYS * day);
	records_free(r);
}
END_TEST

struct seen {
	unsigned n, of_bob;
};

static bool note_part(void *arg, const struct record *c)
{
	struct seen *s = arg;
	s->n++;
	s->of_bob += span_eq(c->group, SPAN("bob"));
	return true;
}

START_TEST(parts_are_the_whole_table_and_a_group_is_in_one)
{
	struct records *r = records_new(NULL, 1, 1000, NULL);
	struct seen all = {0, 0};
	char name[16];
	for (int i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "%d", i);
		ck_assert_int_eq(put(r, i < 100 ? name : "bob", name, "x", 0), 0);
	}
	ck_assert_int_eq(del(r, "bob", "150"), 0);
	for (unsigned i = 0; i < RECORDS_PARTS; i++) {
		struct seen part = {0, 0};
		records_scan_part(r, i, note_part, &part);
		ck_assert(part.of_bob == 0 || part.of_bob == 100);
		all.n += part.n;
		all.of_bob += part.of_bob;
	}
	records_scan_part(r, RECORDS_PARTS, note_part, &all);
	ck_assert_uint_eq(all.n, 200);
	ck_assert_uint_eq(all.of_bob, 100);
	records_free(r);
}
END_TEST

START_TEST(a_version_far_in_the_future_is_refused)
{
	struct records *r = records_new(NULL, 1, 100, NULL);
	struct record v = rec("alice", "a", "1");
	v.version = (struct record_version){(uint64_t)(T0 + RECORDS_DRIFT_MAX_MS + 1) << 16, 2};
	ck_assert_int_eq(records_merge(r, &v, 1, T0, NULL, NULL), -EBADMSG);
	v.version.hlc = 0;
	ck_assert_int_eq(records_merge(r, &v, 1, T0, NULL, NULL), -EBADMSG);
	ck_assert_uint_eq(records_counters(r).far_ahead, 2);
	records_free(r);
}
END_TEST

START_TEST(a_put_after_a_merge_wins_though_the_clock_is_behind)
{
	struct records *r = records_new(NULL, 1, 100, NULL);
	struct record v = rec("alice", "a", "theirs");
	v.version = (struct record_version){(uint64_t)(T0 + 5000) << 16, 2};
	ck_assert_int_eq(records_merge(r, &v, 1, T0, NULL, NULL), 1);
	ck_assert_int_eq(put(r, "alice", "a", "ours", 0), 0);
	ck_assert_str_eq(show(r, "alice", T0), "a=ours ");
	records_free(r);
}
END_TEST

static void note_change(void *arg, uint8_t kind, struct span group)
{
	char *s = arg;
	size_t n = strlen(s);
	snprintf(s + n, 64 - n, "%u:%.*s ", kind, SPAN_FMT(group));
}

START_TEST(watchers_hear_of_puts_and_of_expiry_of_their_kind)
{
	struct records *r = records_new(NULL, 1, 100, NULL);
	char seen[64] = "";
	records_watch(r, RECORD_BINDING, note_change, seen);
	struct record user = rec("carol", "", "x");
	user.kind = RECORD_USER;
	ck_assert_int_eq(records_put(r, &user, 1, NULL, T0, NULL, NULL), 0);
	ck_assert_int_eq(put(r, "alice", "a", "1", T0 + 1), 0);
	ck_assert_int_eq(put(r, "bob", "a", "1", 0), 0);
	for (int i = 0; i < 16; i++)
		records_sweep(r, T0 + 1);
	ck_assert_str_eq(seen, "3:alice 3:bob 3:alice ");
	records_free(r);
}
END_TEST

START_TEST(a_tag_finds_its_record)
{
	struct records *r = records_new(NULL, 1, 100, NULL);
	struct text t = {{0}, 0, r}, u = {{0}, 0, NULL};
	put(r, "alice", "a", "1", 0);
	records_each(r, RECORD_BINDING, SPAN("alice"), T0, join, &t, NULL);
	put(r, "alice", "b", "2", 0);
	ck_assert_uint_eq(records_each_tag(r, RECORD_BINDING, t.tag, T0, join, &u), 1);
	ck_assert_str_eq(u.s, "a=1 ");
	ck_assert_uint_eq(records_each_tag(r, RECORD_BINDING, t.tag + 1, T0, join, &u), 0);
	records_free(r);
}
END_TEST

/* A table as text, groups in a fixed order, names sorted by their place in `names`. */
static void dump(struct records *r, char *out, size_t cap)
{
	static const char *const groups[] = {"g0", "g1", "g2"};
	out[0] = 0;
	for (int g = 0; g < 3; g++) {
		char lines[4][64] = {{0}};
		struct text t = {{0}, 0, NULL};
		records_each(r, RECORD_BINDING, span_str(groups[g]), T0, join, &t, NULL);
		for (char *s = strtok(t.s, " "); s; s = strtok(NULL, " "))
			snprintf(lines[s[1] - '0'], 64, "%s", s);
		for (int i = 0; i < 4; i++) {
			size_t n = strlen(out);
			snprintf(out + n, cap - n, "%s/%s ", groups[g], lines[i]);
		}
	}
}

START_TEST(any_order_and_repetition_of_updates_gives_equal_tables)
{
	enum { N = 40 };
	struct record v[N];
	char text[N][3][16], first[1024] = "", out[1024];

	srand(42);
	for (int i = 0; i < N; i++) {
		snprintf(text[i][0], 16, "g%d", rand() % 3);
		snprintf(text[i][1], 16, "n%d", rand() % 4);
		snprintf(text[i][2], 16, "b%d", i);
		v[i] = rec(text[i][0], text[i][1], text[i][2]);
		v[i].version.hlc = ((uint64_t)T0 << 16) + (unsigned)(rand() % 20);
		v[i].version.node = (uint32_t)i; /* equal clocks: the node decides */
		v[i].deleted = rand() % 4 == 0;
	}
	for (int round = 0; round < 200; round++) {
		struct records *r = records_new(NULL, 1, 100, NULL);
		bool sent[N] = {false};
		for (int left = N; left > 0;) {
			int i = rand() % N;
			ck_assert_int_ge(records_merge(r, &v[i], 1, T0, NULL, NULL), 0);
			left -= !sent[i];
			sent[i] = true;
		}
		dump(r, out, sizeof(out));
		if (round == 0)
			memcpy(first, out, sizeof(out));
		ck_assert_str_eq(out, first);
		records_free(r);
	}
}
END_TEST

START_TEST(kinds_have_names_but_those_of_later_versions)
{
	ck_assert_str_eq(record_kind_name(RECORD_USER), "user");
	ck_assert_str_eq(record_kind_name(RECORD_FORK), "fork");
	ck_assert_ptr_null(record_kind_name(0));
	ck_assert_ptr_null(record_kind_name(RECORD_FORK + 1));
	ck_assert_ptr_null(record_kind_name(255));
}
END_TEST

UNIT_MAIN("common/records", kinds_have_names_but_those_of_later_versions,
	  records_of_a_group_come_in_order_of_first_insertion,
	  many_groups_survive_growth_in_order, done_is_called_at_once_without_a_store,
	  a_batch_is_of_one_group_without_repeated_names,
	  compare_and_set_fails_when_the_group_has_changed,
	  an_expired_record_is_not_shown_and_sweeps_into_a_tombstone,
	  a_late_update_does_not_bring_back_what_was_deleted_or_expired,
	  the_table_refuses_more_than_its_limit, deletions_remembered_in_a_group_are_bounded,
	  expired_records_remembered_in_a_group_are_bounded_too,
	  what_was_deleted_does_not_come_back_when_its_deletion_is_forgotten,
	  what_was_never_here_is_taken_however_much_is_forgotten,
	  of_another_group_or_newer_than_what_is_forgotten_nothing_is_taken_for_deleted,
	  a_deletion_is_remembered_for_longer_than_its_record_would_have_lived,
	  parts_are_the_whole_table_and_a_group_is_in_one,
	  a_version_far_in_the_future_is_refused,
	  a_put_after_a_merge_wins_though_the_clock_is_behind,
	  watchers_hear_of_puts_and_of_expiry_of_their_kind, a_tag_finds_its_record,
	  any_order_and_repetition_of_updates_gives_equal_tables)
