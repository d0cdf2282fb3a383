/*
 * What a process asks of its files before it uses them.
 */
#include "common/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

ssize_t file_read_secret(const char *path, void *ret, size_t room)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t n = 0;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		n = -errno;
	else if (st.st_mode & 077)
		n = -EPERM;
	else if ((n = read(fd, ret, room)) < 0)
		n = -errno;
	close(fd);
	return n;
}

int file_check_key(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return -errno;
	return st.st_mode & 07 ? -EPERM : 0;
}

const char *file_secret_error(int error)
{
	return error == -EPERM ? "others may read it: chmod 600" : strerror(-error);
}

static int access_of(const char *path, int mode)
{
	return faccessat(AT_FDCWD, path, mode, AT_EACCESS) < 0 ? -errno : 0;
}

int file_could_write(const char *path)
{
	char dir[4096];
	struct stat st;

	if (stat(path, &st) == 0)
		return S_ISDIR(st.st_mode) ? -EISDIR : access_of(path, W_OK);
	if (errno != ENOENT)
		return -errno;
	if (snprintf(dir, sizeof(dir), "%s", path) >= (int)sizeof(dir))
		return -ENAMETOOLONG;
	char *slash = strrchr(dir, '/');
	while (slash && slash > dir && slash[1] == '\0') { /* a folder's name may end in one */
		*slash = '\0';
		slash = strrchr(dir, '/');
	}
	if (!slash)
		strcpy(dir, ".");
	else
		slash[slash == dir] = '\0';
	if (stat(dir, &st) < 0)
		return -errno;
	return S_ISDIR(st.st_mode) ? access_of(dir, W_OK | X_OK) : -ENOTDIR;
}
