/*
 * What moves service addresses: keepalived at each member, set up as docs/cluster.md has it.
 */
#ifndef EAVES_SIM_KEEPALIVED_H
#define EAVES_SIM_KEEPALIVED_H

/* All nodes are up; each pair's first member has its address. */
void keepalived_begin(void);
/* A node has written a file. */
void keepalived_look(void);

#endif
