/*
 * What DNS knows in the simulated world.  Names live as long as the world.
 */
#ifndef EAVES_SIM_NAMES_H
#define EAVES_SIM_NAMES_H

#include <stdint.h>

void names_add_a(const char *name, const char *ip);
/* name: "_sip._udp.example.net"; target: a name that has an address. */
void names_add_srv(const char *name, const char *target, uint16_t port, uint16_t priority);

#endif
