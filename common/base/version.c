/*
 * The one file that is compiled anew when the version has changed.
 */
#include "common/base/version.h"

const char base_version[] = EAVES_VERSION;
