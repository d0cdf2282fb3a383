/*
 * The configuration's schema: one list a section, from which come libcyaml's tables, the
 * defaults, the ranges and the reference page.  A new key is a member of struct conf and one
 * line here. What several keys must be together is in check.c.
 */
#include "common/conf/conf_priv.h"

#include <stdio.h>

static const struct cyaml_strval transports[] = {
	{"udp", SIP_TRANSPORT_UDP}, {"tcp", SIP_TRANSPORT_TCP}, {"tls", SIP_TRANSPORT_TLS}};
static const struct cyaml_strval policies[] = {{"challenge", CONF_POLICY_CHALLENGE},
					       {"normal", CONF_POLICY_NORMAL},
					       {"trusted", CONF_POLICY_TRUSTED},
					       {"cluster", CONF_POLICY_CLUSTER}};
static const struct cyaml_strval roles[] = {{"edge", CONF_ROLE_EDGE}, {"home", CONF_ROLE_HOME}};
static const struct cyaml_strval stores[] = {{"memory", CONF_STORE_MEMORY},
					     {"sqlite", CONF_STORE_SQLITE}};
static const struct cyaml_strval redirects[] = {{"never", CONF_REDIRECT_NEVER},
						{"user", CONF_REDIRECT_USER},
						{"always", CONF_REDIRECT_ALWAYS}};
static const struct cyaml_strval levels[] = {{"error", LOG_ERROR},
					     {"warn", LOG_WARN},
					     {"info", LOG_INFO},
					     {"debug", LOG_DEBUG},
					     {"trace", LOG_TRACE}};

/*
 * N a number: member, default, min, max, unit, text.  B a switch: member, default, text.
 * S a text, R a text that must be there: member, longest, text.  E one of a few words, W the
 * same and must be there: member, words, default, text.  L a list: member, element's name,
 * elements at least and at most, text.  P a port.  (S and L without default: what the text
 * says.)
 */
/* clang-format off */
#define KEYS_TOP(N, B, S, R, E, W, L, P) \
	R(domain, 255, "The SIP domain served.") \
	L(aliases, text, 0, 64, "Further names of the same domain, and the hosts in its addresses.") \
	L(listeners, listener, 1, 16, "Where SIP is taken in; at least one.") \
	N(workers, 0, 0, 64, "", "Worker threads; 0: one for every four cores.") \
	N(moderation_us, 250, 0, 500, "us", \
	  "Longest wait of a worker that is under load for more work before it looks again; 0: off.") \
	S(data_dir, 255, "Folder of the store, the secret and the admin socket; needed by `store: sqlite`.") \
	E(store, stores, CONF_STORE_MEMORY, "Where registrations and users are kept: `memory` or `sqlite`.  An edge with `redis` keeps them there and does not use it.") \
	N(records_max, 2000000, 100, 100000000, "", "Records at most (users, bindings, traces of deleted ones).")
#define KEYS_LIMITS(N, B, S, R, E, W, L, P) \
	N(datagram_bytes, 8192, 1024, 65535, "bytes", "Largest message by UDP; a longer request gets 513.") \
	N(stream_bytes, 65536, 2048, 1048576, "bytes", "Largest message by TCP and TLS; a longer request gets 513, and the connection is closed.") \
	N(headers, 96, 16, SIP_HDR_MAX, "", "Header fields in a message.") \
	N(header_bytes, 2048, 256, 16384, "bytes", "Longest header field.") \
	N(commas, 32, 4, 128, "", "Commas in one field that is a list.") \
	N(semicolons, 24, 8, 128, "", "Semicolons in one field.")
#define KEYS_NET(N, B, S, R, E, W, L, P) \
	N(connections, 20000, 16, 1000000, "", "Connections open in one worker.") \
	N(connections_per_source, 200, 1, 1000000, "", "Connections from one address to one worker.") \
	N(handshake_ms, 2000, 100, 60000, "ms", "A TLS handshake must be done, counted from accept.") \
	N(message_ms, 4000, 100, 60000, "ms", "A message begun on a stream must be whole.") \
	N(idle_s, 600, 5, 86400, "s", "A connection on which nothing comes is closed.") \
	N(connect_ms, 3000, 100, 60000, "ms", "A connection to a next hop must stand.") \
	N(out_queue_bytes, 262144, 16384, 67108864, "bytes", "Unsent to one connection before it is closed.") \
	N(transactions, 1000000, 100, 10000000, "", "Live transactions of one worker.")
