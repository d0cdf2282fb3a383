/*
 * Machines, their addresses, and what lies between them: delays, trouble, cuts, NATs, and
 * service addresses that move.  IPv4 alone.  What travels is in dgram.h and stream.h.
 */
#ifndef EAVES_SIM_HOST_H
#define EAVES_SIM_HOST_H

#include "common/base/addr.h"
#include "common/base/list.h"
#include "tests/sim/event.h"

enum { HOSTS_MAX = 48, HOST_NAME_BYTES = 16, HOST_ADDRS_MAX = 8 };

enum host_kind { HOST_NODE, HOST_PHONE, HOST_FAR };

struct nat;
struct host {
	char name[HOST_NAME_BYTES];
	unsigned index;
	enum host_kind kind;
	struct addr addr;      /* its own, port 0 */
	struct nat *nat;       /* it is behind this one, or NULL */
	const char *cert_name; /* in its certificate; NULL: it has none */
	bool powered;	       /* false: nothing comes, nothing goes, nothing answers */
	struct list udp, listeners, ends;
};

struct trouble {
	usec lan, lan_jitter;			/* between nodes */
	usec wan, wan_jitter;			/* to and from the others */
	unsigned udp_loss, udp_twice, udp_late; /* permille of datagrams */
	usec late;				/* how much later a late one comes, at most */
	unsigned stream_loss; /* permille of writes that a stream must repeat */
};
extern const struct trouble trouble_none;

/* Forgets all hosts; the seed of everything that the network draws. */
void hosts_init(uint64_t seed, const struct trouble *t);
void hosts_set_trouble(const struct trouble *t);
void hosts_reseed(uint64_t seed, const struct trouble *t);
const struct trouble *hosts_trouble(void);
struct rng *hosts_rng(void);

struct host *host_new(const char *name, const char *ip, enum host_kind kind, struct nat *nat);
unsigned hosts_count(void);
struct host *host_of(unsigned index);
/* Who has the address now; NULL: nobody. */
struct host *host_at(const struct addr *a);
/* Its own address and the service addresses that it has now: how many. */
unsigned host_addrs(const struct host *h, struct addr ret[HOST_ADDRS_MAX]);
/* Nothing goes from one to the other any more (one way). */
void host_block(const struct host *from, const struct host *to, bool blocked);
/* Can something leave `from` and reach `to` now? */
bool path_open(const struct host *from, const struct host *to);
/* How long this packet takes. */
usec path_delay(const struct host *from, const struct host *to);

/* A service address.  It is somebody's always. */
void vip_new(const char *ip, struct host *holder);
void vip_move(const char *ip, struct host *to);
/* The host's own, or a service address that it holds. */
bool host_has(const struct host *h, const struct addr *a);

/* ---- NATs: mappings that depend on the inside alone, filters by address ---- */

struct nat *nat_new(const char *ip);
/* The outside of what goes from `inner` to `to`, made where there is none yet. */
struct addr nat_out(struct nat *n, const struct host *h, const struct addr *inner,
		    const struct addr *to);
/* Whose is what came from `from` to an outside: NULL (nobody's, or not let in), else
 * *ret_inner. */
struct host *nat_in(const struct addr *from, const struct addr *to, struct addr *ret_inner);

struct addr addr_of(const char *ip, uint16_t port);

#endif
