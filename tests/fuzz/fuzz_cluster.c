/*
 * What another node says: the input is a row of messages, each a length (two bytes, little-
 * endian) and fields of an Envelope, to which a sound head is added (version, boots); a length
 * with its highest bit set stands before a whole message.  The engine goes on, takes no more
 * than it may, and gives all back at the end.
 */
#include "common/base/log.h"
#include "common/cluster/cluster.h"

#include "proto/cluster.pb-c.h"

#include <errno.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { EDGE, HOME, WHOLE = 0x8000 };
static const struct mac_key key = {1, 2};
static struct loop *loop;
static uint64_t hello_domain;
static struct cluster *cluster;

static void must(bool holds)
{
	if (!holds)
		abort();
}

/* Learns what the home says of itself: the edge is of the same cluster. */
static int send_message(void *arg, unsigned node, struct span bytes)
{
	(void)arg;
	must(node == EDGE && bytes.n <= 1 << 20);
	Eaves__Envelope *e = eaves__envelope__unpack(NULL, bytes.n, (const uint8_t *)bytes.p);
	must(e && e->version && e->boot == 7);
	if (e->body_case == EAVES__ENVELOPE__BODY_HELLO)
		hello_domain = e->hello->domain;
	eaves__envelope__free_unpacked(e, NULL);
	return 0;
}

static bool yes(void *arg, unsigned node, const struct store_row *row)
{
	(void)arg;
	(void)node;
	return row->kind != RECORD_ALIAS;
}

static void notice(void *arg, unsigned node, unsigned kind, struct span body)
{
	(void)arg;
	(void)kind;
	must(node == EDGE && body.n <= CLUSTER_NOTICE_MAX_BYTES);
}

static void admin(void *arg, unsigned node, uint64_t id, unsigned argc, char **argv,
		  struct span input)
{
	size_t sum = 0;
	(void)arg;
	must(argc > 0 && argc <= CLUSTER_ADMIN_WORDS_MAX && input.n <= CLUSTER_ADMIN_MAX_BYTES);
	for (unsigned i = 0; i < argc; i++)
		sum += strlen(argv[i]);
	for (size_t i = 0; i < input.n; i++)
		sum += (uint8_t)input.p[i];
	cluster_admin_reply(cluster, node, id, sum ? -ENOENT : 0, input);
}

static void on_reply(void *arg, int status, struct span text)
{
	(void)status;
	must(text.n <= CLUSTER_ADMIN_MAX_BYTES);
	++*(unsigned *)arg;
}

static void on_done(void *arg, int error)
{
	must(error == 0 || error == -EIO);
	++*(unsigned *)arg;
}

static void run(void)
{
	for (unsigned i = 0; i < 8; i++)
		loop_round(loop, 0);
}

static void tell(const uint8_t *fields, size_t n, bool whole)
{
	static uint8_t message[1 << 17];
	Eaves__Envelope e = EAVES__ENVELOPE__INIT;
	size_t head = 0;

	e.version = e.oldest = cluster_protocol();
	e.boot = 9;
	e.peer_boot = 7;
	if (!whole)
		head = eaves__envelope__pack(&e, message);
	memcpy(message + head, fields, n);
	cluster_receive(cluster, EDGE, span_of((const char *)message, head + n));
}

static void say_hello(void)
{
	uint8_t fields[256];
	Eaves__Envelope e = EAVES__ENVELOPE__INIT;
	Eaves__Hello h = EAVES__HELLO__INIT;

	h.name = (ProtobufCBinaryData){1, (uint8_t *)(uintptr_t) "e"};
	h.pair = (ProtobufCBinaryData){4, (uint8_t *)(uintptr_t) "edge"};
	h.role = 1;
	h.domain = hello_domain;
	e.body_case = EAVES__ENVELOPE__BODY_HELLO;
	e.hello = &h;
	tell(fields, eaves__envelope__pack(&e, fields), false);
}

static struct records *begin(void)
{
	static const struct cluster_ops ops = {.send = send_message,
					       .shares = yes,
					       .may_write = yes,
					       .notice = notice,
					       .admin = admin};
	struct cluster_conf f = cluster_conf_default;

	f.self = HOME;
	f.n = 2;
	f.boot = 7;
	f.node[EDGE] = (struct cluster_node){"e", "edge", CLUSTER_EDGE};
	f.node[HOME] = (struct cluster_node){"h", "home", CLUSTER_HOME};
	if (!loop)
		loop = loop_new(0);
	must(loop != NULL);
	cluster = cluster_new(loop, &f, &ops, NULL);
	must(cluster != NULL);
	struct records *r = records_new(cluster_store(cluster), 2, 1000, &key);
	must(r != NULL);
	cluster_attach(cluster, r);
	cluster_start(cluster);
	cluster_connected(cluster, EDGE, true);
	say_hello();
	must(cluster_alive(cluster, EDGE));
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static char *const argv[] = {"status"};
	struct record v = {.kind = RECORD_BINDING, .group = SPAN("alice"), .body = SPAN("x")};
	unsigned done = 0, replies = 0;

	log_set_level(LOG_ERROR);
	struct records *r = begin();
	must(records_put(r, &v, 1, NULL, time_wall_ms(), on_done, &done) == 0);
	must(cluster_admin_call(cluster, EDGE, 1, argv, SPAN("x"), on_reply, &replies) == 0);
	run();
	while (n >= 2) {
		unsigned head = data[0] | (unsigned)data[1] << 8;
		size_t m = head & (WHOLE - 1);
		data += 2;
		n -= 2;
		m = m < n ? m : n;
		tell(data, m, head & WHOLE);
		data += m;
		n -= m;
	}
	run();
	cluster_free(cluster);
	records_free(r);
	run(); /* what the loop still had */
	must(done == 1 && replies == 1);
	return 0;
}
