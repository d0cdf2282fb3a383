/*
 * Faults that libcyaml found, in words of the configuration: which key it is, by the line and
 * the value that were named, and what would be taken there.  What is not recognised stays as it
 * was.
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

/* On that line; the one with that value where several are (a mapping in braces). */
static const struct conf_line *line_at(const struct conf_lines *ls, unsigned line,
				       const char *value)
{
	const struct conf_line *found = NULL;

	for (unsigned i = 0; i < ls->n; i++) {
		const struct conf_line *l = &ls->v[i];
		size_t n = strlen(l->value);

		if (l->line != line)
			continue;
		if (!found)
			found = l;
		if (value && n && strncmp(value, l->value, n) == 0)
			return l;
	}
	return found;
}

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

void conf_explain(const char *said, unsigned line, const struct conf_lines *ls, char *out,
		  size_t room)
{
	const char *value = value_in(said), *key = behind(said, "Unexpected key: ");
	const struct conf_line *l = line_at(ls, line, value);

	if (key)
		snprintf(out, room, "unknown key: %s", key);
	else if ((key = behind(said, "Missing required mapping field: ")))
		snprintf(out, room, "needed, and not there: %s", key);
	else if (behind(said, "STRING length < ") && l)
		snprintf(out, room, "%s: must not be empty", l->path);
	else if (behind(said, "Expecting MAPPING, got event: "))
		snprintf(out, room, "%s%swants keys of its own", l ? l->path : "",
			 l ? ": " : "the file ");
	else if (behind(said, "Expecting SEQUENCE, got event: ") && l)
		snprintf(out, room, "%s: must be a list", l->path);
	else if (!value || !l || !say_value(l, value, out, room))
		snprintf(out, room, "%s", said);
}
