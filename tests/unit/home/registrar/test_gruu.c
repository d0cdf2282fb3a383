/*
 * GRUUs, RFC 5627, and what administration sees of bindings.
 */
#include "tests/unit/home/registrar/reg_fixture.h"

#include "common/flow/gruu.h"
#include "common/store/store.h"

#include <semaphore.h>
#include <unistd.h>

static char param[1024];

/* The value of a quoted Contact parameter in the answer. */
static const char *contact_param(const char *name)
{
	char start_of[64];
	snprintf(start_of, sizeof(start_of), ";%s=\"", name);
	const char *p = strstr(answer.lines, start_of);
	param[0] = 0;
	if (p) {
		p += strlen(start_of);
		snprintf(param, sizeof(param), "%.*s", (int)(strchr(p, '"') - p), p);
	}
	return param;
}

static int parse(const char *text, struct reg_gruu *g)
{
	struct sip_uri u;
	ck_assert_int_eq(sip_uri_parse(span_str(text), &u), 0);
	return reg_gruu_parse(reg, &u, g);
}

static int lookup_gruu(const struct reg_gruu *g, uint64_t now)
{
	return reg_lookup(reg, g->user, g, now, target, REG_CONTACTS_MAX, NULL);
}

static const char with_gruu[] =
	"Supported: gruu\r\nContact: <sip:a@192.0.2.4>;" INSTANCE "\r\n";

START_TEST(rfc5627_5_1_gruus_are_given_to_those_who_support_them)
{
	start();
	reg_alice(1, with_gruu);
	ck_assert_str_eq(
		contact_param("pub-gruu"),
		"sip:alice@example.com;gr=urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6");
	ck_assert_int_eq(strncmp(contact_param("temp-gruu"), "sip:tgruu.", 10), 0);
	reg_alice(2, "Contact: <sip:a@192.0.2.4>;" INSTANCE "\r\n");
	ck_assert_str_eq(contact_param("pub-gruu"), "");
	reg_alice(3, "Supported: gruu\r\nContact: <sip:a@192.0.2.4>\r\n");
	ck_assert_str_eq(contact_param("pub-gruu"), "");
	stop();
}
END_TEST

START_TEST(rfc5627_5_1_a_client_cannot_choose_its_gruu)
{
	start();
	reg_alice(1,
		  "Supported: gruu\r\nContact: "
		  "<sip:a@192.0.2.4>;pub-gruu=\"sip:boss@example.com;gr=1\";" INSTANCE "\r\n");
	ck_assert_ptr_null(strstr(answer.lines, "boss"));
	stop();
}
END_TEST

START_TEST(rfc5627_public_gruu_leads_to_its_instance_alone)
{
	struct reg_gruu g;
	start();
	register_user("alice", "c2", 1, "Contact: <sip:other@192.0.2.9>\r\n", T0);
	reg_alice(1, with_gruu);
	ck_assert_int_eq(
		parse("sip:alice@example.com;gr=urn:uuid:F81D4FAE-7dec-11d0-a765-00a0c91e6bf6",
		      &g),
		0);
	ck_assert_span_eq(g.user, "alice");
	ck_assert_int_eq(lookup_gruu(&g, T0), 1);
	ck_assert_span_eq(target[0].uri, "sip:a@192.0.2.4");
	ck_assert_int_eq(parse("sip:alice@example.com;gr=urn:uuid:other", &g), 0);
	ck_assert_int_eq(lookup_gruu(&g, T0), 0); /* 480 */
	ck_assert_int_eq(parse("sip:alice@example.com", &g), -ENOENT);
	ck_assert_int_eq(parse("sip:example.com;gr=urn:x", &g), -EINVAL);
	stop();
}
END_TEST

START_TEST(rfc5627_of_two_contacts_of_an_instance_the_newest_is_called)
{
	struct reg_gruu g;
	start();
	reg_alice(1, with_gruu);
	register_user("alice", "c2", 1, "Contact: <sip:moved@192.0.2.5>;" INSTANCE "\r\n",
		      T0 + 9);
	parse("sip:alice@example.com;gr=urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6", &g);
	ck_assert_int_eq(lookup_gruu(&g, T0 + 9), 1);
	ck_assert_span_eq(target[0].uri, "sip:moved@192.0.2.5");
	stop();
}
END_TEST

