/*
 * Loading: bytes to lines (lines.c), to struct conf by libcyaml, then defaults and ranges from
 * the key table; the check of the whole is in check.c.  The first fault found is the one
 * reported.
 */
#include "common/conf/conf_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* What libcyaml said: its first message, and the first line number behind it. */
struct said {
	char what[CONF_ERROR_MAX / 2];
	unsigned line;
};

__attribute__((format(printf, 3, 0))) static void listen_to(cyaml_log_t level, void *ctx,
							    const char *fmt, va_list args)
{
	struct said *s = ctx;
	char text[CONF_ERROR_MAX / 2];

	(void)level;
	vsnprintf(text, sizeof(text), fmt, args);
	const char *at = strstr(text, "(line: ");
	if (at && !s->line)
		s->line = (unsigned)strtoul(at + 7, NULL, 10);
	if (s->what[0])
		return;
	const char *from = strncmp(text, "Load: ", 6) == 0 ? text + 6 : text;
	snprintf(s->what, sizeof(s->what), "%.*s", (int)strcspn(from, "\n"), from);
}

static cyaml_config_t cyaml_config(struct said *s)
{
	return (cyaml_config_t){.log_fn = listen_to,
				.log_ctx = s,
				.mem_fn = cyaml_mem,
				.log_level = CYAML_LOG_ERROR,
				.flags = CYAML_CFG_NO_ALIAS};
}

