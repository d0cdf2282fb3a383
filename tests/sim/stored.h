/*
 * Where the records are when all is over: the nodes of a cluster and its Redis must have the
 * same ones, so that what a phone was told to be registered is lost with none of them.
 */
#ifndef EAVES_SIM_STORED_H
#define EAVES_SIM_STORED_H

#include <stdbool.h>

/* Every node that runs, and Redis if it does, has what the others have; found != NULL: is told
 * of each that has not. */
bool stored_look(void (*found)(void *arg, const char *what), void *arg);
bool stored_everywhere(void);

#endif