#define KEYS_TIMERS(N, B, S, R, E, W, L, P) \
	N(t1_ms, 500, 50, 10000, "ms", "RFC 3261 T1: round-trip estimate.") \
	N(t2_ms, 4000, 100, 60000, "ms", "RFC 3261 T2: longest interval between retransmissions.") \
	N(t4_ms, 5000, 100, 60000, "ms", "RFC 3261 T4: longest life of a message in the network.") \
	N(timer_c_s, 185, 1, 3600, "s", "RFC 3261 16.6 timer C: longest ringing without a new 1xx.") \
	N(serial_group_s, 20, 1, 3600, "s", "Longest ringing of one group of a serial fork.")
#define KEYS_PROXY(N, B, S, R, E, W, L, P) \
	B(record_route, true, "Stay in the path of dialogs (RFC 3261 16.6 step 4).") \
	B(recurse, false, "Try the contacts of a 3xx instead of handing it back (16.7 step 4).") \
	N(max_breadth, 60, 1, 255, "", "RFC 5393 Max-Breadth of a request that has none.") \
	N(max_targets, 30, 1, 255, "", "Targets of one request.") \
	E(redirect, redirects, CONF_REDIRECT_NEVER, "302 with the contacts: `never`, for a `user` who asks, `always`.")
#define KEYS_REGISTRAR(N, B, S, R, E, W, L, P) \
	N(expires_min_s, 60, 1, 86400, "s", "Shortest registration; shorter ones get 423.") \
	N(expires_max_s, 7200, 1, 604800, "s", "Longest registration; longer ones are cut.") \
	N(expires_default_s, 3600, 1, 604800, "s", "Registration that names no time.") \
	N(contacts_per_user, 10, 1, 64, "", "Devices of one user.") \
	N(contact_bytes, 1024, 64, 4096, "bytes", "Longest contact with its parameters.") \
	B(gruu, true, "RFC 5627 GRUUs for devices that ask.") \
	B(outbound, true, "RFC 5626 outbound for devices that ask.") \
	N(flow_timer_s, 0, 0, 3600, "s", "Flow-Timer told to devices that use outbound; 0: none.") \
	S(service_route, 255, "Service-Route (RFC 3608) told to devices, `<sip:edge.example.org;lr>`; without: none.") \
	B(path_strict, false, "Refuse a Path that the device does not support (RFC 3327 5.3).") \
	B(strict, false, "503 for a registration that could not be made durable, instead of going on with 200.")
#define KEYS_AUTH(N, B, S, R, E, W, L, P) \
	S(realm, 255, "Digest realm; without: the domain.  Changing it voids every stored password.") \
	B(md5, true, "Offer MD5 (old phones have nothing else).") \
	B(sha256, true, "Offer SHA-256 (RFC 8760).") \
	B(replay_check, true, "A nonce count is taken once.") \
	N(nonce_life_s, 300, 10, 86400, "s", "Age at which a nonce is stale.") \
	N(lock_failures, 20, 0, 100000, "", "Failures of a source within the window that lock it; 0: never.") \
	N(lock_window_s, 60, 1, 86400, "s", "The window.") \
	N(lock_s, 300, 1, 86400, "s", "How long a source stays locked.")
#define KEYS_EDGE(N, B, S, R, E, W, L, P) \
	L(trusted, trusted, 0, 256, "Insiders by address or by certificate.") \
	L(routes, route, 0, 256, "Next hops of other domains; without one: RFC 3263.") \
	B(outbound, true, "Insiders may reach other domains.") \
	B(deliver_alone, false, "With both members of a home dead: calls to its users go to the phones that are registered through an edge.")
#define KEYS_TLS(N, B, S, R, E, W, L, P) \
	L(certificates, certificate, 0, 64, "Certificates by domain (SNI); the first is the default.") \
	S(ca, 255, "File of the authorities that peers are checked against; without: the system's.")
#define KEYS_DNS(N, B, S, R, E, W, L, P) \
	S(servers, 255, "Name servers, `address[:port],...`; without: resolv.conf.") \
	N(timeout_ms, 2000, 50, 30000, "ms", "Of one try.") \
	N(tries, 2, 1, 10, "", "Tries of each server.")
