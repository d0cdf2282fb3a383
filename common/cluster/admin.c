/*
 * Operators' calls from an edge to another node: words and input there, a text back, both in
 * pieces.  Sent once: a call may not be one that can be repeated,
 * so what is lost on the way ends in a time-out.  A home may call nobody.
 */
#include "common/cluster/cluster_priv.h"

#include <errno.h>
#include <stdlib.h>

enum {
	PIECE_BYTES = 128 << 10,
	WORDS_MAX_BYTES = 64 << 10,
	CALLS_IN_MAX = 4,		     /* of one node, not yet whole */
	ASKED_MAX = CLUSTER_ADMIN_CALLS_MAX, /* of one node, not yet answered */
	TICK_MS = 500,
	ERROR_MAX = 4095,
};

/* ---- our calls ---- */

struct call {
	struct item item;
	struct list link;
	unsigned node;
	uint64_t id;
	msec due;
	void (*reply)(void *arg, int status, struct span text);
	void *arg;
	/* The answer, as far as it has come. */
	char *text;
	uint32_t total, got;
	bool begun;
	/* What is asked: words with NUL, then the input. */
	unsigned nwords;
	size_t bytes, words_n, input_n;
	char data[];
};

static void call_end(struct cluster *c, struct call *k, int status)
{
	bool whole = k->begun && k->got == k->total;
	struct span text = span_of(k->text, whole ? k->total : 0);

	list_remove(&k->link);
	atomic_fetch_sub(&c->ncalls, 1);
	k->reply(k->arg, status, text);
	free(k->text);
	free(k);
}

static void arm(struct cluster *c)
{
	if (!wheel_armed(&c->calls_timer))
		wheel_arm(loop_wheel(c->loop), &c->calls_timer, loop_now(c->loop) + TICK_MS);
}

static int send_piece(struct peer *p, const struct call *k, size_t from, size_t n)
{
	Eaves__Envelope e = EAVES__ENVELOPE__INIT;
	Eaves__AdminCall m = EAVES__ADMIN_CALL__INIT;
	ProtobufCBinaryData word[CLUSTER_ADMIN_WORDS_MAX];
	const char *at = k->data;

	for (unsigned i = 0; from == 0 && i < k->nwords; i++) {
		word[i] = (ProtobufCBinaryData){strlen(at), (uint8_t *)(uintptr_t)at};
		at += word[i].len + 1;
		m.n_word++;
	}
	m.id = k->id;
	m.total = (uint32_t)k->input_n;
	m.offset = (uint32_t)from;
	m.word = word;
	m.data = (ProtobufCBinaryData){n, (uint8_t *)(uintptr_t)k->data + k->words_n + from};
	e.body_case = EAVES__ENVELOPE__BODY_ADMIN_CALL;
	e.admin_call = &m;
	return wire_send(p, &e);
}

static int send_call(struct peer *p, const struct call *k)
{
	size_t from = 0, n;

	if (!p->open || !p->greeted)
		return -EHOSTUNREACH;
	do {
		n = k->input_n - from < PIECE_BYTES ? k->input_n - from : PIECE_BYTES;
		int rc = send_piece(p, k, from, n);
		if (rc < 0)
			return rc;
		from += n;
	} while (from < k->input_n);
	return 0;
}

static void on_call(struct cluster *c, struct item *it)
{
	struct call *k = container_of(it, struct call, item);

	cluster_unreserve(c, k->bytes);
	list_append(&c->calls_out, &k->link);
	if (c->ending)
		return;
	k->id = ++c->next_id;
	k->due = loop_now(c->loop) + CLUSTER_ADMIN_MS;
	int rc = send_call(&c->peer[k->node], k);
	if (rc < 0)
		call_end(c, k, rc);
	else
		arm(c);
}

static size_t words_bytes(unsigned argc, char *const *argv)
{
	size_t n = 0;
	for (unsigned i = 0; i < argc; i++)
		n += strlen(argv[i]) + 1;
	return n;
}

static struct call *call_new(unsigned argc, char *const *argv, struct span input)
{
	size_t words_n = words_bytes(argc, argv);
	size_t bytes = sizeof(struct call) + words_n + input.n;
	struct call *k = malloc(bytes);

	if (!k)
		return NULL;
	*k = (struct call){
		.item = {NULL, on_call},
		.nwords = argc,
		.bytes = bytes,
		.words_n = words_n,
		.input_n = input.n,
	};
	char *at = k->data;
	for (unsigned i = 0; i < argc; i++)
		at = stpcpy(at, argv[i]) + 1;
	if (input.n)
		memcpy(at, input.p, input.n);
	return k;
}

