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

static void explain(const char *path, int r, char ret_error[APP_ERROR_MAX])
{
	if (r == -EPERM)
		snprintf(ret_error, APP_ERROR_MAX, "%.200s: others may read it: chmod 600",
			 path);
	else if (r == -EBADMSG)
		snprintf(ret_error, APP_ERROR_MAX,
			 "%.200s: cut short: restore it, or remove it to have a new one made",
			 path);
	else if (r < 0)
		snprintf(ret_error, APP_ERROR_MAX, "%.200s: %s", path, strerror(-r));
}

/* The members of a pair derive the same, and no two pairs do. */
static int load_of_cluster(struct app *a, const struct conf *c, char ret_error[APP_ERROR_MAX])
{
	struct span secret = span_of((const char *)a->cluster_secret, APP_SECRET_BYTES);
	int r = load(c->cluster.secret, a->cluster_secret);
	explain(c->cluster.secret, r, ret_error);
	for (unsigned i = 0; r == 0 && i < APP_SECRET_BYTES / sizeof(struct mac_key); i++) {
		char purpose[CLUSTER_NAME_MAX + 32];
		snprintf(purpose, sizeof(purpose), "pair %u %s", i,
			 c->cluster.nodes[c->cluster.self].pair);
		struct mac_key k = mac_derive_key(secret, purpose);
		memcpy(a->secret + i * sizeof(k), &k, sizeof(k));
	}
	return r;
}

int app_secret_load(struct app *a, char ret_error[APP_ERROR_MAX])
{
	const struct conf *c = a->conf->conf;
	const char *dir = c->data_dir;
	char path[4096];
	if (dir && mkdir(dir, 0700) < 0 && errno != EEXIST) {
		int error = errno;
		snprintf(ret_error, APP_ERROR_MAX, "cannot make data_dir %.200s: %s", dir,
			 strerror(error));
		return -error;
	}
	if (c->cluster.node)
		return load_of_cluster(a, c, ret_error);
	if (!dir) {
		mac_random(a->secret, sizeof(a->secret));
		return 0;
	}
	snprintf(path, sizeof(path), "%s/secret", dir);
	int r = load(path, a->secret);
	if (r == -ENOENT)
		r = make(path, a->secret);
	explain(path, r, ret_error);
	return r;
}
