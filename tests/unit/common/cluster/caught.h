/*
 * What the code under test logs, caught instead of shown.
 */
#ifndef EAVES_TESTS_CLUSTER_CAUGHT_H
#define EAVES_TESTS_CLUSTER_CAUGHT_H

#include "common/base/log.h"
#include "tests/unit/common/cluster/net.h"

#include <unistd.h>

/* What is logged from here on, until log_read(). */
static inline FILE *log_catch(int *ret_fd)
{
	FILE *f = tmpfile();
	MUST(f != NULL && (*ret_fd = dup(STDERR_FILENO)) >= 0);
	MUST(dup2(fileno(f), STDERR_FILENO) >= 0);
	log_set_level(LOG_WARN);
	return f;
}

static inline void log_read(FILE *f, int fd, char *ret, size_t room)
{
	log_set_level(LOG_ERROR);
	MUST(dup2(fd, STDERR_FILENO) >= 0);
	close(fd);
	rewind(f);
	ret[fread(ret, 1, room - 1, f)] = '\0';
	fclose(f);
}

#endif
