/*
 * /metrics and /healthz by HTTP/1.1 (RFC 9112), GET and HEAD, one request a connection.  Not
 * libevent's evhttp: its release in use has no limit on connections, and this port may be
 * opened to a network.
 */
#include "common/admin/admin_priv.h"

#include "common/base/addr.h"

#include <errno.h>
#include <event2/buffer.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { CLIENTS_MAX = 32, REQUEST_MAX_BYTES = 8192, REQUEST_DEADLINE_MS = 5000 };

static void answer(struct admin_client *c, const char *status, const char *type,
		   const char *body, size_t n, bool head)
{
	char lines[512];
	int len = snprintf(lines, sizeof(lines),
			   "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
			   "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
			   "%sConnection: close\r\n\r\n",
			   status, type, n,
			   strncmp(status, "405", 3) == 0 ? "Allow: GET, HEAD\r\n" : "");

	admin_client_write(c, lines, (size_t)len);
	if (!head)
		admin_client_write(c, body, n);
	admin_client_finish(c);
}

static void answer_text(struct admin_client *c, const char *status, const char *text, bool head)
{
	answer(c, status, "text/plain; charset=utf-8", text, strlen(text), head);
}

static void answer_metrics(struct admin_client *c, bool head)
{
	size_t n = 0;
	char *page = metrics_render(c->port->admin->metrics, &n);

	if (!page) {
		answer_text(c, "500 Internal Server Error", "out of memory\n", head);
		return;
	}
	answer(c, "200 OK", "text/plain; version=0.0.4; charset=utf-8", page, n, head);
	free(page);
}

/* The request line's parts; false unless it is METHOD SP TARGET SP HTTP/1.x. */
static bool request_line(struct span line, struct span *ret_method, struct span *ret_path)
{
	ptrdiff_t sp1 = span_chr(line, ' ', 0), sp2, query;

	if (sp1 <= 0)
		return false;
	sp2 = span_chr(line, ' ', (size_t)sp1 + 1);
	if (sp2 <= sp1 + 1 || line.p[sp1 + 1] != '/' ||
	    line.n - (size_t)sp2 != sizeof(" HTTP/1.x") - 1 ||
	    memcmp(line.p + sp2, " HTTP/1.", 8) != 0)
		return false;
	*ret_method = span_of(line.p, (size_t)sp1);
	*ret_path = span_of(line.p + sp1 + 1, (size_t)(sp2 - sp1 - 1));
	query = span_chr(*ret_path, '?', 0);
	if (query >= 0)
		ret_path->n = (size_t)query;
	return true;
}

static void serve(struct admin_client *c, struct span request)
{
	struct admin *a = c->port->admin;
	struct span line = span_of(request.p, (size_t)span_chr(request, '\r', 0)), method, path;
	bool head;

	if (!request_line(line, &method, &path)) {
		answer_text(c, "400 Bad Request", "bad request\n", false);
		return;
	}
	head = span_eq(method, SPAN("HEAD"));
	if (!head && !span_eq(method, SPAN("GET")))
		answer_text(c, "405 Method Not Allowed", "GET and HEAD only\n", false);
	else if (span_eq(path, SPAN("/metrics")))
		answer_metrics(c, head);
	else if (!span_eq(path, SPAN("/healthz")))
		answer_text(c, "404 Not Found", "/metrics and /healthz are here\n", head);
	else if (!a->healthy || a->healthy(a->healthy_arg))
		answer_text(c, "200 OK", "ok\n", head);
	else
		answer_text(c, "503 Service Unavailable", "not healthy\n", head);
}

static void on_bytes(struct admin_client *c, struct evbuffer *in)
{
	size_t n = evbuffer_get_length(in);
	const char *p = (const char *)evbuffer_pullup(in, -1);
	const char *end = p ? memmem(p, n, "\r\n\r\n", 4) : NULL;

	if (end)
		serve(c, span_of(p, (size_t)(end - p) + 4));
	else if (n >= REQUEST_MAX_BYTES || !p)
		answer_text(c, "431 Request Header Fields Too Large", "too long\n", false);
	else
		return;
	evbuffer_drain(in, n);
}

static void refuse(int fd, const char *why)
{
	static const char text[] = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n"
				   "Connection: close\r\n\r\n";

	(void)why;
	(void)!send(fd, text, sizeof(text) - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* "127.0.0.1:9060", "[::1]:9060". */
static int parse_host_port(const char *text, struct addr *ret)
{
	const char *colon = strrchr(text, ':');
	uint64_t port;

	if (!colon || span_u64(span_str(colon + 1), 65535, &port) < 0)
		return -EINVAL;
	return addr_parse(ret, span_of(text, (size_t)(colon - text)), (uint16_t)port);
}

static int bind_tcp(const struct addr *a)
{
	int on = 1, fd, r;

	fd = socket(a->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    bind(fd, &a->sa, addr_len(a)) < 0) {
		r = -errno;
		close(fd);
		return r;
	}
	return fd;
}

int admin_http_start(struct admin *a, const char *host_port, char ret_error[256])
{
	struct addr addr;
	int r = parse_host_port(host_port, &addr);

	if (r == 0)
		r = bind_tcp(&addr);
	if (r >= 0) {
		a->http.max_clients = CLIENTS_MAX;
		a->http.deadline_ms = REQUEST_DEADLINE_MS;
		a->http.refuse = refuse;
		a->http.read = on_bytes;
		r = admin_port_start(&a->http, a, r);
	}
	if (r < 0)
		snprintf(ret_error, 256, "admin http %s: %s", host_port, strerror(-r));
	return r;
}
