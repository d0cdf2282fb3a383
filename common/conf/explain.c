/*
 * Faults that libcyaml found, in words of the configuration: which key it is, by the line and
 * the value that were named, and what would be taken there.  libcyaml names a key without
 * saying of which element of a list; the lines tell.  What is not recognised stays as it was.
 */
#include "common/conf/conf_priv.h"

#include <stdio.h>
#include <stdlib.h>

/* The part behind `start` where s begins with it. */
static const char *behind(const char *s, const char *start)
{
	size_t n = strlen(start);

	return strncmp(s, start, n) == 0 ? s + n : NULL;
}

/* libcyaml: "Invalid ENUM value: x", "Invalid uint64_t value: 'x'". */
static const char *value_in(const char *said)
{
	const char *v = behind(said, "Invalid ") ? strstr(said, " value: ") : NULL;

	if (!v)
		return NULL;
	v += strlen(" value: ");
	return *v == '\'' ? v + 1 : v;
}

/* ---- keys ---- */

static const struct conf_key *key_of(const char *path)
{
	const char *index = strchr(path, '[');
	unsigned i = index ? (unsigned)strtoul(index + 1, NULL, 10) : 0;
	char own[CONF_PATH_MAX];

	for (unsigned n = 0; n < conf_keys_count; n++) {
		conf_key_path(&conf_keys[n], i, own);
		if (strcmp(own, path) == 0)
			return &conf_keys[n];
	}
	return NULL;
}

/* A section, or an element of a list of sections: it has keys of its own. */
static bool has_keys(const char *path)
{
	size_t base = strcspn(path, "[");

	for (unsigned i = 0; i < conf_keys_count; i++) {
		const struct conf_key *k = &conf_keys[i];

		if (strlen(k->section) != base || strncmp(k->section, path, base) != 0)
			continue;
		const char *index = path + base;
		if (k->list == CONF_LIST_NONE ? !*index : *index && !strchr(index, '.'))
			return true;
	}
	return false;
}

/* ---- lines ---- */

/* What of a line is meant: the first of its keys for which it holds; without one the first. */
typedef bool (*holds)(const struct conf_lines *ls, unsigned i, const char *value);

static bool has_value(const struct conf_lines *ls, unsigned i, const char *value)
{
	size_t n = strlen(ls->v[i].value);

	return value && n && strncmp(value, ls->v[i].value, n) == 0;
}

static bool is_empty_text(const struct conf_lines *ls, unsigned i, const char *value)
{
	const struct conf_key *k = key_of(ls->v[i].path);

	(void)value;
	return !ls->v[i].value[0] && k && k->kind == CONF_TEXT;
}

/* A list that has no elements. */
static bool is_no_list(const struct conf_lines *ls, unsigned i, const char *value)
{
	const struct conf_key *k = key_of(ls->v[i].path);
	const char *more = i + 1 < ls->n ? behind(ls->v[i + 1].path, ls->v[i].path) : NULL;

	(void)value;
	return k && k->kind == CONF_ARRAY && !(more && *more == '[');
}

static bool is_text_for_keys(const struct conf_lines *ls, unsigned i, const char *value)
{
	(void)value;
	return ls->v[i].value[0] && has_keys(ls->v[i].path);
}

/* It has elements or keys, and none are taken there. */
static bool is_more_than_a_value(const struct conf_lines *ls, unsigned i, const char *value)
{
	const char *path = ls->v[i].path;
	const char *more = i + 1 < ls->n ? behind(ls->v[i + 1].path, path) : NULL;
	const struct conf_key *k = key_of(path);
	bool element = !k && path[strlen(path) - 1] == ']' && !has_keys(path);

	(void)value;
	return more && (*more == '[' || *more == '.') &&
	       (element || (k && k->kind != CONF_ARRAY));
}

static const struct conf_line *on_line(const struct conf_lines *ls, unsigned line, holds what,
				       const char *value)
{
	const struct conf_line *first = NULL;

	for (unsigned i = 0; i < ls->n; i++) {
		if (ls->v[i].line != line)
			continue;
		if (what(ls, i, value))
			return &ls->v[i];
		if (!first)
			first = &ls->v[i];
	}
	return first;
}