static int fault(struct conf_fault *f, const char *path, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static int fault(struct conf_fault *f, const char *path, const char *fmt, ...)
{
	va_list ap;

	snprintf(f->path, sizeof(f->path), "%s", path);
	va_start(ap, fmt);
	vsnprintf(f->what, sizeof(f->what), fmt, ap);
	va_end(ap);
	return -EINVAL;
}

static void fill_default(const struct conf_key *k, char *at)
{
	switch (k->kind) {
	case CONF_U16: {
		uint16_t v = (uint16_t)k->number;
		memcpy(at, &v, sizeof(v));
		return;
	}
	case CONF_U32: {
		uint32_t v = (uint32_t)k->number;
		memcpy(at, &v, sizeof(v));
		return;
	}
	case CONF_BOOL:
		*(bool *)at = k->number != 0;
		return;
	case CONF_ENUM: {
		int v = (int)k->number;
		memcpy(at, &v, sizeof(v));
		return;
	}
	case CONF_TEXT:
	case CONF_ARRAY:
		return;
	}
}

static bool is_bool(const char *text)
{
	static const char *const words[] = {"true", "yes", "on", "false", "no", "off"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(text, words[i]) == 0)
			return true;
	return false;
}

static int check_range(const struct conf_key *k, const char *at, const struct conf_line *l,
		       struct conf_fault *f)
{
	if (k->kind == CONF_BOOL && !is_bool(l->value))
		return fault(f, l->path, "must be true or false");
	if (k->kind != CONF_U32)
		return 0;
	uint32_t v;
	memcpy(&v, at, sizeof(v));
	if (v < k->min || v > k->max)
		return fault(f, l->path, "must be from %llu to %llu%s%s",
			     (unsigned long long)k->min, (unsigned long long)k->max,
			     *k->unit ? " " : "", k->unit);
	return 0;
}

int conf_fill(struct conf *c, const struct conf_lines *ls, struct conf_fault *ret_fault)
{
	for (unsigned n = 0; n < conf_keys_count; n++) {
		const struct conf_key *k = &conf_keys[n];
		unsigned count;
		size_t stride;
		char *base = conf_list_base(c, k->list, &count, &stride);

		for (unsigned i = 0; i < count; i++) {
			char path[CONF_PATH_MAX];
			char *at = base + i * stride + k->offset;

			conf_key_path(k, i, path);
			const struct conf_line *l = conf_lines_find(ls, path);
			if (!l) {
				fill_default(k, at);
				continue;
			}
			int rc = check_range(k, at, l, ret_fault);
			if (rc < 0)
				return rc;
		}
	}
	return 0;
}

static struct conf *say(char ret_error[CONF_ERROR_MAX], const char *name, unsigned line,
			const char *what)
{
	snprintf(ret_error, CONF_ERROR_MAX, "%.128s:%u: %.300s", name, line, what);
	return NULL;
}

static unsigned line_of_fault(const struct conf_fault *f, const struct conf_lines *ls)
{
	char path[CONF_PATH_MAX];

	/* A fault about a key that is not there is on the line of what it should be in. */
	memcpy(path, f->path, sizeof(path));
	for (;;) {
		const struct conf_line *l = conf_lines_find(ls, path);
		char *dot = strrchr(path, '.');

		if (l)
			return l->line;
		if (!dot)
			return 1;
		*dot = 0;
	}
}

static struct conf *load_with(const char *name, struct span text, const struct conf_lines *ls,
			      char ret_error[CONF_ERROR_MAX])
{
	struct said s = {.what = ""};
	struct conf_fault f = {.path = "", .what = "out of memory"};
	cyaml_config_t cfg = cyaml_config(&s);
	struct conf *c = NULL;
	cyaml_err_t e = cyaml_load_data((const uint8_t *)text.p, text.n, &cfg, &conf_schema,
					(cyaml_data_t **)&c, NULL);

	if (e != CYAML_OK) {
		char what[CONF_ERROR_MAX];
		unsigned line = conf_explain(s.what[0] ? s.what : cyaml_strerror(e),
					     s.line ? s.line : 1, ls, what, sizeof(what));

		return say(ret_error, name, line, what);
	}
	if (!c)
		return say(ret_error, name, 1, "empty: domain and listeners must be there");
	int rc = conf_fill(c, ls, &f);
	if (rc == 0)
		rc = conf_check(c, &f);
	if (rc == 0)
		return c;
	conf_free(c);
	char what[CONF_ERROR_MAX];
	snprintf(what, sizeof(what), "%s%s%s", f.path, *f.path ? ": " : "", f.what);
	return say(ret_error, name, line_of_fault(&f, ls), what);
}

struct conf *conf_parse(const char *name, struct span text, char ret_error[CONF_ERROR_MAX])
{
	struct conf_lines ls;
	char what[CONF_ERROR_MAX] = "out of memory";
	unsigned line = 1;
	struct conf *c = NULL;

	ret_error[0] = 0;
	if (text.n > CONF_FILE_MAX_BYTES)
		return say(ret_error, name, 1, "larger than 256 KiB");
	if (conf_lines_read(&ls, text, &line, what) < 0)
		say(ret_error, name, line, what);
	else
		c = load_with(name, text, &ls, ret_error);
	conf_lines_done(&ls);
	return c;
}

/* Up to one byte more than is allowed, so that conf_parse sees what is too long. */
static ssize_t read_all(int fd, char *to, size_t room)
{
	size_t n = 0;

	while (n < room) {
		ssize_t r = read(fd, to + n, room - n);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0)
			break;
		n += (size_t)r;
	}
	return (ssize_t)n;
}

struct conf *conf_load(const char *path, char ret_error[CONF_ERROR_MAX])
{
	struct conf *c = NULL;
	char *text = malloc(CONF_FILE_MAX_BYTES + 1);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -errno : -ENOMEM;

	if (fd >= 0 && text)
		n = read_all(fd, text, CONF_FILE_MAX_BYTES + 1);
	if (n < 0)
		snprintf(ret_error, CONF_ERROR_MAX, "%.128s: %s", path, strerror((int)-n));
	else
		c = conf_parse(path, span_of(text, (size_t)n), ret_error);
	if (fd >= 0)
		close(fd);
	free(text);
	return c;
}

void conf_free(struct conf *c)
{
	struct said s = {.what = ""};
	cyaml_config_t cfg = cyaml_config(&s);

	if (c)
		cyaml_free(&cfg, &conf_schema, c, 0);
}
