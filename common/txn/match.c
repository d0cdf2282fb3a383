/*
 * Matching: requests to server transactions (RFC 3261 17.2.3, with RFC 2543's rule where the
 * branch has no magic cookie), responses to client transactions (17.1.3), merged requests
 * (8.2.2.2).  The cookie is compared without regard to case, the rest of a branch exactly.
 * Not here: what a match leads to (receive.c).
 */
#include "common/txn/txn_priv.h"

#include <errno.h>

enum { COOKIE_LEN = 7 };
/* One key serves several purposes: each hash begins with its own number. */
enum purpose { FOR_BRANCH = 1, FOR_2543, FOR_MERGE, FOR_TAG, FOR_CLIENT };

static bool has_cookie(struct span branch)
{
	static const char cookie[] = "z9hG4bK";
	if (branch.n < COOKIE_LEN)
		return false;
	return memcmp(branch.p, cookie, COOKIE_LEN) == 0 ||
	       span_istarts(branch, span_of(cookie, COOKIE_LEN));
}

struct span txn_branch_id(struct span branch)
{
	if (!has_cookie(branch))
		return branch;
	return span_of(branch.p + COOKIE_LEN, branch.n - COOKIE_LEN);
}

static void begin(struct mac *mac, const struct txn_table *tt, enum purpose purpose)
{
	mac_init(mac, &tt->key);
	mac_add_u64(mac, purpose);
}

/* The method is put in last and cheaply, so that CANCEL can look for every method. */
static uint64_t with_method(const struct txn_table *tt, uint64_t hash, enum sip_method method,
			    struct span text)
{
	hash += (uint64_t)method * 0x9e3779b97f4a7c15u;
	if (method == SIP_METHOD_OTHER)
		hash += mac_span(&tt->key, text);
	return hash;
}

static uint64_t branch_hash(const struct txn_table *tt, const struct txn_key *k)
{
	struct mac mac;
	begin(&mac, tt, FOR_BRANCH);
	mac_add(&mac, k->branch);
	mac_add_icase(&mac, k->host);
	mac_add_u64(&mac, k->port);
	return mac_final(&mac);
}

static uint64_t hash_2543(const struct txn_table *tt, const struct sip_msg *m,
			  const struct txn_key *k)
{
	struct mac mac;
	begin(&mac, tt, FOR_2543);
	mac_add(&mac, k->branch);
	mac_add(&mac, m->call_id);
	mac_add_u64(&mac, m->cseq);
	return mac_final(&mac);
}

static void fill_spans(struct txn_key *k, const struct sip_via *top)
{
	k->host = top->host;
	k->port = top->port;
	/* The cookie alone names no transaction (RFC 4475 3.2.1): RFC 2543's rule then. */
	k->cookie = top->branch.n > COOKIE_LEN && has_cookie(top->branch);
	k->branch = k->cookie ? txn_branch_id(top->branch) : top->raw;
}

void txn_key_of(const struct txn_table *tt, const struct sip_msg *m, const struct sip_via *top,
		struct txn_key *ret_key)
{
	struct txn_key *k = ret_key;
	fill_spans(k, top);
	k->hash = k->cookie ? branch_hash(tt, k) : hash_2543(tt, m, k);
	k->merge = 0;
	k->mergeable = false;
}

void txn_key_remember(struct txn_table *tt, const struct sip_msg *m, const struct txn_key *k)
{
	struct txn_latest *l = &tt->latest;
	if (k->branch.n > sizeof(l->branch))
		return;
	l->base = m->base;
	l->call_id = m->call_id.p;
	l->len = m->len;
	l->cseq = m->cseq;
	l->key = *k;
	memcpy(l->branch, k->branch.p, k->branch.n);
}

static bool is_latest(const struct txn_latest *l, const struct sip_msg *m,
		      const struct txn_key *k)
{
	return l->base == m->base && l->len == m->len && l->cseq == m->cseq &&
	       l->call_id == m->call_id.p && l->key.cookie == k->cookie &&
	       span_eq(span_of(l->branch, l->key.branch.n), k->branch);
}

