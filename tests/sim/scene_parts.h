/*
 * For scene.c and the scenes that it can build.
 */
#ifndef EAVES_SIM_SCENE_PARTS_H
#define EAVES_SIM_SCENE_PARTS_H

#include "tests/sim/scene.h"

/* Of a pair (made when it is new); vip NULL: it has none. */
void scene_add_member(const char *pair, const char *vip, unsigned index, struct node *n);
/* Where phones send what is outside of dialogs. */
void scene_set_server(const char *ip);

void scene_build_combined(unsigned workers);
void scene_build_cluster(unsigned workers);

#endif
