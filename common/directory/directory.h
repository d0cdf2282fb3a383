/*
 * The directory of users and aliases, over common/records: what operators administer.  Names
 * are unescaped and case-sensitive (RFC 3261 19.1.4).  A user is a record of kind RECORD_USER
 * (group = name), an alias one of kind RECORD_ALIAS (group = alias).  Passwords are never here:
 * HA1 only.
 */
#ifndef EAVES_DIRECTORY_DIRECTORY_H
#define EAVES_DIRECTORY_DIRECTORY_H

#include "common/auth/digest.h"
#include "common/records/records.h"

enum { DIR_NAME_MAX_BYTES = 128, DIR_HOME_MAX_BYTES = 63 };

enum dir_flag {
	DIR_REDIRECT = 1, /* answered with 302 and the contacts */
	DIR_DISABLED = 2, /* may neither register nor call; answers as an unknown user */
};
enum dir_permission {
	DIR_MAY_CALL_OUT = 1, /* other domains */
	DIR_MAY_TRUNK = 2,    /* media servers */
};

struct dir_user {
	struct auth_ha1 ha1;
	uint32_t flags;			   /* enum dir_flag */
	uint32_t permissions;		   /* enum dir_permission */
	char home[DIR_HOME_MAX_BYTES + 1]; /* the pair that serves him; "" without a cluster */
	/* dir_user_get has looked, and has seen this (zero: nothing): dir_user_put writes
	 * where that is there still. */
	bool was_read;
	struct record_version seen;
};

/* Durable: records_put's done, may be NULL (with `arg`). */
typedef void (*dir_done)(void *arg, int error);

/* Creates or replaces, but what a newer version has written of him and we do not know.  0;
 * -EAGAIN: he has been changed since he was read; -EIO: there is too much of him; -EINVAL for a
 * name that is empty, too long, or has control characters; -EEXIST when it is an alias; else as
 * records_put. */
int dir_user_put(struct records *r, struct span name, const struct dir_user *u,
		 uint64_t wall_ms, dir_done done, void *arg);
/* 0, -ENOENT, -EIO (a record that is none).  Cheap: called for every authenticated request. */
int dir_user_get(struct records *r, struct span name, uint64_t wall_ms, struct dir_user *ret);
/* Removes the user (its aliases and bindings are the caller's).  0, -ENOENT, as records_put. */
int dir_user_remove(struct records *r, struct span name, uint64_t wall_ms, dir_done done,
		    void *arg);
/* All users, in no order; under a lock: `each` copies and calls nothing of records. */
void dir_user_each(struct records *r, uint64_t wall_ms,
		   bool (*each)(void *arg, struct span name, const struct dir_user *u),
		   void *arg);

/* alias -> user.  0; -EINVAL (names, or alias equals user); -EEXIST when the alias is a user;
 * -ENOENT without that user. */
int dir_alias_put(struct records *r, struct span alias, struct span user, uint64_t wall_ms,
		  dir_done done, void *arg);
int dir_alias_remove(struct records *r, struct span alias, uint64_t wall_ms, dir_done done,
		     void *arg);
void dir_alias_each(struct records *r, uint64_t wall_ms,
		    bool (*each)(void *arg, struct span alias, struct span user), void *arg);

/* A name that may be a user or an alias: writes the user's name (NUL behind it) to ret_name and
 * its record to *ret (may be NULL).  The length of the name, or -ENOENT, -EIO. */
int dir_resolve(struct records *r, struct span name, uint64_t wall_ms,
		char ret_name[DIR_NAME_MAX_BYTES + 1], struct dir_user *ret);

#endif
