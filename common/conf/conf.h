/*
 * Configuration: YAML read by schema tables (libcyaml), checked as a whole, with line numbers
 * in errors.  The reference page docs/configuration.md is generated from the same tables.  An
 * immutable snapshot: a reload makes a new one.
 */
#ifndef EAVES_CONF_CONF_H
#define EAVES_CONF_CONF_H

#include "common/base/addr.h"
#include "common/base/log.h"
#include "common/sip/flow.h"
#include "common/sip/msg.h"

#include <stdio.h>

enum conf_policy {
	CONF_POLICY_CHALLENGE, /* everybody proves who he is (REGISTER excepted: always) */
	CONF_POLICY_NORMAL,    /* users of our domain prove it; outsiders may call our users */
	CONF_POLICY_TRUSTED,   /* whoever reaches this listener is an insider */
	CONF_POLICY_CLUSTER,   /* the other nodes of the cluster, nobody else */
};
enum conf_store { CONF_STORE_MEMORY, CONF_STORE_SQLITE };
enum conf_role { CONF_ROLE_EDGE, CONF_ROLE_HOME };
enum conf_redirect { CONF_REDIRECT_NEVER, CONF_REDIRECT_USER, CONF_REDIRECT_ALWAYS };

struct conf_listener {
	enum sip_transport transport;
	char *address;	 /* numeric */
	uint16_t port;	 /* 0 in the file: the transport's default */
	char *advertise; /* host in Via and Record-Route; NULL: the address */
	enum conf_policy policy;
	bool mutual_tls;
	struct addr addr; /* filled by the check */
};
struct conf_trusted {
	char *network;	     /* "10.0.0.0/8"; or NULL */
	char *certificate;   /* SIP identity (RFC 5922); or NULL */
	struct addr_net net; /* filled by the check */
};
struct conf_cert {
	char *domain, *certificate, *key;
};
/* An administered route to another domain. */
struct conf_route {
	char *domain; /* exact, or "*" for all */
	char *uri;    /* next hop: "sip:gw.example.net;transport=tcp" */
};

/* A node of the cluster. */
struct conf_node {
	char *name, *pair;
	enum conf_role role;
	char *bus;			/* "address:port" */
	char *sip;			/* "address:port" of its listener of policy cluster */
	char *key;			/* public key on the bus, Z85 */
	struct addr bus_addr, sip_addr; /* filled by the check */
};

struct conf {
	char *domain;
	char **aliases;
	unsigned aliases_count;
	struct conf_listener *listeners;
	unsigned listeners_count;
	uint32_t workers; /* 0 in the file: one for every four cores */
	uint32_t moderation_us;
	char *data_dir; /* store, secret, admin socket's default place */
	enum conf_store store;
	uint32_t records_max;

	struct sip_limits limits;
	struct {
		uint32_t connections, connections_per_source, handshake_ms, message_ms, idle_s,
			connect_ms, out_queue_bytes, transactions;
	} net;
	struct {
		uint32_t t1_ms, t2_ms, t4_ms, timer_c_s, serial_group_s;
	} timers;
	struct {
		bool record_route, recurse;
		uint32_t max_breadth, max_targets;
		enum conf_redirect redirect;
	} proxy;
	struct {
		uint32_t expires_min_s, expires_max_s, expires_default_s, contacts_per_user,
			contact_bytes, flow_timer_s;
		bool gruu, outbound, path_strict, strict;
		char *service_route; /* "<sip:edge.example.org;lr>"; NULL: none */
	} registrar;
	struct {
		char *realm; /* NULL in the file: the domain */
		bool md5, sha256, replay_check;
		uint32_t nonce_life_s, lock_failures, lock_window_s, lock_s;
	} auth;
	struct {
		struct conf_trusted *trusted;
		unsigned trusted_count;
		struct conf_route *routes;
		unsigned routes_count;
		bool outbound;	    /* insiders may call other domains; default true */
		bool deliver_alone; /* with a whole pair of homes dead; default false */
	} edge;
	struct {
		struct conf_cert *certificates;
		unsigned certificates_count;
		char *ca;
	} tls;
	struct {
		char *servers;
		uint32_t timeout_ms, tries;
	} dns;
	struct {
		char *node;    /* this one's name in nodes; NULL: no cluster */
		char *secret;  /* file */
		char *bus_key; /* file */
		struct conf_node *nodes;
		unsigned nodes_count;
		unsigned self; /* filled by the check: index in nodes */
		uint32_t heartbeat_ms, dead_ms, second_place_ms, compare_ms, queue_bytes,
			drain_s;
	} cluster;
	struct {
		char *servers;	 /* "address:port,..."; NULL: none, or found by Sentinel */
		char *sentinels; /* "address:port,..." */
		char *primary;	 /* the primary's name at Sentinel */
		char *password, *sentinel_password; /* files */
		uint32_t timeout_ms, queue_rows;
	} redis;
	struct {
		char *socket; /* eavesctl's; default data_dir/admin.sock */
		char *http;   /* "127.0.0.1:9060": /metrics and /healthz; NULL: none */
	} admin;
	struct {
		enum log_level level;
	} log;
};

enum { CONF_ERROR_MAX = 512 };

/* Reads and checks a file.  NULL and ret_error: "file:line: what", one line. */
struct conf *conf_load(const char *path, char ret_error[CONF_ERROR_MAX]);
/* The same from memory (tests, fuzzing); `name` stands for the file in errors. */
struct conf *conf_parse(const char *name, struct span text, char ret_error[CONF_ERROR_MAX]);
void conf_free(struct conf *c);
/* The reference page (Markdown), from the schema. */
void conf_write_reference(FILE *out);
/* What cannot change without a restart and differs between the two: a static name, or NULL. */
const char *conf_needs_restart(const struct conf *old, const struct conf *new_conf);

/* Of what comes by a listener. */
static inline enum conf_policy conf_policy_at(const struct conf *c, unsigned listener)
{
	return listener < c->listeners_count ? c->listeners[listener].policy
					     : CONF_POLICY_CHALLENGE;
}

#endif
