/*
 * The directory: users and aliases.
 */
#include "tests/unit/unit.h"

#include "common/directory/directory.h"

#include <errno.h>
#include <stdio.h>

enum { T0 = 1000000 };

static const struct dir_user some = {
	.ha1 = {.has_md5 = true, .has_sha256 = true, .md5 = {1, 2, 0, 4}, .sha256 = {9, 0, 7}},
	.flags = DIR_REDIRECT,
	.permissions = DIR_MAY_TRUNK,
};

static int put(struct records *r, const char *name)
{
	return dir_user_put(r, span_str(name), &some, T0, NULL, NULL);
}

START_TEST(a_user_comes_back_as_it_was_put)
{
	struct records *r = records_new(NULL, 1, 100, NULL);
	struct dir_user u;
	ck_assert_int_eq(put(r, "alice"), 0);
	ck_assert_int_eq(dir_user_get(r, SPAN("alice"), T0, &u), 0);
	ck_assert(u.ha1.has_md5 && u.ha1.has_sha256);
	ck_assert_mem_eq(u.ha1.md5, some.ha1.md5, 16);
	ck_assert_mem_eq(u.ha1.sha256, some.ha1.sha256, 32);
	ck_assert_uint_eq(u.flags, DIR_REDIRECT);
	ck_assert_uint_eq(u.permissions, DIR_MAY_TRUNK);

	struct dir_user bare = {.flags = 0};
	ck_assert_int_eq(dir_user_put(r, SPAN("bare"), &bare, T0, NULL, NULL), 0);
	ck_assert_int_eq(dir_user_get(r, SPAN("bare"), T0, &u), 0);
	ck_assert(!u.ha1.has_md5 && !u.ha1.has_sha256);
	records_free(r);
}
END_TEST

START_TEST(what_another_has_changed_since_it_was_read_is_not_written_over)
{
	struct records *r = records_new(NULL, 1, 100, NULL);
	struct dir_user mine = {.flags = 0}, theirs;
	ck_assert_int_eq(dir_user_get(r, SPAN("alice"), T0, &mine), -ENOENT);
	ck_assert_int_eq(put(r, "alice"), 0);
	ck_assert_int_eq(dir_user_put(r, SPAN("alice"), &mine, T0, NULL, NULL), -EAGAIN);
	ck_assert_int_eq(dir_user_get(r, SPAN("alice"), T0, &mine), 0);
	ck_assert_int_eq(dir_user_get(r, SPAN("alice"), T0, &theirs), 0);
	theirs.flags = DIR_DISABLED;
	ck_assert_int_eq(dir_user_put(r, SPAN("alice"), &theirs, T0, NULL, NULL), 0);
	mine.permissions = 0;
	ck_assert_int_eq(dir_user_put(r, SPAN("alice"), &mine, T0, NULL, NULL), -EAGAIN);
	ck_assert_int_eq(dir_user_get(r, SPAN("alice"), T0, &mine), 0);
	ck_assert_uint_eq(mine.flags, DIR_DISABLED);
	ck_assert_uint_eq(mine.permissions, DIR_MAY_TRUNK);
	records_free(r);
}
END_TEST

struct body {
	char p[8192];
	size_t n;
};

static bool copy_body(void *arg, const struct record *rec)
{
	struct body *b = arg;
	memcpy(b->p, rec->body.p, b->n = rec->body.n);
	return false;
}

/* As a newer version would: with a field 20 of n times "x". */
static void write_more(struct records *r, struct body *b, size_t n)
{
	records_each(r, RECORD_USER, SPAN("alice"), T0, copy_body, b, NULL);
	const char head[] = {'\xa2', '\x01', (char)(n % 128 | 128), (char)(n / 128)};
	memcpy(b->p + b->n, head, sizeof(head));
	memset(b->p + b->n + sizeof(head), 'x', n);
	b->n += sizeof(head) + n;
	struct record v = {
		.kind = RECORD_USER, .group = SPAN("alice"), .body = span_of(b->p, b->n)};
	ck_assert_int_eq(records_put(r, &v, 1, NULL, T0, NULL, NULL), 0);
}

