/*
 * Files that a process needs: secrets that nobody else may read, and what could be made where.
 */
#ifndef EAVES_BASE_FILE_H
#define EAVES_BASE_FILE_H

#include <stddef.h>
#include <sys/types.h>

/* The first `room` bytes of a file that is its owner's alone.  How many there were, or -errno;
 * -EPERM: group or others have a right to it; a link is not followed (-ELOOP). */
ssize_t file_read_secret(const char *path, void *ret, size_t room);
/* A file that a group may share, as TLS keys are (Debian's ssl-cert): 0; -EPERM: others have a
 * right to it; or -errno. */
int file_check_key(const char *path);
/* A text for an -errno of either. */
const char *file_secret_error(int error);
/* Whether a process of our rights could write the file, or make it where it is not there: looks
 * and changes nothing.  0 or -errno. */
int file_could_write(const char *path);

#endif
