/*
 * Two ends on loopback: a datagram and a message over a new connection, each answered.  What
 * cannot be sent is refused or told; the loop never spins and nothing hangs.
 */
#include "tests/oom/oom.h"

#include "common/net/net.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <string.h>

struct end {
	struct net *net;
	unsigned heard;
	bool answers;
};

static const char text[] = "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\n"
			   "Max-Forwards: 70\r\nFrom: <sip:x@y>;tag=1\r\nTo: <sip:a@b>\r\n"
			   "Call-ID: 1\r\nCSeq: 1 OPTIONS\r\nContent-Length: 4\r\n\r\nbody";
static struct loop *loop;
static struct end server, client;

static int send_text(struct end *e, const struct sip_flow *f, uint64_t id)
{
	const struct iovec iov = {(void *)(uintptr_t)text, sizeof(text) - 1};

	return net_send(e->net, f, &iov, 1, NULL, id);
}

static void on_message(void *arg, const struct sip_flow *f, char *buf, size_t n, size_t cap,
		       const struct net_peer *peer)
{
	struct end *e = arg;

	(void)peer;
	OOM_HOLDS(n == sizeof(text) - 1 && memcmp(buf, text, n) == 0 && cap > n);
	e->heard++;
	if (e->answers)
		send_text(e, f, 0);
}

static void on_broken(void *arg, const struct sip_flow *f, struct span head,
		      const struct sip_fault *why)
{
	(void)arg;
	(void)f;
	(void)head;
	OOM_HOLDS(why->reason == NULL); /* nothing broken was sent */
}

static void on_failed(void *arg, uint64_t id, int error)
{
	(void)arg;
	(void)error;
	OOM_HOLDS(id != 0);
}

static void on_closed(void *arg, const struct sip_flow *f)
{
	(void)arg;
	OOM_HOLDS(f->conn != 0);
}

static bool start(struct end *e, bool answers)
{
	const struct net_ops ops = {.message = on_message,
				    .broken = on_broken,
				    .failed = on_failed,
				    .closed = on_closed,
				    .arg = e};
	struct net_conf c = net_conf_default;
	unsigned at;

	*e = (struct end){.answers = answers};
	c.nlisteners = 2;
	c.listener[0].transport = SIP_TRANSPORT_UDP;
	c.listener[1].transport = SIP_TRANSPORT_TCP;
	for (unsigned i = 0; i < 2; i++)
		OOM_HOLDS(addr_parse(&c.listener[i].addr, SPAN("127.0.0.1"), 0) == 0);
	e->net = net_new(loop, 0, &c, &ops, NULL, &at);
	return e->net != NULL;
}

/* One message there and back. */
static unsigned exchange(uint16_t listener, enum sip_transport transport)
{
	struct sip_flow f = {.transport = transport, .listener = listener};
	unsigned before = client.heard;

	f.remote = *net_listener_addr(server.net, listener);
	if (send_text(&client, &f, 5) < 0)
		return 0;
	for (unsigned i = 0; i < 30 && client.heard == before; i++)
		loop_round(loop, 1);
	return client.heard - before;
}

static int run(void)
{
	unsigned good = 0;

	loop = loop_new(0);
	if (!loop)
		return -1;
	server.net = client.net = NULL;
	if (start(&server, true) && start(&client, false)) {
		good += exchange(0, SIP_TRANSPORT_UDP);
		good += exchange(1, SIP_TRANSPORT_TCP);
	}
	net_free(client.net);
	net_free(server.net);
	loop_round(loop, 0);
	loop_free(loop);
	return good == 2 ? 0 : -1;
}

static void quiet(int severity, const char *what)
{
	(void)severity;
	(void)what;
}

static void setup(void)
{
	signal(SIGPIPE, SIG_IGN);
	event_set_log_callback(quiet);
}

const struct oom_scenario oom_scenario = {"net", setup, run};
