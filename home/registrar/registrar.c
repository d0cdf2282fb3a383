/*
 * The registrar's life: settings, keys, counters.  What it does is in register.c (RFC
 * 3261 10.3), lookup.c (targets) and admin.c.
 */
#include "home/registrar/reg_priv.h"

#include <errno.h>
#include <stdlib.h>

const struct reg_conf reg_conf_default = {
	.expires_default_s = 3600,
	.expires_min_s = 60,
	.expires_max_s = 7200,
	.contacts_per_user = 10,
	.contact_bytes = 512,
};

static bool conf_sound(const struct reg_conf *c)
{
	return c->domain && c->expires_min_s >= 1 && c->expires_min_s <= c->expires_max_s &&
	       c->expires_default_s >= c->expires_min_s &&
	       c->expires_default_s <= c->expires_max_s && c->contacts_per_user >= 1 &&
	       c->contacts_per_user <= REG_CONTACTS_MAX && c->contact_bytes >= 16 &&
	       c->contact_bytes <= 4096;
}

static struct reg_settings *settings_new(const struct reg_conf *c)
{
	size_t domain_n = strlen(c->domain) + 1;
	size_t route_n = c->service_route ? strlen(c->service_route) + 1 : 0;
	struct reg_settings *s = malloc(sizeof(*s) + domain_n + route_n);
	if (!s)
		return NULL;
	s->conf = *c;
	s->older = NULL;
	s->conf.domain = memcpy(s->text, c->domain, domain_n);
	if (route_n)
		s->conf.service_route = memcpy(s->text + domain_n, c->service_route, route_n);
	return s;
}

int reg_set_conf(struct reg *r, const struct reg_conf *conf)
{
	if (!conf_sound(conf))
		return -EINVAL;
	struct reg_settings *s = settings_new(conf);
	if (!s)
		return -ENOMEM;
	s->older = atomic_load(&r->settings);
	while (!atomic_compare_exchange_weak(&r->settings, &s->older, s))
		;
	return 0;
}

struct reg *reg_new(const struct reg_conf *conf, const struct reg_ops *ops,
		    struct records *records, const struct mac_key *key, uint64_t boot)
{
	struct reg *r = calloc(1, sizeof(*r));
	if (!r)
		return NULL;
	if (ops)
		r->ops = *ops;
	r->records = records;
	r->boot = boot;
	struct span secret = span_of((const char *)key, sizeof(*key));
	r->name_key = mac_derive_key(secret, "binding");
	r->gruu_key = mac_derive_key(secret, "gruu");
	r->hash_key = mac_derive_key(secret, "instance");
	if (reg_set_conf(r, conf) < 0) {
		free(r);
		return NULL;
	}
	return r;
}

void reg_free(struct reg *r)
{
	if (!r)
		return;
	for (struct reg_settings *s = atomic_load(&r->settings), *older; s; s = older) {
		older = s->older;
		free(s);
	}
	free(r);
}

struct reg_counters reg_counters(const struct reg *r)
{
	struct reg_counters c;
	const uint64_t *from = (const uint64_t *)&r->counters;
	uint64_t *to = (uint64_t *)&c;

	for (size_t i = 0; i < sizeof(c) / sizeof(*to); i++)
		to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
	return c;
}