/* A key of that name where there is none. */
static const struct conf_line *unknown(const struct conf_lines *ls, const char *name)
{
	for (unsigned i = 0; i < ls->n; i++) {
		const char *path = ls->v[i].path, *dot = strrchr(path, '.');

		if (strcmp(dot ? dot + 1 : path, name) == 0 && !key_of(path) && !has_keys(path))
			return &ls->v[i];
	}
	return NULL;
}

/* The first element of a list that needs the key and does not have it, and its path. */
static const struct conf_line *lacking(const struct conf_lines *ls, const char *name,
				       char ret_path[CONF_PATH_MAX])
{
	const struct conf_line *found = NULL;

	for (unsigned n = 0; n < conf_keys_count; n++) {
		const struct conf_key *k = &conf_keys[n];
		const struct conf_line *l = NULL;
		char path[CONF_PATH_MAX];

		if (k->list == CONF_LIST_NONE || k->min == 0 || strcmp(k->name, name) != 0)
			continue;
		for (unsigned i = 0;; i++) {
			snprintf(path, sizeof(path), "%s[%u]", k->section, i);
			l = conf_lines_find(ls, path);
			conf_key_path(k, i, path);
			if (!l || !conf_lines_find(ls, path))
				break;
		}
		if (!l || (found && found->line <= l->line))
			continue;
		found = l;
		memcpy(ret_path, path, sizeof(path));
	}
	return found;
}

/* ---- words ---- */

static void say_words(const struct conf_key *k, const char *path, char *out, size_t room)
{
	int n = snprintf(out, room, "%s: must be one of", path);

	for (unsigned i = 0; i < k->names_count && n > 0 && (size_t)n < room; i++)
		n += snprintf(out + n, room - (size_t)n, "%s %s", i ? "," : "",
			      k->names[i].str);
}

/* true: out has it. */
static bool say_value(const struct conf_line *l, const char *value, char *out, size_t room)
{
	const struct conf_key *k = key_of(l->path);
	int n = 0;

	if (!k || (k->kind != CONF_ENUM && k->kind != CONF_U16 && k->kind != CONF_U32))
		return false;
	if (k->kind == CONF_ENUM)
		say_words(k, l->path, out, room);
	else
		snprintf(out, room, "%s: must be a number from %llu to %llu", l->path,
			 (unsigned long long)k->min, (unsigned long long)k->max);
	n = (int)strlen(out);
	snprintf(out + n, room - (size_t)n, ", not %.*s", (int)strcspn(value, "'"), value);
	return true;
}

static unsigned say_unknown(const char *name, unsigned line, const struct conf_lines *ls,
			    char *out, size_t room)
{
	const struct conf_line *l = unknown(ls, name);

	snprintf(out, room, "%s: unknown key", l ? l->path : name);
	return l ? l->line : line;
}

static unsigned say_lacking(const char *name, unsigned line, const struct conf_lines *ls,
			    char *out, size_t room)
{
	char path[CONF_PATH_MAX];
	const struct conf_line *l = lacking(ls, name, path);

	snprintf(out, room, "%s: needed, and not there", l ? path : name);
	return l ? l->line : line;
}

unsigned conf_explain(const char *said, unsigned line, const struct conf_lines *ls, char *out,
		      size_t room)
{
	const char *value = value_in(said), *name;
	const struct conf_line *l;

	if ((name = behind(said, "Unexpected key: ")))
		return say_unknown(name, line, ls, out, room);
	if ((name = behind(said, "Missing required mapping field: ")))
		return say_lacking(name, line, ls, out, room);
	if (behind(said, "STRING length < ") && (l = on_line(ls, line, is_empty_text, NULL)))
		snprintf(out, room, "%s: must not be empty", l->path);
	else if (behind(said, "Expecting MAPPING, got event: ")) {
		l = on_line(ls, line, is_text_for_keys, NULL);
		snprintf(out, room, "%s%swants keys of its own", l ? l->path : "",
			 l ? ": " : "the file ");
	} else if (behind(said, "Expecting SEQUENCE, got event: ") &&
		   (l = on_line(ls, line, is_no_list, NULL)))
		snprintf(out, room, "%s: must be a list", l->path);
	else if (behind(said, "Expecting ") &&
		 (l = on_line(ls, line, is_more_than_a_value, NULL)))
		snprintf(out, room, "%s: must be one value", l->path);
	else if (!value || !(l = on_line(ls, line, has_value, value)) ||
		 !say_value(l, value, out, room))
		snprintf(out, room, "%s", said);
	return line;
}
