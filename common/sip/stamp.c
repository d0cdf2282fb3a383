/*
 * The stamp of receiving (RFC 3261 18.2.1, RFC 3581 4) and the way back of a response (18.2.2).
 * Not here: sip_msg_replace (msg_edit.c).
 */
#include "common/sip/stamp.h"

#include "common/sip/sip_priv.h"

#include <errno.h>

enum { EDITS = 2 };

struct edit {
	uint32_t off, del;
	unsigned n;
	unsigned rport_n, received_n; /* bytes of the value, 0: not in it */
	unsigned received;	      /* where it stands in text */
	char text[SIP_STAMP_ROOM];
};

enum { RPORT_VALUE = 6 }; /* behind "rport=" */

static unsigned put_u(char *out, unsigned v)
{
	char tmp[10];
	unsigned n = 0, len;
	do
		tmp[n++] = (char)('0' + v % 10);
	while (v /= 10);
	for (len = n; n; n--)
		*out++ = tmp[n - 1];
	return len;
}

/* The address alone, IPv6 without brackets (25.1: via-received). */
static unsigned put_ip(char *out, const struct addr *a)
{
	char text[ADDR_TEXT_MAX];
	unsigned n = 0;
	if (a->sa.sa_family == AF_INET) {
		const unsigned char *b = (const unsigned char *)&a->in4.sin_addr;
		for (unsigned i = 0; i < 4; i++) {
			n += put_u(out + n, b[i]);
			out[n++] = '.';
		}
		return n - 1;
	}
	n = (unsigned)addr_host_text(a, text) - 2;
	memcpy(out, text + 1, n);
	return n;
}

static void put_str(struct edit *ed, const char *s)
{
	size_t n = strlen(s);
	memcpy(ed->text + ed->n, s, n);
	ed->n += (unsigned)n;
}

static void put_received(struct edit *ed, const struct addr *src)
{
	put_str(ed, "received=");
	ed->received = ed->n;
	ed->received_n = put_ip(ed->text + ed->n, src);
	ed->n += ed->received_n;
}

static bool host_is(const struct sip_via *via, const struct addr *src)
{
	struct addr a;
	char c = via->host.p[0];
	if (!via->host_is_ipv6 && (c < '0' || c > '9'))
		return false; /* a name: no address begins otherwise */
	return addr_parse(&a, via->host, 0) == 0 && addr_host_equal(&a, src);
}

/* The edit replaces the whole parameter. */
static struct edit *edit_param(struct edit *ed, const struct sip_msg *m,
			       const struct sip_param *p)
{
	const char *end = p->value.p ? p->value.p + p->value.n : p->name.p + p->name.n;
	ed->off = (uint32_t)(p->name.p - m->base);
	ed->del = (uint32_t)(end - p->name.p);
	ed->n = ed->rport_n = ed->received_n = 0;
	return ed;
}

/* What is to be changed, at most EDITS, into ed; their number. */
static unsigned plan(struct edit *ed, const struct sip_msg *m, const struct sip_via *top,
		     const struct addr *src)
{
	unsigned n = 0;
	const struct sip_param *claimed = sip_params_find(&top->params, SPAN("received"));
	const struct sip_param *rport = sip_params_find(&top->params, SPAN("rport"));
	bool missing = !claimed && (rport || !host_is(top, src));
	if (rport) {
		struct edit *e = edit_param(&ed[n++], m, rport);
		put_str(e, "rport=");
		e->rport_n = put_u(e->text + e->n, addr_port(src));
		e->n += e->rport_n;
		if (missing) {
			put_str(e, ";");
			put_received(e, src);
		}
	} else if (missing) {
		ed[n] = (struct edit){.off = (uint32_t)(top->raw.p + top->raw.n - m->base)};
		put_str(&ed[n], ";");
		put_received(&ed[n++], src);
	}
	if (claimed)
		put_received(edit_param(&ed[n++], m, claimed), src);
	if (n == 2 && ed[0].off < ed[1].off) { /* from the back, so that offsets stay true */
		struct edit last = ed[0];
		ed[0] = ed[1];
		ed[1] = last;
	}
	return n;
}

