/*
 * Files that are secrets, and whether a file could be written.
 */
#include "common/base/file.h"

#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/eaves-file-XXXXXX", path[128];

static void begin(const char *text, mode_t mode)
{
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/f", dir);
	int fd = open(path, O_WRONLY | O_CREAT, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	ck_assert_int_eq(fchmod(fd, mode), 0);
	close(fd);
}

static void end(void)
{
	unlink(path);
	rmdir(dir);
}

START_TEST(a_secret_is_read_where_nobody_else_may)
{
	char v[8] = "";
	begin("secret", 0600);
	ck_assert_int_eq(file_read_secret(path, v, sizeof(v)), 6);
	ck_assert_mem_eq(v, "secret", 6);
	ck_assert_int_eq(file_read_secret(path, v, 3), 3);
	ck_assert_int_eq(chmod(path, 0640), 0);
	ck_assert_int_eq(file_read_secret(path, v, sizeof(v)), -EPERM);
	ck_assert_str_eq(file_secret_error(-EPERM), "others may read it: chmod 600");
	ck_assert_int_eq(file_read_secret("/nonexistent", v, sizeof(v)), -ENOENT);
	ck_assert_str_eq(file_secret_error(-ENOENT), "No such file or directory");
	end();
}
END_TEST

START_TEST(a_group_may_share_a_key_and_others_may_not)
{
	begin("key", 0600);
	ck_assert_int_eq(file_check_key(path), 0);
	ck_assert_int_eq(chmod(path, 0640), 0);
	ck_assert_int_eq(file_check_key(path), 0);
	ck_assert_int_eq(chmod(path, 0644), 0);
	ck_assert_int_eq(file_check_key(path), -EPERM);
	ck_assert_int_eq(file_check_key("/nonexistent"), -ENOENT);
	end();
}
END_TEST

START_TEST(a_link_to_a_secret_is_not_followed)
{
	char link[160], v[8];
	begin("secret", 0600);
	snprintf(link, sizeof(link), "%s.link", path);
	ck_assert_int_eq(symlink(path, link), 0);
	ck_assert_int_eq(file_read_secret(link, v, sizeof(v)), -ELOOP);
	unlink(link);
	end();
}
END_TEST

START_TEST(what_could_be_written_is_not_made)
{
	char in[160], deep[200];
	begin("x", 0600);
	snprintf(in, sizeof(in), "%s/new", dir);
	ck_assert_int_eq(file_could_write(path), 0);
	ck_assert_int_eq(file_could_write(in), 0);
	snprintf(deep, sizeof(deep), "%s/", in);
	ck_assert_int_eq(file_could_write(deep), 0); /* a folder */
	ck_assert_int_lt(access(in, F_OK), 0);
	snprintf(deep, sizeof(deep), "%s/deep", in);
	ck_assert_int_eq(file_could_write(deep), -ENOENT);
	snprintf(deep, sizeof(deep), "%s/deep", path);
	ck_assert_int_eq(file_could_write(deep), -ENOTDIR);
	ck_assert_int_eq(file_could_write(dir), -EISDIR);
	ck_assert_int_eq(file_could_write("no-such-file-here"), 0);
	ck_assert_int_eq(file_could_write("/no-such-dir/file"), -ENOENT);
	end();
}
END_TEST

UNIT_MAIN("common/base file", a_secret_is_read_where_nobody_else_may,
	  a_group_may_share_a_key_and_others_may_not, a_link_to_a_secret_is_not_followed,
	  what_could_be_written_is_not_made)
