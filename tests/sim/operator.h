/*
 * An operator at an edge, who goes to the other one where the first does not answer: he adds a
 * user and then has the user's phone register, removes one, or asks another node what it has.
 */
#ifndef EAVES_SIM_OPERATOR_H
#define EAVES_SIM_OPERATOR_H

#include "tests/sim/ua.h"

/* One thing at a time.  The phone's user, who was kept back (scene_user_later). */
void operator_adds(struct ua *phone);
void operator_removes(const char *user);
/* One member of that pair or, where it does not answer, the other one. */
void operator_asks(const char *pair, const char *word, const char *second);
/* He has not been told yes yet, or the phone was not told to register. */
bool operator_is_busy(void);
/* How many of his questions an edge that still runs has not answered, or more than once. */
unsigned operator_unanswered(void);

#endif
