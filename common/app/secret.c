/*
 * The secret that all derived tokens (branches, tags, nonces, flow tokens) are keyed with: made
 * at the first start, kept in data_dir with mode 0600.  Without a data_dir it lasts as long as
 * the process.
 */
#include "common/app/app_priv.h"

#include "common/base/file.h"

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
	ssize_t n = file_read_secret(path, secret, APP_SECRET_BYTES);
	return n < 0 ? (int)n : n == APP_SECRET_BYTES ? 0 : -EBADMSG;
}

/* key: "cluster.secret ", or "" where the path is none of the configuration's. */
static void explain(const char *key, const char *path, int r, const char *advice,
		    char ret_error[APP_ERROR_MAX])
{
	if (r == -EBADMSG)
		snprintf(ret_error, APP_ERROR_MAX, "%s%.200s: cut short: %s", key, path,
			 advice);
	else if (r < 0)
		snprintf(ret_error, APP_ERROR_MAX, "%s%.200s: %s", key, path,
			 file_secret_error(r));
}

/* The members of a pair derive the same, and no two pairs do. */
static void derive(const struct app *a, const char *pair, unsigned char ret[APP_SECRET_BYTES])
{
	struct span secret = span_of((const char *)a->cluster_secret, APP_SECRET_BYTES);
	for (unsigned i = 0; i < APP_SECRET_BYTES / sizeof(struct mac_key); i++) {
		char purpose[CLUSTER_NAME_MAX + 32];
		snprintf(purpose, sizeof(purpose), "pair %u %s", i, pair);
		struct mac_key k = mac_derive_key(secret, purpose);
		memcpy(ret + i * sizeof(k), &k, sizeof(k));
	}
}

static int load_of_cluster(struct app *a, const struct conf *c, char ret_error[APP_ERROR_MAX])
{
	int r = load(c->cluster.secret, a->cluster_secret);
	explain("cluster.secret ", c->cluster.secret, r, "copy it from another node",
		ret_error);
	if (r == 0)
		derive(a, c->cluster.nodes[c->cluster.self].pair, a->secret);
	return r;
}

struct mac_key app_key_of_pair(const struct app *a, const char *pair, const char *purpose)
{
	unsigned char secret[APP_SECRET_BYTES];
	derive(a, pair, secret);
	struct mac_key k =
		mac_derive_key(span_of((const char *)secret, sizeof(secret)), purpose);
	explicit_bzero(secret, sizeof(secret));
	return k;
}

/* 1: it is not there and could be made. */
static int look_for_dir(const char *dir)
{
	struct stat st;
	if (stat(dir, &st) == 0)
		return 0;
	int r = file_could_write(dir);
	return r < 0 ? r : 1;
}

static int make_dir(const char *dir)
{
	return mkdir(dir, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

int app_secret_load(struct app *a, bool make_it, char ret_error[APP_ERROR_MAX])
{
	const struct conf *c = a->conf->conf;
	const char *dir = c->data_dir;
	char path[4096];
	int at = !dir ? 0 : make_it ? make_dir(dir) : look_for_dir(dir);
	if (at < 0) {
		snprintf(ret_error, APP_ERROR_MAX, "cannot make data_dir %.200s: %s", dir,
			 strerror(-at));
		return at;
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
		r = make_it ? make(path, a->secret) : at ? 0 : file_could_write(path);
	explain("", path, r, "restore it, or remove it to have a new one made", ret_error);
	return r;
}