#define KEYS_CLUSTER(N, B, S, R, E, W, L, P) \
	S(node, 63, "This node's name in `nodes`; without: no cluster.") \
	S(secret, 255, "File with the secret of the cluster, the same at every node; mode 0600.") \
	S(bus_key, 255, "File with this node's secret key on the bus; mode 0600.") \
	L(nodes, node, 0, 64, "All nodes; the same list at each of them.") \
	N(heartbeat_ms, 250, 20, 10000, "ms", "Between two heartbeats on the bus.") \
	N(dead_ms, 750, 60, 60000, "ms", "A node that is silent for so long is dead; what nobody repeats is kept for it 1.25 s longer.") \
	N(second_place_ms, 1000, 10, 60000, "ms", "Longest wait for a record's second place.") \
	N(compare_ms, 2000, 100, 600000, "ms", "Between two comparisons of the tables of two nodes.") \
	N(queue_bytes, 16777216, 65536, 1073741824, "bytes", "Records waiting for one node at most; of each worker, SIP waiting in a link, SIP kept for when a node dies, and SIP waiting for phones or homes to come back.") \
	N(drain_s, 5, 0, 600, "s", "SIGTERM: longest wait for requests under way; then the other member goes on with them.")
#define KEYS_REDIS(N, B, S, R, E, W, L, P) \
	S(servers, 255, "Redis of an edge (homes do not use it), `address:port,...`, in place of `store`; without, and without sentinels: none.") \
	S(sentinels, 255, "Sentinels that know the primary, `address:port,...`.") \
	S(primary, 63, "The primary's name at the sentinels.") \
	S(password, 255, "File with the password; mode 0600.") \
	S(sentinel_password, 255, "File with the password of the sentinels themselves; mode 0600; without: they have none.") \
	N(timeout_ms, 1000, 50, 60000, "ms", "An answer must come.") \
	N(queue_rows, 200000, 1000, 10000000, "", "Records waiting for Redis at most; what is beyond is written anew later.")
#define KEYS_ADMIN(N, B, S, R, E, W, L, P) \
	S(socket, 107, "Unix socket of eavesctl; without: `admin.sock` in data_dir.") \
	S(http, 64, "`address:port` of /metrics and /healthz; without: none.")
#define KEYS_LOG(N, B, S, R, E, W, L, P) \
	E(level, levels, LOG_INFO, "`error`, `warn`, `info`, `debug` or `trace`.")

#define KEYS_LISTENER(N, B, S, R, E, W, L, P) \
	W(transport, transports, SIP_TRANSPORT_UDP, "`udp`, `tcp` or `tls`.") \
	R(address, 64, "Numeric, IPv4 or IPv6.") \
	P(port, "0: 5060, or 5061 for tls.") \
	S(advertise, 255, "Host in Via and Record-Route; without: the address.") \
	E(policy, policies, CONF_POLICY_NORMAL, \
	  "`challenge`: everybody proves who he is; `normal`: outsiders may call our users; `trusted`: all are insiders; `cluster`: the other nodes alone.") \
	B(mutual_tls, false, "Ask clients for a certificate and verify it.")
#define KEYS_TRUSTED(N, B, S, R, E, W, L, P) \
	S(network, 64, "`10.0.0.0/8`, `2001:db8::/32` or one address.") \
	S(certificate, 255, "SIP identity in the peer's certificate (RFC 5922).")
#define KEYS_ROUTE(N, B, S, R, E, W, L, P) \
	R(domain, 255, "Exact, or `*` for all.") \
	R(uri, 255, "`sip:gw.example.net;transport=tcp`.")
#define KEYS_NODE(N, B, S, R, E, W, L, P) \
	R(name, 63, "Its name; with TLS the SIP identity in its certificate.") \
	W(role, roles, CONF_ROLE_EDGE, "`edge` or `home`.") \
	R(pair, 63, "Both members of a pair have the same; the edges are one pair.") \
	R(bus, 64, "`address:port` on the bus.") \
	R(sip, 64, "`address:port` of its listener of policy `cluster`.") \
	R(key, 40, "Public key on the bus, as `--make-key FILE` printed it.")
#define KEYS_CERT(N, B, S, R, E, W, L, P) \
	R(domain, 255, "Name that clients ask for.") \
	R(certificate, 255, "PEM file with the chain.") \
	R(key, 255, "PEM file that others may not read: mode 0600, or 0640 for a group.")
/* clang-format on */

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Elements of lists of plain text and of mappings. */
static const cyaml_schema_value_t text_value = {
	CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char *, 1, 255)};

/* libcyaml's tables: OFF is the member's offset in the mapping that it stands in. */
#define FIELD(m, off, ...)                                                \
	{                                                                 \
		.key = #m, .data_offset = (off), .value = { __VA_ARGS__ } \
	}
