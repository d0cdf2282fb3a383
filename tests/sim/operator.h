/*
 * An operator who adds a user at an edge, at the other one where the first does not answer, and
 * then has the user's phone register.
 */
#ifndef EAVES_SIM_OPERATOR_H
#define EAVES_SIM_OPERATOR_H

#include "tests/sim/ua.h"

/* The phone's user, who was kept back (scene_user_later). */
void operator_adds(struct ua *phone);
/* He has not been told yes yet, or the phone was not told to register. */
bool operator_is_busy(void);

#endif
