/*
 * For the files of common/poison alone.
 */
#ifndef EAVES_POISON_PRIV_H
#define EAVES_POISON_PRIV_H

#include "common/poison/poison.h"

/* The refusal that an ACK acknowledges: its fingerprint; 0: it is none. */
uint64_t poison_acked(struct span message);

#endif
