/* A configuration is read, compared and freed; one with a fault is refused. */
#include "tests/oom/oom.h"

#include "common/conf/conf.h"

static const char good[] =
	"domain: example.com\n"
	"aliases: [example.org]\n"
	"listeners:\n"
	"  - {transport: udp, address: 127.0.0.1}\n"
	"  - {transport: tcp, address: \"::1\", port: 5070, policy: trusted}\n"
	"edge:\n"
	"  trusted: [{network: 10.0.0.0/8}]\n"
	"auth:\n"
	"  realm: somewhere\n";

static int run(void)
{
	char error[CONF_ERROR_MAX];
	struct conf *c = conf_parse("test", SPAN(good), error);

	OOM_HOLDS(c || error[0]);
	if (c)
		OOM_HOLDS(conf_needs_restart(c, c) == NULL);
	conf_free(c);
	OOM_HOLDS(conf_parse("test", SPAN("domain: [\n"), error) == NULL);
	if (!c)
		return -1;
	return 0;
}

const struct oom_scenario oom_scenario = {"conf", NULL, run};
