/*
 * TCP ports for servers of a test that go and come back.
 */
#ifndef EAVES_TESTS_PORT_H
#define EAVES_TESTS_PORT_H

#include "common/base/addr.h"
#include "tests/unit/unit.h"

#include <sys/socket.h>
#include <unistd.h>

/* Below those that the kernel gives to who connects: while the server is away somebody else
 * might get it, or connect by it to itself.  Another one each time. */
static inline uint16_t free_port(const char *host)
{
	static unsigned next;
	struct addr a;

	for (unsigned i = 0; i < 10000; i++) {
		unsigned port = 12000 + ((unsigned)getpid() * 37 + next++) % 18000;
		ck_assert_int_eq(addr_parse(&a, span_str(host), (uint16_t)port), 0);
		int fd = socket(a.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		int rc = bind(fd, &a.sa, addr_len(&a));
		close(fd);
		if (rc == 0)
			return (uint16_t)port;
	}
	ck_abort_msg("no free port");
}

#endif
