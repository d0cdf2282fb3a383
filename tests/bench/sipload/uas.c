/*
 * The callee: 180 at once and 200 a little later to INVITE, 200 to everything else.
 */
#include "tests/bench/sipload/sipload.h"

static const char sdp[] = "v=0\r\n"
			  "o=user2 53655766 2353687638 IN IP4 127.0.0.12\r\n"
			  "s=-\r\n"
			  "c=IN IP4 127.0.0.12\r\n"
			  "t=0 0\r\n"
			  "m=audio 6002 RTP/AVP 0\r\n"
			  "a=rtpmap:0 PCMU/8000\r\n";

static void put_line(struct out *o, struct span line)
{
	put(o, line);
	put_str(o, "\r\n");
}

static void put_response(struct load *l, struct out *o, const struct sock *s,
			 const struct message *m, const char *status, bool dialog, bool body)
{
	put_str(o, "SIP/2.0 ");
	put_line(o, span_str(status));
	for (unsigned i = 0; i < m->nvia; i++)
		put_line(o, m->via[i]);
	for (unsigned i = 0; dialog && i < m->nroute; i++)
		put_line(o, m->route[i]);
	put_line(o, m->from);
	put(o, m->to);
	if (param_of(m->to, "tag").n == 0) {
		put_str(o, ";tag=c");
		put(o, line_value(m->call_id));
	}
	put_str(o, "\r\n");
	put_line(o, m->call_id);
	put_line(o, m->cseq_line);
	if (dialog) {
		put_str(o, "Contact: <sip:");
		put_str(o, l->opt.uas_ip);
		put_str(o, ":");
		put_num(o, s->port);
		put_str(o, ">\r\n");
	}
	if (body) {
		put_str(o, "Content-Type: application/sdp\r\nContent-Length: ");
		put_num(o, sizeof(sdp) - 1);
		put_str(o, "\r\n\r\n");
		put_str(o, sdp);
	} else {
		put_str(o, "Content-Length: 0\r\n\r\n");
	}
}

static void keep_answer(struct load *l, struct op *op, struct sock *s, const struct message *m,
			const struct sockaddr_in *from)
{
	char buf[MESSAGE_MAX];
	struct out o = {.start = buf, .p = buf, .end = buf + sizeof(buf)};

	put_response(l, &o, s, m, "200 OK", true, true);
	keep(&op->answer, &o);
	op->answer_sock = s;
	op->answer_to = *from;
	op->uas = UAS_RINGING;
	delay_push(&l->ring, l->now + (nsec)l->opt.ring_ms * 1000000u, op_slot(l, op), op->gen);
}

static void on_invite(struct load *l, struct sock *s, const struct message *m,
		      const struct sockaddr_in *from)
{
	struct op *op = op_find(l, m->call_id);

	if (op && op->uas == UAS_ANSWERED) {
		net_resend(l, op->answer_sock, &op->answer, &op->answer_to);
		return;
	}
	struct out o = net_begin(s);
	put_response(l, &o, s, m, "180 Ringing", true, false);
	net_end(l, s, &o, from);
	if (op && op->uas == UAS_NONE && !op->stays)
		keep_answer(l, op, s, m, from);
}

void uas_request(struct load *l, struct sock *s, const struct message *m,
		 const struct sockaddr_in *from)
{
	if (span_eq(m->method, SPAN("INVITE"))) {
		on_invite(l, s, m, from);
		return;
	}
	if (span_eq(m->method, SPAN("ACK"))) {
		struct op *op = op_find(l, m->call_id);

		if (op && op->uas == UAS_ANSWERED)
			op->uas = UAS_DONE;
		return;
	}
	struct out o = net_begin(s);
	put_response(l, &o, s, m, "200 OK", false, false);
	net_end(l, s, &o, from);
}

void uas_answer_due(struct load *l, struct op *op)
{
	if (op->uas != UAS_RINGING)
		return;
	net_resend(l, op->answer_sock, &op->answer, &op->answer_to);
	op->uas = UAS_ANSWERED;
	op->answer_sent = l->now;
}
