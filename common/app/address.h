/*
 * The service address of a pair, and the phones that believe to be connected to it.
 */
#ifndef EAVES_APP_ADDRESS_H
#define EAVES_APP_ADDRESS_H

#include "common/base/wheel.h"
#include "common/net/net.h"
#include "common/records/records.h"

#include <stdatomic.h>

struct app;

/* address.c: the service address, by listener. */
enum { APP_KNOCKS = 1024 };
enum { APP_KNOCK_ROUND = 20 };
struct app_knocking {
	struct records_place at; /* who is bound before it has been knocked at */
	struct sip_flow v[APP_KNOCK_ROUND];
	unsigned n;
	struct wheel_timer timer;
};
struct app_addresses {
	atomic_bool here[NET_LISTENERS_MAX]; /* when the main thread has looked last */
	/* It was here at any time; it is not any more; a worker has seen so first. */
	atomic_bool seen[NET_LISTENERS_MAX], left[NET_LISTENERS_MAX], gone[NET_LISTENERS_MAX];
	_Atomic msec came[NET_LISTENERS_MAX]; /* when it was last seen to; 0: never */
	/* The same without the first look: it was another machine's before. */
	_Atomic msec taken[NET_LISTENERS_MAX];
	/* When the system was asked last whether one that has left is back. */
	_Atomic msec asked[NET_LISTENERS_MAX];
	bool looked;
	struct net_watch *watch;	      /* NULL: none, it looks now and then alone */
	_Atomic uint64_t knocked[APP_KNOCKS]; /* whom and when, in short */
	struct wheel_timer timer;
	struct app_knocking knocking;
};

/* address.c: from the start on, in the main thread. */
void app_addresses_start(struct app *a);
void app_addresses_end(struct app *a);
/* Now, from any thread: we were stopped. */
void app_addresses_look(struct app *a);
/* The listener's address was here and is not any more.  From any thread. */
bool app_address_left(const struct app *a, unsigned listener);
/* The same for who is to throw something away for it: asks the system whether the address has
 * just come back, and remembers that. */
bool app_address_away(struct app *a, unsigned listener);
/* It has come here since then, or was here when the process began after that.  From any thread;
 * for who has something in hand that came by it: may have to ask the system. */
bool app_address_came(const struct app *a, unsigned listener, msec since);
/* It has come from another machine, so lately that the other member may be dead and not found
 * to be, or not have looked yet: by that address nobody has a connection with it any more. From
 * any thread. */
bool app_address_taken(const struct app *a, unsigned listener);
/* knock.c.  There is something for the phone that had this connection: it is to find out that
 * it is gone, now and not by its next keep-alive.  From any thread; not more than twice a
 * second a phone.
 */
void app_knock(struct app *a, const struct sip_flow *f);
/* An address has come here: all phones of connections of others; in the main thread. */
void app_knock_start(struct app *a);
void app_knock_all(struct app *a);
/* In the bus's thread: the other member has no address to knock from. */
void app_knock_notice(struct app *a, unsigned node, struct span body);

#endif
