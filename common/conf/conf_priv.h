/*
 * Within common/conf: the key table made from the schema lists, and the lines of a document.
 */
#ifndef EAVES_CONF_PRIV_H
#define EAVES_CONF_PRIV_H

#include "common/conf/conf.h"

#include <cyaml/cyaml.h>

enum { CONF_FILE_MAX_BYTES = 256 * 1024, CONF_PATH_MAX = 96 };

/* Which array of struct conf a key is an element's member of. */
enum conf_list {
	CONF_LIST_NONE,
	CONF_LIST_LISTENERS,
	CONF_LIST_TRUSTED,
	CONF_LIST_ROUTES,
	CONF_LIST_CERTS,
	CONF_LIST_NODES,
};
enum conf_kind { CONF_U16, CONF_U32, CONF_BOOL, CONF_TEXT, CONF_ENUM, CONF_ARRAY };

/* One key: what is filled in when it is absent, what is accepted, what the reference says. */
struct conf_key {
	const char *section; /* "" at the top level */
	const char *name;
	enum conf_list list;
	enum conf_kind kind;
	size_t offset;			  /* in struct conf, or in the list's element */
	int64_t number;			  /* default of U16, U32, BOOL and ENUM */
	uint64_t min, max;		  /* U16 and U32 */
	const char *unit;		  /* "" without */
	const char *text;		  /* one line of description */
	const struct cyaml_strval *names; /* ENUM */
	unsigned names_count;
};
extern const struct conf_key conf_keys[];
extern const unsigned conf_keys_count;
extern const struct cyaml_schema_value conf_schema;

/* The elements of a list of c: the first one, their number and size. */
void *conf_list_base(const struct conf *c, enum conf_list l, unsigned *ret_count,
		     size_t *ret_stride);
/* "edge.trusted[3].network", "net.idle_s": of element i where the key is in a list. */
void conf_key_path(const struct conf_key *k, unsigned i, char out[CONF_PATH_MAX]);

/* Which keys a document has, on which line, and what stands there as text. */
struct conf_line {
	char path[CONF_PATH_MAX];
	unsigned line;
	char value[16]; /* of a scalar, cut */
};
struct conf_lines {
	struct conf_line *v;
	unsigned n, room;
};
/* 0, or -EBADMSG or -ENOMEM with *ret_line and ret_what set. */
int conf_lines_read(struct conf_lines *ls, struct span text, unsigned *ret_line,
		    char ret_what[CONF_ERROR_MAX]);
void conf_lines_done(struct conf_lines *ls);
/* NULL when the document does not have it. */
const struct conf_line *conf_lines_find(const struct conf_lines *ls, const char *path);

/* What libcyaml said of that line, as a text "key: what is taken there"; the line that the key
 * is on, or should be. */
unsigned conf_explain(const char *said, unsigned line, const struct conf_lines *ls, char *out,
		      size_t room);

/* A fault in a document that was read: the key that it is about, and what is wrong. */
struct conf_fault {
	char path[CONF_PATH_MAX];
	char what[CONF_ERROR_MAX / 2];
};
/* Fills what the file leaves open and checks the whole.  0, -EINVAL with *ret_fault, -ENOMEM.
 */
int conf_fill(struct conf *c, const struct conf_lines *ls, struct conf_fault *ret_fault);
int conf_check(struct conf *c, struct conf_fault *ret_fault);

#endif