void txn_key_recall(struct txn_table *tt, const struct sip_msg *m, const struct sip_via *top,
		    struct txn_key *ret_key)
{
	const struct txn_latest *l = &tt->latest;
	struct txn_key *k = ret_key;
	fill_spans(k, top);
	if (is_latest(l, m, k)) {
		k->hash = l->key.hash;
		k->merge = l->key.merge;
		k->mergeable = l->key.mergeable;
	} else {
		txn_key_of(tt, m, top, k);
		txn_key_merge(tt, m, k);
	}
	tt->latest.base = NULL;
}

/* A To that might have a tag: only requests without one are looked at for merging. */
static bool may_have_to_tag(const struct sip_msg *m)
{
	struct span to = sip_msg_value(m, SIP_HDR_TO);
	if (m->to_tag.known)
		return m->to_tag.len > 0;
	if (!to.n || !memchr(to.p, '=', to.n))
		return false;
	for (size_t i = 0; i + 4 <= to.n; i++)
		if (span_ieq(span_of(to.p + i, 3), SPAN("tag")))
			return true;
	return false;
}

/* From as a whole stands for its tag: no fork rewrites it, and it needs no parser. */
void txn_key_merge(const struct txn_table *tt, const struct sip_msg *m, struct txn_key *k)
{
	struct mac mac;
	k->merge = 0;
	k->mergeable = tt->tell_merged && m->method != SIP_CANCEL && m->method != SIP_ACK &&
		       !may_have_to_tag(m);
	if (!k->mergeable)
		return;
	begin(&mac, tt, FOR_MERGE);
	mac_add(&mac, m->call_id);
	mac_add(&mac, sip_msg_value(m, SIP_HDR_FROM));
	mac_add_u64(&mac, m->cseq);
	k->merge = mac_final(&mac);
}

/* The same place in the kept copy; what a parser made anew is looked for in the top Via. */
static struct span in_kept(const struct sip_msg *m, const struct sip_msg *kept, struct span s)
{
	if (s.p >= m->base && s.p + s.n <= m->base + m->len)
		return span_of(kept->base + (s.p - m->base), s.n);
	struct span via = sip_msg_value(kept, SIP_HDR_VIA);
	const char *p = s.n ? memmem(via.p, via.n, s.p, s.n) : NULL;
	return span_of(p, p ? s.n : 0);
}

static void own_tag(const struct txn_table *tt, const struct txn_key *k, char out[16])
{
	struct mac mac;
	begin(&mac, tt, FOR_TAG);
	mac_add_u64(&mac, k->hash);
	mac_add_u64(&mac, k->merge);
	mac_hex(mac_final(&mac), out);
}

void txn_key_link(struct txn *t, const struct sip_msg *m, const struct txn_key *k)
{
	struct txn_table *tt = t->tt;
	const struct sip_msg *kept = &t->server.req->msg;

	t->server.cookie = k->cookie;
	t->server.port = k->port;
	t->server.branch = in_kept(m, kept, k->branch);
	t->server.host = in_kept(m, kept, k->host);
	tt->servers_of[t->method]++;
	txn_hash_add(&tt->servers, txn_slot(t),
		     with_method(tt, k->hash, t->method, m->method_text));
	/* One of a kind: many branches of one request make no chain. */
	if (k->mergeable && !txn_find_merged(tt, m, k))
		txn_hash_add(&tt->merges, txn_slot(t),
			     with_method(tt, k->merge, t->method, m->method_text));

	own_tag(tt, k, t->server.to_tag);
}

bool txn_is_own_tag(const struct txn_table *tt, const struct sip_msg *m,
		    const struct sip_via *top, struct span tag)
{
	struct txn_key k;
	char own[16];
	if (tag.n != sizeof(own))
		return false;
	txn_key_of(tt, m, top, &k);
	own_tag(tt, &k, own);
	return memcmp(own, tag.p, sizeof(own)) == 0;
}

/* ---- RFC 2543 ---- */

static bool same_tag(const struct sip_msg *a, const struct sip_msg *b, enum sip_hdr_kind k)
{
	struct span x, y;
	return sip_msg_tag(a, k, &x) == 0 && sip_msg_tag(b, k, &y) == 0 && span_eq(x, y);
}

static bool same_uri(struct span a, struct span b)
{
	struct sip_uri x, y;
	if (span_eq(a, b))
		return true;
	return sip_uri_parse(a, &x) == 0 && sip_uri_parse(b, &y) == 0 && sip_uri_equal(&x, &y);
}