int cluster_admin_call(struct cluster *c, unsigned node, unsigned argc, char *const *argv,
		       struct span input,
		       void (*reply)(void *arg, int status, struct span text), void *arg)
{
	if (!peer_of(c, node) || argc > CLUSTER_ADMIN_WORDS_MAX)
		return -EINVAL;
	if (words_bytes(argc, argv) > WORDS_MAX_BYTES || input.n > CLUSTER_ADMIN_MAX_BYTES)
		return -EMSGSIZE;
	struct call *k = call_new(argc, argv, input);
	if (!k)
		return -ENOMEM;
	k->node = node;
	k->reply = reply;
	k->arg = arg;
	int rc = cluster_reserve(c, k->bytes);
	if (rc == 0 && atomic_fetch_add(&c->ncalls, 1) >= CLUSTER_ADMIN_CALLS_MAX) {
		atomic_fetch_sub(&c->ncalls, 1);
		cluster_unreserve(c, k->bytes);
		rc = -EBUSY;
	}
	if (rc < 0) {
		free(k);
		return rc;
	}
	cluster_hand(c, &k->item);
	return 0;
}

static struct call *call_of(struct peer *p, uint64_t id)
{
	list_for_each (it, &p->c->calls_out) {
		struct call *k = container_of(it, struct call, link);
		if (k->id == id && k->node == p->index)
			return k;
	}
	return NULL;
}

/* The next piece of `total` bytes, into *text.  0, or -errno. */
static int add_piece(char **text, uint32_t *got, uint32_t total, uint32_t offset,
		     ProtobufCBinaryData data)
{
	if (total > CLUSTER_ADMIN_MAX_BYTES || offset != *got || data.len > total - *got ||
	    (data.len == 0 && total != 0))
		return -EBADMSG;
	if (!*text) {
		*text = malloc(total ? total : 1);
		if (!*text)
			return -ENOMEM;
	}
	if (data.len)
		memcpy(*text + *got, data.data, data.len);
	*got += (uint32_t)data.len;
	return 0;
}

bool admin_reply(struct peer *p, const Eaves__AdminReply *m)
{
	struct call *k = call_of(p, m->id);

	if (!k)
		return true; /* too late */
	int rc = k->begun && k->total != m->total
			 ? -EBADMSG
			 : add_piece(&k->text, &k->got, m->total, m->offset, m->data);
	if (rc == 0 && m->error > ERROR_MAX)
		rc = -EBADMSG;
	k->begun = true;
	k->total = m->total;
	if (rc < 0)
		call_end(p->c, k, rc);
	else if (k->got == k->total)
		call_end(p->c, k, -(int)m->error);
	return rc != -EBADMSG;
}

/* ---- calls of others ---- */

struct call_in {
	struct list link;
	struct peer *peer;
	uint64_t id;
	msec due;
	unsigned nwords;
	char *word[CLUSTER_ADMIN_WORDS_MAX];
	char *words, *input;
	uint32_t total, got;
};

static void call_in_free(struct call_in *k)
{
	list_remove(&k->link);
	free(k->words);
	free(k->input);
	free(k);
}

struct reply {
	struct item item;
	unsigned node;
	uint64_t id;
	int error;
	size_t n;
	char text[];
};

static void send_reply(struct peer *p, const struct reply *r)
{
	size_t from = 0, n;

	do {
		Eaves__Envelope e = EAVES__ENVELOPE__INIT;
		Eaves__AdminReply m = EAVES__ADMIN_REPLY__INIT;
		n = r->n - from < PIECE_BYTES ? r->n - from : PIECE_BYTES;
		m.id = r->id;
		m.total = (uint32_t)r->n;
		m.offset = (uint32_t)from;
		m.error = (uint32_t)r->error;
		m.data = (ProtobufCBinaryData){n, (uint8_t *)(uintptr_t)r->text + from};
		e.body_case = EAVES__ENVELOPE__BODY_ADMIN_REPLY;
		e.admin_reply = &m;
		if (wire_send(p, &e) < 0)
			return;
		from += n;
	} while (from < r->n);
}

static void on_reply(struct cluster *c, struct item *it)
{
	struct reply *r = container_of(it, struct reply, item);
	struct peer *p = &c->peer[r->node];

	if (!c->ending && p->open && p->greeted)
		send_reply(p, r);
	free(r);
}

/* Nothing was asked: nothing changes. */
static void is_answered(struct peer *p)
{
	unsigned n = atomic_load(&p->asked);
	while (n && !atomic_compare_exchange_weak(&p->asked, &n, n - 1))
		;
}

void cluster_admin_reply(struct cluster *c, unsigned node, uint64_t id, int status,
			 struct span text)
{
	struct peer *p = peer_of(c, node);
	if (!p)
		return;
	is_answered(p);
	if (text.n > CLUSTER_ADMIN_MAX_BYTES) {
		status = -EMSGSIZE;
		text.n = 0;
	}
	struct reply *r = malloc(sizeof(*r) + text.n);
	if (!r)
		return; /* a time-out over there */
	*r = (struct reply){
		.item = {NULL, on_reply},
		.node = node,
		.id = id,
		.error = status < 0 && status >= -ERROR_MAX ? -status : 0,
		.n = text.n,
	};
	if (text.n)
		memcpy(r->text, text.p, text.n);
	cluster_hand(c, &r->item);
}

