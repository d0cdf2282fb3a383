/*
 * Files of the simulated machines: small, read and written as wholes.
 */
#ifndef EAVES_SIM_FILES_H
#define EAVES_SIM_FILES_H

#include <stddef.h>

/* path: below /nowhere; every machine sees it. */
void files_add(const char *path, const void *bytes, size_t n);
/* The first byte when it was last closed; 0: it is empty, or not there. */
char files_first(const char *path);

#endif