START_TEST(what_a_newer_version_has_written_of_a_user_stays)
{
	struct records *r = records_new(NULL, 1, 100, NULL);
	struct body before, after;
	struct dir_user u;
	ck_assert_int_eq(put(r, "alice"), 0);
	write_more(r, &before, 2000);
	ck_assert_int_eq(dir_user_get(r, SPAN("alice"), T0, &u), 0);
	ck_assert_mem_eq(u.ha1.md5, some.ha1.md5, 16);
	u.flags = DIR_DISABLED;
	ck_assert_int_eq(dir_user_put(r, SPAN("alice"), &u, T0, NULL, NULL), 0);
	records_each(r, RECORD_USER, SPAN("alice"), T0, copy_body, &after, NULL);
	ck_assert_uint_eq(after.n, before.n);
	ck_assert_mem_eq(after.p + after.n - 2004, before.p + before.n - 2004, 2004);
	ck_assert_int_eq(dir_user_get(r, SPAN("alice"), T0, &u), 0);
	ck_assert_uint_eq(u.flags, DIR_DISABLED);
	/* More than we can read is not written over. */
	write_more(r, &before, 4000);
	ck_assert_int_eq(dir_user_get(r, SPAN("alice"), T0, &u), -EIO);
	ck_assert_int_eq(put(r, "alice"), -EIO);
	ck_assert_int_eq(dir_user_remove(r, SPAN("alice"), T0, NULL, NULL), 0);
	ck_assert_int_eq(put(r, "alice"), 0);
	records_free(r);
}
END_TEST

START_TEST(user_names_are_case_sensitive_and_unescaped)
{
	struct records *r = records_new(NULL, 1, 100, NULL);
	struct dir_user u;
	ck_assert_int_eq(put(r, "alice"), 0);
	ck_assert_int_eq(dir_user_get(r, SPAN("Alice"), T0, &u), -ENOENT);
	ck_assert_int_eq(put(r, "a b;c=\"d\""), 0);
	ck_assert_int_eq(dir_user_get(r, SPAN("a b;c=\"d\""), T0, &u), 0);
	records_free(r);
}
END_TEST

START_TEST(names_without_or_with_bad_characters_are_refused)
{
	struct records *r = records_new(NULL, 1, 100, NULL);
	char long_name[DIR_NAME_MAX_BYTES + 2];
	struct dir_user u;
	memset(long_name, 'a', sizeof(long_name) - 1);
	long_name[sizeof(long_name) - 1] = 0;
	ck_assert_int_eq(put(r, ""), -EINVAL);
	ck_assert_int_eq(put(r, long_name), -EINVAL);
	ck_assert_int_eq(put(r, "a\r\nb"), -EINVAL);
	ck_assert_int_eq(dir_user_put(r, SPAN("a\0b"), &some, T0, NULL, NULL), -EINVAL);
	ck_assert_int_eq(dir_user_get(r, span_str(long_name), T0, &u), -ENOENT);
	ck_assert_int_eq(dir_user_get(r, SPAN(""), T0, &u), -ENOENT);
	long_name[DIR_NAME_MAX_BYTES] = 0;
	ck_assert_int_eq(put(r, long_name), 0);
	records_free(r);
}
END_TEST

START_TEST(a_removed_user_is_gone)
{
	struct records *r = records_new(NULL, 1, 100, NULL);
	struct dir_user u;
	ck_assert_int_eq(dir_user_remove(r, SPAN("alice"), T0, NULL, NULL), -ENOENT);
	ck_assert_int_eq(put(r, "alice"), 0);
	ck_assert_int_eq(dir_user_remove(r, SPAN("alice"), T0, NULL, NULL), 0);
	ck_assert_int_eq(dir_user_get(r, SPAN("alice"), T0, &u), -ENOENT);
	ck_assert_int_eq(put(r, "alice"), 0);
	ck_assert_int_eq(dir_user_get(r, SPAN("alice"), T0, &u), 0);
	records_free(r);
}
END_TEST

START_TEST(a_record_that_is_no_user_is_an_error)
{
	struct records *r = records_new(NULL, 1, 100, NULL);
	struct dir_user u;
	struct record v = {
		.kind = RECORD_USER, .group = SPAN("alice"), .body = SPAN("\xff\xff")};
	static char large[600];
	ck_assert_int_eq(records_put(r, &v, 1, NULL, T0, NULL, NULL), 0);
	ck_assert_int_eq(dir_user_get(r, SPAN("alice"), T0, &u), -EIO);
	v.body = span_of(large, sizeof(large));
	ck_assert_int_eq(records_put(r, &v, 1, NULL, T0, NULL, NULL), 0);
	ck_assert_int_eq(dir_user_get(r, SPAN("alice"), T0, &u), -EIO);
	records_free(r);
}
END_TEST

