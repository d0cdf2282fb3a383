/*
 * The reference page, written from the key table; and what a reload cannot change.
 */
#include "common/conf/conf_priv.h"

#include <inttypes.h>

static const char *word_of(const struct conf_key *k)
{
	for (unsigned i = 0; i < k->names_count; i++)
		if (k->names[i].val == k->number)
			return k->names[i].str;
	return "";
}

static void write_default(FILE *out, const struct conf_key *k)
{
	switch (k->kind) {
	case CONF_U16:
	case CONF_U32:
		fprintf(out, "%" PRId64 " | %" PRIu64 " to %" PRIu64 "%s%s", k->number, k->min,
			k->max, *k->unit ? " " : "", k->unit);
		return;
	case CONF_BOOL:
		fprintf(out, "%s | true, false", k->number ? "true" : "false");
		return;
	case CONF_ENUM:
		fprintf(out, "%s | a word", k->min ? "*needed*" : word_of(k));
		return;
	case CONF_TEXT:
		fprintf(out, "%s | text, %" PRIu64 " bytes", k->min ? "*needed*" : "none",
			k->max);
		return;
	case CONF_ARRAY:
		fprintf(out, "%s | list, at most %" PRIu64, k->min ? "*needed*" : "none",
			k->max);
		return;
	}
}

void conf_write_reference(FILE *out)
{
	const char *section = NULL;

	fputs("# Configuration\n\n"
	      "One YAML file.  Generated from the schema (common/conf/schema.c): do not edit.\n"
	      "Unknown keys, anchors, aliases and tags are errors; an error names its line.\n",
	      out);
	for (unsigned i = 0; i < conf_keys_count; i++) {
		const struct conf_key *k = &conf_keys[i];

		if (!section || strcmp(section, k->section) != 0) {
			section = k->section;
			if (k->list != CONF_LIST_NONE)
				fprintf(out, "\n## `%s`: each entry\n\n", section);
			else
				fprintf(out,
					*section ? "\n## `%s`\n\n" : "\n## Top level%s\n\n",
					section);
			fputs("| key | default | range | meaning |\n|---|---|---|---|\n", out);
		}
		fprintf(out, "| `%s` | ", k->name);
		write_default(out, k);
		fprintf(out, " | %s |\n", k->text);
	}
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

static bool same_listeners(const struct conf *a, const struct conf *b)
{
	if (a->listeners_count != b->listeners_count)
		return false;
	for (unsigned i = 0; i < a->listeners_count; i++) {
		const struct conf_listener *x = &a->listeners[i], *y = &b->listeners[i];

		/* policy follows a reload: it is looked up by index */
		if (x->transport != y->transport || !addr_equal(&x->addr, &y->addr) ||
		    x->mutual_tls != y->mutual_tls || !same_text(x->advertise, y->advertise))
			return false;
	}
	return true;
}

/* Of these the redirect alone follows a reload. */
static bool same_proxy(const struct conf *a, const struct conf *b)
{
	return a->proxy.record_route == b->proxy.record_route &&
	       a->proxy.recurse == b->proxy.recurse &&
	       a->proxy.max_breadth == b->proxy.max_breadth &&
	       a->proxy.max_targets == b->proxy.max_targets;
}

static bool same_auth(const struct conf *a, const struct conf *b)
{
	return a->auth.md5 == b->auth.md5 && a->auth.sha256 == b->auth.sha256 &&
	       a->auth.replay_check == b->auth.replay_check &&
	       a->auth.nonce_life_s == b->auth.nonce_life_s &&
	       a->auth.lock_failures == b->auth.lock_failures &&
	       a->auth.lock_window_s == b->auth.lock_window_s &&
	       a->auth.lock_s == b->auth.lock_s;
}

static bool same_nodes(const struct conf *a, const struct conf *b)
{
	if (a->cluster.nodes_count != b->cluster.nodes_count)
		return false;
	for (unsigned i = 0; i < a->cluster.nodes_count; i++) {
		const struct conf_node *x = &a->cluster.nodes[i], *y = &b->cluster.nodes[i];

		if (!same_text(x->name, y->name) || !same_text(x->pair, y->pair) ||
		    x->role != y->role || !same_text(x->bus, y->bus) ||
		    !same_text(x->sip, y->sip) || !same_text(x->key, y->key))
			return false;
	}
	return true;
}

/* Of these drain_s alone is looked up when it is needed. */
static bool same_cluster(const struct conf *a, const struct conf *b)
{
	return same_text(a->cluster.node, b->cluster.node) &&
	       same_text(a->cluster.secret, b->cluster.secret) &&
	       same_text(a->cluster.bus_key, b->cluster.bus_key) && same_nodes(a, b) &&
	       a->cluster.heartbeat_ms == b->cluster.heartbeat_ms &&
	       a->cluster.dead_ms == b->cluster.dead_ms &&
	       a->cluster.second_place_ms == b->cluster.second_place_ms &&
	       a->cluster.compare_ms == b->cluster.compare_ms &&
	       a->cluster.queue_bytes == b->cluster.queue_bytes;
}

static bool same_redis(const struct conf *a, const struct conf *b)
{
	return same_text(a->redis.servers, b->redis.servers) &&
	       same_text(a->redis.sentinels, b->redis.sentinels) &&
	       same_text(a->redis.primary, b->redis.primary) &&
	       same_text(a->redis.password, b->redis.password) &&
	       same_text(a->redis.sentinel_password, b->redis.sentinel_password) &&
	       a->redis.timeout_ms == b->redis.timeout_ms &&
	       a->redis.queue_rows == b->redis.queue_rows;
}

const char *conf_needs_restart(const struct conf *old, const struct conf *new_conf)
{
	if (!same_text(old->domain, new_conf->domain))
		return "domain";
	if (!same_listeners(old, new_conf))
		return "listeners";
	if (old->workers != new_conf->workers)
		return "workers";
	if (old->moderation_us != new_conf->moderation_us)
		return "moderation_us";
	if (!same_text(old->data_dir, new_conf->data_dir))
		return "data_dir";
	if (old->store != new_conf->store)
		return "store";
	if (old->records_max != new_conf->records_max)
		return "records_max";
	if (!same_text(old->auth.realm, new_conf->auth.realm))
		return "auth.realm";
	if (!same_auth(old, new_conf))
		return "auth";
	if (!same_proxy(old, new_conf))
		return "proxy (other than proxy.redirect)";
	if (memcmp(&old->limits, &new_conf->limits, sizeof(old->limits)) != 0)
		return "limits";
	if (memcmp(&old->net, &new_conf->net, sizeof(old->net)) != 0)
		return "net";
	if (memcmp(&old->timers, &new_conf->timers, sizeof(old->timers)) != 0)
		return "timers";
	if (!same_text(old->dns.servers, new_conf->dns.servers) ||
	    old->dns.timeout_ms != new_conf->dns.timeout_ms ||
	    old->dns.tries != new_conf->dns.tries)
		return "dns";
	if (!same_text(old->admin.socket, new_conf->admin.socket) ||
	    !same_text(old->admin.http, new_conf->admin.http))
		return "admin";
	if (!same_cluster(old, new_conf))
		return "cluster (other than cluster.drain_s)";
	if (!same_redis(old, new_conf))
		return "redis";
	return NULL;
}