START_TEST(rfc5627_temporary_gruus_differ_hide_the_user_and_lead_to_the_instance)
{
	struct reg_gruu g;
	char first[1024];
	start();
	reg_alice(1, with_gruu);
	snprintf(first, sizeof(first), "%s", contact_param("temp-gruu"));
	register_user("alice", "call1@ua", 2, with_gruu, T0 + 1000);
	ck_assert_str_ne(first, contact_param("temp-gruu"));
	ck_assert_ptr_null(strstr(first, "alice"));
	/* Both are good: nothing of them is kept. */
	ck_assert_int_eq(parse(first, &g), 0);
	ck_assert(g.temporary);
	ck_assert_span_eq(g.user, "alice");
	ck_assert_int_eq(lookup_gruu(&g, T0 + 1000), 1);
	ck_assert_int_eq(parse(param, &g), 0);
	ck_assert_int_eq(lookup_gruu(&g, T0 + 1000), 1);
	stop();
}
END_TEST

START_TEST(rfc5627_a_temporary_gruu_ends_with_its_call_id_or_registration)
{
	struct reg_gruu g;
	start();
	reg_alice(1, with_gruu);
	ck_assert_int_eq(parse(contact_param("temp-gruu"), &g), 0);
	ck_assert_int_eq(lookup_gruu(&g, T0 + 3599999), 1);
	ck_assert_int_eq(lookup_gruu(&g, T0 + 3600000), -ENOENT);
	struct span user = SPAN("alice");
	g.user = user;
	register_user("alice", "rebooted@ua", 1, with_gruu, T0);
	ck_assert_int_eq(lookup_gruu(&g, T0), -ENOENT);
	stop();
}
END_TEST

START_TEST(a_forged_temporary_gruu_is_nobodys)
{
	struct reg_gruu g;
	char text[1024];
	start();
	reg_alice(1, with_gruu);
	snprintf(text, sizeof(text), "%s", contact_param("temp-gruu"));
	size_t at = strlen("sip:tgruu."), end = (size_t)(strchr(text, '@') - text);
	for (size_t i = at; i < end; i++) {
		char old = text[i];
		text[i] = old == 'a' ? 'b' : 'a';
		ck_assert_int_eq(parse(text, &g), -EINVAL);
		text[i] = old;
	}
	ck_assert_int_eq(parse(text, &g), 0);
	ck_assert_int_eq(parse("sip:tgruu.@example.com;gr", &g), -EINVAL);
	ck_assert_int_eq(parse("sip:tgruu.aaaa!@example.com;gr", &g), -EINVAL);
	ck_assert_int_eq(parse("sip:alice@example.com;gr", &g), -EINVAL);
	ck_assert_int_eq(parse("sip:example.com;gr", &g), -EINVAL);
	for (size_t n = 1; n < 400; n++) {
		memset(text, 'a', n + 10);
		memcpy(text, "sip:tgruu.", 10);
		snprintf(text + 10 + n, 64, "@example.com;gr");
		ck_assert_int_eq(parse(text, &g), -EINVAL);
	}
	stop();
}
END_TEST

START_TEST(a_temporary_gruu_of_a_pair_names_it_and_nothing_else)
{
	struct reg_conf conf = reg_conf_default;
	struct span pair, token;
	struct reg_gruu g;
	struct sip_uri u;
	start();
	conf.domain = "example.com";
	conf.pair = "h1.office"; /* as hosts are named */
	ck_assert_int_eq(reg_set_conf(reg, &conf), 0);
	reg_alice(1, with_gruu);
	ck_assert_int_eq(strncmp(contact_param("temp-gruu"), "sip:tgruu.h1.office.", 20), 0);
	ck_assert_int_eq(sip_uri_parse(span_str(param), &u), 0);
	ck_assert(gruu_temporary(&u, &pair, &token));
	ck_assert_span_eq(pair, "h1.office");
	ck_assert_int_eq(parse(param, &g), 0);
	ck_assert_span_eq(g.user, "alice");
	/* Made before there was a pair: it is still good. */
	char old[1024];
	snprintf(old, sizeof(old), "sip:tgruu.%.*s@example.com;gr", SPAN_FMT(token));
	ck_assert_int_eq(parse(old, &g), 0);
	ck_assert_int_eq(sip_uri_parse(span_str(old), &u), 0);
	ck_assert(gruu_temporary(&u, &pair, &token));
	ck_assert_uint_eq(pair.n, 0);
	/* A user may be called so. */
	ck_assert_int_eq(sip_uri_parse(SPAN("sip:tgruu.h1.bob@example.com"), &u), 0);
	ck_assert(!gruu_temporary(&u, &pair, &token));
	stop();
}
END_TEST

