/*
 * The caller's requests.
 */
#include "tests/bench/sipload/sipload.h"

#include <stdio.h>

static const char sdp[] = "v=0\r\n"
			  "o=user1 53655765 2353687637 IN IP4 127.0.0.11\r\n"
			  "s=-\r\n"
			  "c=IN IP4 127.0.0.11\r\n"
			  "t=0 0\r\n"
			  "m=audio 6000 RTP/AVP 0\r\n"
			  "a=rtpmap:0 PCMU/8000\r\n";
static const char text[] = "Watson, come here. I want to see you.";

uint32_t caller_of(const struct load *l, uint32_t user)
{
	return l->caller ? l->caller[user]
			 : (uint32_t)(((uint64_t)user * 7 + 1) % l->opt.users);
}

static bool registers(const struct load *l)
{
	return !l->filling &&
	       (l->priming || l->opt.mode == MODE_REG || l->opt.mode == MODE_REREG);
}

struct sock *request_socket(const struct load *l, uint32_t user)
{
	if (registers(l))
		return l->sock[l->opt.sockets + user % l->opt.sockets];
	return l->sock[l->c.launched % l->opt.sockets];
}

static const char *method_of(const struct load *l)
{
	static const char *const name[MODE_COUNT] = {"REGISTER", "REGISTER", "INVITE",
						     "MESSAGE", "OPTIONS"};

	if (l->filling)
		return "INVITE";
	return registers(l) ? "REGISTER" : name[l->opt.mode];
}

static void put_local(const struct load *l, struct out *o, const struct sock *s)
{
	put_str(o, s->uas ? l->opt.uas_ip : l->opt.uac_ip);
	put_str(o, ":");
	put_num(o, s->port);
}

static void put_user(const struct load *l, struct out *o, uint32_t user)
{
	put_str(o, "sip:u");
	put_num(o, user);
	put_str(o, "@");
	put_str(o, l->opt.domain);
}

/* The Request-URI outside a dialog. */
static void put_uri(const struct load *l, struct out *o, const struct op *op,
		    const char *method)
{
	if (method[0] == 'R' || method[0] == 'O') {
		put_str(o, "sip:");
		put_str(o, l->opt.domain);
	} else {
		put_user(l, o, op->user);
	}
}

/* Start line to CSeq, with CRLF. */
static void put_head(struct load *l, struct out *o, const struct op *op, const char *method,
		     uint32_t cseq, uint32_t branch, bool in_dialog)
{
	put_str(o, method);
	put_str(o, " ");
	if (in_dialog)
		put_str(o, op->target);
	else
		put_uri(l, o, op, method);
	put_str(o, " SIP/2.0\r\nVia: SIP/2.0/UDP ");
	put_local(l, o, op->sock);
	put_str(o, ";branch=z9hG4bK");
	op_put_id(l, o, op);
	put_str(o, "b");
	put_num(o, branch);
	put_str(o, "\r\nMax-Forwards: 70\r\n");
	if (in_dialog)
		put(o, span_of(op->route, op->route_n));
	put_str(o, "From: <");
	put_user(l, o, method[0] == 'R' ? op->user : caller_of(l, op->user));
	put_str(o, ">;tag=");
	op_put_id(l, o, op);
	put_str(o, "\r\nTo: <");
	put_user(l, o, op->user);
	put_str(o, ">");
	if (in_dialog && op->to_tag[0]) {
		put_str(o, ";tag=");
		put_str(o, op->to_tag);
	}
	put_str(o, "\r\nCall-ID: ");
	op_put_id(l, o, op);
	put_str(o, "\r\nCSeq: ");
	put_num(o, cseq);
	put_str(o, " ");
	put_str(o, method);
	put_str(o, "\r\n");
}

/* RFC 7616 3.4.1 with qop=auth. */
static void put_credentials(struct load *l, struct out *o, const struct op *op,
			    const char *method, struct span nonce, bool proxy)
{
	char ha1[DIGEST_HEX_MAX], ha2[DIGEST_HEX_MAX], response[DIGEST_HEX_MAX], t[512],
		uri[128];
	uint32_t user = method[0] == 'R' ? op->user : caller_of(l, op->user);
	const char *realm = l->realm[0] ? l->realm : l->opt.domain;
	struct out u = {.start = uri, .p = uri, .end = uri + sizeof(uri) - 1};
	int n;

	put_uri(l, &u, op, method);
	*u.p = 0;
	n = snprintf(t, sizeof(t), "u%u:%s:p%u", user, realm, user);
	digest_hex(t, (size_t)n, ha1);
	n = snprintf(t, sizeof(t), "%s:%s", method, uri);
	digest_hex(t, (size_t)n, ha2);
	n = snprintf(t, sizeof(t), "%s:%.*s:%08x:0a4f113b:auth:%s", ha1, SPAN_FMT(nonce),
		     op->nc, ha2);
	digest_hex(t, (size_t)n, response);
	n = snprintf(t, sizeof(t),
		     "%s: Digest username=\"u%u\",realm=\"%s\",nonce=\"%.*s\",uri=\"%s\","
		     "response=\"%s\",algorithm=%s,cnonce=\"0a4f113b\",qop=auth,nc=%08x\r\n",
		     proxy ? "Proxy-Authorization" : "Authorization", user, realm,
		     SPAN_FMT(nonce), uri, response, l->opt.sha256 ? "SHA-256" : "MD5", op->nc);
	put(o, span_of(t, (size_t)n < sizeof(t) ? (size_t)n : sizeof(t) - 1));
}

