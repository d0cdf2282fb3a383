/*
 * Which messages are refused because they have crashed a process: what is remembered in
 * data_dir/poison, and what nodes tell each other, by datagrams to the port of the bus (from
 * the handler of a crash, which cannot use the bus) and by notices over the bus (to those who
 * missed one).  What is learnt is written down and told on once.
 */
#include "common/app/app_priv.h"

#include "common/app/crash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
	FILE_MAX_BYTES = 128 << 10,
	LINES_MAX = 2 * POISON_MAX,
	NOTES_A_ROUND = 64,
	TELL_MS = 500,
	TELL_TIMES = 3, /* a notice to a node that does not know us yet is lost */
};

/* ---- the file ---- */

static int append(int fd, const struct poison_item *v)
{
	char line[POISON_LINE_MAX];
	size_t n = poison_line_write(v, line);
	return write(fd, line, n) == (ssize_t)n ? 0 : -EIO;
}

/* A new one with what is in the set takes the place of the old one, under the same descriptor:
 * the handler has it. */
static int rewrite(struct app_poison *p)
{
	struct poison_item v[POISON_MAX];
	char next[4096];
	int r = 0;
	snprintf(next, sizeof(next), "%s.new", p->path);
	int fd = open(next, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW,
		      0600);
	if (fd < 0)
		return -errno;
	unsigned n = poison_list(p->set, v, POISON_MAX);
	for (unsigned i = 0; i < n && r == 0; i++)
		r = append(fd, &v[i]);
	if (r == 0 && rename(next, p->path) < 0)
		r = -errno;
	if (r == 0 && p->file >= 0 && dup3(fd, p->file, O_CLOEXEC) < 0)
		r = -errno;
	if (r == 0 && p->file < 0)
		p->file = fd;
	else
		close(fd);
	if (r == 0)
		p->lines = n;
	return r;
}

static void write_down(struct app_poison *p, const struct poison_item *v)
{
	int r = 0;
	if (p->file < 0)
		return;
	r = p->lines < LINES_MAX ? append(p->file, v) : rewrite(p);
	p->lines += r == 0 && p->lines < LINES_MAX;
	if (r < 0)
		log_event(LOG_ERROR, "poison-not-kept", LOG_STR("file", p->path),
			  LOG_STR("error", strerror(-r)));
}

static void take_lines(struct app_poison *p, struct span text)
{
	uint64_t now = time_wall_ms();
	while (text.n) {
		ptrdiff_t end = span_chr(text, '\n', 0);
		struct span line = span_of(text.p, end < 0 ? text.n : (size_t)end);
		size_t used = line.n + (end >= 0);
		struct poison_item v;
		if (poison_line_read(line, &v) == 0)
			poison_add(p->set, &v, now);
		text = span_of(text.p + used, text.n - used);
	}
}

