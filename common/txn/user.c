/*
 * What the user of a transaction calls: making one, answering, cancelling, forgetting, asking.
 * Nothing here calls the user back: see txn_priv.h.
 */
#include "common/sip/build.h"
#include "common/sip/stamp.h"
#include "common/txn/txn_priv.h"

#include <errno.h>

static bool is_client(const struct txn *t)
{
	return t->kind == TXN_INVITE_CLIENT || t->kind == TXN_CLIENT;
}

/* ---- client ---- */

/* In the top Via, which is mostly the first field; or wherever it is. */
static const char *find_branch(struct span req, struct span id)
{
	static const char name[] = ";branch=z9hG4bK";
	enum { NAME_LEN = sizeof(name) - 1 };
	const char *at = memmem(req.p, req.n, name, NAME_LEN);
	if (at && (size_t)(req.p + req.n - at) >= NAME_LEN + id.n && id.n &&
	    memcmp(at + NAME_LEN, id.p, id.n) == 0)
		return at + NAME_LEN;
	return id.n ? memmem(req.p, req.n, id.p, id.n) : NULL;
}

struct txn *txn_client_make(struct txn_table *tt, enum sip_method method,
			    struct span method_text, struct span branch, struct bytes *req,
			    const struct sip_flow *to, const struct txn_client_user *user,
			    void *arg)
{
	struct span id = txn_branch_id(branch);
	const char *at = find_branch(bytes_span(req), id);
	if (!at || method_text.n > req->n) {
		counter_inc(&tt->counters.refused);
		return NULL;
	}
	struct txn *t = table_alloc(tt, method == SIP_INVITE ? TXN_INVITE_CLIENT : TXN_CLIENT);
	if (!t)
		return NULL;
	t->method = (uint8_t)method;
	t->to = *to;
	t->reliable = sip_flow_reliable(to);
	t->arg = arg;
	t->client.user = user;
	t->client.req = bytes_ref(req);
	/* Inside the kept bytes: the caller's spans may go. */
	t->client.branch = span_of(at, id.n);
	t->client.method_text = span_of(req->p, method_text.n);
	txn_hash_add(&tt->clients, txn_slot(t),
		     txn_client_hash(tt, method, method_text, branch));
	counter_inc(&tt->counters.client_new);
	return t;
}

struct txn *txn_client_start(struct txn_table *tt, enum sip_method method,
			     struct span method_text, struct span branch, struct bytes *req,
			     const struct sip_flow *to, const struct txn_client_user *user,
			     void *arg, msec now)
{
	struct txn *t = txn_client_make(tt, method, method_text, branch, req, to, user, arg);
	if (!t)
		return NULL;
	if (method == SIP_INVITE)
		txn_invite_client_start(t, now);
	else
		txn_client_start_trying(t, now);
	return t;
}

struct txn *txn_client_new(struct txn_table *tt, enum sip_method method,
			   struct span method_text, struct span branch, struct bytes *req,
			   const struct sip_flow *to, const struct txn_client_user *user,
			   void *arg, msec now)
{
	table_enter(tt);
	struct txn *t =
		txn_client_start(tt, method, method_text, branch, req, to, user, arg, now);
	table_leave_user(tt, now);
	return t;
}

struct txn *txn_client_resume(struct txn_table *tt, enum sip_method method,
			      struct span method_text, struct span branch, struct bytes *req,
			      const struct sip_flow *to, const struct txn_client_user *user,
			      void *arg, msec now)
{
	table_enter(tt);
	struct txn *t = txn_client_make(tt, method, method_text, branch, req, to, user, arg);
	if (t) {
		t->client.resumed = true;
		if (method == SIP_INVITE)
			txn_invite_client_resume(t, now);
		else
			txn_client_resume_proceeding(t, now);
	}
	table_leave_user(tt, now);
	return t;
}

void txn_take(struct txn *t, const struct sip_msg *m, msec now)
{
	struct txn_table *tt = t->tt;
	if (t->kind != TXN_INVITE_CLIENT)
		return;
	table_enter(tt);
	txn_invite_client_take(t, m, now);
	table_leave_user(tt, now);
}

void txn_client_move(struct txn *t, const struct sip_flow *to)
{
	t->to = *to;
}

void txn_cancel(struct txn *t, struct span lines, msec now)
{
	struct txn_table *tt = t->tt;
	if (t->kind != TXN_INVITE_CLIENT)
		return;
	table_enter(tt);
	txn_invite_client_cancel(t, lines, now);
	table_leave_user(tt, now);
}

struct bytes *txn_sent(const struct txn *t)
{
	return is_client(t) ? t->client.req : NULL;
}

/* ---- server ---- */

struct txn *txn_server_make(struct txn_table *tt, const struct sip_msg *m,
			    const struct sip_via *top, const struct txn_key *k,
			    const struct sip_flow *src, const struct txn_server_user *user,
			    void *arg)
{
	struct txn *t =
		table_alloc(tt, m->method == SIP_INVITE ? TXN_INVITE_SERVER : TXN_SERVER);
	if (!t)
		return NULL;
	t->server.req = sip_kept_new(m);
	if (!t->server.req) {
		table_unalloc(t);
		counter_inc(&tt->counters.refused);
		return NULL;
	}
	t->method = m->method;
	t->arg = arg;
	t->server.user = user;
	t->server.flow = *src;
	t->to = *src;
	if (sip_via_dest(top, &t->to) < 0)
		t->to = *src; /* a name and no received: back to where it came from */
	t->reliable = sip_flow_reliable(src);
	txn_key_link(t, m, k);
	counter_inc(&tt->counters.server_new);
	return t;
}

