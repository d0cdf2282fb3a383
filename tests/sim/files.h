/*
 * Files of the simulated machines: whole, small, read only.
 */
#ifndef EAVES_SIM_FILES_H
#define EAVES_SIM_FILES_H

#include <stddef.h>

/* path: below /nowhere; every machine sees it. */
void files_add(const char *path, const void *bytes, size_t n);

#endif
