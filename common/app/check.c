/*
 * --check-config: would a start find what it needs?  By the functions of the start itself, in
 * its order and its words; nothing is made or changed and no socket is opened, so the server
 * may run meanwhile.  Not here: what the keys must be by themselves (common/conf).
 */
#include "common/app/app_priv.h"

#include "common/base/file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static int check_store(const struct conf *c, char ret_error[APP_ERROR_MAX])
{
	char path[4096];
	app_store_path(c, path, sizeof(path));
	return c->store == CONF_STORE_SQLITE ? store_sqlite_check(path, ret_error) : 0;
}

static int check_nodes(struct app *a, char ret_error[APP_ERROR_MAX])
{
	const struct conf *c = a->conf->conf;
	int r = app_nodes_new(a, ret_error);
	if (r < 0 || !a->nodes)
		return r;
	if (app_node(a->nodes, a->nodes->conf.self)->role == CLUSTER_EDGE)
		r = app_redis_check(c, ret_error);
	if (r < 0)
		return r;
	struct bus_conf *b = app_bus_conf(a->nodes, c, ret_error);
	r = b ? bus_check(b, ret_error) : -EINVAL;
	app_bus_conf_free(b);
	return r;
}

/* In data_dir, where the start will not make that first. */
static int check_socket(const struct conf *c, bool made, char ret_error[APP_ERROR_MAX])
{
	char path[4096];
	size_t n = c->data_dir ? strlen(c->data_dir) : 0;
	app_admin_path(c, path, sizeof(path));
	if (!made && strncmp(path, c->data_dir, n) == 0 && path[n] == '/')
		return 0;
	return admin_check(path, ret_error);
}

/* What every start writes in data_dir, and what a node does. */
static int check_files(const struct conf *c, char ret_error[APP_ERROR_MAX])
{
	static const char *const names[] = {"poison", "drain", "stranded"};
	char path[4096];
	for (unsigned i = 0; i < (c->cluster.node ? 3 : 1); i++) {
		snprintf(path, sizeof(path), "%s/%s", c->data_dir, names[i]);
		int r = file_could_write(path);
		if (r < 0) {
			snprintf(ret_error, APP_ERROR_MAX, "%.200s: %s", path, strerror(-r));
			return r;
		}
	}
	return 0;
}

int app_check(struct app *a, char ret_error[APP_ERROR_MAX])
{
	const struct conf *c = a->conf->conf;
	struct stat st;
	bool made = !c->data_dir || stat(c->data_dir, &st) == 0;
	int r = app_secret_load(a, false, ret_error);
	if (r == 0)
		r = app_names_load(a, ret_error);
	if (r == 0 && made)
		r = check_store(c, ret_error);
	if (r == 0)
		r = check_nodes(a, ret_error);
	if (r == 0)
		r = app_tls_apply(a, c, ret_error);
	if (r == 0)
		r = check_socket(c, made, ret_error);
	if (r == 0 && made && c->data_dir)
		r = check_files(c, ret_error);
	net_tls_free(a->tls);
	free(a->nodes);
	explicit_bzero(a->secret, sizeof(a->secret));
	explicit_bzero(a->cluster_secret, sizeof(a->cluster_secret));
	return r;
}
