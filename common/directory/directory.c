/*
 * Users and aliases as records.  Look-ups copy under the stripe's lock into room on the stack
 * and allocate nothing.
 */
#include "common/directory/directory.h"

#include "common/base/arena.h"
#include "proto/flat.h"
#include "proto/records.pb-c.h"

#include <errno.h>

/* A newer version may have more in a user than we know. */
enum { BODY_MAX = 4096, UNPACK_BYTES = 3 * BODY_MAX };

static void *pb_alloc(void *arena, size_t n)
{
	return arena_alloc(arena, n);
}

static void pb_free(void *arena, void *p)
{
	(void)arena;
	(void)p;
}

static struct span pb_span(ProtobufCBinaryData d)
{
	return span_of((const char *)d.data, d.len);
}

static ProtobufCBinaryData pb_bytes(const void *p, size_t n)
{
	return (ProtobufCBinaryData){n, (uint8_t *)(uintptr_t)p};
}

static bool name_sound(struct span s)
{
	if (s.n == 0 || s.n > DIR_NAME_MAX_BYTES)
		return false;
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f)
			return false;
	return true;
}

/* ---- bodies ---- */

static bool take_user(const Eaves__User *u, struct dir_user *ret)
{
	if (!u)
		return false;
	ret->flags = u->flags;
	ret->permissions = u->permissions;
	size_t n = u->home.len <= DIR_HOME_MAX_BYTES ? u->home.len : 0;
	if (n)
		memcpy(ret->home, u->home.data, n);
	ret->home[n] = '\0';
	ret->ha1.has_md5 = u->ha1_md5.len == sizeof(ret->ha1.md5);
	if (ret->ha1.has_md5)
		memcpy(ret->ha1.md5, u->ha1_md5.data, sizeof(ret->ha1.md5));
	ret->ha1.has_sha256 = u->ha1_sha256.len == sizeof(ret->ha1.sha256);
	if (ret->ha1.has_sha256)
		memcpy(ret->ha1.sha256, u->ha1_sha256.data, sizeof(ret->ha1.sha256));
	return true;
}

static bool read_user(struct span body, struct dir_user *ret)
{
	char room[UNPACK_BYTES] __attribute__((aligned(16)));
	struct arena a = {.base = room, .size_bytes = sizeof(room)};
	ProtobufCAllocator alloc = {pb_alloc, pb_free, &a};
	const uint8_t *p = (const uint8_t *)body.p;
	Eaves__User flat;

	if (flat_unpack(&eaves__user__descriptor, p, body.n, &flat.base))
		return take_user(&flat, ret);
	return take_user(eaves__user__unpack(&alloc, body.n, p), ret);
}

/* before: what stands there, or NULL; what we do not know of it stays.  How many
 * bytes, or -EIO: they are too many. */
static int write_user(const struct dir_user *u, const Eaves__User *before,
		      uint8_t out[BODY_MAX])
{
	Eaves__User m = EAVES__USER__INIT;
	if (before) {
		m.base.n_unknown_fields = before->base.n_unknown_fields;
		m.base.unknown_fields = before->base.unknown_fields;
	}
	if (u->ha1.has_md5)
		m.ha1_md5 = pb_bytes(u->ha1.md5, sizeof(u->ha1.md5));
	if (u->ha1.has_sha256)
		m.ha1_sha256 = pb_bytes(u->ha1.sha256, sizeof(u->ha1.sha256));
	m.flags = u->flags;
	m.permissions = u->permissions;
	m.home = pb_bytes(u->home, strlen(u->home));
	if (eaves__user__get_packed_size(&m) > BODY_MAX)
		return -EIO;
	return (int)eaves__user__pack(&m, out);
}

/* The user that an alias names; spans into room. */
static struct span read_alias(struct span body, struct arena *a)
{
	ProtobufCAllocator alloc = {pb_alloc, pb_free, a};
	const Eaves__Alias *m = eaves__alias__unpack(&alloc, body.n, (const uint8_t *)body.p);
	return m ? pb_span(m->user) : span_of(NULL, 0);
}

/* ---- single records ---- */

struct copy {
	char body[BODY_MAX];
	size_t n;
	bool found, too_long;
	struct record_version version; /* zero: there never was one */
};

static bool copy_body(void *arg, const struct record *rec)
{
	struct copy *c = arg;
	c->found = true;
	c->too_long = rec->body.n > sizeof(c->body);
	if (!c->too_long) {
		memcpy(c->body, rec->body.p, rec->body.n);
		c->n = rec->body.n;
	}
	return false;
}

/* 0, -ENOENT, -EIO. */
static int fetch(struct records *r, uint8_t kind, struct span name, uint64_t wall_ms,
		 struct copy *ret)
{
	ret->found = ret->too_long = false;
	ret->n = 0;
	records_each(r, kind, name, wall_ms, copy_body, ret, &ret->version);
	if (!ret->found)
		return -ENOENT;
	return ret->too_long ? -EIO : 0;
}

static bool exists(struct records *r, uint8_t kind, struct span name, uint64_t wall_ms)
{
	return records_each(r, kind, name, wall_ms, NULL, NULL, NULL) > 0;
}

/* A compare and set: with a store that others share nobody's change is lost unseen. expect:
 * what was there when it was read; NULL: what is there now. */
static int write_record(struct records *r, uint8_t kind, struct span name, struct span body,
			const struct record_version *expect, uint64_t wall_ms, dir_done done,
			void *arg)
{
	const struct record v = {
		.kind = kind,
		.deleted = body.p == NULL,
		.group = name,
		.body = body,
	};
	struct record_version seen;

	if (!expect)
		records_each(r, kind, name, wall_ms, NULL, NULL, &seen);
	return records_put(r, &v, 1, expect ? expect : &seen, wall_ms, done, arg);
}