static bool take_words(struct call_in *k, const Eaves__AdminCall *m)
{
	size_t n = 0;

	if (m->n_word == 0 || m->n_word > CLUSTER_ADMIN_WORDS_MAX)
		return false;
	for (size_t i = 0; i < m->n_word; i++) {
		n += m->word[i].len + 1;
		if (m->word[i].len && memchr(m->word[i].data, 0, m->word[i].len))
			return false;
	}
	if (n > WORDS_MAX_BYTES || !(k->words = malloc(n)))
		return false;
	char *at = k->words;
	for (size_t i = 0; i < m->n_word; i++) {
		k->word[i] = at;
		if (m->word[i].len)
			memcpy(at, m->word[i].data, m->word[i].len);
		at[m->word[i].len] = 0;
		at += m->word[i].len + 1;
	}
	k->nwords = (unsigned)m->n_word;
	return true;
}

static struct call_in *call_in_of(struct peer *p, uint64_t id, unsigned *ret_n)
{
	struct call_in *found = NULL;

	*ret_n = 0;
	list_for_each (it, &p->c->calls_in) {
		struct call_in *k = container_of(it, struct call_in, link);
		*ret_n += k->peer == p;
		if (k->peer == p && k->id == id)
			found = k;
	}
	return found;
}

static void refuse(struct peer *p, uint64_t id, int error)
{
	const struct reply r = {.id = id, .error = error};
	send_reply(p, &r);
}

static struct call_in *call_in_new(struct peer *p, const Eaves__AdminCall *m)
{
	struct call_in *k = calloc(1, sizeof(*k));

	if (!k)
		return NULL;
	list_append(&p->c->calls_in, &k->link);
	k->peer = p;
	k->id = m->id;
	k->total = m->total;
	k->due = loop_now(p->c->loop) + CLUSTER_ADMIN_MS;
	arm(p->c);
	if (take_words(k, m))
		return k;
	call_in_free(k);
	return NULL;
}

bool admin_call(struct peer *p, const Eaves__AdminCall *m)
{
	struct cluster *c = p->c;
	unsigned n;

	if (c->conf.node[p->index].role != CLUSTER_EDGE) {
		refuse(p, m->id, EPERM);
		return false;
	}
	struct call_in *k = call_in_of(p, m->id, &n);
	if (!k && m->offset != 0)
		return true; /* the rest of what was refused */
	if (!k &&
	    (!c->ops.admin || n >= CALLS_IN_MAX || n + atomic_load(&p->asked) >= ASKED_MAX)) {
		refuse(p, m->id, c->ops.admin ? EBUSY : ENOTSUP);
		return true;
	}
	if (!k && !(k = call_in_new(p, m))) {
		refuse(p, m->id, EINVAL);
		return false;
	}
	int rc = k->total != m->total
			 ? -EBADMSG
			 : add_piece(&k->input, &k->got, m->total, m->offset, m->data);
	if (rc < 0) {
		refuse(p, m->id, -rc);
	} else if (k->got == k->total) {
		list_remove(&k->link);
		atomic_fetch_add(&p->asked, 1);
		c->ops.admin(c->ops.arg, p->index, k->id, k->nwords, k->word,
			     span_of(k->input, k->total));
	} else {
		return true;
	}
	call_in_free(k);
	return rc != -EBADMSG;
}

/* ---- the end of calls ---- */

static void drop_calls(struct cluster *c, const struct peer *p, msec due, int status)
{
	list_for_each_safe (it, &c->calls_out) {
		struct call *k = container_of(it, struct call, link);
		if ((!p || k->node == p->index) && k->due <= due)
			call_end(c, k, status);
	}
	list_for_each_safe (it, &c->calls_in) {
		struct call_in *k = container_of(it, struct call_in, link);
		if ((!p || k->peer == p) && k->due <= due)
			call_in_free(k);
	}
}

static void on_calls(struct wheel_timer *t, msec tick)
{
	struct cluster *c = container_of(t, struct cluster, calls_timer);

	(void)tick;
	drop_calls(c, NULL, loop_now(c->loop), -ETIMEDOUT);
	if (!list_empty(&c->calls_out) || !list_empty(&c->calls_in))
		arm(c);
}

void admin_lost(struct peer *p)
{
	drop_calls(p->c, p, UINT64_MAX, -EHOSTUNREACH);
}

void admin_init(struct cluster *c)
{
	list_init(&c->calls_out);
	list_init(&c->calls_in);
	wheel_timer_init(&c->calls_timer, on_calls);
}

void admin_end(struct cluster *c)
{
	wheel_stop(loop_wheel(c->loop), &c->calls_timer);
	drop_calls(c, NULL, UINT64_MAX, -EHOSTUNREACH);
}