#define F_N(m, def, lo, hi, unit, text) \
	FIELD(m, OFF(m), CYAML_VALUE_UINT(CYAML_FLAG_OPTIONAL, uint32_t)),
#define F_P(m, text)	  FIELD(m, OFF(m), CYAML_VALUE_UINT(CYAML_FLAG_OPTIONAL, uint16_t)),
#define F_B(m, def, text) FIELD(m, OFF(m), CYAML_VALUE_BOOL(CYAML_FLAG_OPTIONAL, bool)),
#define F_S(m, hi, text) \
	FIELD(m, OFF(m), \
	      CYAML_VALUE_STRING(CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, char *, 1, hi)),
#define F_R(m, hi, text) \
	FIELD(m, OFF(m), CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char *, 1, hi)),
#define F_E(m, words, def, text)                                                    \
	FIELD(m, OFF(m),                                                            \
	      CYAML_VALUE_ENUM(CYAML_FLAG_STRICT | CYAML_FLAG_OPTIONAL, int, words, \
			       COUNT(words))),
#define F_W(m, words, def, text) \
	FIELD(m, OFF(m), CYAML_VALUE_ENUM(CYAML_FLAG_STRICT, int, words, COUNT(words))),
#define F_L(m, elem, lo, hi, text)                                                 \
	{.key = #m,                                                                \
	 .data_offset = OFF(m),                                                    \
	 .count_offset = OFF(m##_count),                                           \
	 .count_size = sizeof(unsigned),                                           \
	 .value = {.type = CYAML_SEQUENCE,                                         \
		   .flags = CYAML_FLAG_POINTER | ((lo) ? 0 : CYAML_FLAG_OPTIONAL), \
		   .data_size = sizeof(elem##_t),                                  \
		   .sequence = {.entry = &elem##_value, .min = (lo), .max = (hi)}}},
#define FIELDS(list) list(F_N, F_B, F_S, F_R, F_E, F_W, F_L, F_P)

#define ELEMENT(var, type, list)                                                           \
	static const cyaml_schema_field_t var##_fields[] = {FIELDS(list) CYAML_FIELD_END}; \
	static const cyaml_schema_value_t var##_value = {                                  \
		CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, type, var##_fields)};
#define text_t	      char *
#define listener_t    struct conf_listener
#define trusted_t     struct conf_trusted
#define route_t	      struct conf_route
#define certificate_t struct conf_cert
#define node_t	      struct conf_node

#define OFF(m) offsetof(struct conf_listener, m)
ELEMENT(listener, struct conf_listener, KEYS_LISTENER)
#undef OFF
#define OFF(m) offsetof(struct conf_trusted, m)
ELEMENT(trusted, struct conf_trusted, KEYS_TRUSTED)
#undef OFF
#define OFF(m) offsetof(struct conf_route, m)
ELEMENT(route, struct conf_route, KEYS_ROUTE)
#undef OFF
#define OFF(m) offsetof(struct conf_cert, m)
ELEMENT(certificate, struct conf_cert, KEYS_CERT)
#undef OFF

#define OFF(m) offsetof(struct conf_node, m)
ELEMENT(node, struct conf_node, KEYS_NODE)
#undef OFF

#define SECTION_TYPE(s) __typeof__(((struct conf *)0)->s)
#define SECTION(s, list) \
	static const cyaml_schema_field_t s##_fields[] = {FIELDS(list) CYAML_FIELD_END};
#define OFF(m) offsetof(SECTION_TYPE(limits), m)
SECTION(limits, KEYS_LIMITS)
#undef OFF
#define OFF(m) offsetof(SECTION_TYPE(net), m)
SECTION(net, KEYS_NET)
#undef OFF
#define OFF(m) offsetof(SECTION_TYPE(timers), m)
SECTION(timers, KEYS_TIMERS)
#undef OFF
#define OFF(m) offsetof(SECTION_TYPE(proxy), m)
SECTION(proxy, KEYS_PROXY)
#undef OFF
#define OFF(m) offsetof(SECTION_TYPE(registrar), m)
SECTION(registrar, KEYS_REGISTRAR)
#undef OFF
#define OFF(m) offsetof(SECTION_TYPE(auth), m)
SECTION(auth, KEYS_AUTH)
#undef OFF
#define OFF(m) offsetof(SECTION_TYPE(edge), m)
SECTION(edge, KEYS_EDGE)
#undef OFF
#define OFF(m) offsetof(SECTION_TYPE(tls), m)
SECTION(tls, KEYS_TLS)
#undef OFF
#define OFF(m) offsetof(SECTION_TYPE(dns), m)
SECTION(dns, KEYS_DNS)
#undef OFF
#define OFF(m) offsetof(SECTION_TYPE(cluster), m)
SECTION(cluster, KEYS_CLUSTER)
#undef OFF
#define OFF(m) offsetof(SECTION_TYPE(redis), m)
SECTION(redis, KEYS_REDIS)
#undef OFF
#define OFF(m) offsetof(SECTION_TYPE(admin), m)
SECTION(admin, KEYS_ADMIN)
#undef OFF
#define OFF(m) offsetof(SECTION_TYPE(log), m)
SECTION(log, KEYS_LOG)
#undef OFF

#define F_SECTION(s)                       \
	FIELD(s, offsetof(struct conf, s), \
	      CYAML_VALUE_MAPPING(CYAML_FLAG_OPTIONAL, SECTION_TYPE(s), s##_fields))
#define OFF(m) offsetof(struct conf, m)
static const cyaml_schema_field_t top_fields[] = {FIELDS(KEYS_TOP) F_SECTION(limits),
						  F_SECTION(net),
						  F_SECTION(timers),
						  F_SECTION(proxy),
						  F_SECTION(registrar),
						  F_SECTION(auth),
						  F_SECTION(edge),
						  F_SECTION(tls),
						  F_SECTION(dns),
						  F_SECTION(cluster),
						  F_SECTION(redis),
						  F_SECTION(admin),
						  F_SECTION(log),
						  CYAML_FIELD_END};
#undef OFF
const cyaml_schema_value_t conf_schema = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct conf, top_fields)};

/* The key table: SEC, LIST and OFF say where the list at hand stands. */
#define KEY(m, k, txt, ...) \
	{.section = SEC,    \
	 .name = #m,        \
	 .list = LIST,      \
	 .kind = (k),       \
	 .offset = OFF(m),  \
	 .text = (txt),     \
	 .unit = "",        \
	 __VA_ARGS__},
#define K_N(m, def, lo, hi, u, txt) \
	{.section = SEC,            \
	 .name = #m,                \
	 .list = LIST,              \
	 .kind = CONF_U32,          \
	 .offset = OFF(m),          \
	 .text = (txt),             \
	 .unit = (u),               \
	 .number = (def),           \
	 .min = (lo),               \
	 .max = (hi)},
#define K_P(m, txt)	 KEY(m, CONF_U16, txt, .max = 65535)
#define K_B(m, def, txt) KEY(m, CONF_BOOL, txt, .number = (def))
#define K_S(m, hi, txt)	 KEY(m, CONF_TEXT, txt, .max = (hi))
#define K_R(m, hi, txt)	 KEY(m, CONF_TEXT, txt, .min = 1, .max = (hi))
#define K_E(m, words, def, txt) \
	KEY(m, CONF_ENUM, txt, .number = (def), .names = (words), .names_count = COUNT(words))
#define K_W(m, words, def, txt)                                             \
	KEY(m, CONF_ENUM, txt, .number = (def), .min = 1, .names = (words), \
	    .names_count = COUNT(words))
#define K_L(m, elem, lo, hi, txt) KEY(m, CONF_ARRAY, txt, .min = (lo), .max = (hi))
#define KEYS(list)		  list(K_N, K_B, K_S, K_R, K_E, K_W, K_L, K_P)

const struct conf_key conf_keys[] = {
#define SEC    ""
#define LIST   CONF_LIST_NONE
#define OFF(m) offsetof(struct conf, m)
	KEYS(KEYS_TOP)
#undef SEC
#undef LIST
#undef OFF
#define SEC    "listeners"
#define LIST   CONF_LIST_LISTENERS
#define OFF(m) offsetof(struct conf_listener, m)
		KEYS(KEYS_LISTENER)
#undef SEC
#undef LIST
#undef OFF
#define LIST   CONF_LIST_NONE
#define SEC    "limits"
#define OFF(m) offsetof(struct conf, limits.m)
			KEYS(KEYS_LIMITS)
#undef SEC
#undef OFF
#define SEC    "net"
#define OFF(m) offsetof(struct conf, net.m)
				KEYS(KEYS_NET)
#undef SEC
#undef OFF
#define SEC    "timers"
#define OFF(m) offsetof(struct conf, timers.m)
					KEYS(KEYS_TIMERS)
#undef SEC
#undef OFF
#define SEC    "proxy"
#define OFF(m) offsetof(struct conf, proxy.m)
						KEYS(KEYS_PROXY)
#undef SEC
#undef OFF
#define SEC    "registrar"
#define OFF(m) offsetof(struct conf, registrar.m)
							KEYS(KEYS_REGISTRAR)
#undef SEC
#undef OFF
#define SEC    "auth"
#define OFF(m) offsetof(struct conf, auth.m)
								KEYS(KEYS_AUTH)
#undef SEC
#undef OFF
#define SEC    "edge"
#define OFF(m) offsetof(struct conf, edge.m)
									KEYS(KEYS_EDGE)
#undef SEC
#undef LIST
#undef OFF
#define SEC    "edge.trusted"
#define LIST   CONF_LIST_TRUSTED
#define OFF(m) offsetof(struct conf_trusted, m)
										KEYS(KEYS_TRUSTED)
#undef SEC
#undef LIST
#undef OFF
#define SEC    "edge.routes"
#define LIST   CONF_LIST_ROUTES
#define OFF(m) offsetof(struct conf_route, m)
											KEYS(KEYS_ROUTE)
#undef SEC
#undef LIST
#undef OFF
#define SEC    "tls"
#define LIST   CONF_LIST_NONE
#define OFF(m) offsetof(struct conf, tls.m)
												KEYS(KEYS_TLS)
#undef SEC
#undef LIST
#undef OFF
#define SEC    "tls.certificates"
#define LIST   CONF_LIST_CERTS
#define OFF(m) offsetof(struct conf_cert, m)
													KEYS(KEYS_CERT)
#undef SEC
#undef LIST
#undef OFF
#define LIST   CONF_LIST_NONE
#define SEC    "dns"
#define OFF(m) offsetof(struct conf, dns.m)
														KEYS(KEYS_DNS)
#undef SEC
#undef OFF
#define SEC    "cluster"
#define OFF(m) offsetof(struct conf, cluster.m)
															KEYS(KEYS_CLUSTER)
#undef SEC
#undef LIST
#undef OFF
#define SEC    "cluster.nodes"
#define LIST   CONF_LIST_NODES
#define OFF(m) offsetof(struct conf_node, m)
																KEYS(KEYS_NODE)
#undef SEC
#undef LIST
#undef OFF
#define LIST   CONF_LIST_NONE
#define SEC    "redis"
#define OFF(m) offsetof(struct conf, redis.m)
																	KEYS(KEYS_REDIS)
#undef SEC
#undef OFF
#define SEC    "admin"
#define OFF(m) offsetof(struct conf, admin.m)
																		KEYS(KEYS_ADMIN)
#undef SEC
#undef OFF
#define SEC    "log"
#define OFF(m) offsetof(struct conf, log.m)
																			KEYS(KEYS_LOG)
#undef SEC
#undef LIST
#undef OFF
};
const unsigned conf_keys_count = COUNT(conf_keys);

void *conf_list_base(const struct conf *c, enum conf_list l, unsigned *ret_count,
		     size_t *ret_stride)
{
	switch (l) {
	case CONF_LIST_NONE:
		break;
	case CONF_LIST_LISTENERS:
		*ret_count = c->listeners_count;
		*ret_stride = sizeof(*c->listeners);
		return c->listeners;
	case CONF_LIST_TRUSTED:
		*ret_count = c->edge.trusted_count;
		*ret_stride = sizeof(*c->edge.trusted);
		return c->edge.trusted;
	case CONF_LIST_ROUTES:
		*ret_count = c->edge.routes_count;
		*ret_stride = sizeof(*c->edge.routes);
		return c->edge.routes;
	case CONF_LIST_NODES:
		*ret_count = c->cluster.nodes_count;
		*ret_stride = sizeof(*c->cluster.nodes);
		return c->cluster.nodes;
	case CONF_LIST_CERTS:
		*ret_count = c->tls.certificates_count;
		*ret_stride = sizeof(*c->tls.certificates);
		return c->tls.certificates;
	}
	*ret_count = 1;
	*ret_stride = 0;
	return (void *)c;
}

void conf_key_path(const struct conf_key *k, unsigned i, char out[CONF_PATH_MAX])
{
	if (k->list != CONF_LIST_NONE)
		snprintf(out, CONF_PATH_MAX, "%s[%u].%s", k->section, i, k->name);
	else
		snprintf(out, CONF_PATH_MAX, "%s%s%s", k->section, *k->section ? "." : "",
			 k->name);
}