static void shift(struct span *s, const char *from, ptrdiff_t by)
{
	if (s->p && s->p >= from)
		s->p += by;
}

static void know_received(struct sip_via *top, const char *text, const struct edit *ed)
{
	struct sip_param p = {span_of(text + ed->received - 9, 8),
			      span_of(text + ed->received, ed->received_n)};
	unsigned i = 0;
	while (i < top->params.n && top->params.v[i].name.p != p.name.p)
		i++;
	top->params.v[i] = p;
	top->params.n += i == top->params.n;
	top->received = p.value;
}

static void know_rport(struct sip_via *top, const char *text, const struct edit *ed,
		       const struct addr *src)
{
	for (unsigned i = 0; i < top->params.n; i++)
		if (top->params.v[i].name.p == text)
			top->params.v[i].value = span_of(text + RPORT_VALUE, ed->rport_n);
	top->rport = addr_port(src);
}

/* What was parsed keeps in step with an edit that has been made: as if it were parsed again. */
static void follow(struct sip_via *top, const char *base, const struct edit *ed,
		   const struct addr *src)
{
	const char *text = base + ed->off, *behind = text + ed->del;
	ptrdiff_t by = (ptrdiff_t)ed->n - (ptrdiff_t)ed->del;
	top->raw.n = (size_t)((ptrdiff_t)top->raw.n + by);
	shift(&top->branch, behind, by);
	shift(&top->maddr, behind, by);
	shift(&top->received, behind, by);
	for (unsigned i = 0; i < top->params.n; i++) {
		shift(&top->params.v[i].name, behind, by);
		shift(&top->params.v[i].value, behind, by);
	}
	if (ed->rport_n)
		know_rport(top, text, ed, src);
	if (ed->received_n)
		know_received(top, text, ed);
}

int sip_stamp_via(struct sip_msg *m, char *buf, size_t cap, struct sip_via *top,
		  const struct addr *src)
{
	struct edit ed[EDITS];
	unsigned n = plan(ed, m, top, src);
	size_t len = m->len;
	if (n == 0)
		return 0;
	if (top->params.n == SIP_PARAM_MAX)
		return -ENOSPC; /* one more would make it unreadable */
	for (unsigned i = 0; i < n; i++)
		len += ed[i].n - (size_t)ed[i].del;
	if (len > cap)
		return -ENOSPC;
	for (unsigned i = 0; i < n; i++) {
		int r = sip_msg_replace(m, buf, cap, ed[i].off, ed[i].del,
					span_of(ed[i].text, ed[i].n));
		if (r < 0)
			return r;
		follow(top, m->base, &ed[i], src);
	}
	return 0;
}

static bool is_multicast(const struct addr *a)
{
	if (a->sa.sa_family == AF_INET6)
		return IN6_IS_ADDR_MULTICAST(&a->in6.sin6_addr);
	return IN_MULTICAST(ntohl(a->in4.sin_addr.s_addr));
}

static int via_address(const struct sip_via *via, enum sip_transport t, bool reliable,
		       struct addr *ret)
{
	uint16_t port = via->port ? via->port : sip_transport_port(t);
	/* 18.2.2 has a unicast maddr believed too: our answers, sent again and again, would go
	 * wherever a stranger says.  received is where he is. */
	if (via->maddr.p && !reliable && addr_parse(ret, via->maddr, port) == 0 &&
	    is_multicast(ret))
		return 0;
	if (!via->received.p)
		return addr_parse(ret, via->host, port);
	/* RFC 3581 4: rport counts along with received alone, which is ours since the stamp */
	return addr_parse(ret, via->received, via->rport && !reliable ? via->rport : port);
}

int sip_via_dest(const struct sip_via *via, struct sip_flow *f)
{
	struct addr a;
	if (f->node)
		return 0;
	if (f->transport == SIP_TRANSPORT_NONE)
		f->transport = via->transport;
	if (f->transport == SIP_TRANSPORT_NONE)
		return -EINVAL;
	int r = via_address(via, f->transport, sip_transport_reliable(f->transport), &a);
	if (r == 0)
		f->remote = a;
	/* On a connection the address is for the case that it is gone meanwhile */
	return f->conn ? 0 : r;
}
