/*
 * What the system tells of its addresses: in a network namespace of the test's own, whose
 * loopback gets its address when it is switched on.
 */
#include "common/net/net.h"
#include "tests/unit/unit.h"

#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static unsigned changes;

static void on_change(void *arg)
{
	ck_assert_ptr_eq(arg, &changes);
	changes++;
}

static void own_network(void)
{
	/* root alone may without a user of its own */
	if (unshare(CLONE_NEWNET) < 0)
		ck_assert_msg(unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0,
			      "no network namespace of its own");
}

static void switch_loopback(bool on)
{
	struct ifreq i = {.ifr_name = "lo", .ifr_flags = on ? IFF_UP : 0};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ioctl(fd, SIOCSIFFLAGS, &i), 0);
	close(fd);
}

START_TEST(an_address_that_comes_or_goes_is_told_at_once)
{
	own_network();
	struct loop *l = loop_new(0);
	struct net_watch *w = net_addresses_watch(l, on_change, &changes);
	ck_assert_ptr_nonnull(w);
	loop_round(l, 0);
	ck_assert_uint_eq(changes, 0);
	switch_loopback(true);
	loop_round(l, 1000);
	ck_assert_uint_ge(changes, 1);
	loop_round(l, 0);
	unsigned before = changes;
	loop_round(l, 0);
	ck_assert_uint_eq(changes, before);
	switch_loopback(false);
	switch_loopback(true);
	loop_round(l, 1000);
	ck_assert_uint_gt(changes, before);
	ck_assert_ptr_null(net_addresses_unwatch(w));
	ck_assert_ptr_null(net_addresses_unwatch(NULL));
	loop_free(l);
}
END_TEST

UNIT_MAIN("common/net addresses", an_address_that_comes_or_goes_is_told_at_once)
