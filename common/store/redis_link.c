/*
 * One connection that speaks RESP: commands go into one buffer, answers come by hiredis's
 * reader.  Its asynchronous layer is not used: it aborts the process on an answer that nobody
 * asked for, and does not check its allocations (docs/decisions/0009-hiredis-reader.md).  What
 * an answer may hold is limited.
 */
#include "common/store/redis_client.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	READ_BYTES = 16 << 10,
	READS = 8,		       /* in one go */
	REPLY_BYTES_MAX = 20 << 20,    /* of one answer */
	REPLY_ELEMENTS_MAX = 64 << 10, /* in all its arrays */
	LINE_MAX_BYTES = 64 << 10,     /* looked through anew with every piece of it */
	OUT_FIRST = 4096,
	OUT_KEPT = 1 << 20, /* a larger buffer goes when it is empty */
};

struct redis_link {
	struct loop *loop;
	const struct redis_link_ops *ops;
	void *arg;
	uint32_t timeout_ms;
	int fd;
	struct loop_watch *watch;
	struct wheel_timer timer;
	bool connecting, in_call, gone, secret, failed;
	char *out;
	size_t out_n, out_at, out_cap, mark;
	unsigned at, n;
	struct {
		uint8_t tag;
		msec due;
	} flight[REDIS_INFLIGHT_MAX];
	redisReader *reader;
	redisReplyObjectFunctions make;
	void *(*make_array)(const redisReadTask *, int);
	size_t reply_bytes, reply_elements;
};

/* ---- life ---- */

static void *make_array(const redisReadTask *t, int n)
{
	struct redis_link *k = t->privdata;

	k->reply_elements += (size_t)n;
	return k->reply_elements <= REPLY_ELEMENTS_MAX ? k->make_array(t, n) : NULL;
}

static int make_reader(struct redis_link *k)
{
	k->reader = redisReaderCreate();
	if (!k->reader)
		return -ENOMEM;
	k->make = *k->reader->fn;
	k->make_array = k->make.createArray;
	k->make.createArray = make_array;
	k->reader->fn = &k->make;
	k->reader->privdata = k;
	k->reader->maxbuf = 0; /* shrinking its buffer it would not check the allocation */
	return 0;
}

static void wipe_out(struct redis_link *k)
{
	if (k->secret && k->out)
		explicit_bzero(k->out, k->out_cap);
	k->secret = false;
}

static void tear_down(struct redis_link *k)
{
	wheel_stop(loop_wheel(k->loop), &k->timer);
	k->watch = loop_watch_free(k->watch);
	if (k->fd >= 0)
		close(k->fd);
	k->fd = -1;
	k->gone = true;
}

static void destroy(struct redis_link *k)
{
	if (k->reader)
		redisReaderFree(k->reader);
	wipe_out(k);
	free(k->out);
	free(k);
}

struct redis_link *redis_link_free(struct redis_link *k)
{
	if (!k)
		return NULL;
	tear_down(k);
	if (!k->in_call)
		destroy(k);
	return NULL;
}

/* Called while in_call. */
static void give_up(struct redis_link *k, const char *why, bool overdue)
{
	if (k->gone)
		return;
	tear_down(k);
	k->ops->closed(k->arg, why, overdue);
}

static void enter(struct redis_link *k)
{
	k->in_call = true;
}

static void leave(struct redis_link *k)
{
	k->in_call = false;
	if (k->gone)
		destroy(k);
}

/* ---- time ---- */

static void arm(struct redis_link *k)
{
	if (k->n && !k->connecting && !wheel_armed(&k->timer))
		wheel_arm(loop_wheel(k->loop), &k->timer, k->flight[k->at].due);
}

static void on_timer(struct wheel_timer *t, msec now)
{
	struct redis_link *k = container_of(t, struct redis_link, timer);

	enter(k);
	if (k->connecting)
		give_up(k, "no connection in time", true);
	else if (k->n && k->flight[k->at].due <= now)
		give_up(k, "no answer in time", true);
	else
		arm(k);
	leave(k);
}

/* ---- sending ---- */

static void want(struct redis_link *k)
{
	bool more = k->connecting || k->out_at < k->out_n;
	/* Out of memory it is watched as before; at worst an answer does not come in time. */
	loop_watch_set(k->watch, LOOP_READ | (more ? LOOP_WRITE : 0));
}