START_TEST(an_alias_resolves_to_its_user)
{
	struct records *r = records_new(NULL, 1, 100, NULL);
	char name[DIR_NAME_MAX_BYTES + 1];
	struct dir_user u;
	ck_assert_int_eq(dir_alias_put(r, SPAN("100"), SPAN("alice"), T0, NULL, NULL), -ENOENT);
	ck_assert_int_eq(put(r, "alice"), 0);
	ck_assert_int_eq(dir_alias_put(r, SPAN("100"), SPAN("alice"), T0, NULL, NULL), 0);
	ck_assert_int_eq(dir_resolve(r, SPAN("100"), T0, name, &u), 5);
	ck_assert_str_eq(name, "alice");
	ck_assert_uint_eq(u.flags, DIR_REDIRECT);
	ck_assert_int_eq(dir_resolve(r, SPAN("alice"), T0, name, NULL), 5);
	ck_assert_int_eq(dir_resolve(r, SPAN("101"), T0, name, NULL), -ENOENT);
	ck_assert_int_eq(dir_user_remove(r, SPAN("alice"), T0, NULL, NULL), 0);
	ck_assert_int_eq(dir_resolve(r, SPAN("100"), T0, name, NULL), -ENOENT);
	ck_assert_int_eq(dir_alias_remove(r, SPAN("100"), T0, NULL, NULL), 0);
	ck_assert_int_eq(dir_alias_remove(r, SPAN("100"), T0, NULL, NULL), -ENOENT);
	records_free(r);
}
END_TEST

START_TEST(a_name_is_a_user_or_an_alias_not_both)
{
	struct records *r = records_new(NULL, 1, 100, NULL);
	ck_assert_int_eq(put(r, "alice"), 0);
	ck_assert_int_eq(put(r, "bob"), 0);
	ck_assert_int_eq(dir_alias_put(r, SPAN("bob"), SPAN("alice"), T0, NULL, NULL), -EEXIST);
	ck_assert_int_eq(dir_alias_put(r, SPAN("bob"), SPAN("bob"), T0, NULL, NULL), -EINVAL);
	ck_assert_int_eq(dir_alias_put(r, SPAN("100"), SPAN("alice"), T0, NULL, NULL), 0);
	ck_assert_int_eq(put(r, "100"), -EEXIST);
	records_free(r);
}
END_TEST

static bool add_user(void *arg, struct span name, const struct dir_user *u)
{
	char *s = arg;
	ck_assert_uint_eq(u->flags, DIR_REDIRECT);
	strncat(s, name.p, name.n);
	return true;
}

static bool add_alias(void *arg, struct span alias, struct span user)
{
	char *s = arg;
	strncat(s, alias.p, alias.n);
	strncat(s, user.p, user.n);
	return true;
}

START_TEST(lists_show_all)
{
	struct records *r = records_new(NULL, 1, 100, NULL);
	char s[64] = "";
	put(r, "a");
	put(r, "b");
	dir_alias_put(r, SPAN("c"), SPAN("b"), T0, NULL, NULL);
	dir_user_each(r, T0, add_user, s);
	ck_assert(strcmp(s, "ab") == 0 || strcmp(s, "ba") == 0);
	s[0] = 0;
	dir_alias_each(r, T0, add_alias, s);
	ck_assert_str_eq(s, "cb");
	records_free(r);
}
END_TEST

UNIT_MAIN("common/directory", a_user_comes_back_as_it_was_put,
	  what_another_has_changed_since_it_was_read_is_not_written_over,
	  what_a_newer_version_has_written_of_a_user_stays,
	  user_names_are_case_sensitive_and_unescaped,
	  names_without_or_with_bad_characters_are_refused, a_removed_user_is_gone,
	  a_record_that_is_no_user_is_an_error, an_alias_resolves_to_its_user,
	  a_name_is_a_user_or_an_alias_not_both, lists_show_all)
