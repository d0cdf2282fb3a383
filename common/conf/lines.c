/*
 * The lines of a document: one pass over libyaml's events, before libcyaml reads the same text,
 * notes where each key stands, so that a fault found later can name its line and an absent key
 * can be told from one that is zero.  It also refuses what no configuration needs and an
 * attacker would use: anchors and aliases, tags, deep nesting, control characters, several
 * documents.
 */
#include "common/conf/conf_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <yaml.h>

enum { DEPTH_MAX = 8, LINES_MAX = 4096 };

struct frame {
	bool is_map;
	bool want_key;
	unsigned index;	 /* of the next element */
	size_t path_len; /* of the path of this mapping or sequence */
};
struct reader {
	struct conf_lines *ls;
	struct frame stack[DEPTH_MAX];
	unsigned depth;
	char path[CONF_PATH_MAX]; /* of the value that comes next */
	unsigned documents;
	unsigned line;
	const char *what; /* the fault, static */
	bool at_path;	  /* and path is the key that it is about */
};

static int fault(struct reader *r, const char *what)
{
	r->what = what;
	return -EBADMSG;
}

static int lines_add(struct reader *r)
{
	struct conf_lines *ls = r->ls;

	if (ls->n == LINES_MAX)
		return fault(r, "more keys than any configuration has");
	if (ls->n == ls->room) {
		unsigned room = ls->room ? ls->room * 2 : 64;
		struct conf_line *v = realloc(ls->v, room * sizeof(*v));

		if (!v)
			return -ENOMEM;
		ls->v = v;
		ls->room = room;
	}
	struct conf_line *l = &ls->v[ls->n++];
	memcpy(l->path, r->path, sizeof(l->path));
	l->line = r->line;
	l->value[0] = 0;
	return 0;
}

/* A mapping's key: the path of its value. */
static int read_key(struct reader *r, struct frame *f, const yaml_event_t *e)
{
	int n = snprintf(r->path + f->path_len, sizeof(r->path) - f->path_len, "%s%s",
			 f->path_len ? "." : "", (const char *)e->data.scalar.value);

	if (n < 0 || f->path_len + (size_t)n >= sizeof(r->path))
		return fault(r, "a key longer than any that is known");
	r->at_path = conf_lines_find(r->ls, r->path) != NULL;
	if (r->at_path)
		return fault(r, "is there twice");
	f->want_key = false;
	return lines_add(r);
}

/* Before a value: in a sequence its path is its index. */
static int begin_value(struct reader *r)
{
	if (!r->depth)
		return 0;
	struct frame *f = &r->stack[r->depth - 1];
	if (f->is_map) {
		f->want_key = true;
		return 0;
	}
	int n = snprintf(r->path + f->path_len, sizeof(r->path) - f->path_len, "[%u]",
			 f->index++);
	if (n < 0 || f->path_len + (size_t)n >= sizeof(r->path))
		return fault(r, "nested deeper than any configuration");
	return lines_add(r);
}

static bool has_control(const yaml_event_t *e)
{
	for (size_t i = 0; i < e->data.scalar.length; i++) {
		unsigned char c = e->data.scalar.value[i];
		if (c < 0x20 || c == 0x7f)
			return true;
	}
	return false;
}

static int read_scalar(struct reader *r, const yaml_event_t *e)
{
	if (e->data.scalar.anchor)
		return fault(r, "anchors and aliases are not taken");
	if (e->data.scalar.tag)
		return fault(r, "tags are not taken");
	if (has_control(e))
		return fault(r, "a text with a line break or control character in it");
	if (r->depth && r->stack[r->depth - 1].is_map && r->stack[r->depth - 1].want_key)
		return read_key(r, &r->stack[r->depth - 1], e);
	int rc = begin_value(r);
	if (rc == 0 && r->ls->n)
		snprintf(r->ls->v[r->ls->n - 1].value, sizeof(r->ls->v[0].value), "%s",
			 (const char *)e->data.scalar.value);
	return rc;
}