/* What is out already makes room. */
static void compact(struct redis_link *k)
{
	if (k->out_n > k->out_at)
		memmove(k->out, k->out + k->out_at, k->out_n - k->out_at);
	k->mark -= k->out_at;
	k->out_n -= k->out_at;
	k->out_at = 0;
}

/* Never by realloc: it may leave a copy of a password behind. */
static bool grow(struct redis_link *k, size_t more)
{
	size_t cap = k->out_cap ? k->out_cap : OUT_FIRST;

	if (k->out_n + more > k->out_cap && k->out_at > k->out_n / 2)
		compact(k);
	if (k->out_n + more <= k->out_cap)
		return true;
	while (cap < k->out_n + more)
		cap *= 2;
	char *p = malloc(cap);
	if (!p)
		return false;
	if (k->out_n)
		memcpy(p, k->out, k->out_n);
	if (k->secret && k->out)
		explicit_bzero(k->out, k->out_cap);
	free(k->out);
	k->out = p;
	k->out_cap = cap;
	return true;
}

/* "*3\r\n" and "$5\r\n". */
static void add_number(struct redis_link *k, char type, size_t v)
{
	char digits[24], *at = digits + sizeof(digits);

	*--at = '\n';
	*--at = '\r';
	do
		*--at = (char)('0' + v % 10);
	while (v /= 10);
	*--at = type;
	size_t n = (size_t)(digits + sizeof(digits) - at);
	memcpy(k->out + k->out_n, at, n);
	k->out_n += n;
}

void redis_link_begin(struct redis_link *k, unsigned tag, unsigned argc)
{
	k->mark = k->out_n;
	k->failed = k->gone || k->n == REDIS_INFLIGHT_MAX || !grow(k, 24);
	if (k->failed)
		return;
	add_number(k, '*', argc);
	k->flight[(k->at + k->n) % REDIS_INFLIGHT_MAX].tag = (uint8_t)tag;
}

void redis_link_arg(struct redis_link *k, const struct span *piece, unsigned n)
{
	size_t all = 0;

	for (unsigned i = 0; i < n; i++)
		all += piece[i].n;
	if (k->failed || !grow(k, all + 26)) {
		k->failed = true;
		return;
	}
	add_number(k, '$', all);
	for (unsigned i = 0; i < n; i++) {
		if (piece[i].n)
			memcpy(k->out + k->out_n, piece[i].p, piece[i].n);
		k->out_n += piece[i].n;
	}
	memcpy(k->out + k->out_n, "\r\n", 2);
	k->out_n += 2;
}

int redis_link_end(struct redis_link *k)
{
	if (k->failed) {
		k->out_n = k->mark;
		return k->n == REDIS_INFLIGHT_MAX ? -EBUSY : -ENOMEM;
	}
	k->flight[(k->at + k->n) % REDIS_INFLIGHT_MAX].due = loop_now(k->loop) + k->timeout_ms;
	k->n++;
	return 0;
}

void redis_link_secret(struct redis_link *k)
{
	k->secret = true;
}

unsigned redis_link_inflight(const struct redis_link *k)
{
	return k->n;
}