/* The To tag of an ACK is that of the response. */
static bool acks_response(const struct txn *t, const struct sip_msg *ack)
{
	struct sip_hdr hdr[SIP_HDR_MAX];
	struct sip_msg response = {.hdr = hdr};
	struct sip_limits lim = sip_limits_default;
	struct sip_fault fault;
	if (!t->last)
		return false;
	lim.stream_bytes = t->last->n;
	lim.headers = SIP_HDR_MAX;
	lim.header_bytes = lim.commas = lim.semicolons = UINT16_MAX;
	return sip_msg_index(&response, bytes_span(t->last), true, &lim, &fault) == 0 &&
	       same_tag(&response, ack, SIP_HDR_TO);
}

static bool same_by_2543(const struct txn *t, const struct sip_msg *m, const struct txn_key *k)
{
	const struct sip_msg *req = &t->server.req->msg;
	if (!span_eq(t->server.branch, k->branch) || req->cseq != m->cseq ||
	    !span_eq(req->call_id, m->call_id) || !same_uri(req->uri, m->uri) ||
	    !same_tag(req, m, SIP_HDR_FROM))
		return false;
	return m->method == SIP_ACK ? acks_response(t, m) : same_tag(req, m, SIP_HDR_TO);
}

/* ---- server transactions ---- */

static bool same_by_branch(const struct txn *t, const struct txn_key *k)
{
	return (!t->server.branch.p || span_eq(t->server.branch, k->branch)) &&
	       (!t->server.host.p || span_ieq(t->server.host, k->host)) &&
	       t->server.port == k->port;
}

struct txn *txn_find_server(struct txn_table *tt, const struct sip_msg *m,
			    const struct txn_key *k, enum sip_method method)
{
	uint64_t hash = with_method(tt, k->hash, method, m->method_text);
	struct txn_hash_it it;
	struct txn *t = txn_hash_first(&tt->servers, hash, &it);
	for (; t; t = txn_hash_next(&it)) {
		if (t->method != method || t->server.cookie != k->cookie)
			continue;
		if (method == SIP_METHOD_OTHER && t->server.req &&
		    !span_eq(t->server.req->msg.method_text, m->method_text))
			continue; /* else the hash has it */
		if (k->cookie ? same_by_branch(t, k) : same_by_2543(t, m, k))
			return t;
	}
	return NULL;
}

bool txn_find_merged(struct txn_table *tt, const struct sip_msg *m, const struct txn_key *k)
{
	uint64_t hash = with_method(tt, k->merge, m->method, m->method_text);
	if (!k->mergeable)
		return false;
	struct txn_hash_it it;
	const struct txn *t = txn_hash_first(&tt->merges, hash, &it);
	for (; t; t = txn_hash_next(&it)) {
		const struct sip_msg *q = txn_request(t);
		if (!q)
			return true;
		if (q->cseq == m->cseq && span_eq(q->method_text, m->method_text) &&
		    span_eq(q->call_id, m->call_id) &&
		    span_eq(sip_msg_value(q, SIP_HDR_FROM), sip_msg_value(m, SIP_HDR_FROM)))
			return true;
	}
	return false;
}

/* ---- client transactions ---- */

int txn_client_status(struct txn_table *tt, const struct sip_msg *m, const struct sip_via *top)
{
	const struct txn *t = txn_find_client(tt, m, top);
	return t ? t->status : -ENOENT;
}

uint64_t txn_client_hash(const struct txn_table *tt, enum sip_method method,
			 struct span method_text, struct span branch)
{
	struct mac mac;
	begin(&mac, tt, FOR_CLIENT);
	mac_add(&mac, txn_branch_id(branch));
	return with_method(tt, mac_final(&mac), method, method_text);
}

struct txn *txn_find_client(struct txn_table *tt, const struct sip_msg *m,
			    const struct sip_via *top)
{
	struct span id = txn_branch_id(top->branch);
	uint64_t hash = txn_client_hash(tt, m->method, m->method_text, top->branch);
	struct txn_hash_it it;
	struct txn *t = txn_hash_first(&tt->clients, hash, &it);
	for (; t; t = txn_hash_next(&it)) {
		if (t->method != m->method)
			continue;
		if (!t->client.req)
			return t;
		if (span_eq(t->client.branch, id) &&
		    (t->method != SIP_METHOD_OTHER ||
		     span_eq(t->client.method_text, m->method_text)))
			return t;
	}
	return NULL;
}
