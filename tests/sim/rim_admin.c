/*
 * The ports of common/admin, which nobody opens here: its tables, its commands and those that
 * answer later are the product's own, for what one node asks another one over the bus.
 */
#include "common/admin/admin_priv.h"

int admin_socket_start(struct admin *a, const char *path, char ret_error[256])
{
	(void)a;
	(void)path;
	(void)ret_error;
	return 0;
}

int admin_http_start(struct admin *a, const char *host_port, char ret_error[256])
{
	(void)a;
	(void)host_port;
	(void)ret_error;
	return 0;
}

void admin_port_stop(struct admin_port *p)
{
	(void)p;
}
