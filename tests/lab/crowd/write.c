/*
 * The text of what phones send.
 */
#include "tests/lab/crowd/crowd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

const char sdp_text[] = "v=0\r\n"
			"o=crowd 53655765 2353687637 IN IP4 192.0.2.1\r\n"
			"s=-\r\n"
			"c=IN IP4 192.0.2.1\r\n"
			"t=0 0\r\n"
			"m=audio 6000 RTP/AVP 0\r\n"
			"a=rtpmap:0 PCMU/8000\r\n";

static const char *const via_name[] = {"UDP", "TCP", "TLS"};

int keep(struct kept *k, const char *p, size_t n)
{
	char *q = realloc(k->p, n + 1);

	if (!q)
		return -ENOMEM;
	memcpy(q, p, n);
	q[n] = 0;
	*k = (struct kept){q, n};
	return 0;
}

void drop(struct kept *k)
{
	free(k->p);
	*k = (struct kept){NULL, 0};
}

void write_user(char *to, size_t n, const struct crowd *c, const struct user *u)
{
	snprintf(to, n, "sip:u%u@%s", u->index, c->opt.domain);
}

static void put_at(struct out *o, const struct phone *p, unsigned port)
{
	char ip[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, &p->at.sin_addr, ip, sizeof(ip));
	put_str(o, ip);
	put_str(o, ":");
	put_num(o, port);
}

static void put_address(struct out *o, const char *name, const char *uri, const char *tag)
{
	put_str(o, name);
	put_str(o, ": <");
	put_str(o, uri);
	put_str(o, ">");
	if (tag && tag[0]) {
		put_str(o, ";tag=");
		put_str(o, tag);
	}
	put_str(o, "\r\n");
}

void write_head(struct out *o, const struct outgoing *g)
{
	put_str(o, g->method);
	put_str(o, " ");
	put_str(o, g->uri);
	put_str(o, " SIP/2.0\r\nVia: SIP/2.0/");
	put_str(o, via_name[g->c->opt.transport]);
	put_str(o, " ");
	put_at(o, g->phone, g->port ? g->port : ntohs(g->phone->at.sin_port));
	put_str(o, ";rport;branch=z9hG4bK");
	put_str(o, g->branch);
	put_str(o, "\r\nMax-Forwards: 70\r\n");
	put(o, g->routes);
	put_address(o, "From", g->from, g->from_tag);
	put_address(o, "To", g->to, g->to_tag);
	put_str(o, "Call-ID: ");
	put_str(o, g->call_id);
	put_str(o, "\r\nCSeq: ");
	put_num(o, g->cseq);
	put_str(o, " ");
	put_str(o, g->method);
	put_str(o, "\r\n");
}

void write_contact(struct out *o, const struct crowd *c, const struct phone *p, bool dialog)
{
	if (dialog && p->gruu[0]) {
		put_str(o, "Contact: <");
		put_str(o, p->gruu);
		put_str(o, ">");
		return;
	}
	put_str(o, "Contact: <sip:u");
	put_num(o, p->user->index);
	put_str(o, "d");
	put_num(o, p->dev);
	put_str(o, "@");
	put_at(o, p, p->port);
	if (c->opt.transport != UDP)
		put_str(o, ";transport=tcp");
	put_str(o, ">");
}

void write_body(struct out *o, const char *type, const char *body)
{
	put_str(o, "Content-Type: ");
	put_str(o, type);
	put_str(o, "\r\nContent-Length: ");
	put_num(o, strlen(body));
	put_str(o, "\r\n\r\n");
	put_str(o, body);
}

/* RFC 7616 3.4.1 with qop=auth. */
void write_credentials(struct out *o, struct phone *p, bool proxy, const char *method,
		       const char *uri)
{
	char ha1[DIGEST_HEX_MAX], ha2[DIGEST_HEX_MAX], response[DIGEST_HEX_MAX], t[768];
	struct challenge *a = &p->auth[proxy];
	unsigned u = p->user->index;
	int n;

	if (!a->nonce[0])
		return;
	a->nc++;
	n = snprintf(t, sizeof(t), "u%u:%s:p%u", u, a->realm, u);
	digest_hex(t, (size_t)n, ha1);
	n = snprintf(t, sizeof(t), "%s:%s", method, uri);
	digest_hex(t, (size_t)n, ha2);
	n = snprintf(t, sizeof(t), "%s:%s:%08x:0a4f113b:auth:%s", ha1, a->nonce, a->nc, ha2);
	digest_hex(t, (size_t)n, response);
	snprintf(t, sizeof(t),
		 "%s: Digest username=\"u%u\",realm=\"%s\",nonce=\"%s\",uri=\"%s\","
		 "response=\"%s\",algorithm=MD5,cnonce=\"0a4f113b\",qop=auth,nc=%08x",
		 proxy ? "Proxy-Authorization" : "Authorization", u, a->realm, a->nonce, uri,
		 response, a->nc);
	put_str(o, t);
	if (a->opaque[0]) {
		put_str(o, ",opaque=\"");
		put_str(o, a->opaque);
		put_str(o, "\"");
	}
	put_str(o, "\r\n");
}

