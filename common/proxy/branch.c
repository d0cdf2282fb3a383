/*
 * Derived values: RFC 3261 16.6 step 8, 16.11; RFC 5393 4.2.  A branch of ours is
 *
 *	z9hG4bKev TTTTTTTT VVVVVVVVVVVVVVVV . LLLLLLLLLLLLLLLL
 *
 * T: which target and attempt.  V: keyed hash over T, L and what every response brings back, so
 * that a response to nobody can be checked.  L: the request as received, to know a loop.  None
 * depends on the method, so a CANCEL or ACK forwarded statelessly gets its INVITE's branch.
 * None is random: the other member of a pair derives the same.
 */
#include "common/proxy/proxy_priv.h"

const char proxy_mark[] = "z9hG4bKev";

/*
 * Not in it: Via (grows), the To tag (never changes on the way, and an ACK has one where its
 * INVITE had none), Proxy-Require and Proxy-Authorization (a CANCEL has neither; what we were
 * shown in them is used up before we forward).  The listener stands for what a message does not
 * say: a request that comes back from the cluster's inside is routed differently.
 */
uint64_t proxy_loop_mac(const struct proxy *p, const struct sip_msg *m, uint64_t id_mac,
			uint16_t listener)
{
	struct mac h;
	mac_init(&h, &p->branch_key);
	mac_add_u64(&h, 'L');
	mac_add_u64(&h, listener);
	mac_add_u64(&h, id_mac);
	mac_add_u64(&h, m->cseq);
	mac_add(&h, m->uri);
	for (const struct sip_hdr *r = sip_msg_first(m, SIP_HDR_ROUTE); r;
	     r = sip_msg_next(m, r))
		mac_add(&h, sip_hdr_value(m, r));
	return mac_final(&h);
}

/* received and maddr are in it because a stateless response goes where they say; rport is not,
 * so that a CANCEL after a reconnection still gets its INVITE's branch. */
uint64_t proxy_request_mac(const struct proxy *p, const struct sip_msg *m,
			   const struct sip_via *via, uint64_t id_mac)
{
	struct mac h;
	mac_init(&h, &p->branch_key);
	mac_add_u64(&h, 'R');
	mac_add_u64(&h, id_mac);
	mac_add(&h, via->branch);
	mac_add_icase(&h, via->host);
	mac_add(&h, via->received);
	mac_add(&h, via->maddr);
	mac_add_u64(&h, (uint64_t)via->port << 32 | m->cseq);
	return mac_final(&h);
}

uint64_t proxy_loop_mac_above(const struct proxy *p, uint64_t request_mac)
{
	struct mac h;
	mac_init(&h, &p->branch_key);
	mac_add_u64(&h, 'A');
	mac_add_u64(&h, request_mac);
	return mac_final(&h);
}

void proxy_flow_seal(const struct proxy *p, uint64_t request_mac, struct span via_flow,
		     char out[PROXY_SEAL_LEN])
{
	char hex[16];
	struct mac h;
	mac_init(&h, &p->branch_key);
	mac_add_u64(&h, 'F');
	mac_add_u64(&h, request_mac);
	mac_add(&h, via_flow);
	mac_hex(mac_final(&h), hex);
	out[0] = '.';
	memcpy(out + 1, hex, PROXY_SEAL_LEN - 1);
}

uint64_t proxy_request_mac_named(const struct proxy *p, uint64_t request_mac, uint64_t tag)
{
	struct mac h;
	mac_init(&h, &p->branch_key);
	mac_add_u64(&h, 'B');
	mac_add_u64(&h, request_mac);
	mac_add_u64(&h, tag);
	return mac_final(&h);
}

uint64_t proxy_request_key_of(const struct proxy *p, uint64_t request_mac)
{
	struct mac h;
	mac_init(&h, &p->branch_key);
	mac_add_u64(&h, 'K');
	mac_add_u64(&h, request_mac);
	return mac_final(&h);
}

static uint64_t verifier(const struct proxy *p, uint64_t request_mac, struct span target,
			 struct span loop)
{
	struct mac h;
	mac_init(&h, &p->branch_key);
	mac_add_u64(&h, 'V');
	mac_add_u64(&h, request_mac);
	mac_add(&h, target);
	mac_add(&h, loop);
	return mac_final(&h);
}