START_TEST(odd_user_names_and_instances_are_escaped)
{
	struct reg_gruu g;
	start();
	arena_reset(&fixture_arena);
	ck_assert_uint_eq(reg_alice(1, "Supported: gruu\r\nContact: "
				       "<sip:a@h>;+sip.instance=\"<urn:x:a|b;c>\"\r\n"),
			  200);
	ck_assert_str_eq(contact_param("pub-gruu"), "sip:alice@example.com;gr=urn:x:a%7Cb%3Bc");
	ck_assert_int_eq(parse(param, &g), 0);
	ck_assert_int_eq(lookup_gruu(&g, T0), 1);
	stop();
}
END_TEST

START_TEST(targets_come_by_q_then_age_without_headers_and_methods)
{
	start();
	reg_alice(1, "Contact: <sip:low@h>;q=0.1, <sip:one@h>, "
		     "<sip:mid@h;method=INVITE;x=1?Subject=s>;q=0.5\r\n");
	reg_alice(2, "Contact: <sip:two@h>;q=1.0, <tel:+123>, <sip:h2@h?a=b>;q=0\r\n");
	ck_assert_uint_eq(answer.bindings, 6);
	ck_assert_int_eq(lookup(T0), 5);
	ck_assert_span_eq(target[0].uri, "sip:one@h");
	ck_assert_span_eq(target[1].uri, "sip:two@h");
	ck_assert_span_eq(target[2].uri, "sip:mid@h;x=1");
	ck_assert_uint_eq(target[2].q, 500);
	ck_assert_span_eq(target[3].uri, "sip:low@h");
	ck_assert_span_eq(target[4].uri, "sip:h2@h");
	unsigned bindings;
	ck_assert_int_eq(reg_lookup(reg, SPAN("alice"), NULL, T0, target, 2, &bindings), 2);
	ck_assert_uint_eq(bindings, 6);
	stop();
}
END_TEST

static bool print(void *arg, const struct reg_binding *b)
{
	char *s = arg;
	size_t n = strlen(s);
	snprintf(s + n, 512 - n, "%.*s %.*s %u %.*s %d|", SPAN_FMT(b->user),
		 SPAN_FMT(b->contact), b->cseq, SPAN_FMT(b->user_agent), b->has_flow);
	return true;
}

START_TEST(administration_sees_and_drops_bindings)
{
	char s[512] = "";
	start();
	reg_alice(3,
		  "Contact: <sip:a@192.0.2.4>, <sip:b@192.0.2.4>\r\nUser-Agent: phone/1\r\n");
	reg_each(reg, SPAN("alice"), T0, print, s);
	ck_assert_str_eq(
		s, "alice sip:a@192.0.2.4 3 phone/1 1|alice sip:b@192.0.2.4 3 phone/1 1|");
	ck_assert_int_eq(
		reg_drop(reg, SPAN("alice"), SPAN("sip:%61@192.0.2.4"), T0, NULL, NULL), 1);
	ck_assert_int_eq(reg_drop(reg, SPAN("alice"), SPAN("sip:a@192.0.2.4"), T0, NULL, NULL),
			 0);
	sip_values_use_arena(NULL); /* as in the administration's thread */
	ck_assert_int_eq(reg_drop(reg, SPAN("alice"), span_of(NULL, 0), T0, NULL, NULL), 1);
	s[0] = 0;
	reg_each(reg, span_of(NULL, 0), T0, print, s);
	ck_assert_str_eq(s, "");
	stop();
}
END_TEST

START_TEST(a_body_that_would_forge_a_header_is_passed_over)
{
	struct record v = {.kind = RECORD_BINDING, .group = SPAN("alice"), .name = SPAN("x")};
	start();
	v.body = SPAN("\x0a\x0bsip:a@h\r\nX:y");
	ck_assert_int_eq(records_put(records, &v, 1, NULL, T0, NULL, NULL), 0);
	ck_assert_uint_eq(reg_alice(1, ""), 200);
	ck_assert_str_eq(answer.lines, DATE);
	v.body = SPAN("\x0a\x07sip:a@h\x12\x05;x\r\ny");
	ck_assert_int_eq(records_put(records, &v, 1, NULL, T0, NULL, NULL), 0);
	ck_assert_int_eq(lookup(T0), 0);
	v.body = SPAN("\x0a\x07sip:a@h\x12\x02;x");
	ck_assert_int_eq(records_put(records, &v, 1, NULL, T0, NULL, NULL), 0);
	ck_assert_int_eq(lookup(T0), 1);
	stop();
}
END_TEST

static sem_t answered_sem;
static unsigned stored_status;

