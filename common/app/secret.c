/*
 * The secret that all derived tokens (branches, tags, nonces, flow tokens) are keyed with: made
 * at the first start, kept in data_dir with mode 0600.  Without a data_dir it lasts as long as
 * the process.
 */
#include "common/app/app_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static int make(const char *path, unsigned char secret[APP_SECRET_BYTES])
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	mac_random(secret, APP_SECRET_BYTES);
	ssize_t n = write(fd, secret, APP_SECRET_BYTES);
	int r = n == APP_SECRET_BYTES && fsync(fd) == 0 ? 0 : -EIO;
	close(fd);
	if (r < 0)
		unlink(path);
	return r;
}

static int load(const char *path, unsigned char secret[APP_SECRET_BYTES])
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	int r = 0;
	if (fstat(fd, &st) < 0 || (st.st_mode & 077))
		r = -EPERM;
	else if (read(fd, secret, APP_SECRET_BYTES) != APP_SECRET_BYTES)
		r = -EBADMSG;
	close(fd);
	return r;
}

int app_secret_load(struct app *a, char ret_error[APP_ERROR_MAX])
{
	const char *dir = a->conf->conf->data_dir;
	char path[4096];
	if (!dir) {
		mac_random(a->secret, sizeof(a->secret));
		return 0;
	}
	if (mkdir(dir, 0700) < 0 && errno != EEXIST) {
		int error = errno;
		snprintf(ret_error, APP_ERROR_MAX, "cannot make data_dir %.200s: %s", dir,
			 strerror(error));
		return -error;
	}
	snprintf(path, sizeof(path), "%s/secret", dir);
	int r = load(path, a->secret);
	if (r == -ENOENT)
		r = make(path, a->secret);
	if (r == -EPERM)
		snprintf(ret_error, APP_ERROR_MAX, "%.200s: others may read it: chmod 600",
			 path);
	else if (r == -EBADMSG)
		snprintf(ret_error, APP_ERROR_MAX,
			 "%.200s: cut short: restore it, or remove it to have a new one made",
			 path);
	else if (r < 0)
		snprintf(ret_error, APP_ERROR_MAX, "%.200s: %s", path, strerror(-r));
	return r;
}
