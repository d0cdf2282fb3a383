/*
 * The engine's own life: configuration, keys, counters; and text built on the stack.
 */
#include "common/proxy/call.h"

#include <stdlib.h>

const struct proxy_conf proxy_conf_default = {
	.timer_c_ms = 185000,
	.serial_group_ms = 20000,
	.max_breadth = 60,
	.max_targets = 30,
	.recurse_3xx = false,
	.record_route = true,
	.default_max_forwards = 70,
};

struct proxy *proxy_new(const struct proxy_conf *conf, const struct proxy_ops *ops,
			struct txn_table *tt, struct wheel *w, const struct mac_key *key)
{
	struct proxy *p = calloc(1, sizeof(*p));
	if (!p || proxy_keys_init(&p->keys)) {
		free(p);
		return NULL;
	}
	struct span secret = {(const char *)key, sizeof(*key)};
	p->conf = *conf;
	p->ops = *ops;
	p->tt = tt;
	p->w = w;
	p->branch_key = mac_derive_key(secret, "proxy branch");
	p->route_key = mac_derive_key(secret, "proxy route");
	list_init(&p->calls);
	list_init(&p->strays);
	list_init(&p->tickets);
	return p;
}

void proxy_free(struct proxy *p)
{
	if (!p)
		return;
	list_for_each_safe (it, &p->calls)
		proxy_call_free(container_of(it, struct proxy_call, link));
	proxy_strays_free(p);
	proxy_tickets_free(p);
	proxy_keys_done(&p->keys);
	free(p);
}

const struct proxy_counters *proxy_counters(const struct proxy *p)
{
	return &p->count;
}

int proxy_index_own(struct sip_msg *m, struct sip_hdr hdr[SIP_HDR_MAX], struct span text)
{
	struct sip_limits lim = sip_limits_default;
	struct sip_fault fault;
	lim.stream_bytes = lim.datagram_bytes = (uint32_t)text.n;
	lim.headers = SIP_HDR_MAX;
	lim.header_bytes = UINT16_MAX;
	lim.commas = lim.semicolons = UINT16_MAX;
	m->hdr = hdr;
	return sip_msg_index(m, text, false, &lim, &fault);
}

void proxy_text_add(struct proxy_text *t, struct span s)
{
	if (s.n > t->cap - t->n) {
		t->overflow = true;
		return;
	}
	if (s.n)
		memcpy(t->p + t->n, s.p, s.n);
	t->n += s.n;
}

void proxy_text_dec(struct proxy_text *t, uint64_t v)
{
	char room[SPAN_DEC_MAX];
	proxy_text_add(t, span_dec(v, room));
}

void proxy_text_hex(struct proxy_text *t, uint64_t v)
{
	char digits[16];
	mac_hex(v, digits);
	proxy_text_add(t, span_of(digits, sizeof(digits)));
}
