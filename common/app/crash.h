/*
 * The last words of a process: when a thread crashes over a message (SIGSEGV, SIGBUS, SIGABRT,
 * SIGFPE, SIGILL), the message's fingerprint is written to a file and sent to the other nodes;
 * then the signal does what it would have done.  One for a process.
 */
#ifndef EAVES_APP_CRASH_H
#define EAVES_APP_CRASH_H

#include "common/base/addr.h"
#include "common/cluster/cluster.h"
#include "common/poison/poison.h"

struct crash_conf {
	struct mac_key fingerprint_key, note_key;
	unsigned node; /* ours, in notes */
	int file;      /* open for appending; -1: none */
	int socket;    /* of datagrams, bound; -1: none */
	unsigned n;
	struct addr to[CLUSTER_NODES_MAX];
};

/* Copies c; the descriptors stay the caller's and open until crash_disarm().  0 or -errno. */
int crash_arm(const struct crash_conf *c);
/* The signals are as they were before. */
void crash_disarm(void);

#endif