/* An error of the socket is told by its next event, or by the answer that does not come. */
void redis_link_flush(struct redis_link *k)
{
	if (k->gone || k->connecting)
		return;
	while (k->out_at < k->out_n) {
		ssize_t n = send(k->fd, k->out + k->out_at, k->out_n - k->out_at, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break;
		k->out_at += (size_t)n;
	}
	if (k->out_at == k->out_n) {
		k->out_at = k->out_n = 0;
		wipe_out(k);
		if (k->out_cap > OUT_KEPT) {
			free(k->out);
			k->out = NULL;
			k->out_cap = 0;
		}
	}
	want(k);
	arm(k);
}

/* ---- receiving ---- */

static const char too_large[] = "an answer that is too large";

bool redis_reply_text(const redisReply *r, const char *text)
{
	return (r->type == REDIS_REPLY_STRING || r->type == REDIS_REPLY_STATUS) &&
	       span_eq(span_of(r->str, r->len), span_str(text));
}

static bool is_message(const struct redis_link *k, const redisReply *r)
{
	return k->ops->message && r->type == REDIS_REPLY_ARRAY && r->elements >= 3 &&
	       redis_reply_text(r->element[0], "message");
}

static void deliver(struct redis_link *k, const redisReply *r)
{
	if (is_message(k, r)) {
		k->ops->message(k->arg, r);
		return;
	}
	if (k->n == 0) {
		give_up(k, "an answer that nobody asked for", false);
		return;
	}
	unsigned tag = k->flight[k->at].tag;
	k->at = (k->at + 1) % REDIS_INFLIGHT_MAX;
	k->n--;
	k->ops->reply(k->arg, tag, r);
}

static void deliver_all(struct redis_link *k)
{
	void *r = NULL;

	while (!k->gone) {
		if (redisReaderGetReply(k->reader, &r) != REDIS_OK) {
			give_up(k,
				k->reply_elements > REPLY_ELEMENTS_MAX ? too_large
								       : k->reader->errstr,
				false);
			return;
		}
		if (!r)
			return;
		k->reply_bytes = k->reply_elements = 0;
		deliver(k, r);
		freeReplyObject(r);
	}
}

/* What is not complete yet begins with a line that does not end. */
static bool is_endless(const redisReader *r)
{
	size_t n = r->len - r->pos;

	if (n <= LINE_MAX_BYTES || r->ridx < 0)
		return false;
	return r->rstack[r->ridx].type != REDIS_REPLY_STRING ||
	       !memchr(r->buf + r->pos, '\n', LINE_MAX_BYTES);
}

static void on_readable(struct redis_link *k)
{
	char buf[READ_BYTES];

	for (unsigned i = 0; i < READS && !k->gone; i++) {
		ssize_t n = recv(k->fd, buf, sizeof(buf), 0);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			give_up(k, n < 0 ? strerror(errno) : "closed by the server", false);
			return;
		}
		k->reply_bytes += (size_t)n;
		if (redisReaderFeed(k->reader, buf, (size_t)n) != REDIS_OK) {
			give_up(k, "out of memory", false);
			return;
		}
		deliver_all(k);
		if (!k->gone && (k->reply_bytes > REPLY_BYTES_MAX || is_endless(k->reader))) {
			give_up(k, too_large, false);
			return;
		}
		if ((size_t)n < sizeof(buf))
			return;
	}
}

static void on_connected(struct redis_link *k)
{
	int error = 0;
	socklen_t n = sizeof(error);

	if (getsockopt(k->fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0)
		error = errno;
	if (error) {
		give_up(k, strerror(error), false);
		return;
	}
	k->connecting = false;
	wheel_stop(loop_wheel(k->loop), &k->timer);
	k->ops->connected(k->arg);
	redis_link_flush(k);
}

static void on_event(void *arg, unsigned events)
{
	struct redis_link *k = arg;

	enter(k);
	if (k->connecting)
		on_connected(k);
	else if (events & LOOP_WRITE)
		redis_link_flush(k);
	if (!k->gone && !k->connecting && events & LOOP_READ)
		on_readable(k);
	if (!k->gone)
		arm(k);
	leave(k);
}

/* ---- connecting ---- */

static int connect_to(struct redis_link *k, const struct addr *to)
{
	int one = 1;

	k->fd = socket(to->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (k->fd < 0)
		return -errno;
	setsockopt(k->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(k->fd, &to->sa, addr_len(to)) < 0 && errno != EINPROGRESS)
		return -errno;
	k->watch = loop_watch_new(k->loop, k->fd, on_event, k);
	if (!k->watch || loop_watch_set(k->watch, LOOP_READ | LOOP_WRITE) < 0)
		return -ENOMEM;
	return 0;
}

struct redis_link *redis_link_new(struct loop *l, const struct addr *to, uint32_t timeout_ms,
				  const struct redis_link_ops *ops, void *arg)
{
	struct redis_link *k = calloc(1, sizeof(*k));
	if (!k) {
		errno = ENOMEM;
		return NULL;
	}
	k->loop = l;
	k->ops = ops;
	k->arg = arg;
	k->timeout_ms = timeout_ms;
	k->fd = -1;
	k->connecting = true;
	wheel_timer_init(&k->timer, on_timer);
	int rc = make_reader(k);
	if (rc == 0)
		rc = connect_to(k, to);
	if (rc < 0) {
		redis_link_free(k);
		errno = -rc;
		return NULL;
	}
	wheel_arm(loop_wheel(l), &k->timer, loop_now(l) + timeout_ms);
	return k;
}
