/*
 * The node's own key for the bus: one text of 40 characters in a file that nobody else may
 * read.
 */
#include "common/app/app_priv.h"

#include "common/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static int explain(int r, char ret_error[APP_ERROR_MAX])
{
	if (r < 0)
		snprintf(ret_error, APP_ERROR_MAX, "%s",
			 r == -EBADMSG ? "is no key" : file_secret_error(r));
	return r;
}

int app_read_key(const char *path, char ret[BUS_KEY_CHARS + 1], char ret_error[APP_ERROR_MAX])
{
	ssize_t n = file_read_secret(path, ret, BUS_KEY_CHARS);
	int r = n < 0 ? (int)n : n < BUS_KEY_CHARS ? -EBADMSG : 0;
	ret[r < 0 ? 0 : BUS_KEY_CHARS] = '\0';
	return explain(r, ret_error);
}

int app_show_key(const char *path, char ret_error[APP_ERROR_MAX])
{
	char public_key[BUS_KEY_CHARS + 1], secret[BUS_KEY_CHARS + 1];
	int r = app_read_key(path, secret, ret_error);
	if (r == 0 && bus_public_key(secret, public_key) < 0)
		r = explain(-EBADMSG, ret_error);
	explicit_bzero(secret, sizeof(secret));
	if (r == 0)
		printf("%s\n", public_key);
	return r;
}

static int write_new(const char *path, const char secret[BUS_KEY_CHARS])
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	ssize_t n = write(fd, secret, BUS_KEY_CHARS);
	int r = n == BUS_KEY_CHARS && fsync(fd) == 0 ? 0 : -EIO;
	close(fd);
	return r;
}

int app_make_key(const char *path, char ret_error[APP_ERROR_MAX])
{
	char public_key[BUS_KEY_CHARS + 1], secret[BUS_KEY_CHARS + 1];
	int r = bus_keypair(public_key, secret);
	if (r == 0)
		r = write_new(path, secret);
	explicit_bzero(secret, sizeof(secret));
	if (r == 0)
		printf("%s\n", public_key);
	return explain(r, ret_error);
}
