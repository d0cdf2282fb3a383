/*
 * The few files that a node reads (secrets, keys), from memory: all that is below /nowhere.
 * The functions of the system are wrapped at link time; what is elsewhere is the system's.
 */
#include "tests/sim/files.h"

#include "tests/sim/keepalived.h"
#include "tests/sim/node.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILES_MAX = 32, FD_FIRST = 100000 };

struct file {
	char path[64];
	char bytes[64];
	size_t n;
	bool written; /* and not closed since: inotify tells nobody yet */
	char first;   /* as whoever is told has read it */
};
static struct file files[FILES_MAX];
static unsigned nfiles;

void files_add(const char *path, const void *bytes, size_t n)
{
	struct file *f = &files[nfiles++];
	if (nfiles == FILES_MAX || n > sizeof(f->bytes) || strlen(path) >= sizeof(f->path))
		abort();
	strcpy(f->path, path);
	memcpy(f->bytes, bytes, n);
	f->n = n;
	f->first = n ? f->bytes[0] : 0;
}

char files_first(const char *path)
{
	for (unsigned i = 0; i < nfiles; i++)
		if (strcmp(files[i].path, path) == 0)
			return files[i].first;
	return 0;
}

static bool is_ours(const char *path)
{
	return strncmp(path, "/nowhere", 8) == 0;
}

static struct file *file_of(int fd)
{
	return fd >= FD_FIRST && fd < FD_FIRST + (int)nfiles ? &files[fd - FD_FIRST] : NULL;
}

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
	va_list ap;
	if (is_ours(path)) {
		for (unsigned i = 0; i < nfiles; i++)
			if (strcmp(files[i].path, path) == 0)
				return FD_FIRST + (int)i;
		if ((flags & (O_CREAT | O_EXCL)) == O_CREAT) {
			files_add(path, "", 0);
			return FD_FIRST + (int)nfiles - 1;
		}
		errno = flags & O_CREAT ? EROFS : ENOENT;
		return -1;
	}
	va_start(ap, flags);
	mode_t mode = flags & O_CREAT ? (mode_t)va_arg(ap, int) : 0;
	va_end(ap);
	return __real_open(path, flags, mode);
}

int __real_fstat(int fd, struct stat *st);
int __wrap_fstat(int fd, struct stat *st);
int __wrap_fstat(int fd, struct stat *st)
{
	const struct file *f = file_of(fd);
	if (!f)
		return __real_fstat(fd, st);
	*st = (struct stat){.st_mode = S_IFREG | 0600, .st_size = (off_t)f->n};
	return 0;
}

ssize_t __real_read(int fd, void *p, size_t n);
ssize_t __wrap_read(int fd, void *p, size_t n);
ssize_t __wrap_read(int fd, void *p, size_t n)
{
	const struct file *f = file_of(fd);
	if (!f)
		return __real_read(fd, p, n);
	n = n < f->n ? n : f->n;
	memcpy(p, f->bytes, n);
	return (ssize_t)n;
}

ssize_t __real_pwrite(int fd, const void *p, size_t n, off_t at);
ssize_t __wrap_pwrite(int fd, const void *p, size_t n, off_t at);
ssize_t __wrap_pwrite(int fd, const void *p, size_t n, off_t at)
{
	struct file *f = file_of(fd);
	if (!f)
		return __real_pwrite(fd, p, n, at);
	if (node_is_mute() || at != 0 || n > sizeof(f->bytes))
		return (ssize_t)n; /* what is appended nobody reads */
	memcpy(f->bytes, p, f->n = n);
	f->written = true;
	return (ssize_t)n;
}

int __real_close(int fd);
int __wrap_close(int fd);
int __wrap_close(int fd)
{
	struct file *f = file_of(fd);
	if (!f)
		return __real_close(fd);
	if (f->written) {
		f->written = false;
		f->first = f->bytes[0];
		keepalived_look();
	}
	return 0;
}

int __real_mkdir(const char *path, mode_t mode);
int __wrap_mkdir(const char *path, mode_t mode);
int __wrap_mkdir(const char *path, mode_t mode)
{
	return is_ours(path) ? 0 : __real_mkdir(path, mode);
}
