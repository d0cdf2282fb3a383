/*
 * Flows of a cluster alone.
 */
#ifndef EAVES_SIM_FLOWS_CLUSTER_H
#define EAVES_SIM_FLOWS_CLUSTER_H

/* flows_hour.c: Redis is away for an hour. */
void hour_setup(void);
void hour_go(void);

/* flows_moved.c: phones whose edge has not the service address any more. */
void moved_setup(void);
void moved_go(void);

/* flows_bus.c: nodes that meet; an operator who asks another node. */
void join_setup(void);
void join_go(void);
void edge_setup(void);
void edge_go(void);
void repair_setup(void);
void repair_go(void);
void ask_setup(void);
void ask_go(void);

#endif
