/*
 * The 200 to a REGISTER: RFC 3261 10.3 step 8, with Path (3327), Service-Route (3608), Require
 * and Flow-Timer (5626), GRUUs (5627).
 */
#include "home/registrar/reg_priv.h"

void reg_text_add(struct reg_text *t, struct span s)
{
	if (s.n > t->cap - t->n) {
		t->full = true;
		return;
	}
	if (s.n)
		memcpy(t->p + t->n, s.p, s.n);
	t->n += s.n;
}

void reg_text_number(struct reg_text *t, uint64_t v)
{
	char buf[20], *p = buf + sizeof(buf);
	do {
		*--p = (char)('0' + v % 10);
	} while (v /= 10);
	reg_text_add(t, span_of(p, (size_t)(buf + sizeof(buf) - p)));
}

static void two_digits(struct reg_text *t, unsigned v)
{
	const char d[2] = {(char)('0' + v / 10 % 10), (char)('0' + v % 10)};
	reg_text_add(t, span_of(d, 2));
}

/* Days since 1970 to a civil date, by eras of 400 years that begin in March. */
static void civil(uint64_t days, unsigned *ret_y, unsigned *ret_m, unsigned *ret_d)
{
	uint64_t z = days + 719468, era = z / 146097, doe = z % 146097;
	uint64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	uint64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;

	*ret_d = (unsigned)(doy - (153 * mp + 2) / 5 + 1);
	*ret_m = (unsigned)(mp < 10 ? mp + 3 : mp - 9);
	*ret_y = (unsigned)(yoe + era * 400 + (*ret_m <= 2));
}

/* "Date: Sat, 13 Nov 2010 23:29:00 GMT" (20.17). */
static void write_date(struct reg_text *t, uint64_t s)
{
	static const char days[] = "ThuFriSatSunMonTueWed";
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	unsigned y, m, d, of_day = (unsigned)(s % 86400);

	civil(s / 86400, &y, &m, &d);
	reg_text_add(t, SPAN("Date: "));
	reg_text_add(t, span_of(days + s / 86400 % 7 * 3, 3));
	reg_text_add(t, SPAN(", "));
	two_digits(t, d);
	reg_text_add(t, SPAN(" "));
	reg_text_add(t, span_of(months + (m - 1) * 3, 3));
	reg_text_add(t, SPAN(" "));
	reg_text_number(t, y);
	reg_text_add(t, SPAN(" "));
	two_digits(t, of_day / 3600);
	reg_text_add(t, SPAN(":"));
	two_digits(t, of_day / 60 % 60);
	reg_text_add(t, SPAN(":"));
	two_digits(t, of_day % 60);
	reg_text_add(t, SPAN(" GMT\r\n"));
}

/* The same for a whole second. */
static void add_date(struct reg_text *t, uint64_t wall_ms)
{
	static _Thread_local struct {
		uint64_t s;
		struct reg_text text;
		char p[64];
	} last;
	uint64_t s = wall_ms / 1000;

	if (last.s != s || !last.text.n) {
		last.text = (struct reg_text){.p = last.p, .cap = sizeof(last.p)};
		write_date(&last.text, s);
		last.s = s;
	}
	reg_text_add(t, span_of(last.p, last.text.n));
}

static void add_q(struct reg_text *t, uint32_t q)
{
	if (q == 0)
		return;
	q--;
	const char d[5] = {(char)('0' + q / 1000), '.', (char)('0' + q / 100 % 10),
			   (char)('0' + q / 10 % 10), (char)('0' + q % 10)};
	size_t n = 5;
	while (n > 3 && d[n - 1] == '0')
		n--;
	reg_text_add(t, SPAN(";q="));
	reg_text_add(t, span_of(d, n));
}

static void add_contact(const struct reg_work *w, const struct binding *s, struct reg_text *t)
{
	const Eaves__Binding *b = s->b;
	uint64_t left_ms = s->expires_ms - w->wall_ms;

	reg_text_add(t, SPAN("Contact: <"));
	reg_text_add(t, pb_span(b->contact));
	reg_text_add(t, SPAN(">"));
	add_q(t, b->q);
	reg_text_add(t, SPAN(";expires="));
	reg_text_number(t, (left_ms + 999) / 1000);
	reg_text_add(t, pb_span(b->params));
	if (b->instance.len) {
		reg_text_add(t, SPAN(";+sip.instance=\""));
		reg_text_add(t, pb_span(b->instance));
		reg_text_add(t, SPAN("\""));
		if (b->reg_id) {
			reg_text_add(t, SPAN(";reg-id="));
			reg_text_number(t, b->reg_id);
		}
		if (w->sup_gruu)
			reg_gruu_add(w, b, t);
	}
	reg_text_add(t, SPAN("\r\n"));
}

unsigned reg_bindings_left(const struct bindings *s)
{
	unsigned n = 0;
	for (unsigned i = 0; i < s->n; i++)
		n += s->v[i].change != REG_REMOVE;
	return n;
}

size_t reg_lines_max(const struct reg_work *w)
{
	size_t n = 256 + w->path.n;
	if (w->conf->service_route)
		n += strlen(w->conf->service_route) + 32;
	for (unsigned i = 0; i < w->set.n; i++) {
		const Eaves__Binding *b = w->set.v[i].b;
		n += 128 + b->contact.len + b->params.len + b->instance.len;
		if (w->sup_gruu && b->instance.len)
			n += reg_gruu_max(w, b);
	}
	return n;
}

void reg_lines(const struct reg_work *w, struct reg_text *t)
{
	for (unsigned i = 0; i < w->set.n; i++)
		if (w->set.v[i].change != REG_REMOVE)
			add_contact(w, &w->set.v[i], t);
	if (w->path.n && w->sup_path) {
		reg_text_add(t, SPAN("Path: "));
		reg_text_add(t, w->path);
		reg_text_add(t, SPAN("\r\n"));
	}
	if (w->conf->service_route) {
		reg_text_add(t, SPAN("Service-Route: "));
		reg_text_add(t, span_str(w->conf->service_route));
		reg_text_add(t, SPAN("\r\n"));
	}
	if (w->used_outbound && w->sup_outbound) {
		reg_text_add(t, SPAN("Require: outbound\r\n"));
		if (w->conf->flow_timer_s && w->flow) {
			reg_text_add(t, SPAN("Flow-Timer: "));
			reg_text_number(t, w->conf->flow_timer_s);
			reg_text_add(t, SPAN("\r\n"));
		}
	}
	add_date(t, w->wall_ms);
}
