/*
 * Configuration: whatever the bytes, either a configuration or an error with a line, no leak.
 */
#include "common/conf/conf.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char error[CONF_ERROR_MAX];
	struct conf *c = conf_parse("fuzz", span_of((const char *)data, size), error);

	if (!c && strncmp(error, "fuzz:", 5) != 0)
		abort();
	if (c && (!c->domain || c->listeners_count == 0 || conf_needs_restart(c, c)))
		abort();
	conf_free(c);
	return 0;
}