static void copy(char *to, size_t n, struct span s)
{
	snprintf(to, n, "%.*s", SPAN_FMT(s));
}

bool challenge_take(struct phone *p, const struct message *m)
{
	struct challenge *a = &p->auth[m->proxy_challenge];

	for (unsigned i = 0; i < m->nchallenge; i++) {
		struct span algorithm = param_of(m->challenge[i], "algorithm");

		if (algorithm.n && !span_eq(algorithm, SPAN("MD5")))
			continue;
		copy(a->realm, sizeof(a->realm), param_of(m->challenge[i], "realm"));
		copy(a->nonce, sizeof(a->nonce), param_of(m->challenge[i], "nonce"));
		copy(a->opaque, sizeof(a->opaque), param_of(m->challenge[i], "opaque"));
		a->nc = 0;
		return a->nonce[0] != 0;
	}
	return false;
}

static void put_line(struct out *o, struct span line)
{
	put(o, line);
	put_str(o, "\r\n");
}

int keep_head(struct kept *k, const struct message *m, const char *tag)
{
	char buf[MESSAGE_MAX];
	struct out o = {.start = buf, .p = buf, .end = buf + sizeof(buf)};

	for (unsigned i = 0; i < m->nvia; i++)
		put_line(&o, m->via[i]);
	for (unsigned i = 0; i < m->nroute; i++)
		put_line(&o, m->route[i]);
	put_line(&o, m->from);
	put(&o, m->to);
	if (param_of(m->to, "tag").n == 0) {
		put_str(&o, ";tag=");
		put_str(&o, tag);
	}
	put_str(&o, "\r\n");
	put_line(&o, m->call_id);
	put_line(&o, m->cseq_line);
	return o.over ? -EMSGSIZE : keep(k, buf, out_len(&o));
}

/* The values of a Record-Route line, split at commas outside brackets. */
static unsigned split(struct span v, struct span *to, unsigned max)
{
	unsigned n = 0, depth = 0;
	size_t from = 0;

	for (size_t i = 0; i <= v.n && n < max; i++) {
		if (i < v.n && v.p[i] == '<')
			depth++;
		else if (i < v.n && v.p[i] == '>' && depth)
			depth--;
		if (i < v.n && !(v.p[i] == ',' && depth == 0))
			continue;
		while (from < i && v.p[from] == ' ')
			from++;
		to[n++] = span_of(v.p + from, i - from);
		from = i + 1;
	}
	return n;
}

int keep_routes(struct kept *k, const struct message *m, bool reversed)
{
	char buf[MESSAGE_MAX];
	struct out o = {.start = buf, .p = buf, .end = buf + sizeof(buf)};
	struct span v[2 * ROUTES_MAX];
	unsigned n = 0;

	for (unsigned i = 0; i < m->nroute; i++)
		n += split(line_value(m->route[i]), v + n, 2 * ROUTES_MAX - n);
	for (unsigned i = 0; i < n; i++) {
		put_str(&o, "Route: ");
		put_line(&o, v[reversed ? n - 1 - i : i]);
	}
	return o.over ? -EMSGSIZE : keep(k, buf, out_len(&o));
}

struct span contact_uri(const struct message *m)
{
	struct span v = line_value(m->contact);
	const char *a = v.n ? memchr(v.p, '<', v.n) : NULL;
	const char *b = a ? memchr(a, '>', (size_t)(v.p + v.n - a)) : NULL;

	return b ? span_of(a + 1, (size_t)(b - a - 1)) : span_of(NULL, 0);
}

struct sockaddr_in next_hop(const struct phone *p, struct span routes, const char *target)
{
	struct sockaddr_in to = {.sin_family = AF_INET};
	const char *uri = routes.n ? memchr(routes.p, '<', routes.n) : target;
	char host[64];
	unsigned port = 5060;

	uri = uri ? strstr(uri, "sip:") : NULL;
	if (!uri)
		return p->target;
	const char *at = uri + strcspn(uri, "@>;\r");
	if (*at == '@')
		uri = at - 3;
	if (sscanf(uri + 4, "%63[0-9.]:%u", host, &port) < 1 ||
	    inet_pton(AF_INET, host, &to.sin_addr) != 1)
		return p->target;
	to.sin_port = htons((uint16_t)port);
	return to;
}
