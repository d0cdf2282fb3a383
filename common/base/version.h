/*
 * Which build this is, as the Makefile found it: a tag, or what git describe makes of a commit.
 */
#ifndef EAVES_BASE_VERSION_H
#define EAVES_BASE_VERSION_H

extern const char base_version[];

#endif