static void from_store(void *arg, const struct reg_answer *a)
{
	(void)arg;
	stored_status = a->status;
	sem_post(&answered_sem);
}

static void register_stored(void)
{
	static const char text[] =
		"REGISTER sip:example.com SIP/2.0\r\n"
		"Via: SIP/2.0/UDP 192.0.2.4;branch=z9hG4bK1\r\n"
		"From: <sip:alice@example.com>;tag=1\r\nTo: <sip:alice@example.com>\r\n"
		"Call-ID: c\r\nCSeq: 1 REGISTER\r\nContact: <sip:a@192.0.2.4>\r\n\r\n";
	struct sip_hdr hdr[SIP_HDR_MAX];
	struct sip_msg m = {.hdr = hdr};
	struct sip_fault fault;
	ck_assert_int_eq(sip_msg_index(&m, SPAN(text), false, &sip_limits_default, &fault), 0);
	reg_register(reg, &m, NULL, &flow, SPAN("alice"), T0, from_store, NULL);
	while (sem_wait(&answered_sem) < 0)
		;
}

START_TEST(the_200_comes_after_the_commit_and_a_restart_keeps_the_binding)
{
	struct reg_conf conf = reg_conf_default;
	char path[64], error[256];
	conf.domain = "example.com";
	snprintf(path, sizeof(path), "/tmp/eaves-reg-%d.db", (int)getpid());
	unlink(path);
	sem_init(&answered_sem, 0, 0);
	struct store *s = store_sqlite_new(path, 100, error);
	ck_assert_msg(s != NULL, "%s", error);
	start_with(&conf, records_new(s, 1, 100, NULL));
	register_stored();
	ck_assert_uint_eq(stored_status, 200);
	s->ops->flush(s);
	ck_assert_uint_eq(s->counters.rows, 1);
	stop();
	s->ops->free(s);

	s = store_sqlite_new(path, 100, error);
	ck_assert_msg(s != NULL, "%s", error);
	start_with(&conf, records_new(s, 1, 100, NULL));
	ck_assert_int_eq(records_load(records, T0 + 1000), 0);
	ck_assert_int_eq(lookup(T0 + 1000), 1);
	ck_assert_span_eq(target[0].uri, "sip:a@192.0.2.4");
	stop();
	s->ops->free(s);
	unlink(path);
	strcat(path, "-wal");
	unlink(path);
}
END_TEST

/* A store whose disk is broken. */
static int broken_put(struct store *s, const struct store_row *rows, unsigned n,
		      void (*done)(void *arg, int error), void *arg)
{
	(void)s;
	(void)rows;
	(void)n;
	if (done)
		done(arg, -EIO);
	return 0;
}

START_TEST(a_binding_that_is_not_durable_is_200_or_503_as_the_operator_wants)
{
	static const struct store_ops ops = {.put = broken_put};
	struct store s = {.ops = &ops};
	struct reg_conf conf = reg_conf_default;
	conf.domain = "example.com";
	start_with(&conf, records_new(&s, 1, 100, NULL));
	ck_assert_uint_eq(reg_alice(1, "Contact: <sip:a@192.0.2.4>\r\n"), 200);
	conf.strict = true;
	ck_assert_int_eq(reg_set_conf(reg, &conf), 0);
	ck_assert_uint_eq(reg_alice(2, "Contact: <sip:a@192.0.2.4>\r\n"), 503);
	ck_assert_uint_eq(reg_counters(reg).not_durable, 2);
	stop();
}
END_TEST

UNIT_MAIN("home/registrar gruu", rfc5627_5_1_gruus_are_given_to_those_who_support_them,
	  rfc5627_5_1_a_client_cannot_choose_its_gruu,
	  rfc5627_public_gruu_leads_to_its_instance_alone,
	  rfc5627_of_two_contacts_of_an_instance_the_newest_is_called,
	  rfc5627_temporary_gruus_differ_hide_the_user_and_lead_to_the_instance,
	  rfc5627_a_temporary_gruu_ends_with_its_call_id_or_registration,
	  a_temporary_gruu_of_a_pair_names_it_and_nothing_else,
	  a_forged_temporary_gruu_is_nobodys, odd_user_names_and_instances_are_escaped,
	  targets_come_by_q_then_age_without_headers_and_methods,
	  administration_sees_and_drops_bindings,
	  a_body_that_would_forge_a_header_is_passed_over,
	  the_200_comes_after_the_commit_and_a_restart_keeps_the_binding,
	  a_binding_that_is_not_durable_is_200_or_503_as_the_operator_wants)
