/*
 * One combined server, 10.0.0.1.
 */
#include "tests/sim/scene_parts.h"
#include "tests/sim/text.h"

void scene_build_combined(unsigned workers)
{
	struct text t = {0};
	text_add(&t,
		 "domain: example.org\n"
		 "listeners:\n"
		 "  - {transport: udp, address: 10.0.0.1, port: 5060, policy: normal}\n"
		 "  - {transport: tcp, address: 10.0.0.1, port: 5060, policy: normal}\n"
		 "workers: %u\n"
		 "store: sqlite\n"
		 "data_dir: /nowhere\n"
		 "records_max: 1000\n"
		 "net: {connections: 100, transactions: 1000}\n"
		 "timers: {serial_group_s: 4, timer_c_s: 60}\n"
		 "proxy: {redirect: user}\n",
		 workers);
	struct host *h = host_new("eaves", "10.0.0.1", HOST_NODE, NULL);
	scene_add_member("eaves", NULL, 0, node_new(h, true, true, t.p));
	scene_set_server("10.0.0.1");
}