void proxy_branch_make(const struct proxy *p, uint64_t request_mac, uint64_t loop_mac,
		       uint64_t tag, struct span uri, struct span route, uint32_t attempt,
		       char out[PROXY_BRANCH_LEN])
{
	char hex[16];
	char *target = out + PROXY_MARK_LEN, *check = target + 8, *loop = check + 17;
	struct mac h;
	mac_init(&h, &p->branch_key);
	mac_add_u64(&h, 'T');
	mac_add_u64(&h, attempt);
	if (tag) { /* by whatever contact and Path the phone is registered meanwhile */
		mac_add_u64(&h, tag);
	} else {
		mac_add(&h, uri);
		mac_add(&h, route);
	}
	mac_hex(mac_final(&h), hex);
	request_mac = proxy_request_mac_to(p, request_mac, tag);
	memcpy(out, proxy_mark, PROXY_MARK_LEN);
	memcpy(target, hex, 8);
	loop[-1] = '.';
	mac_hex(loop_mac, loop);
	mac_hex(verifier(p, request_mac, span_of(target, 8), span_of(loop, 16)), check);
}

bool proxy_branch_verify(const struct proxy *p, struct span branch, uint64_t request_mac)
{
	uint64_t got;
	if (branch.n != PROXY_BRANCH_LEN || memcmp(branch.p, proxy_mark, PROXY_MARK_LEN) != 0)
		return false;
	const char *target = branch.p + PROXY_MARK_LEN, *check = target + 8, *loop = check + 17;
	if (loop[-1] != '.' || mac_unhex(span_of(check, 16), &got))
		return false;
	return mac_equal(got, verifier(p, request_mac, span_of(target, 8), span_of(loop, 16)));
}

/* The value parser runs only where the loop part is equal already. */
static bool value_is_loop(const struct proxy *p, struct span value, const char loop[16])
{
	struct sip_via via;
	const char *end = value.p + value.n;
	const char *at = memmem(value.p, value.n, proxy_mark, PROXY_MARK_LEN);
	if (!at || end - at < PROXY_BRANCH_LEN ||
	    memcmp(at + PROXY_BRANCH_LEN - 16, loop, 16) != 0)
		return false;
	return sip_via_parse(value, &via) == 0 &&
	       p->ops.is_local(p->ops.arg, via.host, via.port);
}

/* The first field, when it is the top value alone and not of our making. */
static bool passes_top(const struct sip_hdr *h, const struct sip_via *top)
{
	return h && top->raw.n == h->value_len &&
	       (top->branch.n < PROXY_MARK_LEN ||
		memcmp(top->branch.p, proxy_mark, PROXY_MARK_LEN) != 0);
}

bool proxy_is_loop(const struct proxy *p, const struct sip_msg *m, const struct sip_via *top,
		   uint64_t loop_mac)
{
	const struct sip_hdr *h = sip_msg_first(m, SIP_HDR_VIA);
	char loop[16];
	if (passes_top(h, top))
		h = sip_msg_next(m, h);
	if (!h)
		return false;
	mac_hex(loop_mac, loop);
	for (; h; h = sip_msg_next(m, h)) {
		struct span v = sip_hdr_value(m, h);
		if (memmem(v.p, v.n, loop, sizeof(loop)) == NULL)
			continue;
		struct sip_list_it it = {0};
		while (sip_list_next(m, SIP_HDR_VIA, &it, &v))
			if (value_is_loop(p, v, loop))
				return true;
		return false;
	}
	return false;
}

uint64_t proxy_route_mac(const struct proxy *p, uint64_t dialog_mac, struct span user)
{
	struct mac h;
	if (!user.n)
		return dialog_mac;
	mac_init(&h, &p->route_key);
	mac_add_u64(&h, dialog_mac);
	mac_add(&h, user);
	return mac_final(&h);
}

uint64_t proxy_dialog_mac(const struct proxy *p, struct span call_id, struct span tag)
{
	struct mac h;
	mac_init(&h, &p->route_key);
	mac_add(&h, call_id);
	mac_add(&h, tag);
	return mac_final(&h);
}