static int push(struct reader *r, bool is_map, bool anchor, bool tag)
{
	if (anchor)
		return fault(r, "anchors and aliases are not taken");
	if (tag)
		return fault(r, "tags are not taken");
	if (r->depth && r->stack[r->depth - 1].is_map && r->stack[r->depth - 1].want_key)
		return fault(r, "a key must be plain text");
	int rc = begin_value(r);
	if (rc < 0)
		return rc;
	if (r->depth == DEPTH_MAX)
		return fault(r, "nested deeper than any configuration");
	r->stack[r->depth++] = (struct frame){
		.is_map = is_map, .want_key = is_map, .path_len = strlen(r->path)};
	return 0;
}

static void pop(struct reader *r)
{
	r->depth--;
	r->path[r->depth ? r->stack[r->depth - 1].path_len : 0] = 0;
}

static int read_event(struct reader *r, const yaml_event_t *e)
{
	r->line = (unsigned)e->start_mark.line + 1;
	switch (e->type) {
	case YAML_NO_EVENT:
	case YAML_STREAM_START_EVENT:
	case YAML_STREAM_END_EVENT:
	case YAML_DOCUMENT_END_EVENT:
		return 0;
	case YAML_DOCUMENT_START_EVENT:
		return r->documents++ ? fault(r, "a second document") : 0;
	case YAML_ALIAS_EVENT:
		return fault(r, "anchors and aliases are not taken");
	case YAML_SCALAR_EVENT:
		return read_scalar(r, e);
	case YAML_SEQUENCE_START_EVENT:
		return push(r, false, e->data.sequence_start.anchor,
			    e->data.sequence_start.tag);
	case YAML_MAPPING_START_EVENT:
		return push(r, true, e->data.mapping_start.anchor, e->data.mapping_start.tag);
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		pop(r);
		return 0;
	}
	return 0;
}

static int read_events(struct reader *r, yaml_parser_t *p, char ret_what[CONF_ERROR_MAX])
{
	yaml_event_t e;
	bool end = false;

	while (!end) {
		if (!yaml_parser_parse(p, &e)) {
			if (p->error == YAML_MEMORY_ERROR)
				return -ENOMEM;
			r->line = (unsigned)p->problem_mark.line + 1;
			snprintf(ret_what, CONF_ERROR_MAX, "not YAML: %s",
				 p->problem ? p->problem : "unreadable");
			return -EBADMSG;
		}
		int rc = read_event(r, &e);
		end = e.type == YAML_STREAM_END_EVENT;
		yaml_event_delete(&e);
		if (rc < 0) {
			snprintf(ret_what, CONF_ERROR_MAX, "%s%s%s", r->at_path ? r->path : "",
				 r->at_path ? ": " : "", r->what ? r->what : "");
			return rc;
		}
	}
	return 0;
}

int conf_lines_read(struct conf_lines *ls, struct span text, unsigned *ret_line,
		    char ret_what[CONF_ERROR_MAX])
{
	struct reader r = {.ls = ls};
	yaml_parser_t p;

	*ls = (struct conf_lines){0};
	if (!yaml_parser_initialize(&p))
		return -ENOMEM;
	yaml_parser_set_encoding(&p, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&p, (const unsigned char *)text.p, text.n);
	int rc = read_events(&r, &p, ret_what);
	yaml_parser_delete(&p);
	*ret_line = r.line;
	return rc;
}

void conf_lines_done(struct conf_lines *ls)
{
	free(ls->v);
	*ls = (struct conf_lines){0};
}

const struct conf_line *conf_lines_find(const struct conf_lines *ls, const char *path)
{
	for (unsigned i = 0; i < ls->n; i++)
		if (strcmp(ls->v[i].path, path) == 0)
			return &ls->v[i];
	return NULL;
}