/* Without a file there is nothing yet. */
static int read_file(struct app_poison *p)
{
	int fd = open(p->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	char *text = malloc(FILE_MAX_BYTES);
	ssize_t n = text ? read(fd, text, FILE_MAX_BYTES) : -1;
	int r = !text ? -ENOMEM : n < 0 ? -errno : 0;
	close(fd);
	if (r == 0)
		take_lines(p, span_of(text, (size_t)n));
	free(text);
	return r;
}

static int remember(struct app_poison *p, const char *dir, char ret_error[APP_ERROR_MAX])
{
	if (asprintf(&p->path, "%s/poison", dir) < 0) {
		p->path = NULL;
		return -ENOMEM;
	}
	int r = read_file(p);
	if (r == 0)
		r = rewrite(p);
	if (r < 0)
		snprintf(ret_error, APP_ERROR_MAX, "%.200s: %s", p->path, strerror(-r));
	unsigned n = poison_count(p->set);
	if (r == 0 && n)
		log_event(LOG_WARN, "poison-remembered", LOG_N("messages", n));
	return r;
}

/* ---- what other nodes tell ---- */

static void tell_all(struct app *a, int node)
{
	struct poison_item v[POISON_MAX];
	char body[POISON_MAX * POISON_ITEM_BYTES];
	unsigned n = poison_list(a->poison.set, v, POISON_MAX);
	for (unsigned i = 0; i < n; i++)
		poison_item_write(&v[i], body + i * POISON_ITEM_BYTES);
	if (n)
		cluster_notify(app_cluster(a), node, APP_NOTICE_POISON,
			       span_of(body, n * POISON_ITEM_BYTES));
}

/* from: the node that told us.  New ones go on, for some may have been told by nobody. */
static void learn(struct app *a, unsigned from, const struct poison_item *v)
{
	struct app_poison *p = &a->poison;
	char hex[16], body[POISON_ITEM_BYTES];
	if (poison_add(p->set, v, time_wall_ms()) != 1)
		return;
	atomic_fetch_add_explicit(&p->learnt, 1, memory_order_relaxed);
	mac_hex(v->fingerprint, hex);
	log_event(LOG_WARN, "poison-learnt", LOG_S("fingerprint", span_of(hex, sizeof(hex))),
		  LOG_STR("node", a->nodes->conf.node[from].name));
	write_down(p, v);
	poison_item_write(v, body);
	cluster_notify(a->nodes->cluster, -1, APP_NOTICE_POISON, span_of(body, sizeof(body)));
}

static void refuse_note(struct app_poison *p, msec now, const struct addr *from)
{
	char text[ADDR_TEXT_MAX];
	atomic_fetch_add_explicit(&p->refused_notes, 1, memory_order_relaxed);
	if (!log_may(&p->logged, now))
		return;
	log_event(LOG_WARN, "poison-note-refused",
		  LOG_S("address", span_of(text, addr_text(from, text))));
}

static bool look(struct app *a)
{
	struct app_poison *p = &a->poison;
	struct addr from;
	socklen_t len = sizeof(from);
	char note[POISON_NOTE_BYTES + 1];
	struct poison_item v;
	unsigned node;
	if (p->socket < 0)
		return false;
	ssize_t n = recvfrom(p->socket, note, sizeof(note), MSG_DONTWAIT, &from.sa, &len);
	if (n < 0)
		return errno != EAGAIN; /* else the error of an earlier send */
	if (poison_note_read(&p->note_key, span_of(note, (size_t)n), &node, &v) < 0 ||
	    node >= a->nodes->conf.n)
		refuse_note(p, loop_now(a->nodes->loop), &from);
	else
		learn(a, node, &v);
	return true;
}

void app_poison_look(struct app *a)
{
	for (unsigned i = 0; i < NOTES_A_ROUND && look(a); i++)
		;
}

static void on_readable(void *arg, unsigned events)
{
	(void)events;
	app_poison_look(arg);
}

void app_poison_notice(struct app *a, unsigned node, struct span body)
{
	if (body.n % POISON_ITEM_BYTES || body.n > POISON_MAX * POISON_ITEM_BYTES)
		return;
	for (size_t i = 0; i < body.n; i += POISON_ITEM_BYTES) {
		const struct poison_item v = poison_item_read(body.p + i);
		learn(a, node, &v);
	}
}

static void on_tell(struct wheel_timer *t, msec now)
{
	struct app_poison *p = container_of(t, struct app_poison, tell);
	struct app *a = container_of(p, struct app, poison);
	bool more = false;
	for (unsigned i = 0; i < a->nodes->conf.n; i++) {
		if (!p->owed[i])
			continue;
		if (cluster_alive(a->nodes->cluster, i))
			tell_all(a, (int)i);
		more |= --p->owed[i] > 0;
	}
	if (more)
		wheel_arm(loop_wheel(a->nodes->loop), t, now + TELL_MS);
}

void app_poison_tell(struct app *a, unsigned node)
{
	struct app_poison *p = &a->poison;
	struct loop *l = a->nodes->loop;
	p->owed[node] = TELL_TIMES;
	if (!wheel_armed(&p->tell))
		wheel_arm(loop_wheel(l), &p->tell, loop_now(l) + TELL_MS);
}

void app_poison_unlisten(struct app *a)
{
	a->poison.watch = loop_watch_free(a->poison.watch);
}

static int listen_to_nodes(struct app *a, char ret_error[APP_ERROR_MAX])
{
	struct app_poison *p = &a->poison;
	const struct conf *c = a->conf->conf;
	const struct addr *own = &c->cluster.nodes[c->cluster.self].bus_addr;
	char text[ADDR_TEXT_MAX];

	p->socket = socket(own->sa.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (p->socket < 0 || bind(p->socket, &own->sa, addr_len(own)) < 0) {
		int error = errno;
		addr_text(own, text);
		snprintf(ret_error, APP_ERROR_MAX, "cannot listen on %s/udp: %s", text,
			 strerror(error));
		return -error;
	}
	p->watch = loop_watch_new(a->nodes->loop, p->socket, on_readable, a);
	return p->watch ? loop_watch_set(p->watch, LOOP_READ) : -ENOMEM;
}

/* ---- life ---- */

int app_poison_open(struct app *a)
{
	struct app_poison *p = &a->poison;
	struct span secret =
		a->conf->conf->cluster.node
			? span_of((const char *)a->cluster_secret, APP_SECRET_BYTES)
			: span_of((const char *)a->secret, APP_SECRET_BYTES);
	p->file = p->socket = -1;
	p->fingerprint_key = mac_derive_key(secret, "poison");
	p->note_key = mac_derive_key(secret, "poison note");
	wheel_timer_init(&p->tell, on_tell);
	p->set = poison_new(&p->fingerprint_key);
	return p->set ? 0 : -ENOMEM;
}

static int arm(struct app *a)
{
	const struct app_poison *p = &a->poison;
	const struct conf *c = a->conf->conf;
	struct crash_conf k = {.fingerprint_key = p->fingerprint_key,
			       .note_key = p->note_key,
			       .node = c->cluster.self,
			       .file = p->file,
			       .socket = p->socket};
	for (unsigned i = 0; a->nodes && i < c->cluster.nodes_count; i++)
		if (i != c->cluster.self)
			k.to[k.n++] = c->cluster.nodes[i].bus_addr;
	return crash_arm(&k);
}

int app_poison_arm(struct app *a, char ret_error[APP_ERROR_MAX])
{
	const struct conf *c = a->conf->conf;
	int r = c->data_dir ? remember(&a->poison, c->data_dir, ret_error) : 0;
	if (r == 0 && a->nodes)
		r = listen_to_nodes(a, ret_error);
	return r < 0 ? r : arm(a);
}

void app_poison_close(struct app *a)
{
	struct app_poison *p = &a->poison;
	if (!p->set)
		return;
	crash_disarm();
	if (p->file >= 0)
		close(p->file);
	if (p->socket >= 0)
		close(p->socket);
	poison_free(p->set);
	free(p->path);
}
