/*
 * The program: options, signals, and the life of the process.  Which roles it has is decided by
 * what is linked into it.
 */
#include "common/app/app_priv.h"
#include "common/base/version.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

/* The linker's list of the roles in this program (APP_ROLE). */
extern const struct app_role *const __start_app_roles[];
extern const struct app_role *const __stop_app_roles[];

struct options {
	const char *config, *make_key, *show_key;
	bool check, reference;
};

static void usage(FILE *out, const char *program)
{
	fprintf(out,
		"usage: %s --config FILE [--check-config]\n"
		"       %s --make-key FILE | --show-key FILE\n"
		"       %s --reference | --version\n\n"
		"  -c, --config FILE   the configuration (YAML)\n"
		"  -t, --check-config  read and check it and the files that it names, then "
		"end: "
		"0 when it is good\n"
		"      --make-key FILE write a new secret key of this node for the cluster's "
		"bus to\n"
		"                      FILE and print the public one\n"
		"      --show-key FILE print the public key of the one in FILE\n"
		"      --reference     print the page that describes every key\n"
		"      --version       print the version of this program and of the bus's "
		"protocol\n"
		"  -h, --help          this\n\n"
		"SIGHUP reads the configuration again; SIGTERM and SIGINT end the server.\n",
		program, program, program);
}

/* 0; 1: done, exit with success; -EINVAL. */
static int parse(int argc, char **argv, struct options *o)
{
	static const struct option table[] = {
		{"config", required_argument, NULL, 'c'},
		{"check-config", no_argument, NULL, 't'},
		{"make-key", required_argument, NULL, 'k'},
		{"show-key", required_argument, NULL, 's'},
		{"reference", no_argument, NULL, 'r'},
		{"version", no_argument, NULL, 'v'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	for (int k; (k = getopt_long(argc, argv, "c:th", table, NULL)) != -1;) {
		switch (k) {
		case 'c':
			o->config = optarg;
			break;
		case 't':
			o->check = true;
			break;
		case 'k':
			o->make_key = optarg;
			break;
		case 's':
			o->show_key = optarg;
			break;
		case 'r':
			o->reference = true;
			break;
		case 'v':
			printf("%s %s, bus protocol %u\n", program_invocation_short_name,
			       base_version, cluster_protocol());
			return 1;
		case 'h':
			usage(stdout, argv[0]);
			return 1;
		default:
			return -EINVAL;
		}
	}
	bool has_work = o->config || o->reference || o->make_key || o->show_key;
	return optind == argc && has_work ? 0 : -EINVAL;
}

static void on_end(void *arg, int sig)
{
	log_event(LOG_INFO, "stopping",
		  LOG_STR("signal", sig == SIGINT ? "SIGINT" : "SIGTERM"));
	app_drain(arg);
}

static void on_hup(void *arg, int sig)
{
	char error[APP_ERROR_MAX];
	(void)sig;
	app_reload(arg, error);
}

static int run(struct app *a)
{
	int r = loop_on_signal(a->loop, SIGTERM, on_end, a);
	if (r == 0)
		r = loop_on_signal(a->loop, SIGINT, on_end, a);
	if (r == 0)
		r = loop_on_signal(a->loop, SIGHUP, on_hup, a);
	if (r < 0)
		return r;
	log_event(LOG_INFO, "started", LOG_STR("domain", a->conf->conf->domain),
		  LOG_N("workers", a->nworkers),
		  LOG_N("users", records_count(a->records, RECORD_USER)),
		  LOG_N("bindings", records_count(a->records, RECORD_BINDING)));
	loop_run(a->loop);
	return 0;
}

static void find_roles(struct app *a)
{
	for (const struct app_role *const *r = __start_app_roles; r < __stop_app_roles; r++)
		a->role[(*r)->kind] = *r;
}

static int serve(struct app *a)
{
	char error[APP_ERROR_MAX] = "";
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a limit on files is an error of the store, not the end */
	app_raise_limits();
	find_roles(a);
	int r = sip_values_init();
	if (r == 0)
		r = app_setup(a, error);
	if (r == 0)
		r = app_start(a, error);
	if (r == 0)
		r = run(a);
	else
		log_event(LOG_ERROR, "cannot-start", LOG_STR("error", error));
	app_teardown(a);
	if (r == 0)
		log_event(LOG_INFO, "stopped");
	return r;
}

static int check(struct app *a)
{
	char error[APP_ERROR_MAX] = "";
	find_roles(a);
	int r = app_check(a, error);
	if (r < 0)
		fprintf(stderr, "%s: %s\n", a->conf_path, error);
	else
		printf("%s: good\n", a->conf_path);
	return r;
}

static int key(const struct options *o)
{
	char error[APP_ERROR_MAX] = "";
	const char *file = o->make_key ? o->make_key : o->show_key;
	int r = o->make_key ? app_make_key(file, error) : app_show_key(file, error);
	if (r < 0)
		fprintf(stderr, "%s: %s\n", file, error);
	return r;
}

int main(int argc, char **argv)
{
	char error[CONF_ERROR_MAX];
	struct options o = {0};
	struct app a = {.program = argv[0]};
	int r = parse(argc, argv, &o);
	if (r != 0) {
		if (r < 0)
			usage(stderr, argv[0]);
		return r < 0 ? 2 : 0;
	}
	if (o.reference) {
		conf_write_reference(stdout);
		return 0;
	}
	if (o.make_key || o.show_key)
		return key(&o) < 0 ? 1 : 0;
	struct conf *c = conf_load(o.config, error);
	if (!c) {
		fprintf(stderr, "%s\n", error);
		return 1;
	}
	log_set_level(c->log.level);
	a.conf_path = (char *)o.config;
	a.conf = app_conf_new(c);
	if (!a.conf) {
		conf_free(c);
		return 1;
	}
	r = o.check ? check(&a) : serve(&a);
	app_conf_unref(a.conf);
	return r < 0 ? 1 : 0;
}