struct txn *txn_server_start(struct txn_table *tt, const struct sip_msg *m,
			     const struct sip_via *top, const struct txn_key *k,
			     const struct sip_flow *src, const struct txn_server_user *user,
			     void *arg, msec now)
{
	struct txn *t = txn_server_make(tt, m, top, k, src, user, arg);
	if (!t)
		return NULL;
	if (m->method == SIP_INVITE)
		txn_invite_server_start(t, now);
	else
		txn_server_start_trying(t, now);
	return t;
}

struct txn *txn_server_new(struct txn_table *tt, const struct sip_msg *m,
			   const struct sip_via *top, const struct sip_flow *src,
			   const struct txn_server_user *user, void *arg, msec now)
{
	struct txn_key k;
	if (!m->is_request || m->method == SIP_ACK) {
		counter_inc(&tt->counters.refused);
		return NULL;
	}
	table_enter(tt);
	txn_key_recall(tt, m, top, &k);
	struct txn *t = txn_server_start(tt, m, top, &k, src, user, arg, now);
	table_leave_user(tt, now);
	return t;
}

struct txn *txn_server_resume(struct txn_table *tt, const struct sip_msg *m,
			      const struct sip_via *top, const struct sip_flow *src,
			      const struct txn_server_user *user, void *arg, msec now)
{
	struct txn_key k;
	if (!m->is_request || m->method == SIP_ACK) {
		counter_inc(&tt->counters.refused);
		return NULL;
	}
	table_enter(tt);
	txn_key_recall(tt, m, top, &k);
	struct txn *t = txn_server_make(tt, m, top, &k, src, user, arg);
	if (t && m->method == SIP_INVITE)
		txn_invite_server_resume(t, now);
	else if (t)
		txn_server_resume_proceeding(t, now);
	table_leave_user(tt, now);
	return t;
}

void *txn_server_arg(const struct txn *t, const struct txn_server_user *user)
{
	return !is_client(t) && t->server.user == user ? t->arg : NULL;
}

void txn_server_set_user(struct txn *t, const struct txn_server_user *user, void *arg)
{
	if (is_client(t))
		return;
	t->server.user = user;
	t->arg = arg;
}

const struct sip_msg *txn_request(const struct txn *t)
{
	return is_client(t) || !t->server.req ? NULL : &t->server.req->msg;
}

struct sip_kept *txn_request_kept(const struct txn *t)
{
	return is_client(t) ? NULL : t->server.req;
}

const struct sip_flow *txn_flow(const struct txn *t)
{
	return is_client(t) ? &t->to : &t->server.flow;
}

struct span txn_to_tag(const struct txn *t)
{
	if (is_client(t))
		return span_of(NULL, 0);
	return span_of(t->server.to_tag, sizeof(t->server.to_tag));
}

int txn_respond(struct txn *t, unsigned status, struct bytes *b, msec now)
{
	struct txn_table *tt = t->tt;
	int r;
	if (!t->machine->respond || status < 100 || status > 699)
		return -EINVAL;
	table_enter(tt);
	r = t->machine->respond(t, status, b, now);
	table_leave_user(tt, now);
	return r;
}

int txn_reply_inner(struct txn *t, unsigned status, struct span reason, struct span lines,
		    msec now)
{
	struct sip_response r = {.status = status, .reason = reason, .lines = lines};
	if (!t->server.req)
		return -EALREADY;
	if (status > 100)
		r.to_tag = txn_to_tag(t);
	struct bytes *b = sip_build_response(&t->server.req->msg, &r);
	if (!b)
		return -ENOMEM;
	int e = t->machine->respond(t, status, b, now);
	bytes_unref(b);
	return e;
}

int txn_reply(struct txn *t, unsigned status, struct span reason, struct span lines, msec now)
{
	struct txn_table *tt = t->tt;
	int r;
	if (!t->machine->respond || status < 100 || status > 699)
		return -EINVAL;
	table_enter(tt);
	r = txn_reply_inner(t, status, reason, lines, now);
	table_leave_user(tt, now);
	return r;
}

uint64_t txn_hold_cancel(struct txn *t)
{
	struct txn *c = t->tt->cancelling;
	t->tt->cancelling = NULL;
	return c ? c->id : 0;
}

void txn_answer_cancel(struct txn_table *tt, uint64_t cancel_id, msec now)
{
	struct txn *c = txn_by_id(tt, cancel_id);
	if (!c || c->method != SIP_CANCEL || c->kind != TXN_SERVER)
		return;
	table_enter(tt);
	txn_reply_inner(c, 200, span_str(NULL), SPAN(""), now);
	table_leave_user(tt, now);
}

/* ---- both ---- */

unsigned txn_status(const struct txn *t)
{
	return t->status;
}

void txn_forget(struct txn *t)
{
	if (is_client(t))
		t->client.user = NULL;
	else
		t->server.user = NULL;
	t->arg = NULL;
	/* Whatever clock the caller has, the wheel's is never ahead of it. */
	if (!t->terminated && t->machine->forgotten)
		t->machine->forgotten(t, t->tt->wheel->now);
}

void txn_abandon(struct txn *t)
{
	struct txn_table *tt = t->tt;
	table_enter(tt);
	if (is_client(t))
		t->client.user = NULL;
	else
		t->server.user = NULL;
	txn_terminate(t);
	table_leave_user(tt, tt->wheel->now);
}

const char *txn_state_name(const struct txn *t)
{
	return t->machine->state_names[t->state];
}

bool txn_is_terminated(const struct txn *t)
{
	return t->terminated;
}