static void put_body(struct out *o, const char *type, const char *body, size_t n)
{
	put_str(o, "Content-Type: ");
	put_str(o, type);
	put_str(o, "\r\nContent-Length: ");
	put_num(o, n);
	put_str(o, "\r\n\r\n");
	put(o, span_of(body, n));
}

/* Contact to the end, by method. */
static void put_tail(struct load *l, struct out *o, const struct op *op, const char *method)
{
	switch (method[0]) {
	case 'R':
		put_str(o, "Contact: <sip:u");
		put_num(o, op->user);
		put_str(o, "@");
		put_local(l, o, op->sock);
		put_str(o, ">\r\nExpires: ");
		put_num(o, l->opt.expires_s);
		put_str(o, "\r\nContent-Length: 0\r\n\r\n");
		return;
	case 'I':
		put_str(o, "Contact: <sip:caller@");
		put_local(l, o, op->sock);
		put_str(o, ">\r\n");
		put_body(o, "application/sdp", sdp, sizeof(sdp) - 1);
		return;
	case 'M':
		put_body(o, "text/plain", text, sizeof(text) - 1);
		return;
	default:
		put_str(o, "Content-Length: 0\r\n\r\n");
		return;
	}
}

static void sent(struct load *l, struct op *op, const struct out *o, enum op_state state)
{
	keep(&op->request, o);
	net_end(l, op->sock, o, &l->opt.target);
	op->sent = l->now;
	op->tries = 0;
	op->state = state;
}

void request_send(struct load *l, struct op *op, struct span nonce, bool proxy)
{
	const char *method = method_of(l);
	struct out o = net_begin(op->sock);

	if (op->stays)
		method = "INVITE";
	op->cseq++;
	op->branch++;
	put_head(l, &o, op, method, op->cseq, op->branch, false);
	if (nonce.n)
		put_credentials(l, &o, op, method, nonce, proxy);
	put_tail(l, &o, op, method);
	sent(l, op, &o, OP_SENT);
}

void request_ack(struct load *l, struct op *op, uint32_t cseq)
{
	struct out o = net_begin(op->sock);

	put_head(l, &o, op, "ACK", cseq, op->branch + 1, true);
	put_str(&o, "Content-Length: 0\r\n\r\n");
	net_end(l, op->sock, &o, &l->opt.target);
}

/* RFC 3261 17.1.1.3: the INVITE's branch and Request-URI, the response's To. */
void request_ack_failure(struct load *l, struct op *op, struct span to_line)
{
	struct out o = net_begin(op->sock);

	put_str(&o, "ACK ");
	put_user(l, &o, op->user);
	put_str(&o, " SIP/2.0\r\nVia: SIP/2.0/UDP ");
	put_local(l, &o, op->sock);
	put_str(&o, ";branch=z9hG4bK");
	op_put_id(l, &o, op);
	put_str(&o, "b");
	put_num(&o, op->branch);
	put_str(&o, "\r\nMax-Forwards: 70\r\nFrom: <");
	put_user(l, &o, caller_of(l, op->user));
	put_str(&o, ">;tag=");
	op_put_id(l, &o, op);
	put_str(&o, "\r\n");
	put(&o, to_line);
	put_str(&o, "\r\nCall-ID: ");
	op_put_id(l, &o, op);
	put_str(&o, "\r\nCSeq: ");
	put_num(&o, op->cseq);
	put_str(&o, " ACK\r\nContent-Length: 0\r\n\r\n");
	net_end(l, op->sock, &o, &l->opt.target);
}

void request_bye(struct load *l, struct op *op)
{
	struct out o = net_begin(op->sock);

	op->cseq++;
	op->branch += 2;
	put_head(l, &o, op, "BYE", op->cseq, op->branch, true);
	put_str(&o, "Content-Length: 0\r\n\r\n");
	op->phase = l->now;
	sent(l, op, &o, OP_BYE);
}