/* ---- users ---- */

int dir_user_put(struct records *r, struct span name, const struct dir_user *u,
		 uint64_t wall_ms, dir_done done, void *arg)
{
	char room[UNPACK_BYTES] __attribute__((aligned(16)));
	struct arena a = {.base = room, .size_bytes = sizeof(room)};
	ProtobufCAllocator alloc = {pb_alloc, pb_free, &a};
	const Eaves__User *before = NULL;
	uint8_t body[BODY_MAX];
	struct copy c;

	if (!name_sound(name))
		return -EINVAL;
	if (exists(r, RECORD_ALIAS, name, wall_ms))
		return -EEXIST;
	int rc = fetch(r, RECORD_USER, name, wall_ms, &c);
	if (rc == -EIO)
		return rc;
	if (rc == 0)
		before = eaves__user__unpack(&alloc, c.n, (const uint8_t *)c.body);
	rc = write_user(u, before, body);
	if (rc < 0)
		return rc;
	return write_record(r, RECORD_USER, name, span_of((const char *)body, (size_t)rc),
			    u->was_read ? &u->seen : &c.version, wall_ms, done, arg);
}

int dir_user_get(struct records *r, struct span name, uint64_t wall_ms, struct dir_user *ret)
{
	struct copy c;

	if (!name_sound(name))
		return -ENOENT;
	int rc = fetch(r, RECORD_USER, name, wall_ms, &c);
	ret->was_read = true;
	ret->seen = c.version;
	if (rc < 0)
		return rc;
	return read_user(span_of(c.body, c.n), ret) ? 0 : -EIO;
}

int dir_user_remove(struct records *r, struct span name, uint64_t wall_ms, dir_done done,
		    void *arg)
{
	if (!name_sound(name) || !exists(r, RECORD_USER, name, wall_ms))
		return -ENOENT;
	return write_record(r, RECORD_USER, name, span_of(NULL, 0), NULL, wall_ms, done, arg);
}

struct user_listing {
	bool (*each)(void *arg, struct span name, const struct dir_user *u);
	void *arg;
};

static bool show_user(void *arg, const struct record *rec)
{
	const struct user_listing *l = arg;
	struct dir_user u = {.was_read = false};
	return !read_user(rec->body, &u) || l->each(l->arg, rec->group, &u);
}

void dir_user_each(struct records *r, uint64_t wall_ms,
		   bool (*each)(void *arg, struct span name, const struct dir_user *u),
		   void *arg)
{
	struct user_listing l = {each, arg};
	records_scan(r, RECORD_USER, wall_ms, show_user, &l);
}

/* ---- aliases ---- */

int dir_alias_put(struct records *r, struct span alias, struct span user, uint64_t wall_ms,
		  dir_done done, void *arg)
{
	uint8_t body[BODY_MAX];
	Eaves__Alias m = EAVES__ALIAS__INIT;

	if (!name_sound(alias) || !name_sound(user) || span_eq(alias, user))
		return -EINVAL;
	if (exists(r, RECORD_USER, alias, wall_ms))
		return -EEXIST;
	if (!exists(r, RECORD_USER, user, wall_ms))
		return -ENOENT;
	m.user = pb_bytes(user.p, user.n);
	size_t n = eaves__alias__pack(&m, body);
	return write_record(r, RECORD_ALIAS, alias, span_of((const char *)body, n), NULL,
			    wall_ms, done, arg);
}

int dir_alias_remove(struct records *r, struct span alias, uint64_t wall_ms, dir_done done,
		     void *arg)
{
	if (!name_sound(alias) || !exists(r, RECORD_ALIAS, alias, wall_ms))
		return -ENOENT;
	return write_record(r, RECORD_ALIAS, alias, span_of(NULL, 0), NULL, wall_ms, done, arg);
}

struct alias_listing {
	bool (*each)(void *arg, struct span alias, struct span user);
	void *arg;
};

static bool show_alias(void *arg, const struct record *rec)
{
	const struct alias_listing *l = arg;
	char room[UNPACK_BYTES] __attribute__((aligned(16)));
	struct arena a = {.base = room, .size_bytes = sizeof(room)};
	struct span user = read_alias(rec->body, &a);
	return !user.p || l->each(l->arg, rec->group, user);
}

void dir_alias_each(struct records *r, uint64_t wall_ms,
		    bool (*each)(void *arg, struct span alias, struct span user), void *arg)
{
	struct alias_listing l = {each, arg};
	records_scan(r, RECORD_ALIAS, wall_ms, show_alias, &l);
}

int dir_resolve(struct records *r, struct span name, uint64_t wall_ms,
		char ret_name[DIR_NAME_MAX_BYTES + 1], struct dir_user *ret)
{
	char room[UNPACK_BYTES] __attribute__((aligned(16)));
	struct arena a = {.base = room, .size_bytes = sizeof(room)};
	struct dir_user user;
	struct copy c;

	int rc = dir_user_get(r, name, wall_ms, &user);
	if (rc == -ENOENT && name_sound(name)) {
		rc = fetch(r, RECORD_ALIAS, name, wall_ms, &c);
		if (rc < 0)
			return rc;
		name = read_alias(span_of(c.body, c.n), &a);
		rc = dir_user_get(r, name, wall_ms, &user);
	}
	if (rc < 0)
		return rc;
	memcpy(ret_name, name.p, name.n);
	ret_name[name.n] = '\0';
	if (ret)
		*ret = user;
	return (int)name.n;
}
